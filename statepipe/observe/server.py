"""
The endpoint that Prometheus scrapes: GET /metrics, GET /healthz, and nothing else.

    Endpoint    answers scrapes until it is closed
    Handler     one request and its answer, for whatever is served
"""

import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

from statepipe.observe.access import Users
from statepipe.observe.listening import CONNECTION_MS_MAX, Address, Listener

#: From the value of an Accept header to a content type and a body.
Scrape = Callable[[str], tuple[str, bytes]]


class Endpoint(Listener):
    """
    Serves metrics until it is closed.

    Args:
        address: Where to listen.
        scrape: Returns the metrics. Called by many threads at a time.
        tls: To serve HTTPS, and only that.
        users: Who may scrape; None for everybody. /healthz needs no password.
        connection_ms_max: As of a `Listener`.

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
        duty: Any = _Duty(scrape, users)  # the handler calls it its server

        def answer(connection: socket.socket) -> None:
            _Scraped(connection, ("", 0), duty)

        super().__init__(address, answer, tls=tls, connection_ms_max=connection_ms_max)


class _Duty(NamedTuple):
    scrape: Scrape
    users: Users | None


class Handler(BaseHTTPRequestHandler):
    """One request, one answer, and the end: HTTP/1.0, as an idle connection holds a thread."""

    method = "GET"

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002  (its page of HTML)
    ) -> None:
        """Refuse what is of another method, or no HTTP."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self.say(HTTPStatus.METHOD_NOT_ALLOWED, f"only {self.method}", ("Allow", self.method))
        else:
            self.say(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        """Say nothing: it is no news, and a request may carry a password."""

    def version_string(self) -> str:
        """Return who answers, and not by which Python."""
        return "statepipe"

    def say(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        """Answer with a line of text."""
        self.send(status, "text/plain; charset=utf-8", f"{text}\n".encode(), *headers)

    def send(
        self, status: HTTPStatus, content_type: str, body: bytes, *headers: tuple[str, str]
    ) -> None:
        """Answer with a body of any type."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Scraped(Handler):
    """A scrape, or a probe."""

    server: Any  # a _Duty

    def do_GET(self) -> None:
        """Answer a scrape or a probe."""
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self.say(HTTPStatus.OK, "ok")
        elif path != "/metrics":
            self.say(HTTPStatus.NOT_FOUND, "there are /metrics and /healthz")
        elif not self._is_admitted():
            self.say(
                HTTPStatus.UNAUTHORIZED,
                "a user and a password are needed",
                ("WWW-Authenticate", 'Basic realm="statepipe", charset="UTF-8"'),
            )
        else:
            self._scrape()

    def _is_admitted(self) -> bool:
        users = self.server.users
        return users is None or users.admits(self.headers.get("Authorization", ""))

    def _scrape(self) -> None:
        try:
            content_type, body = self.server.scrape(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001  (a defect; the scraper shall see that it is one)
            self.say(HTTPStatus.INTERNAL_SERVER_ERROR, f"a defect: {type(error).__name__}")
            return
        self.send(HTTPStatus.OK, content_type, body)
