"""What the user's code prints and logs, as lines that know their call."""

import contextvars
import io
import logging
import os
import sys
import threading

#: The call that the running code belongs to.
current_call = contextvars.ContextVar("virga_call", default=None)

#: A line without an end is cut here, so that it cannot grow without end.
LONGEST_LINE = 65536


class Output:
    """For sys.stdout, sys.stderr and logging, once it takes them over. `running` are the open calls by stream."""

    def __init__(self, link, running):
        self._link = link
        self._running = running
        self.stdout = _LineStream(self, 1, "<stdout>")
        self.stderr = _LineStream(self, 2, "<stderr>")
        self._outside = {}
        self._writing = threading.RLock()

    def take_over(self):
        sys.stdout = self.stdout
        sys.stderr = self.stderr
        handler = logging.StreamHandler(self.stderr)
        handler.addFilter(self._mark)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        os.register_at_fork(after_in_child=self._in_child)

    def write(self, number, text):
        with self._writing:
            call = self._call()
            partial = self._outside if call is None else call.partial
            lines = (partial.get(number, "") + text).split("\n")
            rest = lines.pop()
            while len(rest) > LONGEST_LINE:
                lines.append(rest[:LONGEST_LINE])
                rest = rest[LONGEST_LINE:]
            partial[number] = rest
            if lines:
                self._link.log(0 if call is None else call.stream, number, _cut(lines))

    def finish(self, call):
        """Gives the unfinished lines of a call (None: of what ran outside of any), before it ends."""
        partial = self._outside if call is None else call.partial
        if not partial:
            return
        with self._writing:
            for number, rest in partial.items():
                if rest:
                    self._link.log(0 if call is None else call.stream, number, [rest])
            partial.clear()

    def _call(self):
        call = current_call.get()
        if call is not None:
            return call
        # A thread that the function started knows no context; with one open call it can only be that one's.
        running = self._running
        if len(running) == 1:
            try:
                return next(iter(running.values()))
            except (StopIteration, RuntimeError):
                return None
        return None

    def _mark(self, record):
        call = self._call()
        record.invocation = None if call is None else call.id
        return True

    def _in_child(self):
        """A forked child has no link: what it prints goes through the pipes that it inherited."""
        self._link.close()
        sys.stdout = open(1, "w", buffering=1, closefd=False)
        sys.stderr = open(2, "w", buffering=1, closefd=False)


class _LineStream(io.TextIOBase):
    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, output, number, name):
        self._output = output
        self._number = number
        self.name = name
        self.mode = "w"
        self.buffer = _Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        if text:
            self._output.write(self._number, text)
        return len(text)

    def writable(self):
        return True

    def fileno(self):
        return self._number

    def isatty(self):
        return False


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text):
        self._text = text

    def write(self, data):
        self._text.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def writable(self):
        return True

    def fileno(self):
        return self._text.fileno()


def _cut(lines):
    for line in lines:
        if len(line) <= LONGEST_LINE:
            yield line
        else:
            for at in range(0, len(line), LONGEST_LINE):
                yield line[at : at + LONGEST_LINE]
