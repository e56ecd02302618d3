"""
A Pushgateway on loopback, as far as a test needs one.

    running     a gateway while a block goes on
    Asked       one request that it got
"""

from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple


class Asked(NamedTuple):
    """One request that the gateway got."""

    method: str
    path: str
    authorization: str | None
    body: bytes


class Gateway(ThreadingHTTPServer):
    """A gateway on loopback that keeps what it is asked, and answers as a test wants."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.status = 202
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        authorization = self.headers["Authorization"]
        self.server.asked.append(Asked(self.command, self.path, authorization, body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"as the gateway says\n")

    do_PUT = do_DELETE = _answer  # noqa: N815  (http.server looks for these names)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running() -> Generator[Gateway]:
    """Run a gateway."""
    with Gateway() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
