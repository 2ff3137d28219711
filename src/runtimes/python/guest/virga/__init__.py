"""What a Python function may import from the platform: `from virga import Request, Response`.

A handler is `def handler(request, context)` or `async def handler(request, context)`. It returns a Response, a tuple
`(body, status[, headers])`, str (text/plain), bytes, None (204), a generator (streamed), or anything that JSON can say.
"""

from ._call import Cancelled
from ._context import Answer, CallRefused, Context
from ._request import Headers, Request, Upload
from ._response import Response

__all__ = ["Answer", "CallRefused", "Cancelled", "Context", "Headers", "Request", "Response", "Upload"]
