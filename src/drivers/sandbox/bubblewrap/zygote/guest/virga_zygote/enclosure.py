"""What a child does to itself before it runs anything: each step raises where it fails, and the child ends there."""

import fcntl
import os
import resource
import signal
import socket
import struct

from . import kernel

#: The one user inside, as bubblewrap is told too.
INSIDE_USER = 1000
#: The exit code of a child that could not enclose itself.
NOT_ENCLOSED = 126
#: The first process of the namespace, which counts as one of the program's.
OWN_PROCESSES = 1
#: linux/sockios.h, linux/if.h
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def enter_groups(folders):
    """The control groups, before anything is made that they should count."""
    for folder in folders:
        descriptor = os.open(folder + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)


def map_users(pid, user):
    """The zygote's part: in the child's user namespace there is one user, who outside is this one; None: the server's own."""
    group = os.getgid() if user is None else user
    user = os.getuid() if user is None else user
    _write("/proc/%d/setgroups" % pid, "deny")
    _write("/proc/%d/uid_map" % pid, "%d %d 1" % (INSIDE_USER, user))
    _write("/proc/%d/gid_map" % pid, "%d %d 1" % (INSIDE_USER, group))


def enclose(request, setup, zygote):
    """`zygote`: its pid, as the host has it."""
    os.setresgid(INSIDE_USER, INSIDE_USER, INSIDE_USER)
    os.setresuid(INSIDE_USER, INSIDE_USER, INSIDE_USER)
    kernel.die_with_parent()
    # Where the zygote was gone before, nothing would tell any more. In here `getppid` knows no parent.
    with open("/proc/self/stat", "rb") as file:
        if int(file.read().rpartition(b")")[2].split()[1]) != zygote:
            raise ProcessLookupError("the zygote is gone")
    kernel.set_dumpable()
    os.setsid()
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
    kernel.unshare(flags if request.network else flags | kernel.CLONE_NEWNET)
    socket.sethostname("virga")
    if not request.network:
        _raise_loopback()
    _mount_all(request, setup)
    # Below this namespace nobody makes another one; without capabilities nobody changes that.
    _write("/proc/sys/user/max_user_namespaces", "0")
    _limit(request.limits)
    kernel.keep_capabilities(())
    kernel.no_new_privileges()
    if setup.filter is not None:
        kernel.filter_system_calls(setup.filter)


def place(streams):
    """Makes these the descriptors 0 to 3, and closes every other."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    # By the kernel's list: a limit that was lowered meanwhile says nothing about those above it.
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= len(streams):
            _close(int(name))


def wait_for(program):
    """The rest of the first process's life. The kernel ends what is left in the namespace when it ends."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(4):
        os.dup2(null, number)
    os.close(null)
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(exit_code(status))


def exit_code(status):
    """As shells give it on: 128 and the signal's number, where one ended it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def end_unenclosed(error, stderr):
    try:
        os.write(stderr, ("the program could not be enclosed: %s: %s\n" % (type(error).__name__, error)).encode())
    finally:
        os._exit(NOT_ENCLOSED)


def _mount_all(request, setup):
    root = setup.root
    # A copy of the zygote's view that is this namespace's own to stand on; what is mounted in it stays locked.
    kernel.mount(root, root, None, kernel.MS_BIND | kernel.MS_REC)
    os.chdir(root)
    private = kernel.MS_NOSUID | kernel.MS_NODEV
    size = "mode=0755,size=%d" % (request.limits["tmpMb"] * 2**20)
    kernel.mount("proc", "proc", "proc", private | kernel.MS_NOEXEC)
    kernel.mount("devpts", "dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    kernel.mount("tmpfs", "dev/shm", "tmpfs", private, size)
    kernel.mount("tmpfs", "tmp", "tmpfs", private, size)
    kernel.mount(request.code, "code", None, kernel.MS_BIND)
    # What the file system it lies on forbids must stay so; the flag has the same bit in both calls.
    kept = os.statvfs("code").f_flag & os.ST_NOEXEC
    kernel.mount("none", "code", None, kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY | private | kept)
    # The old root lies over the new one for a moment, and is then gone from this namespace.
    kernel.pivot_root(setup.calls["pivotRoot"], ".", ".")
    kernel.detach(".")
    os.chdir("/")


def _limit(limits):
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits["openFiles"])
    _lower(resource.RLIMIT_FSIZE, limits["fileSizeMb"] * 2**20)
    if limits["processes"] is not None:
        _lower(resource.RLIMIT_NPROC, limits["processes"] + OWN_PROCESSES)


def _lower(which, value):
    """Soft and hard; never above what the server itself was given."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh22x", b"lo", 0)
        _, flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _close(descriptor):
    try:
        os.close(descriptor)
    except OSError:
        pass  # the list's own, which is closed with it


def _write(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
