"""The Flask app that the tests put behind Outrigger, under gunicorn's sync worker: one request at a time.

ACCESS_LOG is as in app.py; a line ends with the id of the worker that wrote it.
"""

import hashlib
import os
import time

from flask import Flask, request

BLOCK = bytes(range(256)) * 256  # 64 KiB
SLOW_MS_MAX = 10_000

app = Flask(__name__)
log = os.open(os.environ.get("ACCESS_LOG", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@app.before_request
def write_log():
    os.write(log, f"{request.method} {request.path} {os.getpid()}\n".encode())


@app.get("/hello")
def hello():
    return {"app": "flask", "n": request.args.get("n", 0, int)}


@app.post("/echo")
def echo():
    digest, size = hashlib.sha256(), 0
    while chunk := request.stream.read(len(BLOCK)):
        digest.update(chunk)
        size += len(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


@app.get("/download")
def download():
    left = request.args.get("size", 0, int)

    def body(left):
        while left > 0:
            yield BLOCK[: min(left, len(BLOCK))]
            left -= len(BLOCK)

    return app.response_class(body(left), mimetype="application/octet-stream", headers={"content-length": str(left)})


@app.get("/slow")
def slow():
    ms = request.args.get("ms", 0, int)
    time.sleep(min(ms, SLOW_MS_MAX) / 1000)
    return {"slept_ms": ms}


@app.get("/status/<int:code>")
def status(code):
    return {"status": code}, code
