"""A fork-server: forks an enclosed child for each request on descriptor 3. A zygote has loaded a program once, of which
each child is a copy; a launcher has none, and its children become the command that they are told.

Runs outside of every sandbox, as the server's own user, and runs no code of any function: that begins in a child, when
its enclosure is complete.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _here)

from virga_zygote.server import Server  # noqa: E402

sys.path.remove(_here)

if __name__ == "__main__":
    # Comes back in children alone, which go on from here as if the interpreter had begun with their program.
    _main, _leave = Server(3).serve()
    del Server, _here
    _main()
    _leave()
