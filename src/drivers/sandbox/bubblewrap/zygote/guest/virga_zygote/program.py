"""What children run: loaded in the zygote from where it lies on the host, under the paths that it has inside."""

import atexit
import importlib.machinery
import importlib.util
import os
import sys
import threading

#: Under this name it waits; children call it `__main__`, as the interpreter would.
_NAME = "virga_zygote_program"
#: Names of the zygote's own modules, looked for before there are children.
_own = []
_kept = []


def load(path, entries):
    """Imports the file at `path` (inside). It loads what children will need, and has a function `main`."""
    finder = _Finder(_host_paths(entries))
    folder = os.path.dirname(path)
    sys.meta_path.insert(0, finder)
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location(_NAME, path, loader=_Loader(_NAME, path, finder.host))
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        sys.meta_path.remove(finder)
    if not callable(getattr(module, "main", None)):
        raise ImportError("%s has no function `main`" % path)
    _own.extend(name for name in sys.modules if name == __package__ or name.startswith(__package__ + "."))
    return module


def take_over(module, server):
    """In the child: the process is this program's from here on. Returns what it runs, and then its end."""
    # Out of sight, but not taken apart: the server's socket has the number of the child's link now, and the rest would
    # cost more to take apart than it takes.
    _kept.extend((server, sys.modules["__main__"]))
    for name in _own:
        _kept.append(sys.modules.pop(name))
    sys.modules["__main__"] = sys.modules.pop(_NAME)
    module.__name__ = "__main__"
    sys.argv = [module.__file__]
    _seed()
    return module.main, leave


def leave():
    """What an interpreter does at its end, but for taking all objects apart, for which a copy would first copy the whole of
    the zygote's memory."""
    threading._shutdown()  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(0)


def _seed():
    """Chance that the zygote drew ahead would be every child's. `random` is seeded by the fork itself, OpenSSL by the
    change of the process's number."""
    uuid = sys.modules.get("uuid")
    if uuid is not None:
        uuid._node = uuid._last_timestamp = None
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None


def _host_paths(entries):
    """Folders inside → on the host, for those that lie elsewhere there; the longest first."""
    moved = [(path, source) for kind, source, path in entries if kind == "bind" and path != source]
    return sorted(moved, key=lambda pair: -len(pair[0]))


class _Finder:
    """Finds modules in the program's folders on sys.path, which are no folders of the host."""

    def __init__(self, moved):
        self._moved = moved

    def host(self, path):
        for inside, source in self._moved:
            if path == inside or path.startswith(inside + "/"):
                return source + path[len(inside) :]
        return path

    def find_spec(self, name, folders=None, target=None):
        for folder in sys.path if folders is None else folders:
            if self.host(folder) == folder:
                continue
            base = os.path.join(folder, name.rpartition(".")[2])
            package = os.path.join(base, "__init__.py")
            if os.path.isfile(self.host(package)):
                return self._spec(name, package, [base])
            if os.path.isfile(self.host(base + ".py")):
                return self._spec(name, base + ".py", None)
        return None

    def _spec(self, name, path, folders):
        loader = _Loader(name, path, self.host)
        return importlib.util.spec_from_file_location(name, path, loader=loader, submodule_search_locations=folders)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name, path, host):
        super().__init__(name, path)
        self._host = host

    def get_data(self, path):
        return super().get_data(self._host(path))

    def path_stats(self, path):
        return super().path_stats(self._host(path))
