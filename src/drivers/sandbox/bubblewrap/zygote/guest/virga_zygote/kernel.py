"""System calls that Python has no function for, made at once (they raise OSError) or put into a list for later."""

import ctypes
import os
import resource
import signal
import struct

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2

# linux/capability.h
CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7
_CAPABILITY_VERSION_3 = 0x20080522

#: linux/fcntl.h
_AT_EMPTY_PATH = 0x1000

#: The same on every machine type that has it (Linux 5.9).
_CLOSE_RANGE = 436
_LAST_DESCRIPTOR = 2**32 - 1

# Keeps Python's lock: there is one thread, and a child must find the lock as its parent left it.
_libc = ctypes.PyDLL(None, use_errno=True)
#: Without the conversions of a declared function: arguments are C objects already.
_call = _libc.syscall


class Calls:
    """Calls with their arguments, made before a fork and run behind it: a child that had to work them out would copy
    hundreds of the zygote's pages for it. `run` stops at the first that fails."""

    def __init__(self):
        self._steps = []
        #: What arguments point to.
        self._kept = []

    def add(self, name, function, *arguments, least=0):
        """`least`: what it returns at least where it succeeds."""
        self._steps.append((name, function, tuple(self._argument(one) for one in arguments), least))

    def run(self):
        name = "nothing"
        try:
            for name, function, arguments, least in self._steps:
                if function(*arguments) < least:
                    number = ctypes.get_errno()
                    raise OSError(number, "%s: %s" % (name, os.strerror(number)))
        except ctypes.ArgumentError as error:
            raise OSError(0, "%s: %s" % (name, error)) from None

    def memory(self, content):
        """A place in memory with this content."""
        buffer = ctypes.create_string_buffer(content, len(content))
        self._kept.append(buffer)
        return ctypes.addressof(buffer)

    def _argument(self, value):
        if value is None:
            return ctypes.c_void_p(None)
        if isinstance(value, int):
            return ctypes.c_long(value) if value < 2**63 else ctypes.c_ulong(value)
        # A path or other text.
        return ctypes.c_char_p(os.fsencode(value))

    def mount(self, source, target, kind=None, flags=0, options=None):
        self.add("mount %s" % os.fsdecode(target), _libc.mount, source, target, kind, flags, options)

    def unmount(self, target):
        self.add("umount2 %s" % target, _libc.umount2, target, MNT_DETACH)

    def pivot_root(self, number, new, old):
        self.add("pivot_root", _call, number, new, old)

    def change_directory(self, path):
        self.add("chdir %s" % path, _libc.chdir, path)

    def unshare(self, flags):
        self.add("unshare", _libc.unshare, flags)

    def set_host_name(self, name):
        self.add("sethostname", _libc.sethostname, name, len(name))

    def set_user(self, number):
        self.add("setresgid", _libc.setresgid, number, number, number)
        self.add("setresuid", _libc.setresuid, number, number, number)

    def set_umask(self, mask):
        self.add("umask", _libc.umask, mask)

    def heed(self, number):
        """What this signal does by default, where Python ignores it."""
        self.add("signal", _libc.signal, number, 0)

    def begin_session(self):
        self.add("setsid", _libc.setsid)

    def die_with_parent(self):
        self._prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL)

    def set_dumpable(self):
        """A change of the user id took it away, and with it a process's right to its own /proc files."""
        self._prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 1)

    def write(self, descriptor, text):
        self.add("write %s" % text, _libc.write, descriptor, text, len(text), least=len(text))

    def read_byte(self, descriptor):
        """Fails at the end of the file."""
        self.add("read", _libc.read, descriptor, self.memory(b"0"), 1, least=1)

    def write_file(self, path, text, free):
        """`free`: a number that no descriptor has, as long as this runs."""
        self.add("open %s" % path, _libc.open, path, os.O_WRONLY)
        self.write(free, text)
        self.close(free)

    def close(self, descriptor):
        self.add("close", _libc.close, descriptor)

    def duplicate(self, descriptor, number):
        self.add("dup2", _libc.dup2, descriptor, number)

    def duplicate_for_this(self, descriptor, number):
        """The copy is closed in whatever the process becomes."""
        self.add("dup3", _libc.dup3, descriptor, number, os.O_CLOEXEC)

    def close_from(self, first):
        self.close_range(first, _LAST_DESCRIPTOR)

    def close_range(self, first, last):
        self.add("close_range", _call, _CLOSE_RANGE, first, last, 0)

    def limit(self, which, value):
        """Soft and hard; never above what the server itself was given."""
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        self.add("setrlimit", _libc.setrlimit, which, self.memory(struct.pack("@2Q", value, value)))

    def keep_capabilities(self, kept, last):
        """Gives up every capability but these, for good: out of the bounding set too."""
        for capability in range(last + 1):
            if capability not in kept:
                self._prctl("PR_CAPBSET_DROP", _PR_CAPBSET_DROP, capability)
        self._prctl("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        low = sum(1 << capability for capability in kept)
        header = self.memory(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
        # Effective, permitted, inheritable of capabilities 0–31, then of 32–63.
        self.add("capset", _libc.capset, header, self.memory(struct.pack("=6I", low, low, 0, 0, 0, 0)))

    def no_new_privileges(self):
        self._prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)

    def filter_system_calls(self, instructions):
        """`instructions`: an array of `struct sock_filter`."""
        # struct sock_fprog: a count, padding, a pointer.
        program = struct.pack("@HP", len(instructions) // 8, self.memory(instructions))
        self._prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self.memory(program))

    def execute(self, command, environment):
        """Looks for it as a shell would, by the PATH of this environment."""
        path = environment.get("PATH")
        if path is None:
            self.add("unsetenv PATH", _libc.unsetenv, "PATH")
        else:
            self.add("setenv PATH", _libc.setenv, "PATH", path, 1)
        variables = ["%s=%s" % variable for variable in environment.items()]
        self.add("execvp %s" % command[0], _libc.execvpe, command[0], self._texts(command), self._texts(variables))

    def execute_descriptor(self, number, descriptor, command):
        """Without an environment. `number`: of the system call execveat on this machine."""
        self.add("execveat", _call, number, descriptor, "", self._texts(command), self._texts([]), _AT_EMPTY_PATH)

    def _texts(self, texts):
        """As main() is given them: pointers, and a null one behind the last."""
        places = [self.memory(os.fsencode(text) + b"\0") for text in texts]
        return self.memory(struct.pack("@%dP" % (len(places) + 1), *places, 0))

    def _prctl(self, name, option, *arguments):
        self.add("prctl(%s)" % name, _libc.prctl, option, *arguments, *(0,) * (4 - len(arguments)))


def clone(number, flags):
    """As os.fork, into new namespaces. Without what the C library does around a fork: for a process with one thread,
    whose child starts no other one. `number`: of the system call on this machine."""
    pid = _call(ctypes.c_long(number), ctypes.c_long(flags | signal.SIGCHLD), *[ctypes.c_long(0)] * 4)
    if pid < 0:
        error = ctypes.get_errno()
        raise OSError(error, "clone: %s" % os.strerror(error))
    return pid


def last_capability():
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())
