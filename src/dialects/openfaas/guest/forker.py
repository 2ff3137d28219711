"""Starts processes for the watchdog, and carries what they read and write.

A small program: to start a process costs it a fifth of what it costs one of Node's size. Speaks on descriptor 3, in frames of one byte
for the kind, four each for the number of the call and the payload's length, and the payload.

    to here:   1 start (u32 length of the variables, `NAME=value` ended by NUL each, then the input), 2 kill
    from here: 1 output, 2 errors, 3 ended (i32: exit code, or a signal's number below zero), 4 not started (text), 5 ready

Arguments: `combined` (errors go with the output) or `apart`, then the command. Where `fork-server.so` lies beside it, compiled from
fork-server.c, copies of a program that is loaded already are what it starts.
"""

import os
import selectors
import signal
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
LIBRARY = os.path.join(HERE, "fork-server.so")

HEAD = struct.Struct("!BII")
START, KILL = 1, 2
OUTPUT, ERRORS, ENDED, NOT_STARTED, READY = 1, 2, 3, 4, 5
INPUT = 0
#: Of a loaded program: it has said something.
TOLD = 6
LINK = 3
CHUNK = 65536


class Child:
    __slots__ = ("call", "pid", "program", "status", "open", "input")

    def __init__(self, call, pid, program):
        self.call = call
        self.pid = pid
        # What it is a copy of; None for one that was started as such.
        self.program = program
        # How a copy ended, once that is known.
        self.status = None
        self.open = 1
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
        #: Of those that are copies, by process id.
        self.copies = {}
        #: What copies are made of, once it is there.
        self.program = None
        self.has_loaded = not os.path.exists(LIBRARY)
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
                elif key.data[1] == TOLD:
                    self.hear(key.data[0])
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
        variables = payload[4 : 4 + length]
        given = payload[4 + length :]
        pipes = []
        try:
            for _ in range(2 if self.combined else 3):
                pipes += os.pipe()
            read_in, write_in, read_out, write_out, *errors = pipes
            child = self.begin(call, variables, (read_in, write_out, errors[1] if errors else write_out))
        except OSError as error:
            for descriptor in pipes:
                os.close(descriptor)
            self.answer(NOT_STARTED, call, os.fsencode(error.strerror or str(error)))
            return
        os.close(read_in)
        os.close(write_out)
        os.set_blocking(write_in, False)
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

    def begin(self, call, variables, streams):
        """Raises OSError where it does not start."""
        program = self.program
        if program is not None:
            pid = program.copy(variables, streams)
            self.settle(program)
            if pid is not None:
                copy = self.copies[pid] = Child(call, pid, program)
                return copy
        environment = dict(self.environment)
        for variable in variables.split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name:
                environment[name] = value
        read_in, write_out, write_errors = streams
        pid = os.posix_spawnp(
            self.command[0],
            self.command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read_in, 0),
                (os.POSIX_SPAWN_DUP2, write_out, 1),
                (os.POSIX_SPAWN_DUP2, write_errors, 2),
                (os.POSIX_SPAWN_CLOSE, LINK),
            ],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE],
        )
        return Child(call, pid, None)

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
            self.end(child, os.waitpid(child.pid, 0)[1])
            return
        data = os.read(descriptor, CHUNK)
        if data:
            self.answer(kind, child.call, data)
            return
        self.close(descriptor)
        child.open -= 1
        if child.open > 0:
            return
        if child.program is not None:
            if child.status is not None:
                self.end(child, child.status)
            return
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid != 0:
            self.end(child, status)
        else:
            # It has closed its output and goes on.
            self.selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ, (child, ENDED))

    def end(self, child, status):
        del self.children[child.call]
        self.answer(ENDED, child.call, struct.pack("!i", os.waitstatus_to_exitcode(status)))
        if not self.has_loaded:
            # The first call did not wait for it.
            self.has_loaded = True
            self.load()

    def load(self):
        from loaded_program import load

        self.watch(load(self.command, self.environment, LIBRARY))

    def watch(self, program):
        if program is not None:
            self.selector.register(program.link, selectors.EVENT_READ, (program, TOLD))

    def hear(self, program):
        if program.is_closed:
            return
        program.listen()
        self.settle(program)
        if program.has_ended:
            self.lose(program)
        elif program.proves is None:
            self.program = program
        else:
            self.lose(program)
            self.watch(program.next())

    def settle(self, program):
        while program.ended:
            pid, status = program.ended.pop(0)
            self.settle_copy(self.copies.pop(pid), status)

    def settle_copy(self, copy, status):
        copy.status = status
        if copy.open == 0:
            self.end(copy, status)

    def lose(self, program):
        """How its copies ended is not known then."""
        self.selector.unregister(program.link)
        program.close()
        if self.program is program:
            self.program = None
        for copy in [copy for copy in self.copies.values() if copy.program is program]:
            del self.copies[copy.pid]
            self.settle_copy(copy, signal.SIGKILL)

    def kill(self, call):
        child = self.children.get(call)
        # The number of one that has ended may be another's by now.
        if child is None or (child.program is not None and self.copies.get(child.pid, child) is not child):
            return
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            # Nobody of its group is left.
            pass

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
