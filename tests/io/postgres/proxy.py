"""
A wire between a destination and its server that is cut at COMMIT.

    Proxy       passes everything on, and does to each COMMIT what it is told
    Cut         what that can be
"""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

#: A simple query of the protocol: type, length of what follows with itself, text, NUL.
_COMMIT: Final = b"Q\x00\x00\x00\x0bCOMMIT\x00"

_CHUNK: Final = 65_536


class Cut(Enum):
    """What happens to a COMMIT."""

    NO = "it passes"
    BEFORE = "the wire is cut before it reaches the server"
    AT_ONCE = "the wire is cut as soon as it was sent on"
    AFTER = "the wire is cut when the server has answered, and the answer is lost"
    KILL = "the server's process is killed while it commits"


class Proxy:
    """
    Listens on a free port of the loopback interface.

    Args:
        port: The server's port.
        cut: Says what is done to the next COMMIT.
        kill: Kills the server's processes of our sessions.
    """

    def __init__(self, port: int, *, cut: Callable[[], Cut], kill: Callable[[], None]) -> None:
        self.commits = 0
        self.cuts = 0
        self._server = ("127.0.0.1", port)
        self._cut = cut
        self._kill = kill
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for end in list(self._ends):
            _shut(end)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            self._ends |= {client, server}
            is_answer_lost = threading.Event()
            answers = threading.Thread(
                target=self._answers, args=(server, client, is_answer_lost), daemon=True
            )
            answers.start()
            with suppress(OSError):
                while data := client.recv(_CHUNK):
                    if not data.endswith(_COMMIT):
                        server.sendall(data)
                    elif self._is_cut(data, server, is_answer_lost):
                        break
            if is_answer_lost.is_set():
                answers.join()
            _shut(client)
            _shut(server)
            answers.join()
            self._ends -= {client, server}

    def _is_cut(self, data: bytes, server: socket.socket, is_answer_lost: threading.Event) -> bool:
        """Do to a COMMIT what is to be done; return True if the wire is to be cut."""
        self.commits += 1
        cut = self._cut()
        self.cuts += cut is not Cut.NO
        if cut is Cut.AFTER:
            is_answer_lost.set()
        if cut is not Cut.BEFORE:
            server.sendall(data)
        if cut is Cut.KILL:
            self._kill()
        return cut in {Cut.BEFORE, Cut.AT_ONCE, Cut.AFTER}

    @staticmethod
    def _answers(
        server: socket.socket, client: socket.socket, is_answer_lost: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if is_answer_lost.is_set():
                    return
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting(
    port: int, cuts: Iterator[Cut], *, kill: Callable[[], None] = lambda: None
) -> Iterator[Proxy]:
    """Yield a proxy that takes what it does from `cuts`, and lets pass when they are used up."""
    endless = itertools.chain(cuts, itertools.repeat(Cut.NO))
    proxy = Proxy(port, cut=lambda: next(endless), kill=kill)
    try:
        yield proxy
    finally:
        proxy.close()
