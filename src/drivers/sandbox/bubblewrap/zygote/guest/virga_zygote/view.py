"""The system that children see, mounted once in the zygote's own mount namespace. A child copies it whole, locked."""

import os

from . import kernel

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}
#: Where each child mounts what is its own.
OWN_FOLDERS = ("proc", "tmp", "code", "dev/pts", "dev/shm")
_FLAGS = {
    "nosuid": kernel.MS_NOSUID,
    "nodev": kernel.MS_NODEV,
    "noexec": kernel.MS_NOEXEC,
    "nosymfollow": kernel.MS_NOSYMFOLLOW,
}


def build(root, entries, as_root):
    """`entries`: ("bind" or "link", source, path). Mounts them below `root`, read-only with all that lies below them."""
    uid, gid = os.getuid(), os.getgid()
    _now("unshare", kernel.CLONE_NEWNS | (0 if as_root else kernel.CLONE_NEWUSER))
    if not as_root:
        # The user stays who it was; inside the namespace it may mount, and hand its one id on to children.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", "%d %d 1" % (uid, uid))
        _write("/proc/self/gid_map", "%d %d 1" % (gid, gid))
    _now("mount", "none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    _now("mount", "tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=1m")
    devices = [("bind", "/dev/" + name, "/dev/" + name) for name in _DEVICES]
    links = [("link", text, "/dev/" + name) for name, text in _LINKS.items()]
    whole = entries + devices + links
    for folder in OWN_FOLDERS:
        os.makedirs(os.path.join(root, folder), 0o755)
    # All places first: once folders of the host are mounted here, nothing must be made in them.
    for kind, source, path in whole:
        _make_place(root, kind, source, path)
    for kind, source, path in whole:
        if kind == "bind":
            _now("mount", source, root + path, None, kernel.MS_BIND | kernel.MS_REC)
    _make_read_only(root)


def _make_place(root, kind, source, path):
    folder = os.path.dirname(root + path)
    if os.path.commonpath([os.path.realpath(folder), root]) != root or _is_own(path):
        raise ValueError("%s is no place for a mount" % path)
    os.makedirs(folder, 0o755, exist_ok=True)
    if kind == "link":
        os.symlink(source, root + path)
    elif os.path.isdir(source):
        os.makedirs(root + path, 0o755, exist_ok=True)
    else:
        os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _is_own(path):
    """Where each child mounts over it."""
    return any(path == "/" + folder or path.startswith("/" + folder + "/") for folder in OWN_FOLDERS)


def _make_read_only(root):
    """Each mount from `root` down, keeping what its source forbids already: a user namespace may not allow it again."""
    for point, options in _mounts():
        if point != root and not point.startswith(root + "/"):
            continue
        flags = sum(_FLAGS.get(option, 0) for option in options)
        # Device files of one's own making would be of no use either: they need a capability that no child has.
        device = os.path.dirname(point) == root + "/dev"
        flags |= kernel.MS_RDONLY | kernel.MS_NOSUID | (0 if device else kernel.MS_NODEV)
        _now("mount", "none", point, None, kernel.MS_BIND | kernel.MS_REMOUNT | flags)


def _mounts():
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            fields = line.split(b" ")
            # Blanks and the like are written as octal numbers.
            point = fields[4].decode("unicode_escape").encode("latin-1")
            yield os.fsdecode(point), fields[5].decode("ascii").split(",")


def _now(name, *arguments):
    calls = kernel.Calls()
    getattr(calls, name)(*arguments)
    calls.run()


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)
