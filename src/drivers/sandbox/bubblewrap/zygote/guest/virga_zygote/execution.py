"""How a child becomes the command that it is told."""

import os
import signal

from . import kernel

#: Bubblewrap's, for a command that cannot be run.
_NOT_RUN = 1


class Execution:
    """Made in the launcher, as an Enclosure is, and run by the enclosed child as its last."""

    def __init__(self, run, umask):
        self._calls = calls = kernel.Calls()
        calls.begin_session()
        # Python ignores both, and what a process ignores the next program of it does too.
        calls.heed(signal.SIGPIPE)
        calls.heed(signal.SIGXFSZ)
        calls.set_umask(umask)
        calls.change_directory(run.directory)
        calls.execute(run.command, {**run.environment, "PWD": run.directory})

    def run(self):
        try:
            self._calls.run()
        except OSError as error:
            os.write(2, ("virga: %s\n" % error.strerror).encode("utf-8", "surrogateescape"))
        finally:
            os._exit(_NOT_RUN)
