"""Serves calls: one thread reads the link; handlers run in the main thread, in further threads, or in one event loop."""

import asyncio
import faulthandler
import gc
import inspect
import json
import os
import platform
import queue
import threading
import traceback

from ._call import Call, Cancelled
from ._context import Context, NestedCalls
from ._failure import describe
from ._link import ANSWER, BODY, CANCEL, DRAIN, END, FAILED, HELLO, INIT, INVOKE, LENGTH, PING, PONG, READY, REFUSED
from ._link import REHEARSE, WINDOW
from ._loader import LoadError, load
from ._meter import Meter
from ._output import Output, current_call
from ._rehearsal import rehearse
from ._request import Request
from ._response import InvalidResponse, answer_of, chunk_of, content_type_of_chunk

#: In the place of an `init`.
REHEARSAL = object()


class Server:
    def __init__(self, link):
        self.link = link
        self._running = {}
        self._output = Output(self.link, self._running)
        self._nested = NestedCalls(self.link)
        self.inits = queue.SimpleQueue()
        self.work = queue.SimpleQueue()
        self._threads = 1
        self._loop = None
        self._draining = False
        self._root = ""

    def run(self):
        """Until the platform asks to drain. Ends the process where the platform has gone."""
        # A crash in native code tells where on the real stderr, which the platform reads too.
        faulthandler.enable(file=2)
        self._output.take_over()
        threading.Thread(target=self._read, name="virga-link", daemon=True).start()
        gc.freeze()
        hello = {"protocol": 1, "runtime": "python", "version": platform.python_version(), "pid": os.getpid()}
        self.link.send_json(HELLO, 0, hello)
        init = self.inits.get()
        if init is REHEARSAL:
            rehearse(Server)
            init = self.inits.get()
        if init is None:
            return
        try:
            self.load(init)
        except BaseException as error:
            self._output.finish(None)
            failure = describe(error, self._root)
            if isinstance(error, LoadError):
                failure = {"message": str(error)}
            elif isinstance(error, SystemExit):
                failure["message"] = "The code ended the program while it was loaded (SystemExit: %s)" % (error,)
            self.link.send_json(FAILED, 0, failure)
            os._exit(1)
        Meter.begin()
        if self._is_async:
            asyncio.run(self._serve_async())
        else:
            self.link.send_json(READY, 0, {})
            self.serve()
        self._output.finish(None)

    def load(self, init):
        self._function = init
        self._concurrency = init["concurrency"]
        self._root = os.path.abspath(init["directory"])
        self._handler, self._is_async = load(self._root, init["handler"], init["environment"])
        self._mode = "alone" if self._concurrency == 1 else "shared" if self._is_async else "thread"

    # The link.

    def _read(self):
        try:
            for kind, stream, payload in self.link.frames():
                self.take(kind, stream, payload)
        except BaseException:
            os.write(2, ("the instance link broke:\n" + traceback.format_exc()).encode())
            os._exit(1)
        os._exit(0)

    def take(self, kind, stream, payload):
        if kind == INVOKE:
            self._accept(Call(self.link, stream, payload))
            return
        if kind == ANSWER or kind == REFUSED:
            self._nested.settle(kind, stream, payload)
            return
        if kind == PING:
            self.link.send(PONG, 0)
            return
        if kind == INIT:
            self.inits.put(json.loads(payload))
            return
        if kind == REHEARSE:
            self.inits.put(REHEARSAL)
            return
        if kind == DRAIN:
            self._draining = True
            self.inits.put(None)
            self._end_if_drained()
            return
        call = self._running.get(stream)
        if call is None:
            return
        if kind == BODY:
            call.feed(payload)
        elif kind == END:
            call.complete()
        elif kind == WINDOW:
            call.grant(LENGTH.unpack(payload)[0])
        elif kind == CANCEL:
            call.cancel()
            if call.task is not None:
                self._loop.call_soon_threadsafe(call.task.cancel)

    def _accept(self, call):
        self._running[call.stream] = call
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin, call)
            return
        self.work.put(call)
        if len(self._running) > self._threads and self._threads < self._concurrency:
            self._threads += 1
            name = "virga-call-%d" % self._threads
            threading.Thread(target=self.serve, name=name, daemon=True).start()

    def _end_if_drained(self):
        if not self._draining or self._running:
            return
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drained.set)
        for _ in range(self._threads):
            self.work.put(None)

    # Plain handlers.

    def serve(self):
        while True:
            call = self.work.get()
            if call is None:
                return
            token = current_call.set(call)
            measure = Meter(self._mode, self._running)
            try:
                value = self._handler(Request(call), Context(call, self._function, self._nested))
                if inspect.isawaitable(value):
                    value = asyncio.run(_awaited(value))
                self._answer(call, value, measure)
            except BaseException as error:
                self._fail(call, error, measure)
            finally:
                self._end(call)
                current_call.reset(token)

    def _answer(self, call, value, measure):
        status, headers, body = answer_of(value)
        if type(body) is bytes:
            self._output.finish(call)
            call.send_whole(status, headers, body, measure)
        elif hasattr(body, "__aiter__"):
            asyncio.run(self._stream_async(call, status, headers, body, measure))
        else:
            self._stream(call, status, headers, body, measure)

    def _stream(self, call, status, headers, body, measure):
        chunks = iter(body)
        try:
            first = next(chunks, None)
            # The head waits for the first piece: a generator that fails at once is an error, not half an answer.
            if first is not None and "content-type" not in headers[::2]:
                headers = ["content-type", content_type_of_chunk(first)] + headers
            content = None if first is None else chunk_of(first)
            call.send_head(status, headers)
            if content is not None:
                call.send_chunk(content)
            for chunk in chunks:
                call.send_chunk(chunk_of(chunk))
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        self._output.finish(call)
        call.send_end(measure)

    # Coroutines.

    async def _serve_async(self):
        self._drained = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.link.send_json(READY, 0, {})
        if self._draining:
            self._end_if_drained()
        await self._drained.wait()

    def _begin(self, call):
        token = current_call.set(call)
        try:
            call.task = self._loop.create_task(self._run_async(call))
        finally:
            current_call.reset(token)
        if call.cancelled.is_set():
            call.task.cancel()

    async def _run_async(self, call):
        measure = Meter(self._mode, self._running)
        try:
            value = await self._handler(Request(call), Context(call, self._function, self._nested))
            status, headers, body = answer_of(value)
            if type(body) is bytes:
                self._output.finish(call)
                await call.send_whole_async(status, headers, body, measure)
            else:
                await self._stream_async(call, status, headers, body, measure)
        except BaseException as error:
            self._fail(call, error, measure)
        finally:
            self._end(call)

    async def _stream_async(self, call, status, headers, body, measure):
        chunks = body.__aiter__() if hasattr(body, "__aiter__") else _aiter(body)
        try:
            started = False
            async for chunk in chunks:
                content = chunk_of(chunk)
                if not started:
                    started = True
                    if "content-type" not in headers[::2]:
                        headers = ["content-type", content_type_of_chunk(chunk)] + headers
                    call.send_head(status, headers)
                await call.send_chunk_async(content)
            if not started:
                call.send_head(status, headers)
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        self._output.finish(call)
        call.send_end(measure)

    # The end of a call.

    def _fail(self, call, error, measure):
        self._output.finish(call)
        if call.cancelled.is_set() and isinstance(error, (Cancelled, asyncio.CancelledError)):
            call.send_error({"code": "function_error", "message": "cancelled"}, measure)
            return
        failure = describe(error, self._root)
        failure["code"] = "function_error"
        if isinstance(error, InvalidResponse):
            failure["code"] = "invalid_response"
            failure["message"] = "The handler's answer is invalid: %s" % (error,)
            failure.pop("stack", None)
        if isinstance(error, SystemExit):
            failure["code"] = "function_crashed"
            failure["message"] = "The function ended its program: sys.exit(%s)" % (
                "" if error.code is None else repr(error.code)
            )
        call.send_error(failure, measure)
        if isinstance(error, SystemExit):
            # As the code wished; through the front door there would be threads to wait for.
            os._exit(error.code if isinstance(error.code, int) else 0 if error.code is None else 1)

    def _end(self, call):
        self._running.pop(call.stream, None)
        if self._draining:
            self._end_if_drained()


async def _awaited(value):
    return await value


async def _aiter(values):
    for value in values:
        yield value
        await asyncio.sleep(0)
