"""The fork-server. Standard library only, Python 3.9 and newer."""
