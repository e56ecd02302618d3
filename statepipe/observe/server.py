"""
The endpoint that Prometheus scrapes: GET /metrics, GET /healthz, and nothing else.

    address_of  HOST:PORT as people write it
    tls_context a certificate and its key
    Endpoint    listens in a thread of its own, answers each connection in another

No client can hold up another one. The accept loop takes connections and does nothing else,
TLS handshakes included; a connection that is not done after CONNECTION_MS_MAX is cut,
however busily it drips; and there are at most CONNECTIONS_MAX.
"""

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Any, Final, NamedTuple, Self

from statepipe.errors import UsageError
from statepipe.observe.access import Users

CONNECTIONS_MAX: Final = 32
_WAITING_MAX: Final = 128
#: For all of one connection: the handshake, the request, the scrape, the answer.
CONNECTION_MS_MAX: Final = 20_000
#: For a client to send the next bytes of its request, or to take the answer.
_PATIENCE_S: Final = 10
_LOOK_S: Final = 0.25
_NS_A_MS: Final = 1_000_000
_PORT_MAX: Final = 65_535

#: From the value of an Accept header to a content type and a body.
Scrape = Callable[[str], tuple[str, bytes]]


class Address(NamedTuple):
    """Where to listen; port 0 is any that is free."""

    host: str
    port: int


def address_of(text: str) -> Address:
    """
    Return the address that `text` names: HOST:PORT, with an IPv6 address in brackets.

    Raises:
        UsageError: It names no host, so that it would not be clear who can reach it, or no port.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit()) or int(port) > _PORT_MAX:
        raise _refusal(
            f"{text!r} is not HOST:PORT",
            next_step="--listen 127.0.0.1:9464, or 0.0.0.0:9464 to be reached from elsewhere",
        )
    return Address(host, int(port))


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """
    Return what serves TLS 1.2 or newer with a certificate chain and its key, PEM files.

    Raises:
        UsageError: One of them cannot be read, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise _refusal(
            f"{cert} and {key} cannot be used: {reason}",
            next_step="--tls-cert CHAIN.pem --tls-key KEY.pem, the key without a password",
        ) from None
    return context


