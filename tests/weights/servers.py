"""A server on loopback that serves one file, well or badly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIPS = {
    "header": ("HTTP/1.1 200 OK\r\n", "X"),
    "continue": ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk": ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n", "0"),
    "body": ("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", "x"),
    "moved": ("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 999\r\n\r\n", "x"),
}


class Server:
    """Answers each request with the next behaviour of a list, and the last one for ever.

    Behaviours: `good`, `cut:N` (breaks off after N bytes), `stall:N` (sends nothing more), `trickle` (a byte now and
    then), `long` (states more bytes than it sends), `short` (states fewer), `silent` (states no size), `huge` (states
    a terabyte), `ignores` (gives the whole file for a range), `wrong` (another range), `moved:URL`, `drip:KEY` (a start
    of `DRIPS`, then a piece now and then), `line:TEXT` (in place of the status), or a status.
    """

    def __init__(self, content: bytes, *behaviours: str, etag: str | None = '"1"') -> None:
        self.content, self.behaviours, self.etag = content, list(behaviours) or ["good"], etag
        self.requests: list[str | None] = []
        self.url = ""

    def next(self) -> str:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a server while the body runs."""
    handler = type("Handler", (_Handler,), {"server_": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/file.pth"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_: Server

    def log_message(self, *_arguments) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802 (the name is the library's)
        server = self.server_
        what, _, number = server.next().partition(":")
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if what == "moved":
            return self._head(302, {"Location": number + self.headers.get("X", ""), "Content-Length": "0"})
        if what.isdigit():
            return self._head(int(what), {"Content-Length": "0"})
        if what in ("drip", "line"):
            return self._drip(*(DRIPS[number] if what == "drip" else (number, "")))
        begin = self._begin(wanted, what)
        body = server.content[begin:]
        if wanted and begin >= len(server.content):
            return self._head(416, {"Content-Length": "0"})
        self._answer(what, int(number or 0), begin, body)

    def _begin(self, wanted: str | None, what: str) -> int:
        same = self.headers.get("If-Range") == self.server_.etag
        return int(wanted.split("=")[1].rstrip("-")) if wanted and same and what != "ignores" else 0

    def _answer(self, what: str, number: int, begin: int, body: bytes) -> None:
        total = len(self.server_.content)
        stated = {"long": len(body) + 50, "short": len(body) // 2, "huge": 1 << 40}.get(what, len(body))
        headers = {} if what == "silent" else {"Content-Length": str(stated)}
        if self.server_.etag:
            headers["ETag"] = self.server_.etag
        if begin:
            first = begin + 1 if what == "wrong" else begin
            headers["Content-Range"] = f"bytes {first}-{total - 1}/{total}"
        self._head(206 if begin else 200, headers)
        try:
            self._body(what, number, body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True

    def _body(self, what: str, number: int, body: bytes) -> None:
        if what == "trickle":
            for byte in body[:100]:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
            return
        self.wfile.write(body[:number] if what in ("cut", "stall") else body)
        self.wfile.flush()
        if what == "stall":
            time.sleep(3)

    def _drip(self, start: str, piece: str) -> None:
        self.close_connection = True
        try:
            self.wfile.write(start.encode())
            for _ in range(100 if piece else 0):
                self.wfile.write(piece.encode())
                self.wfile.flush()
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
