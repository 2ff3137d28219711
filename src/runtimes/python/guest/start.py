"""A blank Python instance: everything is loaded but the user's code. File descriptor 3 is the instance link.

Run as a program; or imported once by a zygote, which calls `main` in each copy of itself.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _here)

import virga._preload  # noqa: E402,F401
from virga._link import Link  # noqa: E402
from virga._rehearsal import rehearse  # noqa: E402
from virga._server import Server  # noqa: E402

# The guest is whole in sys.modules now; its folder must not shadow a module of the user's.
sys.path.remove(_here)


def main():
    Server(Link(3)).run()


if __name__ == "__main__":
    main()
else:
    # Code adapts to what passes through it from the eighth time on.
    rehearse(Server, times=10)
