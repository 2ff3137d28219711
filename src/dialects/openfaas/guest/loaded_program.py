"""A program that is loaded and held in front of its beginning; copies of it run. See fork-server.c."""

import errno
import os
import signal
import socket
import struct

MESSAGE = struct.Struct("=iii")
STARTED, ENDED = 1, 2
SERVER_LINK = 3
#: Bytes of a call's variables.
MOST_VARIABLES = 65536
#: Harmless where it runs to its end, as a program does that the linker loads without the fork server.
PROBE = [b"/bin/true"]
#: Of scripts whose interpreters are scripts.
MOST_INTERPRETERS = 4


def load(command, environment, library):
    """A probe that becomes the program, see `next`; None for one that cannot be held."""
    return LoadedProgram.started(PROBE, environment, library, command) if can_be_held(command, environment) else None


class LoadedProgram:
    def __init__(self, pid, link, environment, library, proves):
        self.pid = pid
        self.link = link
        self.environment = environment
        self.library = library
        #: Of a probe: the command that it stands for.
        self.proves = proves
        #: Of its copies: process ids and wait statuses, of each once.
        self.ended = []
        #: It says and hears nothing more.
        self.has_ended = False
        self.is_closed = False

    @classmethod
    def started(cls, command, environment, library, proves=None):
        """None where it cannot be."""
        link, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.posix_spawnp(
                command[0],
                command,
                {**environment, b"LD_PRELOAD": os.fsencode(library)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, there.fileno(), SERVER_LINK),
                ],
                setpgroup=0,
                setsigdef=[signal.SIGPIPE],
            )
        except OSError:
            link.close()
            return None
        finally:
            there.close()
        return cls(pid, link, environment, library, proves)

    def next(self):
        """Behind a probe that is ready: what it stands for."""
        return LoadedProgram.started(self.proves, self.environment, self.library)

    def copy(self, variables, descriptors):
        """
        Process id of a copy that has begun; None where it cannot be asked for one. Raises OSError where none was made, or none is
        known to have been.
        """
        if len(variables) > MOST_VARIABLES:
            return None
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", *descriptors))
        try:
            self.link.sendmsg([variables], [rights])
        except ConnectionError:
            return None
        while True:
            message = self.receive(0)
            if message is None:
                raise OSError(errno.ECHILD, "the program that it is a copy of has ended")
            what, pid, value = message
            if what == STARTED:
                if pid == 0:
                    raise OSError(value, os.strerror(value))
                return pid

    def listen(self):
        """To what it has said meanwhile."""
        try:
            while self.receive(socket.MSG_DONTWAIT) is not None:
                pass
        except BlockingIOError:
            pass

    def receive(self, flags):
        try:
            message = self.link.recv(MESSAGE.size, flags)
        except ConnectionError:
            message = b""
        if not message:
            self.has_ended = True
            return None
        what, pid, value = MESSAGE.unpack(message)
        if what == ENDED:
            self.ended.append((pid, value))
        return what, pid, value

    def close(self):
        self.is_closed = True
        self.link.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def can_be_held(command, environment):
    """Whether the linker that loads it is the probe's: one that does not know the library would let the program begin."""
    if any(name.startswith(b"LD_PRELOAD") or name == b"LD_AUDIT" for name in environment):
        return False
    try:
        loader = loader_of(program_at(command[0]), MOST_INTERPRETERS)
        return loader is not None and loader == loader_of(PROBE[0], MOST_INTERPRETERS)
    except (OSError, struct.error):
        return False


def program_at(name):
    """Where `posix_spawnp` finds it."""
    if b"/" in name:
        return name
    for folder in os.get_exec_path():
        path = os.path.join(os.fsencode(folder), name)
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(name)


def loader_of(path, interpreters):
    """Machine and dynamic linker of an ELF program, or of a script's interpreter; None where it has none (elf(5)), or loads nothing
    for whoever starts it (ld.so(8), secure-execution mode)."""
    if os.stat(path).st_mode & 0o6000 or has_capabilities(path):
        return None
    with open(path, "rb") as program:
        head = program.read(4096)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n", 1)[0].split()
            return loader_of(words[0], interpreters - 1) if words and interpreters > 0 else None
        if not head.startswith(b"\x7fELF\x02"):
            return None
        order = "<" if head[5] == 1 else ">"
        (machine,) = struct.unpack_from(f"{order}H", head, 18)
        (table,) = struct.unpack_from(f"{order}Q", head, 32)
        size, count = struct.unpack_from(f"{order}HH", head, 54)
        for entry in range(count):
            program.seek(table + entry * size)
            kind, _flags, offset, _, _, length = struct.unpack(f"{order}IIQQQQ", program.read(40))
            if kind == 3:
                program.seek(offset)
                return machine, program.read(length)
    return None


def has_capabilities(path):
    try:
        return len(os.getxattr(path, "security.capability")) > 0
    except OSError:
        return False
