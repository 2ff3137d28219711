"""A fork-server: loads a program once, then forks an enclosed child of it for each request on descriptor 3.

Runs outside of every sandbox, as the server's own user, and runs no code of any function: that begins in a child, when
its enclosure is complete.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _here)

from virga_zygote.program import leave  # noqa: E402
from virga_zygote.server import Server  # noqa: E402

sys.path.remove(_here)

if __name__ == "__main__":
    # Comes back in children alone, which go on from here as if the interpreter had begun with their program.
    _main = Server(3).serve()
    del Server, _here
    _main()
    leave()
