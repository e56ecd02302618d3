"""A webhook: what arrives, what counts as an answer, and how long one is waited for."""

import json
import socket
import threading
from base64 import b64encode

import pytest

from statepipe.clock import SystemClock
from statepipe.observe.notices.letter import Letter, Undelivered
from statepipe.observe.notices.webhook import post
from tests.observe.receiving import Answer, drip, hang, receiving, reset, status

LETTER = Letter("s:1:1:2:failed:oncall", json.dumps({"event": "failed"}))


def refused(url: str, *, timeout_ms: int = 5_000) -> Undelivered:
    """Post, and return why it did not arrive."""
    with pytest.raises(Undelivered) as failure:
        post(url, LETTER, timeout_ms=timeout_ms)
    return failure.value


def test_the_body_arrives_as_json_under_its_key() -> None:
    """A receiver that has seen the key before knows that it is told again."""
    with receiving() as receiver:
        post(receiver.url, LETTER, timeout_ms=5_000)

    (request,) = receiver.requests
    assert request.line == "POST /hook?a=b HTTP/1.1"
    assert request.body == LETTER.body.encode()
    assert request.headers["idempotency-key"] == LETTER.key
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("line", ["200 OK", "202 Accepted", "204 No Content"])
def test_any_success_is_one(line: str) -> None:
    """What a receiver says besides is not read."""
    with receiving(status(line)) as receiver:
        post(receiver.url, LETTER, timeout_ms=5_000)


@pytest.mark.parametrize(
    ("answer", "why", "pause_ms"),
    [
        (status("500 Internal Server Error"), "it answered 500 Internal Server Error", None),
        (status("404 Not Found"), "it answered 404 Not Found", None),
        (status("429 Slow", "Retry-After: 120"), "it answered 429 Slow", 120_000),
        (
            status(
                "503 Later",
                "Date: Thu, 31 Dec 2099 23:58:00 GMT",
                "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT",
            ),
            "503 Later",
            120_000,
        ),
        (status("503 Later", f"Retry-After: {'9' * 308}"), "503 Later", 365 * 86_400_000),
        (status("503 Later", f"Retry-After: {'9' * 5_000}"), "503 Later", None),
        (b"", "no answer: RemoteDisconnected", None),
        (b"SSH-2.0-OpenSSH\r\n", "no answer: BadStatusLine", None),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000, "no answer: LineTooLong", None),
        (reset, "no answer: ConnectionResetError", None),
    ],
)
def test_any_other_answer_is_a_failure_with_its_reason(
    answer: Answer, why: str, pause_ms: int | None
) -> None:
    """The notice is tried again; a receiver may say when."""
    with receiving(answer) as receiver:
        failure = refused(receiver.url)

    assert why in str(failure)
    assert failure.retry_after_ms == pause_ms


def test_a_redirect_is_not_followed() -> None:
    """Whoever answers for a host must not send our facts to another."""
    with (
        receiving() as other,
        receiving(status("307 Temporary Redirect", f"Location: {other.url}")) as receiver,
    ):
        failure = refused(receiver.url)

    assert "it answered 307 Temporary Redirect, and redirects are not followed" in str(failure)
    assert other.requests == []


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_receiver_that_does_not_come_to_an_end_is_not_waited_for(answer: Answer) -> None:
    """Neither one that says nothing, nor one that says a little for ever."""
    clock = SystemClock()
    with receiving(answer) as receiver:
        began_ms = clock.boot_ms()
        failure = refused(receiver.url, timeout_ms=200)
        took_ms = clock.boot_ms() - began_ms

    assert str(failure) == "no answer within 200 ms"
    assert took_ms < 5_000


def test_nobody_there_is_a_failure_too() -> None:
    """A port that nobody listens on."""
    with receiving() as receiver:
        url = receiver.url

    assert "no answer: ConnectionRefusedError" in str(refused(url))


def test_a_login_in_the_url_is_sent_and_never_said() -> None:
    """Basic auth, as every client does it."""
    with receiving(status("401 Unauthorized")) as receiver:
        url = receiver.url.replace("//", "//ann:hunter%2F2@")
        failure = refused(url)

    assert receiver.requests[0].headers["authorization"] == (
        f"Basic {b64encode(b'ann:hunter/2').decode()}"
    )
    assert "hunter" not in str(failure)


def test_what_speaks_no_tls_is_a_failure_without_its_path() -> None:
    """Paths of webhooks are secrets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = threading.Thread(target=_speak_plainly, args=[listener])
        connection.start()
        failure = refused(f"https://127.0.0.1:{listener.getsockname()[1]}/hook")
        connection.join()

    assert "SSL" in str(failure)
    assert "hook" not in str(failure)


def _speak_plainly(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(status("400 Bad Request"))
        connection.recv(65_536)
