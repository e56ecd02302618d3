"""
The other side of a webhook, on loopback: answers as it is told, and remembers what it was sent.

    Receiver    a server; each request takes the next of its answers, the last one for ever
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Request(NamedTuple):
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


#: An answer: bytes to send, or something else to do with the connection.
Answer = bytes | Callable[[socket.socket, threading.Event], None]


class Receiver:
    """Listens on a free port of loopback; see `receiving`."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[Request] = []
        self.came = threading.Event()
        self._answers = list(answers) or [OK]
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._thread(self._accept)

    @property
    def url(self) -> str:
        """Its address, with a path and a query."""
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    def close(self) -> None:
        """Listen no more, and let go whoever it holds up."""
        self._closing.set()
        # Closing alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _thread(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(ConnectionError):  # whoever asked may be killed meanwhile
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            line = stream.readline().decode("latin-1").rstrip()
            headers = {}
            while header := stream.readline().decode("latin-1").rstrip():
                name, _, value = header.partition(": ")
                headers[name.lower()] = value
            length = int(headers.get("content-length", "0"))
            body = stream.read(length)
            if not line or len(body) < length:
                return  # whoever began to send it is gone
            self.requests.append(Request(line, headers, body))
            self.came.set()
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                answer(connection, self._closing)


@contextmanager
def receiving(*answers: Answer) -> Iterator[Receiver]:
    """Run a receiver for as long as the block takes."""
    receiver = Receiver(*answers)
    try:
        yield receiver
    finally:
        receiver.close()


def status(line: str, *headers: str) -> bytes:
    """Return an empty answer of some status, such as "503 Service Unavailable"."""
    lines = [f"HTTP/1.1 {line}", "Content-Length: 0", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def hang(_connection: socket.socket, closing: threading.Event) -> None:
    """Say nothing for as long as the test takes."""
    closing.wait()


def reset(connection: socket.socket, _closing: threading.Event) -> None:
    """Break the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drip(connection: socket.socket, closing: threading.Event) -> None:
    """Send a byte of a header now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not closing.wait(0.02):
        try:
            connection.sendall(b"x")
        except OSError:
            return
