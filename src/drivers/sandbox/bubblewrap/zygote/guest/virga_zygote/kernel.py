"""System calls that Python has no function for. Each raises OSError, with the call's name, where the kernel refuses."""

import ctypes
import os
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

# Keeps Python's lock: there is one thread, and a child must find the lock as its parent left it.
_libc = ctypes.PyDLL(None, use_errno=True)


def clone(number, flags):
    """As os.fork, into new namespaces. Without what the C library does around a fork: for a process with one thread,
    whose child starts no other one. `number`: of the system call on this machine."""
    return _checked("clone", _syscall(number, flags | signal.SIGCHLD, 0, 0, 0, 0))


def unshare(flags):
    _checked("unshare", _libc.unshare(ctypes.c_int(flags)))


def mount(source, target, kind=None, flags=0, options=None):
    result = _libc.mount(
        _text(source), _text(target), _text(kind), ctypes.c_ulong(flags), None if options is None else _text(options)
    )
    _checked("mount", result, target)


def detach(target):
    _checked("umount2", _libc.umount2(_text(target), ctypes.c_int(MNT_DETACH)), target)


def pivot_root(number, new, old):
    _checked("pivot_root", _syscall(number, _text(new), _text(old)))


def die_with_parent():
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL)


def set_dumpable():
    """A change of the user id took it away, and with it a process's right to its own /proc files."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 1)


def keep_capabilities(kept):
    """Gives up every capability but these, for good: out of the bounding set too."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if capability not in kept:
            _prctl("PR_CAPBSET_DROP", _PR_CAPBSET_DROP, capability)
    _prctl("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    low = sum(1 << capability for capability in kept)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    # Effective, permitted, inheritable of capabilities 0–31, then of 32–63.
    sets = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, 0, 0, 0))
    _checked("capset", _libc.capset(header, sets))


def no_new_privileges():
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def filter_system_calls(instructions):
    """`instructions`: an array of `struct sock_filter`."""
    program = ctypes.create_string_buffer(instructions, len(instructions))
    # struct sock_fprog: a count, padding, a pointer.
    head = ctypes.create_string_buffer(struct.pack("@HP", len(instructions) // 8, ctypes.addressof(program)))
    _prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(head))


def _prctl(name, option, *arguments):
    given = [ctypes.c_ulong(argument) for argument in arguments + (0,) * (4 - len(arguments))]
    _checked("prctl(%s)" % name, _libc.prctl(ctypes.c_int(option), *given))


def _syscall(number, *arguments):
    given = [argument if isinstance(argument, bytes) else ctypes.c_long(argument) for argument in arguments]
    return _libc.syscall(ctypes.c_long(number), *given)


def _text(value):
    return None if value is None else os.fsencode(value)


def _checked(name, result, path=None):
    if result >= 0:
        return result
    number = ctypes.get_errno()
    what = name if path is None else "%s %s" % (name, os.fsdecode(path))
    raise OSError(number, "%s: %s" % (what, os.strerror(number)))
