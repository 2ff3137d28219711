"""What a child does to itself before it runs anything, as a list of system calls. One that fails ends the child."""

import fcntl
import os
import resource
import signal
import socket
import struct

from . import kernel

#: The exit code of a child that could not enclose itself.
NOT_ENCLOSED = 126
#: The one user inside, as bubblewrap is told too.
INSIDE_USER = 1000
#: The first process of the namespace, which counts as one of the program's.
OWN_PROCESSES = 1
#: linux/sockios.h, linux/if.h
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class Enclosure:
    """Of one request. Made in the zygote; a child runs `enter`, and `wait_for` behind its fork."""

    def __init__(self, request, setup, groups, go, give_go):
        """`groups`: descriptors of its control groups' lists. `go`: where a byte comes when its user is mapped, and where
        one goes when all is done; its other end `give_go` is the zygote's."""
        self._zygote = os.getpid()
        self._shares_network = request.network
        self._first = first = kernel.Calls()
        first.close(give_go)
        # The control groups before anything that they should count.
        for descriptor in groups:
            first.write(descriptor, "0")
        first.read_byte(go)
        first.set_user(INSIDE_USER)
        first.die_with_parent()
        self._then = then = kernel.Calls()
        then.set_dumpable()
        then.begin_session()
        flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
        then.unshare(flags if request.network else flags | kernel.CLONE_NEWNET)
        then.set_host_name("virga")
        _add_mounts(then, request, setup)
        self._last = last = kernel.Calls()
        for number, descriptor in enumerate(request.streams):
            last.duplicate(descriptor, number)
        word = len(request.streams)
        last.duplicate(go, word)
        #: The first process's own descriptor.
        self.reaper = None
        free = word + 1
        if setup.reaper is not None:
            self.reaper = word + 1
            last.duplicate_for_this(setup.reaper.descriptor, self.reaper)
            self._wait = setup.reaper.replace(self.reaper)
            free = word + 2
        last.close_from(free)
        # Below this namespace nobody makes another one; without capabilities nobody changes that.
        last.write_file("/proc/sys/user/max_user_namespaces", "0", free)
        _add_limits(last, request.limits)
        last.keep_capabilities((), setup.last_capability)
        last.no_new_privileges()
        if setup.filter is not None:
            last.filter_system_calls(setup.filter)
        last.write(word, "1")
        last.close(word)

    def wait_for(self, program):
        """The rest of the first process's life. The kernel ends what is left in the namespace when it ends."""
        if self.reaper is not None:
            try:
                self._wait.run()
            except OSError:
                pass  # a host that runs no file without a name
        # The kernel keeps from it what it does not handle itself: no program ends its namespace so.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(4):
            os.dup2(null, number)
        if null > 3:
            os.close(null)
        while True:
            pid, status = os.wait()
            if pid == program:
                os._exit(exit_code(status))

    def enter(self):
        self._first.run()
        # Where the zygote was gone before, nothing would tell any more. In here `getppid` knows no parent.
        if _parent() != self._zygote:
            raise ProcessLookupError("the zygote is gone")
        self._then.run()
        if not self._shares_network:
            _raise_loopback()
        self._last.run()


def map_users(pid, user):
    """The zygote's part: in the child's user namespace there is one user, who outside is this one; None: the server's own."""
    group = os.getgid() if user is None else user
    user = os.getuid() if user is None else user
    _write("/proc/%d/setgroups" % pid, "deny")
    _write("/proc/%d/uid_map" % pid, "%d %d 1" % (INSIDE_USER, user))
    _write("/proc/%d/gid_map" % pid, "%d %d 1" % (INSIDE_USER, group))


def exit_code(status):
    """As shells give it on: 128 and the signal's number, where one ended it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def end_unenclosed(error, stderr):
    try:
        os.write(stderr, ("the program could not be enclosed: %s: %s\n" % (type(error).__name__, error)).encode())
    finally:
        os._exit(NOT_ENCLOSED)


def _add_mounts(calls, request, setup):
    root = setup.root
    # A copy of the zygote's view that is this namespace's own to stand on; what is mounted in it stays locked.
    calls.mount(root, root, None, kernel.MS_BIND | kernel.MS_REC)
    calls.change_directory(root)
    private = kernel.MS_NOSUID | kernel.MS_NODEV
    size = "mode=0755,size=%d" % (request.limits["tmpMb"] * 2**20)
    calls.mount("proc", "proc", "proc", private | kernel.MS_NOEXEC)
    calls.mount("devpts", "dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    calls.mount("tmpfs", "dev/shm", "tmpfs", private, size)
    calls.mount("tmpfs", "tmp", "tmpfs", private, size)
    if request.code is not None:
        calls.mount(request.code, "code", None, kernel.MS_BIND)
        # What the file system it lies on forbids must stay so; the flag has the same bit in both calls.
        kept = os.statvfs(request.code).f_flag & os.ST_NOEXEC
        calls.mount("none", "code", None, kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY | private | kept)
    # The old root lies over the new one for a moment, and is then gone from this namespace.
    calls.pivot_root(setup.calls["pivotRoot"], ".", ".")
    calls.unmount(".")
    calls.change_directory("/")


def _add_limits(calls, limits):
    calls.limit(resource.RLIMIT_CORE, 0)
    calls.limit(resource.RLIMIT_NOFILE, limits["openFiles"])
    calls.limit(resource.RLIMIT_FSIZE, limits["fileSizeMb"] * 2**20)
    if limits["processes"] is not None:
        calls.limit(resource.RLIMIT_NPROC, limits["processes"] + OWN_PROCESSES)


def _parent():
    """As the host counts; asked of the host's /proc."""
    descriptor = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 4096).rpartition(b")")[2].split()[1])
    finally:
        os.close(descriptor)


def _raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh22x", b"lo", 0)
        _, flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _write(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
