"""Starts processes for the watchdog, and carries what they read and write.

A small program: to start a process costs it a fifth of what it costs one of Node's size. Speaks on descriptor 3, in frames of one byte
for the kind, four each for the number of the call and the payload's length, and the payload.

    to here:   1 start (u32 length of the variables, `NAME=value` ended by NUL each, then the input), 2 kill
    from here: 1 output, 2 errors, 3 ended (i32: exit code, or a signal's number below zero), 4 not started (text), 5 ready

Arguments: `combined` (errors go with the output) or `apart`, then the command.
"""

import os
import selectors
import signal
import struct
import sys

HEAD = struct.Struct("!BII")
START, KILL = 1, 2
OUTPUT, ERRORS, ENDED, NOT_STARTED, READY = 1, 2, 3, 4, 5
INPUT = 0
LINK = 3
CHUNK = 65536


class Child:
    __slots__ = ("call", "pid", "open", "input")

    def __init__(self, call, pid, streams):
        self.call = call
        self.pid = pid
        self.open = streams
        self.input = None


class Forker:
    def __init__(self, combined, command):
        self.combined = combined
        self.command = [os.fsencode(word) for word in command]
        # As it was given: Python adds variables of its own.
        with open("/proc/self/environ", "rb") as given:
            self.environment = dict(pair.split(b"=", 1) for pair in given.read().split(b"\0") if b"=" in pair)
        self.selector = selectors.EpollSelector()
        self.children = {}
        self.answers = []
        self.received = bytearray()
        self.selector.register(LINK, selectors.EVENT_READ, None)

    def run(self):
        self.answer(READY, 0, b"")
        self.flush()
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    if not self.receive():
                        return
                else:
                    self.read(key.fd, *key.data)
            self.flush()

    def receive(self):
        data = os.read(LINK, 1 << 18)
        if not data:
            return False
        received = self.received
        received += data
        at = 0
        while len(received) - at >= HEAD.size:
            kind, call, length = HEAD.unpack_from(received, at)
            end = at + HEAD.size + length
            if len(received) < end:
                break
            if kind == START:
                self.start(call, bytes(received[at + HEAD.size : end]))
            elif kind == KILL:
                self.kill(call)
            at = end
        del received[:at]
        return True

    def start(self, call, payload):
        (length,) = struct.unpack_from("!I", payload)
        environment = dict(self.environment)
        for variable in payload[4 : 4 + length].split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name:
                environment[name] = value
        given = payload[4 + length :]
        read_in, write_in = os.pipe()
        read_out, write_out = os.pipe()
        errors = () if self.combined else os.pipe()
        try:
            pid = os.posix_spawnp(
                self.command[0],
                self.command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, read_in, 0),
                    (os.POSIX_SPAWN_DUP2, write_out, 1),
                    (os.POSIX_SPAWN_DUP2, errors[1] if errors else write_out, 2),
                    (os.POSIX_SPAWN_CLOSE, LINK),
                ],
                setpgroup=0,
                setsigdef=[signal.SIGPIPE],
            )
        except OSError as error:
            for descriptor in (read_in, write_in, read_out, write_out, *errors):
                os.close(descriptor)
            self.answer(NOT_STARTED, call, os.fsencode(error.strerror or str(error)))
            return
        os.close(read_in)
        os.close(write_out)
        os.set_blocking(write_in, False)
        child = Child(call, pid, 1)
        left = self.feed(write_in, memoryview(given))
        if left:
            child.input = left
            self.selector.register(write_in, selectors.EVENT_WRITE, (child, INPUT))
        else:
            os.close(write_in)
        self.children[call] = child
        self.selector.register(read_out, selectors.EVENT_READ, (child, OUTPUT))
        if errors:
            os.close(errors[1])
            child.open = 2
            self.selector.register(errors[0], selectors.EVENT_READ, (child, ERRORS))

    def feed(self, descriptor, given):
        """What is left of it; nothing where nobody reads any more. A new pipe mostly takes all."""
        try:
            return given[os.write(descriptor, given) :]
        except BlockingIOError:
            return given
        except BrokenPipeError:
            return None

    def read(self, descriptor, child, kind):
        if kind == INPUT:
            child.input = self.feed(descriptor, child.input)
            if not child.input:
                self.close(descriptor)
            return
        if kind == ENDED:
            self.close(descriptor)
            self.end(child, *os.waitpid(child.pid, 0))
            return
        data = os.read(descriptor, CHUNK)
        if data:
            self.answer(kind, child.call, data)
            return
        self.close(descriptor)
        child.open -= 1
        if child.open > 0:
            return
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid != 0:
            self.end(child, pid, status)
        else:
            # It has closed its output and goes on.
            self.selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ, (child, ENDED))

    def end(self, child, _pid, status):
        del self.children[child.call]
        self.answer(ENDED, child.call, struct.pack("!i", os.waitstatus_to_exitcode(status)))

    def kill(self, call):
        child = self.children.get(call)
        if child is not None:
            os.killpg(child.pid, signal.SIGKILL)

    def close(self, descriptor):
        self.selector.unregister(descriptor)
        os.close(descriptor)

    def answer(self, kind, call, payload):
        self.answers.append(HEAD.pack(kind, call, len(payload)))
        self.answers.append(payload)

    def flush(self):
        if not self.answers:
            return
        view = memoryview(b"".join(self.answers))
        self.answers.clear()
        while view:
            view = view[os.write(LINK, view) :]


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
os.set_inheritable(LINK, False)
Forker(sys.argv[1] == "combined", sys.argv[2:]).run()
