import os
import sys

from flask import Flask, request
from waitress import serve

from function import handler

app = Flask(__name__)

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
RAW_BODY = os.getenv("RAW_BODY", "false").lower() in ("true", "1", "yes", "y", "t", "on")


@app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
@app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
def call(path):
    answer = handler.handle(request.get_data(as_text=not RAW_BODY))
    return "" if answer is None else answer


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    serve(app, host="0.0.0.0", port=int(os.getenv("http_port", "5000")))
