"""A load and calls that nobody asked for, before the code is there.

A copy of a zygote copies each page that it writes to, and an interpreter writes wherever it has not been often: into code that
it adapts to what passes through, into caches, into counters of references. A zygote that has rehearsed often has its code
adapted; a copy that has rehearsed once has its pages, before a caller waits for them.
"""

import importlib.util
import json
import os
import py_compile
import socket
import sys
import time

from ._link import HEAD, INIT, INVOKE, LENGTH, Link
from ._meter import Meter

_CODE = """
def handler(request, context):
    name = request.query.get("name", [request.headers.get("user-agent")])[0]
    return {"name": name, "body": request.json(), "ms": context.remaining_ms()}
"""
#: Its byte code: copies find what their zygote has compiled.
_compiled = None


def rehearse(server_class, times=1):
    """Leaves the process as it was, as far as code can tell: so there is no event loop in it, and `tempfile` has not chosen
    its folder. Does nothing where there is no room for a file."""
    # Nobody else's, and for nobody else: a zygote is a process of the host.
    folder = "/tmp/virga-rehearsal-%d" % os.getpid()
    try:
        directory = os.getcwd()
        os.mkdir(folder, 0o700)
    except OSError:
        return
    path, modules, writes_no_bytecode = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    file = os.path.join(folder, "rehearsal.py")
    compiled = importlib.util.cache_from_source(file)
    try:
        os.mkdir(os.path.dirname(compiled))
        _write(file, compiled)
        for _ in range(times):
            _go_through(server_class, folder, "rehearsal.py")
            for name in set(sys.modules) - modules:
                del sys.modules[name]
            sys.path[:] = path
    except OSError:
        pass
    finally:
        sys.dont_write_bytecode = writes_no_bytecode
        os.chdir(directory)
        sys.path_importer_cache.pop(folder, None)
        _remove(file, compiled)


def _write(file, compiled):
    """With its byte code, as a build leaves it."""
    global _compiled
    with open(file, "w") as target:
        target.write(_CODE)
    if _compiled is None:
        py_compile.compile(file, compiled, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        with open(compiled, "rb") as source:
            _compiled = source.read()
        return
    with open(compiled, "wb") as target:
        target.write(_compiled)


def _remove(file, compiled):
    for remove, path in (
        (os.unlink, compiled),
        (os.rmdir, os.path.dirname(compiled)),
        (os.unlink, file),
        (os.rmdir, os.path.dirname(file)),
    ):
        try:
            remove(path)
        except OSError:
            pass  # it was not made


def _go_through(server_class, folder, handler):
    ours, theirs = socket.socketpair()
    with ours:
        server = server_class(Link(theirs.detach()))
        ours.sendall(_init(folder, handler) + _invoke())
        ours.shutdown(socket.SHUT_WR)
        for frame in server.link.frames():
            server.take(*frame)
        server.load(server.inits.get())
        Meter.begin()
        server.work.put(None)
        server.serve()
        server.link.close()
    Meter.end()


def _init(folder, handler):
    init = {"directory": folder, "handler": handler, "environment": {}, "namespace": "none", "function": "rehearsal"}
    payload = json.dumps({**init, "revision": 0, "concurrency": 1, "memoryMb": 0}).encode()
    return HEAD.pack(len(payload), INIT, 0) + payload


def _invoke():
    headers = ["host", "127.0.0.1", "user-agent", "rehearsal", "content-type", "application/json"]
    url = "http://127.0.0.1/f/none/rehearsal/?name=x"
    trace = "00-00000000000000000000000000000001-0000000000000001-00"
    head = json.dumps(["rehearsal", "POST", "/?name=x", url, headers, time.time() * 1000 + 60000, 1, trace, None]).encode()
    payload = b"\x01" + LENGTH.pack(len(head)) + head + b"{}"
    return HEAD.pack(len(payload), INVOKE, 1) + payload
