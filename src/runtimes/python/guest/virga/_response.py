"""What a handler returns, and how it becomes an HTTP answer."""

import dataclasses
import datetime
import decimal
import json
import re
import uuid

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
BYTES = "application/octet-stream"

#: RFC 9110, sections 5.6.2 and 5.5: what a field's name and value may hold.
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+\Z")
_NOT_IN_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class InvalidResponse(Exception):
    """The handler returned something that is no HTTP answer."""


class Response:
    """An HTTP answer.

    `body`: str, bytes, None, a generator or async generator of either (streamed), a file, or what JSON can say.
    `headers`: a dict (a value may be a list: the field then comes several times) or a list of pairs.
    """

    __slots__ = ("body", "status", "headers")

    def __init__(self, body=None, status=200, headers=None, content_type=None):
        self.body = body
        self.status = status
        self.headers = list(headers.items()) if hasattr(headers, "items") else list(headers or ())
        if content_type is not None:
            self.headers.append(("content-type", content_type))

    def __repr__(self):
        return "Response(status=%r)" % (self.status,)


def answer_of(value):
    """(status, flat headers, body): the body is bytes, or an iterable or async iterable that is sent as it comes."""
    kind = type(value)
    if kind is str:
        return 200, ["content-type", TEXT], value.encode("utf-8", "surrogatepass")
    if kind is dict or kind is list:
        return 200, ["content-type", JSON], _json(value)
    if value is None:
        return 204, [], b""
    if isinstance(value, Response):
        return _explicit(value.body, value.status, value.headers)
    if kind is tuple and len(value) in (2, 3) and type(value[1]) is int:
        headers = value[2] if len(value) == 3 else ()
        return _explicit(value[0], value[1], list(headers.items()) if hasattr(headers, "items") else list(headers or ()))
    body, content_type = _body_of(value)
    return 200, [] if content_type is None else ["content-type", content_type], body


def chunk_of(value):
    """One piece of a streamed body as bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise InvalidResponse("a streamed body must consist of str or bytes, not %s" % type(value).__name__)


def content_type_of_chunk(value):
    return TEXT if isinstance(value, str) else BYTES


def _explicit(content, status, pairs):
    if type(status) is not int and not isinstance(status, int) or not 200 <= status <= 599:
        raise InvalidResponse("the status must be an integer from 200 to 599, not %r" % (status,))
    body, content_type = _body_of(content)
    headers = []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidResponse("headers must be a dict or a list of pairs, not a list with %r" % (pair,))
        name = str(pair[0]).lower()
        if not _NAME.match(name):
            raise InvalidResponse("%r is no name of a header" % (pair[0],))
        for value in pair[1] if isinstance(pair[1], (tuple, list)) else (pair[1],):
            text = str(value)
            if _NOT_IN_VALUE.search(text):
                raise InvalidResponse("header %r has characters that HTTP does not allow: %r" % (name, text))
            headers.append(name)
            headers.append(text)
        if name == "content-type":
            content_type = None
    if content_type is not None:
        headers = ["content-type", content_type] + headers
    return status, headers, body


def _body_of(content):
    if content is None:
        return b"", None
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass"), TEXT
    if isinstance(content, bytes):
        return content, BYTES
    if isinstance(content, (bytearray, memoryview)):
        return bytes(content), BYTES
    if hasattr(content, "__aiter__"):
        return content, None
    if hasattr(content, "__next__"):
        return content, None
    if hasattr(content, "read"):
        return iter(lambda: content.read(65536), b""), BYTES
    return _json(content), JSON


def _json(value):
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
        return text.encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        raise InvalidResponse("the returned %s is no JSON: %s" % (type(value).__name__, error)) from error


def _plain(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError("%s cannot be written as JSON" % type(value).__name__)
