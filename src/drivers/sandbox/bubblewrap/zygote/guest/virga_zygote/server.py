"""The zygote's loop: takes requests, makes children, tells of their ends."""

import gc
import json
import os
import select
import signal
import socket

from . import enclosure, execution, kernel, view
from .messages import BadMessage, Fork, Lines, Setup, parse, parse_json
from .reaper import open_reaper

#: Where the server listens for children's links, in the folder that this process works in.
_LINK = "link"


class Server:
    def __init__(self, descriptor):
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lines = Lines()
        #: Children that have not been waited for: pid by number; by the descriptor that tells the end their number, pid
        #: and where they say that they are enclosed.
        self._pids = {}
        self._ends = {}
        self._poll = select.poll()

    def serve(self):
        """Comes back in a child alone, with what it runs."""
        calls = kernel.Calls()
        calls.die_with_parent()
        calls.run()
        self._umask = os.umask(0o022)
        self._prepare()
        # What all children share is written to by none of them for the collector's sake.
        gc.collect()
        gc.freeze()
        self._send({"ready": os.getpid()})
        self._poll.register(self._socket, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._ends:
                    self._reap(descriptor)
                    continue
                for message in self._receive():
                    if isinstance(message, Fork):
                        run = self._fork(message)
                        if run is not None:
                            return run
                    elif message.number in self._pids:
                        os.kill(self._pids[message.number], signal.SIGKILL)

    def _prepare(self):
        """Takes the first line, and does all that can be done before there are children."""
        try:
            pending = b""
            while not pending.endswith(b"\n"):
                chunk = self._socket.recv(65536)
                if not chunk:
                    os._exit(0)
                pending += chunk
            self._setup = setup = Setup(parse_json(pending))
            os.chdir(setup.directory)
            setup.last_capability = kernel.last_capability()
            setup.reaper = open_reaper()
            if setup.program is not None:
                self._load(setup)
            if setup.as_root:
                os.setgroups([])
            view.build(setup.root, setup.view, setup.as_root)
            if setup.as_root:
                # To map children's users, and to end children that are other users.
                calls = kernel.Calls()
                kept = (kernel.CAP_KILL, kernel.CAP_SETGID, kernel.CAP_SETUID)
                calls.keep_capabilities(kept, setup.last_capability)
                calls.run()
        except Exception as error:
            self._break(error)

    def _load(self, setup):
        from . import program  # launchers shall not carry it

        if setup.as_root:
            # Nobody waits for this yet. An ordinary user could not take it back.
            os.nice(10)
        module = program.load(setup.program, setup.view)
        self._take_over = lambda: program.take_over(module, self)
        if setup.as_root:
            os.setpriority(os.PRIO_PROCESS, 0, 0)

    def _receive(self):
        chunk = self._socket.recv(65536)
        if not chunk:
            # The server is gone; children go with this process.
            os._exit(0)
        try:
            messages = [parse(line) for line in self._lines.feed(chunk)]
            for message in messages:
                if not isinstance(message, Fork):
                    continue
                # Without a user of its own a child of root's would be root.
                if (message.user is None) == self._setup.as_root:
                    raise BadMessage("the user does not fit to this zygote")
                if (message.run is None) == (self._setup.program is None):
                    raise BadMessage("what to run does not fit to this zygote")
            return messages
        except BadMessage as error:
            self._break(error)

    def _break(self, error):
        self._send({"broken": "%s: %s" % (type(error).__name__, error)})
        os._exit(1)

    def _send(self, message):
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(0)

    def _reap(self, end):
        number, pid, word = self._ends.pop(end)
        del self._pids[number]
        self._poll.unregister(end)
        os.close(end)
        _, status = os.waitpid(pid, 0)
        self._send({"exited": number, "code": enclosure.exit_code(status), "enclosed": _was_enclosed(word)})

    def _fork(self, request):
        """None in the zygote; in the child, what it runs."""
        opened = []
        try:
            _open_streams(request, opened)
            request.streams = tuple(opened)
            groups = [os.open(path + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for path in request.groups]
            opened += groups
            go, give_go = (one.detach() for one in socket.socketpair())
            opened += (go, give_go)
            closing = enclosure.Enclosure(request, self._setup, groups, go, give_go)
            becoming = None if request.run is None else execution.Execution(request.run, self._umask)
            pid = kernel.clone(self._setup.calls["clone"], kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
            if pid == 0:
                opened.clear()  # they are the child's
                return self._become(request, closing, becoming)
            self._watch(request.number, pid, give_go)
            opened.remove(give_go)
            self._send({"started": request.number, "pid": pid})
            try:
                enclosure.map_users(pid, request.user)
                os.write(give_go, b"1")
            except OSError as error:
                os.write(request.streams[2], ("its users cannot be mapped: %s\n" % error).encode())
                # It ends by itself: it waits for a byte, and reads the end.
                socket.socket(fileno=os.dup(give_go)).shutdown(socket.SHUT_WR)
        except OSError as error:
            self._send({"failed": request.number, "message": str(error)})
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return None

    def _watch(self, number, pid, word):
        try:
            end = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._pids[number] = pid
        self._ends[end] = (number, pid, word)
        self._poll.register(end, select.POLLIN)

    def _become(self, request, closing, becoming):
        """The child: the first process of its namespace. Forks the program once it is enclosed, and waits for it."""
        stderr = request.streams[2]
        try:
            closing.enter()
            stderr = 2
            if becoming is not None:
                pid = kernel.clone(self._setup.calls["clone"], 0)
                if pid == 0:
                    becoming.run()
                closing.wait_for(pid)
            pid = os.fork()
            if pid != 0:
                closing.wait_for(pid)
            if closing.reaper is not None:
                os.close(closing.reaper)
            os.setsid()
            os.chdir(self._setup.working_directory)
            return self._take_over()
        except BaseException as error:
            enclosure.end_unenclosed(error, stderr)


def _was_enclosed(word):
    """What an ended child had said."""
    try:
        return os.read(word, 1) == b"1"
    except ConnectionResetError:  # killed before it had heard anything
        return False
    finally:
        os.close(word)


def _open_streams(request, opened):
    """A child's descriptors 0 to 2, and 3 where it has a link, as long as there is a process that may open them."""
    opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    for path in (request.stdout, request.stderr):
        # The server holds the reading end: this does not wait.
        opened.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        os.set_blocking(opened[-1], True)
    if not request.link:
        return
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.append(link.fileno())
    try:
        link.connect(_LINK)
        link.sendall(request.number.to_bytes(8, "big"))
    finally:
        link.detach()
