"""What a call used: CPU microseconds and the instance's peak of resident memory."""

import os
import resource
import time

#: The peak is read from the kernel this often at most; a read costs about as much as a small handler.
_READ_EVERY_NS = 50_000_000


class Meter:
    """Counts one call.

    One that runs alone is charged what the process used since the one before it ended, the reading of its frame included:
    the sum over all calls is what the process used since `begin`. With several at once in one thread (asyncio), they share
    what was used while they ran.
    """

    _shared_from = 0
    _charged = 0

    @classmethod
    def begin(cls):
        """What was used until now is the start's, no call's."""
        cls._charged = _process()

    @classmethod
    def end(cls):
        """For a process that is copied afterwards: what this one holds open tells of itself."""
        global _status, _read_at
        if _status is not None:
            os.close(_status)
        _status = None
        _read_at = 0

    def __init__(self, mode, running):
        self._mode = mode
        self._running = running
        self._from = 0
        if mode == "thread":
            self._from = time.thread_time_ns()
        elif mode != "alone" and len(running) == 1:
            # What was used between calls is nobody's.
            Meter._shared_from = _process()

    def __call__(self):
        if self._mode == "alone":
            now = _process()
            used = now - Meter._charged
            Meter._charged = now
        elif self._mode == "thread":
            used = time.thread_time_ns() - self._from
        else:
            used = (_process() - Meter._shared_from) // max(1, len(self._running))
            Meter._shared_from += used
        return min(max(used, 0) // 1000, 2**32 - 1), _peak()


def _process():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + int((children.ru_utime + children.ru_stime) * 1e9)


_status = None
_newest = 0
_read_at = 0


def _peak():
    """VmHWM: unlike ru_maxrss it does not begin with the size of the process that started this one."""
    global _status, _newest, _read_at
    now = time.monotonic_ns()
    if now - _read_at < _READ_EVERY_NS:
        return _newest
    _read_at = now
    try:
        if _status is None:
            _status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        text = os.pread(_status, 4096, 0)
        at = text.index(b"VmHWM:") + 6
        _newest = int(text[at : text.index(b"kB", at)]) * 1024
    except (OSError, ValueError):
        # No /proc here (macOS): the next best that there is, in bytes there.
        _newest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _newest
