"""
A web server on loopback that says exactly the bytes it is told to, and remembers who asked when.

    serving     run a server for a `with` block
    Web         its address, and the requests that came
    Request     what was asked, and when
    Reply       what to answer, whole or broken
    as_json     a reply with a JSON body
"""

import json
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

#: Nothing here takes so long, in seconds.
_BOUND_S = 30


class Request(NamedTuple):
    """
    One request.

    Attributes:
        target: Path and query, as they came.
        path: The path.
        query: The query, by name.
        headers: The headers, names in lower case.
        at_s: When it came, by the wall clock, in seconds since 1970.
        at_once: How many requests of this path were open then, itself included.
        in_all: How many of any path were.
        method: "GET", "POST" or "HEAD", which is to be answered without a body.
        body: What was posted.
    """

    target: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    at_s: float
    at_once: int
    in_all: int
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    What to answer.

    Attributes:
        status: Its status.
        headers: Its headers; Content-Length and Content-Type are set unless given. None as
            a value leaves a header out.
        body: Its body.
        cut: Send so many bytes of the body, then hang up.
        reset: Hang up with a reset, where `cut` says, or before anything was sent.
        chunked: Send it in two chunks.
        stall_s: Seconds of silence in the middle of the body.
        drip_s: Seconds between two bytes of the body.
    """

    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    chunked: bool = False
    stall_s: float = 0
    drip_s: float = 0


Answering = Callable[[Request], Reply]


def as_json(value: Any, **more: Any) -> Reply:  # noqa: ANN401  (any JSON; fields of Reply)
    """Return a reply with `value` as its body."""
    return Reply(body=json.dumps(value).encode(), **more)


class Web:
    """
    A server.

    Attributes:
        url: Its address, without a slash at the end.
        requests: What was asked, in order.
    """

    def __init__(self, answer: Answering) -> None:
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._answer = answer
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self.server = _Server(self)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def enter(self, handler: BaseHTTPRequestHandler) -> Reply | None:
        """Note a request; return what to answer, None if who asked has gone already."""
        parts = urlsplit(handler.path)
        now_s = time.time()  # noqa: TID251  (the wall clock is what Retry-After is about)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        if _watch(handler.connection).poll(0):
            return None  # killed before the request was looked at: nobody will hear the answer
        with self._lock:
            self._open[parts.path] += 1
            request = Request(
                handler.path,
                parts.path,
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in handler.headers.items()},
                now_s,
                self._open[parts.path],
                self._open.total(),
                handler.command,
                body,
            )
            self.requests.append(request)
            return self._answer(request)

    def leave(self, handler: BaseHTTPRequestHandler) -> None:
        """Note that a request was answered, or that who asked has gone."""
        with self._lock:
            self._open[urlsplit(handler.path).path] -= 1


def _watch(connection: socket.socket) -> select.poll:
    """Return what notices that the other side has hung up."""
    gone = select.poll()
    gone.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return gone


@contextmanager
def serving(answer: Answering, *, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve what `answer` says, in threads; over https with a context for it."""
    web = Web(answer)
    if tls is not None:
        web.server.socket = tls.wrap_socket(web.server.socket, server_side=True)
        web.url = web.url.replace("http:", "https:")
    thread = threading.Thread(target=web.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        web.stopping.set()
        web.server.shutdown()
        thread.join(_BOUND_S)
        web.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, web: Web) -> None:
        self.web = web
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  (whatever is passed on)
        """Say nothing: who asks is killed in the middle, on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _BOUND_S
    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        web = self.server.web
        reply = web.enter(self)
        if reply is None:
            self.close_connection = True
            return
        try:
            with suppress(OSError):
                self._say(reply, web.stopping)
        finally:
            web.leave(self)

    do_POST = do_HEAD = do_GET  # noqa: N815  (the server's spelling)

    def handle(self) -> None:
        """Serve one connection; who hangs up is no error."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  (whatever is passed on)
        """Say nothing."""

    def _say(self, reply: Reply, stopping: threading.Event) -> None:
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        if reply.reset and reply.cut is None:
            self._reset()
            return
        head = self._head(reply)
        if reply.chunked:
            middle = len(reply.body) // 2
            halves = (reply.body[:middle], reply.body[middle:])
            whole = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
            body = whole if reply.cut is None else whole[: reply.cut]
        if reply.stall_s or reply.drip_s:
            self._say_slowly(head, body, reply, stopping)
        else:
            self.connection.sendall(head + body)  # one write: two would wait for each other
        if reply.reset:
            self._reset()
        elif reply.cut is not None:
            self.close_connection = True

    def _head(self, reply: Reply) -> bytes:
        headers: dict[str, str | None] = {"Content-Type": "application/json"}
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(reply.body))
        headers |= reply.headers
        if "Content-Length" in reply.headers and headers["Content-Length"] is None:
            self.close_connection = True
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Odd')}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _say_slowly(
        self, head: bytes, body: bytes, reply: Reply, stopping: threading.Event
    ) -> None:
        self.connection.sendall(head)
        if reply.drip_s:
            for byte in body:
                self.connection.sendall(bytes([byte]))
                if self._waits(reply.drip_s, stopping):
                    return
            return
        self.connection.sendall(body[: len(body) // 2])
        if not self._waits(reply.stall_s, stopping):
            self.connection.sendall(body[len(body) // 2 :])

    def _waits(self, seconds: float, stopping: threading.Event) -> bool:
        """Be silent; return True as soon as who asked has hung up, or the server is to stop."""
        gone = _watch(self.connection)
        ends = time.monotonic() + seconds  # noqa: TID251  (a real silence on a real wire)
        while (left := ends - time.monotonic()) > 0:  # noqa: TID251  (it measures, or bounds a wait for others)
            if gone.poll(min(left, 0.02) * 1000) or stopping.is_set():
                self.close_connection = True
                return True
        return False

    def _reset(self) -> None:
        """Close so that the other side gets a reset, not an end."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True
