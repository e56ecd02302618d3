"""
The endpoint that outside systems call back at: POST /callbacks, GET nothing.

    CallbackEndpoint    takes callbacks until it is closed
    Call                what one of them says
    Answer              what it is told

A call is JSON: {"token": …, "event": …, "params": {…}}, all but the token optional; the token may
come as `Authorization: Bearer …` instead. Nothing of it is logged, and no answer repeats it.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from socket import socket
from typing import Any, Final, NamedTuple

from statepipe.errors import UsageError
from statepipe.observe.listening import Address, Listener
from statepipe.observe.server import Handler

BODY_BYTES_MAX: Final = 131_072
_DISCARDED_MAX: Final = 8 * BODY_BYTES_MAX
_FIELDS: Final = ("token", "event", "params")


class Call(NamedTuple):
    """A callback: `event` is None if it names none."""

    token: str
    event: str | None
    params: Mapping[str, Any]


class Answer(NamedTuple):
    """An HTTP status, and what is said with it."""

    status: int
    said: Mapping[str, Any]


#: What becomes of a callback; called by many threads at a time.
Take = Callable[[Call], Answer]


class CallbackEndpoint(Listener):
    """
    Takes callbacks until it is closed.

    Args:
        address: Where to listen; without TLS on this machine alone, as a token must not be seen.
        take: What becomes of each.
        tls: To serve HTTPS, and only that.

    Raises:
        UsageError: The address cannot be listened on, or is open to others without TLS.
    """

    def __init__(self, address: Address, take: Take, *, tls: ssl.SSLContext | None = None) -> None:
        if tls is None and not _is_loopback(address.host):
            raise UsageError(
                f"{address.host} can be reached from elsewhere, and tokens would go there in plain",
                meaning="nothing was served",
                next_step="--callbacks-tls-cert CHAIN.pem --callbacks-tls-key KEY.pem,"
                " or --callbacks-listen 127.0.0.1:8765 behind a proxy that speaks TLS",
            )
        duty: Any = take  # the handler calls it its server

        def answer(connection: socket) -> None:
            _Called(connection, ("", 0), duty)

        super().__init__(address, answer, tls=tls)


class _BadCallError(Exception):
    """A request that is no callback: a status, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Called(Handler):
    """A callback."""

    server: Any  # a Take
    method = "POST"

    def do_POST(self) -> None:  # noqa: N802  (its name there)
        """Take a callback, and say what became of it."""
        try:
            answer = self.server(self._call())
        except _BadCallError as error:
            answer = Answer(error.status, {"error": str(error)})
        except Exception as error:  # noqa: BLE001  (a defect; the caller shall see that it is one)
            said = {"error": f"a defect: {type(error).__name__}"}
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, said)
        body = json.dumps(dict(answer.said)).encode() + b"\n"
        self.send(HTTPStatus(answer.status), "application/json", body)

    def _call(self) -> Call:
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit()):
            raise _BadCallError(HTTPStatus.LENGTH_REQUIRED, "say Content-Length")
        if int(size) > BODY_BYTES_MAX:
            self.rfile.read(min(int(size), _DISCARDED_MAX))  # or it might not hear the answer
            raise _BadCallError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a call has {BODY_BYTES_MAX:,} bytes at most"
            )
        body = self.rfile.read(int(size))
        if self.path.partition("?")[0] != "/callbacks":
            raise _BadCallError(HTTPStatus.NOT_FOUND, "there is /callbacks")
        return _read(body, self.headers.get("Authorization", ""))


def _read(body: bytes, authorization: str) -> Call:
    try:
        said = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise _BadCallError(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None
    if not isinstance(said, dict) or (unknown := [key for key in said if key not in _FIELDS]):
        what = f"unknown field {unknown[0]!r}" if isinstance(said, dict) else "no object"
        fields = ", ".join(_FIELDS)
        raise _BadCallError(HTTPStatus.BAD_REQUEST, f"{what}; the fields are {fields}")
    scheme, _, bearer = authorization.partition(" ")
    token = said.get("token") or (bearer.strip() if scheme.lower() == "bearer" else None)
    event, params = said.get("event"), said.get("params", {})
    for what, value, kind in (("token", token, str), ("params", params, dict)):
        if not isinstance(value, kind):
            raise _BadCallError(HTTPStatus.BAD_REQUEST, f"{what} is missing, or of another type")
    if not isinstance(event, str | None):
        raise _BadCallError(HTTPStatus.BAD_REQUEST, "event is of another type")
    return Call(str(token), event, params)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
