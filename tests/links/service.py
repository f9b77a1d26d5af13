"""A Python service whose requests call the leaf, served in every way Python services are.

Paths are /keep|close/PATTERN/item/NUMBER. `python service.py threads` serves with a thread a connection, `asyncio` and
`aiohttp` with an event loop; `application` is what WSGI servers run, `asgi` what ASGI servers run.
"""

import asyncio
import concurrent.futures
import http.client
import http.server
import os
import sys
import threading

LEAF_PORT = int(os.environ["LEAF_PORT"])
PARALLEL = ("/stock", "/price", "/review")

local = threading.local()
pool = concurrent.futures.ThreadPoolExecutor(32)


def call(keep, path):
    if keep:
        connection = getattr(local, "connection", None)
        if connection is None:
            connection = local.connection = http.client.HTTPConnection("127.0.0.1", LEAF_PORT)
        connection.request("GET", path)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", LEAF_PORT)
        connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    answer.read()
    if not keep:
        connection.close()
    return answer.status


def work(path):
    _, mode, pattern, rest = path.split("/", 3)
    keep, item = mode == "keep", "/" + rest
    if pattern == "sequence":
        call(keep, "/stock" + item)
        call(keep, "/price" + item)
    elif pattern == "parallel":
        list(pool.map(lambda what: call(keep, what + item), PARALLEL))
    elif pattern == "retry":
        if call(keep, "/flaky" + item) != 200:
            call(keep, "/flaky" + item)
    return b"done\n"


def application(environ, start_response):
    body = work(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = work(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_threads(port):
    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    Server(("127.0.0.1", port), Handler).serve_forever()


sessions = {}


async def call_async(mode, path):
    import aiohttp

    if mode not in sessions:
        connector = aiohttp.TCPConnector(force_close=mode == "close", limit=0)
        sessions[mode] = aiohttp.ClientSession(f"http://127.0.0.1:{LEAF_PORT}", connector=connector)
    async with sessions[mode].get(path) as answer:
        await answer.read()
        return answer.status


idle = []


async def call_streams(mode, path):
    """With nothing but the standard library."""
    keep = mode == "keep"
    reader, writer = idle.pop() if keep and idle else await asyncio.open_connection("127.0.0.1", LEAF_PORT)
    writer.write(b"GET %s HTTP/1.1\r\nHost: leaf\r\n%s\r\n" % (path.encode(), b"" if keep else b"Connection: close\r\n"))
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0][15:]))
    if keep:
        idle.append((reader, writer))
    else:
        writer.close()
    return int(head[9:12])


async def work_async(path, call_async=call_async):
    _, mode, pattern, rest = path.split("/", 3)
    item = "/" + rest
    if pattern == "sequence":
        await call_async(mode, "/stock" + item)
        await call_async(mode, "/price" + item)
    elif pattern == "parallel":
        await asyncio.gather(*(call_async(mode, what + item) for what in PARALLEL))
    elif pattern == "retry":
        if await call_async(mode, "/flaky" + item) != 200:
            await call_async(mode, "/flaky" + item)
    return b"done\n"


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = await work_async(scope["path"])
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def starlette():
    """Behind a middleware that runs the application in another task than the one that answers."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    async def handle(request):
        return PlainTextResponse(await work_async(request.url.path))

    return Starlette(routes=[Route("/{path:path}", handle)], middleware=[Middleware(Passing)])


def serve_aiohttp(port):
    from aiohttp import web

    async def handle(request):
        return web.Response(body=await work_async(request.path))

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def serve_stream(reader, writer):
    """One task a connection, as asyncio's streams have it."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await work_async(head.split()[1].decode(), call_streams)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            if b"connection: close" in head.lower():
                break
    except asyncio.IncompleteReadError:
        pass
    writer.close()


def serve_asyncio(port):
    async def serve():
        server = await asyncio.start_server(serve_stream, "127.0.0.1", port, backlog=128)
        await server.serve_forever()

    asyncio.run(serve())


def tick():
    import time

    while True:
        time.sleep(0.02)
        call(True, "/tick")


if os.environ.get("BACKGROUND"):
    threading.Thread(target=tick, daemon=True).start()

if __name__ == "__main__":
    port = int(os.environ["PORT"])
    {"threads": serve_threads, "asyncio": serve_asyncio, "aiohttp": serve_aiohttp}[sys.argv[1]](port)
