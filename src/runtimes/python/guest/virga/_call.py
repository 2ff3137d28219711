"""One call on the link: its body in, its answer out, both within their windows."""

import asyncio
import json
import threading
from collections import deque

from ._link import BODY, END, ERROR, GRANT_STEP, INITIAL_WINDOW, LENGTH, MAX_PAYLOAD, MEASUREMENT, RESULT
from ._link import STATUS_AND_LENGTH, WINDOW


class Cancelled(Exception):
    """The caller has left, or the deadline has passed; nothing that the function does reaches anybody any more."""


class Call:
    def __init__(self, link, stream, payload):
        end = 5 + LENGTH.unpack_from(payload, 1)[0]
        (
            self.id,
            self.method,
            self.target,
            self.url,
            self.headers,
            self.deadline,
            self.attempt,
            self.traceparent,
            self.idempotency_key,
        ) = json.loads(payload[5:end])
        self.link = link
        self.stream = stream
        self.cancelled = threading.Event()
        #: Text of an unfinished line, by stream number.
        self.partial = {}
        #: The asyncio task that runs the handler, where one does.
        self.task = None
        first = payload[end:]
        self._chunks = deque((first,)) if first else deque()
        self._complete = bool(payload[0] & 1)
        self._taken = 0
        self._credit = INITIAL_WINDOW
        self._changed = threading.Condition()
        self._waiting = []

    # What the platform sends; called by the thread that reads the link.

    def feed(self, chunk):
        with self._changed:
            self._chunks.append(chunk)
            self._wake()

    def complete(self):
        with self._changed:
            self._complete = True
            self._wake()

    def grant(self, size):
        with self._changed:
            self._credit += size
            self._wake()

    def cancel(self):
        with self._changed:
            self.cancelled.set()
            self._wake()

    # The request's body.

    def whole_body(self):
        """The body where it is here as one piece and nobody has taken from it yet, else None."""
        if self._complete and len(self._chunks) <= 1 and self._taken == 0:
            return self._chunks.popleft() if self._chunks else b""
        return None

    def take(self):
        """The next chunk, b"" at the end. Waits."""
        with self._changed:
            while not self._can_take():
                self._changed.wait()
            chunk = self._pop()
        self._grant_taken()
        return chunk

    async def take_async(self):
        while True:
            with self._changed:
                if self._can_take():
                    chunk = self._pop()
                    break
                waiter = self._waiter()
            await waiter
        self._grant_taken()
        return chunk

    # The answer.

    def send_whole(self, status, headers, body, measure):
        """Head, body and measurement in one frame where they fit into one."""
        text = _headers_text(headers)
        if len(body) + len(text) + 32 > MAX_PAYLOAD:
            self.send_head(status, _sized(headers, body))
            for at in range(0, len(body), GRANT_STEP):
                self.send_chunk(body[at : at + GRANT_STEP])
            self.send_end(measure)
            return
        # A body of this size fits into the first window.
        parts = (b"\x01", MEASUREMENT.pack(*measure()), STATUS_AND_LENGTH.pack(status, len(text)), text, body)
        self.link.send(RESULT, self.stream, *parts)

    async def send_whole_async(self, status, headers, body, measure):
        if len(body) <= INITIAL_WINDOW // 2:
            self.send_whole(status, headers, body, measure)
            return
        self.send_head(status, _sized(headers, body))
        for at in range(0, len(body), GRANT_STEP):
            await self.send_chunk_async(body[at : at + GRANT_STEP])
        self.send_end(measure)

    def send_head(self, status, headers):
        text = _headers_text(headers)
        self.link.send(RESULT, self.stream, b"\x00", STATUS_AND_LENGTH.pack(status, len(text)), text)

    def send_chunk(self, chunk):
        at = 0
        while at < len(chunk):
            with self._changed:
                while not self._can_send():
                    self._changed.wait()
                size = self._claim(len(chunk) - at)
            self.link.send(BODY, self.stream, chunk[at : at + size])
            at += size

    async def send_chunk_async(self, chunk):
        at = 0
        while at < len(chunk):
            with self._changed:
                size = self._claim(len(chunk) - at) if self._can_send() else 0
                waiter = None if size else self._waiter()
            if waiter is not None:
                await waiter
                continue
            self.link.send(BODY, self.stream, chunk[at : at + size])
            at += size

    def send_end(self, measure):
        self.link.send(END, self.stream, MEASUREMENT.pack(*measure()))

    def send_error(self, failure, measure):
        cpu, peak = measure()
        self.link.send_json(ERROR, self.stream, dict(failure, cpuMicros=cpu, memoryPeakBytes=peak))

    def _can_take(self):
        if self.cancelled.is_set():
            raise Cancelled("the call was cancelled while its body was read")
        return self._chunks or self._complete

    def _pop(self):
        if not self._chunks:
            return b""
        chunk = self._chunks.popleft()
        self._taken += len(chunk)
        return chunk

    def _grant_taken(self):
        if self._taken >= GRANT_STEP and not self._complete:
            self.link.send(WINDOW, self.stream, LENGTH.pack(self._taken))
            self._taken = 0

    def _can_send(self):
        if self.cancelled.is_set():
            raise Cancelled("the call was cancelled while it was answered")
        return self._credit > 0

    def _claim(self, wanted):
        size = min(wanted, self._credit, GRANT_STEP)
        self._credit -= size
        return size

    def _waiter(self):
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((loop, future))
        return future

    def _wake(self):
        self._changed.notify_all()
        waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            loop.call_soon_threadsafe(_settle, future)


def _sized(headers, body):
    """Said before it is sent, so that one too large for the platform gets an error and not half an answer."""
    if "content-length" in headers[::2]:
        return headers
    return [*headers, "content-length", str(len(body))]


def _settle(future):
    if not future.done():
        future.set_result(None)


#: The newest headers and their text: most functions answer with the same ones each time.
_newest = ([], b"[]")


def _headers_text(headers):
    global _newest
    known, text = _newest
    if headers != known:
        text = json.dumps(headers, separators=(",", ":")).encode()
        _newest = (headers, text)
    return text
