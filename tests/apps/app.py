"""The FastAPI app that the tests put behind Outrigger.

ACCESS_LOG names a file that gets one line a request, written when the request has come to the app: a request that was
lost on the way has no line, one that the app took has one. The same routes are in server.js.
"""

import asyncio
import hashlib
import os

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse

BLOCK = bytes(range(256)) * 256  # 64 KiB
EVENTS = 5
SLOW_MS_MAX = 10_000


class AccessLog:
    """Plain ASGI, for a middleware that buffers would hide what the tests look for."""

    def __init__(self, app):
        self.app = app
        path = os.environ.get("ACCESS_LOG", os.devnull)
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            os.write(self.fd, f"{scope['method']} {scope['path']}\n".encode())
        elif scope["type"] == "websocket":
            os.write(self.fd, f"WEBSOCKET {scope['path']}\n".encode())
        await self.app(scope, receive, send)


app = FastAPI()
app.add_middleware(AccessLog)


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


@app.websocket("/ws")
async def websocket(socket: WebSocket):
    await socket.accept()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        elif message.get("bytes") is not None:
            await socket.send_bytes(message["bytes"])
