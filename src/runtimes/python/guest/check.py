"""Compiles a function's code at build time. Prints JSON: the syntax error of the handler's file, or nothing.

    check.py DIRECTORY HANDLER_FILE

Other files of the user's that do not compile are named on stdout and do no harm until they are imported.
"""

import compileall
import json
import os
import py_compile
import sys

# An artifact's files may get new times when it is restored; its content never changes.
MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH


def main(directory, handler):
    packages = os.path.join(directory, ".virga", "site-packages")
    if os.path.isdir(packages):
        compileall.compile_dir(packages, quiet=2, invalidation_mode=MODE, workers=1)
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("node_modules", "__pycache__")]
        for name in sorted(files):
            path = os.path.join(folder, name)
            if not name.endswith(".py") or os.path.islink(path):
                continue
            relative = os.path.relpath(path, directory)
            failure = check(path, relative)
            if failure is None:
                continue
            if relative == os.path.normpath(handler):
                json.dump(failure, sys.stderr)
                return 3
            print("warning: %s: %s" % (failure["location"], failure["message"]), flush=True)
    return 0


def check(path, relative):
    try:
        py_compile.compile(path, doraise=True, invalidation_mode=MODE)
    except py_compile.PyCompileError as thrown:
        error = thrown.exc_value
        if not isinstance(error, SyntaxError):
            return {"message": "%s: %s" % (type(error).__name__, error), "location": relative, "frame": ""}
        line = (error.text or "").rstrip("\n")
        column = max(error.offset or 1, 1)
        # A tab before the column stays one, so that the caret stands where the editor shows it.
        blanks = "".join("\t" if letter == "\t" else " " for letter in line[: column - 1])
        number = str(error.lineno or 1)
        frame = "%s | %s\n%s | %s^" % (number, line, " " * len(number), blanks)
        location = "%s:%s:%d" % (relative, number, column)
        return {"message": "%s: %s" % (type(error).__name__, error.msg), "location": location, "frame": frame}
    except (OSError, ValueError) as error:
        return {"message": str(error), "location": relative, "frame": ""}
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
