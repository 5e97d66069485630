"""The FastAPI app that the tests put behind Outrigger.

ACCESS_LOG names a file that gets one line a request, written when the request has come to the app: a request that was
lost on the way has no line, one that the app took has one. FILES names a folder that is served under /files. The same
routes are in server.js (without /files) and express.js.
"""

import asyncio
import gzip
import hashlib
import os
import subprocess

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

BLOCK = bytes(range(256)) * 256  # 64 KiB
EVENTS = 5
SLOW_MS_MAX = 10_000
CLOSE = "close "  # A websocket message that begins with it asks for a close with the code that follows.


class AccessLog:
    """Plain ASGI, for a middleware that buffers would hide what the tests look for."""

    def __init__(self, app):
        self.app = app
        path = os.environ.get("ACCESS_LOG", os.devnull)
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.write(f"{scope['method']} {scope['path']}")
        elif scope["type"] == "websocket":
            self.write(f"WEBSOCKET {scope['path']}")
        await self.app(scope, receive, send)

    def write(self, line):
        os.write(self.fd, f"{line}\n".encode())


app = FastAPI()
app.add_middleware(AccessLog)
step = asyncio.Semaphore(0)
closes = []
if "FILES" in os.environ:
    app.mount("/files", StaticFiles(directory=os.environ["FILES"]))


@app.get("/where")
async def where(request: Request):
    """The port that it listens on, for whoever wants to ask it without the agent."""
    return {"port": request.scope["server"][1]}


@app.get("/hello")
async def hello(n: int = 0):
    return {"app": "fastapi", "n": n}


@app.post("/echo")
async def echo(request: Request):
    """The body is digested as it comes, never held whole."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


@app.get("/download")
async def download(size: int):
    """`size` bytes, counting up from 0 to 255 over and over; the length is declared."""

    async def body():
        left = size
        while left > 0:
            yield BLOCK[: min(left, len(BLOCK))]
            left -= len(BLOCK)

    headers = {"content-length": str(size)}
    return StreamingResponse(body(), media_type="application/octet-stream", headers=headers)


@app.get("/slow")
async def slow(ms: int):
    await asyncio.sleep(min(ms, SLOW_MS_MAX) / 1000)
    return {"slept_ms": ms}


@app.get("/status/{code}")
async def status(code: int):
    return JSONResponse({"status": code}, status_code=code)


@app.get("/sse")
async def sse():
    async def events():
        for n in range(EVENTS):
            yield f"id: {n}\ndata: event {n}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


@app.get("/steps")
async def steps():
    """Each event but the first is sent only when /step was asked for: what is held back on the way never goes on."""

    async def events():
        for n in range(EVENTS):
            if n > 0:
                await step.acquire()
            yield f"id: {n}\ndata: step {n}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


@app.post("/step")
async def next_step():
    step.release()
    return {}


@app.get("/encoded/{coding}")
async def encoded(coding: str):
    """A body under a Content-Encoding; what is not gzip stands for one that nobody knows."""
    body = gzip.compress(BLOCK * 4, mtime=0) if coding == "gzip" else BLOCK[::-1]
    headers = {"content-encoding": coding, "vary": "Accept-Encoding", "x-two": "b"}
    response = Response(body, media_type="text/plain", headers=headers)
    response.headers.append("X-Two", "a")
    return response


@app.post("/orphan")
async def orphan():
    """Leaves a process behind that nobody here waits for: it ends as a child of process 1."""
    subprocess.run(["sh", "-c", "sh -c 'exec true' & exec true"], check=True)
    return {}


@app.get("/closes")
async def closed():
    """The close codes that websockets ended with, as the app heard them."""
    return closes


@app.websocket("/ws")
async def websocket(socket: WebSocket):
    await socket.accept()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            closes.append(message.get("code"))
            return
        if (message.get("text") or "").startswith(CLOSE):
            await socket.close(int(message["text"].removeprefix(CLOSE)), "as you wish")
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        elif message.get("bytes") is not None:
            await socket.send_bytes(message["bytes"])
