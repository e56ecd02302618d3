"""
An S3 server on loopback, the real protocol over real sockets, that can be made to misbehave.

    serving         run one for a `with` block
    S3              its buckets, who asked for what, and what is to go wrong
    refusing, cut   what may go wrong with an answer
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import fsspec
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

KEY: Final = "AKIA4NOT2BE2SEEN"
SECRET: Final = "not/to+be=seen-anywhere"

_Environ = dict[str, Any]
_Start = Callable[..., Any]
App = Callable[[_Environ, _Start], Iterable[bytes]]


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    query: str
    range: str | None


class Handler(MotoRequestHandler):
    """Says nothing of each request."""

    def log_request(self, *_: object) -> None:
        """Say nothing."""


class S3:
    """
    The server.

    Attributes:
        url: Its address.
        asked: The requests that came, in order.
        fault: Makes an answer go wrong: is given each request, returns who answers it, or None.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.fault: Callable[[Asked], Callable[[App], App] | None] | None = None
        self._app: App = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: _Environ, start: _Start) -> Iterable[bytes]:
        """Answer a request."""
        asked = Asked(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            environ.get("HTTP_RANGE"),
        )
        self.asked.append(asked)
        wrap = self.fault(asked) if self.fault is not None else None
        return (wrap(self._app) if wrap is not None else self._app)(environ, start)

    def place(self) -> Any:  # noqa: ANN401  (fsspec has no types)
        """Return its files, for the test to write to."""
        return fsspec.filesystem(
            "s3", key=KEY, secret=SECRET, endpoint_url=self.url, use_listings_cache=False
        )

    def storage_options(self) -> dict[str, Any]:
        """Return how a source is told of it; it asks once, not as often as it would."""
        return {
            "key": "env:S3_KEY",
            "secret": "env:S3_SECRET",
            "endpoint_url": self.url,
            "config_kwargs": {"retries": {"max_attempts": 0}},
        }


@contextmanager
def serving() -> Iterator[S3]:
    """Run a server for a `with` block."""
    s3 = S3()
    server = make_server("127.0.0.1", 0, s3, threaded=True, request_handler=Handler)
    s3.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusing(status: str, code: str) -> Callable[[App], App]:
    """Answer with an error of S3, such as "403 Forbidden", "AccessDenied"."""
    body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()

    def answer(_environ: _Environ, start: _Start) -> Iterable[bytes]:
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if _environ["REQUEST_METHOD"] == "HEAD" else [body]

    return lambda _app: answer


def cut(app: App) -> App:
    """Hang up in the middle of the body."""

    def answer(environ: _Environ, start: _Start) -> Iterable[bytes]:
        whole = b"".join(app(environ, start))
        return [whole[: len(whole) // 2]]

    return answer
