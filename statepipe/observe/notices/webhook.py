"""
A webhook: the notice as JSON in one POST, by the standard library alone.

Any status from 200 to 299 says that it arrived. Redirects are not followed: whoever answers
for a host must not send our facts to another. Proxies of the environment are not used.
"""

import base64
import http.client
import socket
import ssl
import threading
from contextlib import closing, suppress
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from statepipe.clock import SystemClock
from statepipe.observe.notices.letter import Letter, Undelivered
from statepipe.policy import DURATION_MS_MAX
from statepipe.retryafter import retry_after_s

_OK: Final = range(200, 300)
_MOVED: Final = range(300, 400)


def post(url: str, letter: Letter, *, timeout_ms: int) -> None:
    """
    Send the body of `letter` to `url`, with its key as the `Idempotency-Key`.

    Args:
        url: An http or https URL that was checked; a login in it is sent as Basic auth.
        letter: What to say.
        timeout_ms: How long connecting may take, and how long everything after it.

    Raises:
        Undelivered: The answer is no success, or there is none.
    """
    parts = urlsplit(url)
    connection = _connection(parts, timeout_s=timeout_ms / 1_000)
    is_late = threading.Event()
    with closing(connection):
        try:
            connection.connect()
            # The time limit of a socket is for each read: a byte now and then would be
            # enough to hold us for ever.
            watch = threading.Timer(timeout_ms / 1_000, _cut, args=[connection.sock, is_late])
            watch.daemon = True
            watch.start()
            try:
                body = letter.body.encode()
                connection.request("POST", _path(parts), body=body, headers=_headers(parts, letter))
                answer = connection.getresponse()
                answer.close()  # what it says besides its status is not read
            finally:
                watch.cancel()
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not is_late.is_set() and not isinstance(error, TimeoutError):
                # The others' texts may repeat the URL.
                why = f": {error}" if isinstance(error, OSError) else ""
                raise Undelivered(f"no answer: {type(error).__name__}{why}") from None
            is_late.set()
        if is_late.is_set():  # what was cut may look like an answer
            raise Undelivered(f"no answer within {timeout_ms} ms")
        if answer.status in _OK:
            return
        said = f"it answered {answer.status} {answer.reason}".rstrip()
        if answer.status in _MOVED:
            said += ", and redirects are not followed"
        raise Undelivered(said, retry_after_ms=_pause_ms(answer))


def _connection(parts: SplitResult, *, timeout_s: float) -> http.client.HTTPConnection:
    assert parts.hostname is not None, "checked before"
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout_s, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _headers(parts: SplitResult, letter: Letter) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "statepipe",
        "Idempotency-Key": letter.key,
    }
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return headers


def _cut(connected: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    # Of the plain socket below TLS, which must not be touched from another thread.
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _pause_ms(answer: http.client.HTTPResponse) -> int | None:
    """Return the pause that an answer asks for; None if it does not ask."""
    headers = {name.lower(): value for name, value in answer.getheaders()}
    pause_s = retry_after_s(headers, now_ms=SystemClock().now_ms())
    return None if pause_s is None else round(min(pause_s * 1_000, DURATION_MS_MAX))
