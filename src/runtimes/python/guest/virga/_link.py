"""Frames on the instance link (docs/link-protocol.md)."""

import json
import os
import socket
import struct
import threading
import time

HELLO, INIT, READY, FAILED, INVOKE, BODY, END, RESULT, ERROR = range(1, 10)
CANCEL, WINDOW, LOG, DRAIN, PING, PONG, CALL, ANSWER, REFUSED, REHEARSE = range(10, 20)

HEAD = struct.Struct(">IBI")
LENGTH = struct.Struct(">I")
#: CPU microseconds, peak bytes.
MEASUREMENT = struct.Struct(">IQ")
STATUS_AND_LENGTH = struct.Struct(">HI")
LOG_HEAD = struct.Struct(">Bd")

MAX_PAYLOAD = 2**20
#: What a side may send of one body before it hears WINDOW.
INITIAL_WINDOW = 2**20
#: Grants are given in steps of this size: one frame per quarter of the window.
GRANT_STEP = 2**18


class Link:
    """The socket. Any thread may send; one thread reads."""

    def __init__(self, fd):
        self._socket = socket.socket(fileno=fd)
        # Programs that the function starts must not inherit the link.
        self._socket.set_inheritable(False)
        self._sending = threading.Lock()

    def send(self, kind, stream, *parts):
        size = 0
        for part in parts:
            size += len(part)
        self.send_encoded(b"".join((HEAD.pack(size, kind, stream),) + parts))

    def send_json(self, kind, stream, value):
        self.send(kind, stream, json.dumps(value).encode())

    def send_encoded(self, frames):
        """Whole frames, one after another."""
        try:
            with self._sending:
                self._socket.sendall(frames)
        except OSError:
            # The platform is gone, and nobody is left to answer to.
            os._exit(1)

    def log(self, stream, number, lines):
        """Lines of stdout (1) or stderr (2), of the call on `stream` (0: of none)."""
        now = time.time() * 1000
        frames = []
        for line in lines:
            text = line.encode("utf-8", "backslashreplace")
            frames.append(HEAD.pack(LOG_HEAD.size + len(text), LOG, stream))
            frames.append(LOG_HEAD.pack(number, now))
            frames.append(text)
        self.send_encoded(b"".join(frames))

    def frames(self):
        """Yields (type, stream, payload) until the platform closes the link."""
        receive = self._socket.recv
        held = b""
        while True:
            try:
                chunk = receive(262144)
            except OSError:
                return
            if not chunk:
                return
            held = held + chunk if held else chunk
            at = 0
            while len(held) - at >= HEAD.size:
                size, kind, stream = HEAD.unpack_from(held, at)
                if size > MAX_PAYLOAD:
                    raise ValueError("a frame of type %d announces %d bytes" % (kind, size))
                end = at + HEAD.size + size
                if end > len(held):
                    break
                yield kind, stream, held[at + HEAD.size : end]
                at = end
            held = held[at:]

    def close(self):
        self._socket.close()
