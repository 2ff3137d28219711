"""The request that a handler gets."""

import json
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qs, unquote


class Headers(Mapping):
    """Header fields by name, in any case; several of one name are joined with a comma. `get_all` gives them apart."""

    __slots__ = ("_fields",)

    def __init__(self, flat=()):
        fields = {}
        for at in range(0, len(flat), 2):
            fields.setdefault(flat[at].lower(), []).append(flat[at + 1])
        self._fields = fields

    def __getitem__(self, name):
        return ", ".join(self._fields[name.lower()])

    def __contains__(self, name):
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self):
        return iter(self._fields)

    def __len__(self):
        return len(self._fields)

    def __repr__(self):
        return "Headers(%r)" % dict(self)

    def get_all(self, name):
        return list(self._fields.get(name.lower(), ()))


class Upload:
    """A file of a multipart form."""

    __slots__ = ("filename", "content_type", "body")

    def __init__(self, filename, content_type, body):
        self.filename = filename
        self.content_type = content_type
        self.body = body

    def __repr__(self):
        return "Upload(%r, %r, %d bytes)" % (self.filename, self.content_type, len(self.body))


class Request:
    """One HTTP request.

    `method`, `url` (as the client wrote it), `target` (path and query behind the function's root), `path` (decoded),
    `query` (dict of lists), `headers`, `body` (bytes).

    `body`, `text()`, `json()` and `form()` wait for the whole body. An async handler that takes large bodies says
    `await request.read()` first, or reads `request.stream()` with `async for`, so that its event loop goes on.
    """

    __slots__ = ("_call", "_headers", "_query", "_body", "_streamed")

    def __init__(self, call):
        self._call = call
        self._headers = None
        self._query = None
        self._body = call.whole_body()
        self._streamed = False

    @property
    def method(self):
        return self._call.method

    @property
    def url(self):
        return self._call.url

    @property
    def target(self):
        return self._call.target

    @property
    def path(self):
        return unquote(self._call.target.partition("?")[0])

    @property
    def query(self):
        if self._query is None:
            self._query = parse_qs(self._call.target.partition("?")[2], keep_blank_values=True)
        return self._query

    @property
    def headers(self):
        if self._headers is None:
            self._headers = Headers(self._call.headers)
        return self._headers

    @property
    def body(self):
        if self._body is None:
            self._take_once()
            self._body = b"".join(iter(self._call.take, b""))
        return self._body

    async def read(self):
        """The whole body, without holding up the event loop."""
        if self._body is None:
            self._take_once()
            chunks = []
            while True:
                chunk = await self._call.take_async()
                if not chunk:
                    break
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    def stream(self):
        """The body in chunks as they come: `for chunk in …` or `async for chunk in …`. Once."""
        if self._body is None:
            self._take_once()
            return _Stream(self._call, None)
        return _Stream(None, self._body)

    def text(self):
        return self.body.decode(self._charset(), "replace")

    def json(self):
        return json.loads(self.body)

    def form(self):
        """Fields of an urlencoded or multipart form: a dict of lists of str, and of Upload for files."""
        kind = self.headers.get("content-type", "")
        if not kind.lower().startswith("multipart/"):
            return parse_qs(self.text(), keep_blank_values=True)
        head = b"content-type: " + kind.encode("latin-1") + b"\r\n\r\n"
        fields = {}
        for part in BytesParser(policy=HTTP).parsebytes(head + self.body).iter_parts():
            name = part.get_param("name", header="content-disposition")
            if name is None:
                continue
            content = part.get_payload(decode=True) or b""
            filename = part.get_filename()
            if filename is None:
                value = content.decode(part.get_content_charset() or "utf-8", "replace")
            else:
                value = Upload(filename, part.get_content_type(), content)
            fields.setdefault(name, []).append(value)
        return fields

    def __repr__(self):
        return "Request(%s %s)" % (self.method, self.target)

    def _charset(self):
        kind = self.headers.get("content-type", "")
        _, found, charset = kind.lower().partition("charset=")
        name = charset.partition(";")[0].strip(" \"'") if found else ""
        try:
            "".encode(name or "utf-8")
        except LookupError:
            return "utf-8"
        return name or "utf-8"

    def _take_once(self):
        if self._streamed:
            raise RuntimeError("the request's body has been streamed already")
        self._streamed = True


class _Stream:
    __slots__ = ("_call", "_whole")

    def __init__(self, call, whole):
        self._call = call
        self._whole = whole

    def __iter__(self):
        return self

    def __next__(self):
        chunk = self._rest() if self._call is None else self._call.take()
        if not chunk:
            raise StopIteration
        return chunk

    def __aiter__(self):
        return self

    async def __anext__(self):
        chunk = self._rest() if self._call is None else await self._call.take_async()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def _rest(self):
        whole, self._whole = self._whole, b""
        return whole
