"""The context that a handler gets: what is known about the call, and the way to other functions."""

import asyncio
import concurrent.futures
import json as _json
import logging
import time

from ._link import ANSWER, CALL, LENGTH, MAX_PAYLOAD
from ._request import Headers


class CallRefused(Exception):
    """Another function could not be called, or failed. `code` is the platform's error code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Answer:
    """Another function's answer."""

    __slots__ = ("status", "headers", "body")

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return _json.loads(self.body)

    def __repr__(self):
        return "Answer(status=%d, %d bytes)" % (self.status, len(self.body))


class Context:
    """`id`, `deadline` (ms since the epoch), `remaining_ms()`, `log`, `cancelled` (a threading.Event), `namespace`,
    `function`, `revision`, `attempt`, `idempotency_key`, `traceparent`, `call(…)`."""

    __slots__ = ("_call", "_function", "_nested")

    def __init__(self, call, function, nested):
        self._call = call
        self._function = function
        self._nested = nested

    @property
    def id(self):
        return self._call.id

    @property
    def deadline(self):
        return self._call.deadline

    def remaining_ms(self):
        return max(0, int(self._call.deadline - time.time() * 1000))

    @property
    def log(self):
        return logging.getLogger(self._function["function"])

    @property
    def cancelled(self):
        return self._call.cancelled

    @property
    def signal(self):
        return self._call.cancelled

    @property
    def namespace(self):
        return self._function["namespace"]

    @property
    def function(self):
        return self._function["function"]

    @property
    def revision(self):
        return self._function["revision"]

    @property
    def attempt(self):
        return self._call.attempt

    @property
    def idempotency_key(self):
        return self._call.idempotency_key

    @property
    def traceparent(self):
        return self._call.traceparent

    def call(self, function, method=None, path="/", headers=None, body=None, json=None):
        """Calls another function and gives its Answer; in an async handler: `await context.call(…)`.

        POST where there is a body, else GET. Raises CallRefused where no answer came about.
        """
        pending = self._nested.send(self._call.id, function, method, path, headers, body, json)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return pending.result()
        return asyncio.wrap_future(pending)


class NestedCalls:
    """Calls of this instance to other functions, by stream. Streams are even."""

    def __init__(self, link):
        self._link = link
        self._pending = {}
        self._next = 2

    def send(self, parent, function, method, path, headers, body, json):
        flat = []
        for name, value in headers.items() if hasattr(headers, "items") else headers or ():
            flat += (str(name).lower(), str(value))
        if json is not None:
            if body is not None:
                raise ValueError("give `body` or `json`, not both")
            body = _json.dumps(json).encode()
            if "content-type" not in flat[::2]:
                flat += ("content-type", "application/json")
        elif isinstance(body, str):
            body = body.encode()
        head = {
            "parent": parent,
            "function": function,
            "method": method or ("GET" if body is None else "POST"),
            "path": path if path.startswith("/") else "/" + path,
            "headers": flat,
        }
        text = _json.dumps(head).encode()
        content = bytes(body or b"")
        if len(text) + len(content) + LENGTH.size > MAX_PAYLOAD:
            raise ValueError("a call to another function may carry 1 MiB, this one has %d bytes" % len(content))
        pending = concurrent.futures.Future()
        stream = self._next
        self._next = stream + 2 if stream + 2 < 2**31 else 2
        self._pending[stream] = pending
        self._link.send(CALL, stream, LENGTH.pack(len(text)), text, content)
        return pending

    def settle(self, kind, stream, payload):
        pending = self._pending.pop(stream, None)
        if pending is None or not pending.set_running_or_notify_cancel():
            return
        if kind == ANSWER:
            end = LENGTH.size + LENGTH.unpack_from(payload)[0]
            head = _json.loads(payload[LENGTH.size : end])
            pending.set_result(Answer(head["status"], Headers(head["headers"]), payload[end:]))
        else:
            said = _json.loads(payload)
            pending.set_exception(CallRefused(said["code"], said["message"]))
