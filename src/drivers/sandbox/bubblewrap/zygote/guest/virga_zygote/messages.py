"""What the server asks for: JSON, one message a line. Nothing is taken from a line that is not wholly as it must be."""

import base64
import binascii
import json
import re

LONGEST_LINE = 2**20


class BadMessage(Exception):
    """The server sent what it never sends. There is no going on from there."""


class Setup:
    """The first message: what all children have in common."""

    __slots__ = ("root", "view", "calls", "filter", "program", "as_root", "directory", "working_directory")
    __slots__ += ("last_capability", "reaper")  # not told, but found

    def __init__(self, message):
        names = {"root", "view", "calls", "filter", "program", "asRoot", "directory", "workingDirectory"}
        fields = _fields(message, names)
        self.root = _path(fields["root"], "root")
        self.view = [_entry(entry) for entry in _list(fields["view"], "view")]
        calls = _fields(fields["calls"], {"clone", "pivotRoot"})
        self.calls = {name: _number(number, name, 0, 10000) for name, number in calls.items()}
        self.filter = None if fields["filter"] is None else _bytes(fields["filter"], "filter")
        #: None: children become what they are told.
        self.program = None if fields["program"] is None else _path(fields["program"], "program")
        self.as_root = _flag(fields["asRoot"], "asRoot")
        self.directory = _path(fields["directory"], "directory")
        self.working_directory = _path(fields["workingDirectory"], "workingDirectory")


class Fork:
    """One child: its number on this connection, and what encloses it."""

    __slots__ = ("number", "stdout", "stderr", "groups", "user", "code", "network", "limits", "run", "link")
    __slots__ += ("streams",)  # opened by the zygote

    def __init__(self, fields):
        self.number = _number(fields["fork"], "fork", 1, 2**53)
        self.stdout = _path(fields["stdout"], "stdout")
        self.stderr = _path(fields["stderr"], "stderr")
        self.groups = [_path(path, "groups") for path in _list(fields["groups"], "groups")]
        self.user = None if fields["user"] is None else _number(fields["user"], "user", 1000, 2**32 - 2)
        self.code = None if fields["code"] is None else _path(fields["code"], "code")
        self.network = _flag(fields["network"], "network")
        limits = _fields(fields["limits"], {"processes", "openFiles", "fileSizeMb", "tmpMb"})
        self.limits = {
            name: None if name == "processes" and value is None else _number(value, name, 1, 2**40)
            for name, value in limits.items()
        }
        self.run = None if fields["run"] is None else Run(_fields(fields["run"], {"command", "environment", "directory"}))
        self.link = _flag(fields["link"], "link")


class Run:
    """What a child becomes. It is looked at inside alone, with the rights that it has there."""

    __slots__ = ("command", "environment", "directory")

    def __init__(self, fields):
        self.command = [_text(text, "command") for text in _list(fields["command"], "command")]
        if not self.command:
            raise BadMessage("command is empty")
        self.environment = {}
        for name, value in _fields(fields["environment"], None).items():
            if not name or "=" in name:
                raise BadMessage("environment has a name that is none")
            self.environment[_text(name, "environment")] = _text(value, "environment")
        self.directory = _text(fields["directory"], "directory")


class Kill:
    """The end of a child, at once."""

    __slots__ = ("number",)

    def __init__(self, fields):
        self.number = _number(fields["kill"], "kill", 1, 2**53)


def parse(line):
    """A Fork or a Kill."""
    message = parse_json(line)
    if isinstance(message, dict) and "kill" in message:
        return Kill(_fields(message, {"kill"}))
    names = {"fork", "stdout", "stderr", "groups", "user", "code", "network", "limits", "run", "link"}
    return Fork(_fields(message, names))


def parse_json(line):
    try:
        return json.loads(line.decode("utf-8", "strict"))
    except (ValueError, RecursionError) as error:
        raise BadMessage("no JSON: %s" % error) from None


class Lines:
    """Cuts what comes off a socket into lines."""

    def __init__(self):
        self._held = b""

    def feed(self, chunk):
        lines = (self._held + chunk).split(b"\n")
        self._held = lines.pop()
        if any(len(line) > LONGEST_LINE for line in lines) or len(self._held) > LONGEST_LINE:
            raise BadMessage("a line is longer than %d bytes" % LONGEST_LINE)
        return lines


def _fields(value, names):
    """`names`: None for any."""
    if not isinstance(value, dict) or names is not None and set(value) != names:
        raise BadMessage("not an object of %s" % ", ".join(sorted(names or ("texts",))))
    return value


def _list(value, name):
    if not isinstance(value, list) or len(value) > 1000:
        raise BadMessage("%s is no list" % name)
    return value


def _number(value, name, least, most):
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadMessage("%s is no number from %d to %d" % (name, least, most))
    return value


def _flag(value, name):
    if not isinstance(value, bool):
        raise BadMessage("%s is neither true nor false" % name)
    return value


def _text(value, name):
    if not isinstance(value, str) or "\0" in value:
        raise BadMessage("%s is no text" % name)
    try:
        value.encode("utf-8", "strict")
    except UnicodeEncodeError:
        raise BadMessage("%s is no text" % name) from None
    return value


def _path(value, name):
    """Absolute, and as it will be used: nothing in it that leads elsewhere."""
    if not isinstance(value, str) or not re.fullmatch(r"/|(/[^/\x00]+)+", value) or {".", ".."} & set(value.split("/")):
        raise BadMessage("%s is no absolute path" % name)
    return _text(value, name)


def _bytes(value, name):
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadMessage("%s is no base64" % name) from None


def _entry(value):
    """`("bind", host path, path inside)` or `("link", what it says, path inside)`."""
    if isinstance(value, dict) and "link" in value:
        fields = _fields(value, {"link", "path"})
        if not isinstance(fields["link"], str) or not re.fullmatch(r"[^\x00]+", fields["link"]):
            raise BadMessage("link is no text")
        return "link", fields["link"], _path(fields["path"], "path")
    fields = _fields(value, {"bind", "path"})
    return "bind", _path(fields["bind"], "bind"), _path(fields["path"], "path")