class Endpoint:
    """
    Serves until it is closed.

    Args:
        address: Where to listen.
        scrape: Returns the metrics. Called by many threads at a time.
        tls: To serve HTTPS, and only that.
        users: Who may scrape; None for everybody. /healthz needs no password.
        connection_ms_max: As CONNECTION_MS_MAX; a test may be less patient.

    Attributes:
        url: Where it is reached, without a path.

    Raises:
        UsageError: The address cannot be listened on.
    """

    def __init__(
        self,
        address: Address,
        scrape: Scrape,
        *,
        tls: ssl.SSLContext | None = None,
        users: Users | None = None,
        connection_ms_max: int = CONNECTION_MS_MAX,
    ) -> None:
        self._duty: Any = _Duty(scrape, users)  # the handler calls it its server
        self._tls = tls
        self._life_ns = connection_ms_max * _NS_A_MS
        self._free = BoundedSemaphore(CONNECTIONS_MAX)
        self._closing = Event()
        self._lock = Lock()
        self._ends_ns: dict[socket.socket, int] = {}
        self._listener = _listening(address)
        host = f"[{address.host}]" if ":" in address.host else address.host
        port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{port}"
        self._thread = Thread(target=self._accept, name="metrics", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; answers under way are cut off."""
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # accept() returns at once
        self._thread.join()
        self._listener.close()
        self._cut(before_ns=None)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                pass
            except OSError:  # no descriptor left, for example: somebody will give one back
                self._closing.wait(_LOOK_S)
            else:
                self._begin(connection)
            self._cut(before_ns=time.perf_counter_ns())

    def _begin(self, connection: socket.socket) -> None:
        if not self._free.acquire(blocking=False):
            connection.close()
            return
        thread = Thread(target=self._serve, args=(connection,), name="scrape", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread left; this client tries again
            connection.close()
            self._free.release()

    def _serve(self, connection: socket.socket) -> None:
        end_ns = time.perf_counter_ns() + self._life_ns
        try:
            # An OSError: it went, was too slow, or speaks no TLS. That is its loss alone.
            with closing(connection), suppress(OSError):
                connection.settimeout(_PATIENCE_S)
                self._watch(connection, end_ns=end_ns)
                if self._tls is None:
                    self._answer(connection)
                else:
                    self._answer_safely(connection, self._tls, end_ns=end_ns)
        finally:
            self._watch(connection, end_ns=None)
            self._free.release()

    def _answer_safely(
        self, connection: socket.socket, tls: ssl.SSLContext, *, end_ns: int
    ) -> None:
        # Not in the accept loop, where prometheus-client does it: a client that connects
        # and says nothing would then stop every scrape.
        secure = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            with closing(secure):
                self._watch(secure, end_ns=end_ns)
                secure.do_handshake()
                self._answer(secure)
        finally:
            self._watch(secure, end_ns=None)

    def _answer(self, connection: socket.socket) -> None:
        _Handler(connection, ("", 0), self._duty)

    def _watch(self, connection: socket.socket, *, end_ns: int | None) -> None:
        with self._lock:
            if end_ns is None:
                self._ends_ns.pop(connection, None)
            else:
                self._ends_ns[connection] = end_ns

    def _cut(self, *, before_ns: int | None) -> None:
        """Cut connections whose time was over `before_ns`, or all; their threads then end."""
        with self._lock:
            for connection, end_ns in self._ends_ns.items():
                if before_ns is None or end_ns <= before_ns:
                    # Of the plain socket: TLS would first want to say goodbye, and wait.
                    with suppress(OSError):
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Duty(NamedTuple):
    scrape: Scrape
    users: Users | None


class _Handler(BaseHTTPRequestHandler):
    """One request, one answer, and the end: HTTP/1.0, as an idle connection holds a thread."""

    server: Any  # a _Duty

    def do_GET(self) -> None:
        """Answer a scrape or a probe."""
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._say(HTTPStatus.OK, "ok")
        elif path != "/metrics":
            self._say(HTTPStatus.NOT_FOUND, "there are /metrics and /healthz")
        elif not self._is_admitted():
            self._say(
                HTTPStatus.UNAUTHORIZED,
                "a user and a password are needed",
                ("WWW-Authenticate", 'Basic realm="statepipe", charset="UTF-8"'),
            )
        else:
            self._scrape()

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002  (its page of HTML)
    ) -> None:
        """Refuse what is no GET, or no HTTP."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, "only GET", ("Allow", "GET"))
        else:
            self._say(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        """Say nothing: a scrape is no news, and a request may carry a password."""

    def version_string(self) -> str:
        """Return who answers, and not by which Python."""
        return "statepipe"

    def _is_admitted(self) -> bool:
        users = self.server.users
        return users is None or users.admits(self.headers.get("Authorization", ""))

    def _scrape(self) -> None:
        try:
            content_type, body = self.server.scrape(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001  (a defect; the scraper shall see that it is one)
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"a defect: {type(error).__name__}")
            return
        self._send(HTTPStatus.OK, content_type, body)

    def _say(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        self._send(status, "text/plain; charset=utf-8", f"{text}\n".encode(), *headers)

    def _send(
        self, status: HTTPStatus, content_type: str, body: bytes, *headers: tuple[str, str]
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _listening(address: Address) -> socket.socket:
    try:
        family, *_, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(place[:2], family=family, backlog=_WAITING_MAX)
    except OSError as error:
        raise _refusal(
            f"{address.host}:{address.port} cannot be listened on: {error.strerror}",
            next_step="--listen 127.0.0.1:0   # any free port; ss -ltnp shows who has that one",
        ) from None
    listener.settimeout(_LOOK_S)
    return listener


def _no_password() -> str:
    """Answer OpenSSL, which would otherwise ask at the terminal."""
    return ""


def _refusal(message: str, *, next_step: str) -> UsageError:
    return UsageError(message, meaning="nothing was served", next_step=next_step)
