"""The user's exceptions as the platform tells them: message, the user's own frames, and where it happened."""

import os
import traceback

_guest = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: `error` and `failed` frames have to fit into a frame, whatever a message holds.
_LONGEST = 60000


def describe(error, root):
    """`message`, `stack` and, where the user's own code is in the trace, `location`."""
    # The innermost frames tell; a runaway recursion has a thousand of them.
    found = traceback.TracebackException(type(error), error, error.__traceback__, limit=-50)
    # Before it is trimmed: a location is the innermost frame of the user's own.
    location = _location(error, found, root)
    _trim(found, root, set())
    message = "%s: %s" % (type(error).__name__, _text(error))
    failure = {"message": message.rstrip(": ")[:_LONGEST], "stack": "".join(found.format()).rstrip()[:_LONGEST]}
    if location is not None:
        failure["location"] = location
    return failure


def _text(error):
    if isinstance(error, SyntaxError):
        return str(error.msg)
    if isinstance(error, ModuleNotFoundError):
        return "%s; packages belong in requirements.txt" % (error,)
    try:
        return str(error)
    except Exception:
        # The user's own __str__ may fail too.
        return "(its message cannot be shown)"


def _location(error, found, root):
    if isinstance(error, SyntaxError) and error.filename:
        return _place(_relative(error.filename, root), error.lineno, error.offset)
    inner = None
    for frame in found.stack:
        if _is_users(frame.filename, root):
            inner = frame
    if inner is None:
        return None
    column = getattr(inner, "colno", None)
    return _place(_relative(inner.filename, root), inner.lineno, None if column is None else column + 1)


def _place(file, line, column):
    return "%s:%s" % (file, line) if column is None else "%s:%s:%s" % (file, line, column)


def _trim(found, root, seen):
    if found is None or id(found) in seen:
        return
    seen.add(id(found))
    own = [frame for frame in found.stack if _is_users(frame.filename, root)]
    kept = own or [frame for frame in found.stack if not _is_platforms(frame.filename)]
    for frame in kept:
        # The source line has been read by now, so that the name may change.
        _ = frame.line
        frame.filename = _relative(frame.filename, root)
    found.stack[:] = kept
    if getattr(found, "filename", None):
        found.filename = _relative(found.filename, root)
    _trim(found.__cause__, root, seen)
    _trim(found.__context__, root, seen)
    for inner in getattr(found, "exceptions", None) or ():
        _trim(inner, root, seen)


def _is_users(file, root):
    """The user's own, not a dependency's."""
    return file.startswith(root + os.sep) and os.sep + "site-packages" + os.sep not in file


def _is_platforms(file):
    return file.startswith(_guest) or file.startswith("<frozen")


def _relative(file, root):
    return file[len(root) + 1 :] if file.startswith(root + os.sep) else file
