import os
import sys

from flask import Flask, Response, jsonify, request
from waitress import serve

from function import handler

app = Flask(__name__)

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Event:
    """The request, as the handler sees it."""

    def __init__(self):
        self.body = request.get_data()
        self.headers = request.headers
        self.method = request.method
        self.query = request.args
        self.path = request.path


class Context:
    def __init__(self):
        self.hostname = os.getenv("HOSTNAME", "localhost")


def respond(answer):
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, dict):
        answer = {"body": answer}
    body = answer.get("body")
    if body is None:
        body = ""
    if not isinstance(body, (str, bytes, Response)):
        body = jsonify(body)
    response = app.make_response(body)
    response.status_code = int(answer.get("statusCode", 200))
    headers = answer.get("headers") or {}
    pairs = headers.items() if isinstance(headers, dict) else headers
    for name, value in pairs:
        # Both the handler and Flask may have named a type: the handler's counts.
        if name.lower() == "content-type":
            response.headers[name] = value
        else:
            response.headers.add(name, value)
    return response


@app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
@app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
def call(path):
    return respond(handler.handle(Event(), Context()))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    serve(app, host="0.0.0.0", port=int(os.getenv("http_port", "5000")))
