"""
What listens: connections taken in a thread of its own, each answered in another.

    address_of  HOST:PORT as people write it
    tls_context a certificate and its key; tls_of, by the options that name them
    Listener    takes connections until it is closed

No client can hold up another one. The accept loop takes connections and does nothing else,
TLS handshakes included; a connection that is not done after CONNECTION_MS_MAX is cut,
however busily it drips; and there are at most CONNECTIONS_MAX.
"""

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Final, NamedTuple, Self

from statepipe.errors import UsageError

CONNECTIONS_MAX: Final = 32
_WAITING_MAX: Final = 128
#: For all of one connection: the handshake, the request, the scrape, the answer.
CONNECTION_MS_MAX: Final = 20_000
#: For a client to send the next bytes of its request, or to take the answer.
_PATIENCE_S: Final = 10
_LOOK_S: Final = 0.25
_NS_A_MS: Final = 1_000_000
_PORT_MAX: Final = 65_535


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


def tls_of(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """
    Return `tls_context` of two files as options name them; None if neither is named.

    Raises:
        UsageError: One is named without the other, or as `tls_context`.
    """
    if cert and key:
        return tls_context(Path(cert), Path(key))
    if cert or key:
        raise _refusal(
            "a certificate needs its key, and a key its certificate",
            next_step="--tls-cert CHAIN.pem --tls-key KEY.pem",
        )
    return None


class Listener:
    """
    Takes connections until it is closed.

    Args:
        address: Where to listen.
        answer: Reads one request from a connection and answers it. Called by many threads at a
            time; an OSError of it is its client's loss alone.
        tls: To speak TLS, and only that.
        connection_ms_max: As CONNECTION_MS_MAX; a test may be less patient.

    Attributes:
        url: Where it is reached, without a path.

    Raises:
        UsageError: The address cannot be listened on.
    """

    def __init__(
        self,
        address: Address,
        answer: Callable[[socket.socket], object],
        *,
        tls: ssl.SSLContext | None = None,
        connection_ms_max: int = CONNECTION_MS_MAX,
    ) -> None:
        self._answer = answer
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
        self._thread = Thread(target=self._accept, name="listener", daemon=True)
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
        thread = Thread(target=self._serve, args=(connection,), name="answer", daemon=True)
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
