"""Finds the user's handler: `file.py`, `file.py#name`, `folder/file.py#name`."""

import importlib
import importlib.util
import inspect
import os
import site
import sys
import time

#: Names that are looked for where the handler names none.
DEFAULT_NAMES = ("handler", "main")


class LoadError(Exception):
    """The code holds no handler of that name."""


def load(directory, handler, environment):
    """The handler as a function of (request, context), and whether it is a coroutine function."""
    os.environ.update(environment)
    if "TZ" in environment:
        time.tzset()
    os.chdir(directory)
    # Code is mounted read-only: what can be compiled has been, at build time.
    sys.dont_write_bytecode = True
    file, _, name = handler.partition("#")
    path = os.path.join(directory, file)
    packages = os.path.join(directory, ".virga", "site-packages")
    if os.path.isdir(packages):
        site.addsitedir(packages)
        sys.path.remove(packages)
        sys.path.insert(0, packages)
        os.environ["PATH"] = os.path.join(packages, "bin") + os.pathsep + os.environ.get("PATH", os.defpath)
    sys.path.insert(0, directory)
    module = _import(directory, path)
    found = _find(module, file, name)
    return _with_two_arguments(found), _is_async(found)


def _import(directory, path):
    name = os.path.splitext(os.path.relpath(path, directory))[0].replace(os.sep, ".")
    folder = os.path.dirname(path)
    if "." in name and os.path.exists(os.path.join(folder, "__init__.py")):
        return importlib.import_module(name)
    if folder != directory:
        sys.path.insert(0, folder)
    name = name.rpartition(".")[2]
    # By its path, not by its name: a `json.py` of the user's is the user's, whoever has imported the other one before.
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not os.path.exists(path):
        raise LoadError("The handler's file %s does not exist" % os.path.relpath(path, directory))
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


def _find(module, file, name):
    names = (name,) if name else DEFAULT_NAMES
    for candidate in names:
        value = module
        for part in candidate.split("."):
            value = getattr(value, part, None)
        if callable(value):
            return value
        if value is not None:
            raise LoadError("`%s` in %s is not a function but %s" % (candidate, file, type(value).__name__))
    there = [key for key, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == module.__name__]
    hint = "; it defines " + ", ".join("`%s`" % key for key in there[:10]) if there else ""
    wanted = " or ".join("`def %s(request, context)`" % candidate for candidate in names)
    raise LoadError("%s has no %s%s" % (file, wanted, hint))


def _is_async(found):
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None))


def _with_two_arguments(found):
    """A handler may leave `context`, or both arguments, out."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return found
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return found
    takes = sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters)
    if takes >= 2:
        return found
    if takes == 1:
        return lambda request, context: found(request)
    return lambda request, context: found()
