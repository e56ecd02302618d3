"""
What an API may answer instead of a page: an error that policies understand, never short data.
"""

import gzip
import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import (
    BadAnswer,
    DataError,
    DefinitionError,
    Fatal,
    TaskCancelled,
    TaskError,
    Throttled,
)
from statepipe.io import rest
from statepipe.io.rest.answers import next_link
from statepipe.io.rest.limits import HttpLimits
from statepipe.io.rest.pages import ByLink, UnusableError
from statepipe.io.rest.source import read_rest
from statepipe.policy import Policy
from statepipe.retryafter import retry_after_s
from statepipe.runtime.failure import names_of
from tests.io.reading import task
from tests.io.web import Reply, Request, as_json, serving

ROWS = [{"n": n, "text": "é" * 50} for n in range(20)]

#: Quick to be silent, so that the tests are.
QUICK = HttpLimits(read_ms=150, total_ms=400)

NOW_MS = 784_111_777_000  # Sun, 06 Nov 1994 08:49:37 GMT
NOW = "Sun, 06 Nov 1994 08:49:37 GMT"


def failure(reply: Reply, **more: Any) -> BaseException:  # noqa: ANN401  (arguments of read_rest)
    """Return what reading an API raises that answers so; it takes nothing."""
    with serving(lambda _: reply) as web:
        source = task()
        with pytest.raises(Exception) as raised:  # noqa: PT011  (the caller looks at it)
            list(read_rest(source, f"{web.url}/rows", **more))
    assert source._rejects == []
    assert f"GET {web.url}/rows: " in str(raised.value)
    return raised.value


BROKEN = {
    "cut": as_json(ROWS, cut=700),
    "cut to nothing": as_json(ROWS, cut=0),
    "cut, no length": as_json(ROWS, cut=700, headers={"Content-Length": None}),
    "cut between records, no length": Reply(body=b'[{"n": 1},', headers={"Content-Length": None}),
    "cut chunks": as_json(ROWS, chunked=True, cut=700),
    "no last chunk": as_json([], chunked=True, cut=4),
    "cut gzip, no length": Reply(
        body=gzip.compress(json.dumps(ROWS).encode()),
        cut=60,
        headers={"Content-Encoding": "gzip", "Content-Length": None},
    ),
    "no gzip": as_json(ROWS, headers={"Content-Encoding": "gzip"}),
    "not JSON": Reply(body=b"<html>Welcome</html>", headers={"Content-Type": None}),
    "HTML": Reply(body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
    "nothing": Reply(body=b""),
    "two documents": Reply(body=b"[] []"),
    "not UTF-8": Reply(body=b'["\xff"]'),
    "a number": as_json(7),
    "500": as_json({}, status=500),
    "503": as_json({}, status=503),
    "408": as_json({}, status=408),
    "202": as_json({}, status=202),
    "204": Reply(status=204),
    "reset": Reply(reset=True),
    "reset in the middle": as_json(ROWS, cut=700, reset=True),
    "silence": as_json(ROWS, stall_s=10),
    "a byte at a time": as_json(ROWS, drip_s=0.02),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_not_a_whole_page_is_tried_again_by_the_default_policy(how: str) -> None:
    """Whatever is broken, nothing of it counts, and the next attempt asks the same again."""
    is_slow = bool(BROKEN[how].stall_s or BROKEN[how].drip_s)

    error = failure(BROKEN[how], **({"limits": QUICK} if is_slow else {}))

    assert isinstance(error, BadAnswer | ConnectionError | TimeoutError), error
    assert Policy().retries(names_of(error))


def test_a_timeout_is_a_timeout_and_a_reset_a_connection_error() -> None:
    """Policies name them so."""
    for how in ("silence", "a byte at a time"):
        assert type(failure(BROKEN[how], limits=QUICK)) is TimeoutError
    assert type(failure(BROKEN["reset"])) is ConnectionError


def test_a_body_that_is_packed_as_nobody_asked_says_how() -> None:
    """Its bytes are no text, and that alone would send people to look at the text."""
    error = failure(Reply(body=b"\x8b\xff[]", headers={"Content-Encoding": "br"}))

    assert "its Content-Encoding is 'br', and gzip and deflate are read" in str(error)


def test_an_api_that_is_not_there_is_a_connection_error() -> None:
    """It may be back later."""
    with serving(lambda _: as_json([])) as web:
        pass

    with pytest.raises(ConnectionError, match="connect error"):
        list(read_rest(task(), web.url))


def test_a_body_cut_anywhere_is_never_a_page() -> None:
    """Even where nothing on the wire says how long it was to be."""
    whole = json.dumps({"items": ROWS, "next": None}).encode()
    cuts = iter(range(0, len(whole), 7))

    def answer(_: Request) -> Reply:
        return Reply(body=whole, cut=next(cuts), headers={"Content-Length": None})

    with serving(answer) as web:
        for _ in range(0, len(whole), 7):
            with pytest.raises(BadAnswer, match="not JSON"):
                list(read_rest(task(), web.url, records="$.items"))

    assert len(web.requests) > 200


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 451, 477, 304, 300])
def test_other_refusals_are_fatal_and_quote_the_answer(status: int) -> None:
    """No retry mends them; what the API said is the best hint there is."""
    error = failure(as_json({"detail": "no\n such thing"}, status=status))

    assert type(error) is Fatal
    assert str(status) in str(error)
    assert ("no\\n such thing" in str(error)) or status == 304


def test_a_quotation_is_short_and_printable() -> None:
    """An error page of 1 MB, or one with escape sequences, does not end up in the store."""
    error = failure(Reply(status=400, body=b"\x1b[2J\x00\xff " + b"x" * 1_000_000))

    assert len(str(error)) < 500
    assert "\x1b" not in str(error)


def test_a_body_larger_than_allowed_is_fatal_before_it_is_in_memory() -> None:
    """Compressed to a thousandth, too: what counts is what it becomes."""
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")

    error = failure(
        Reply(body=bomb, headers={"Content-Encoding": "gzip"}),
        limits=HttpLimits(body_bytes_max=1_000_000),
    )

    assert type(error) is Fatal
    assert "larger than 1000000 bytes" in str(error)


@pytest.mark.parametrize(
    ("reply", "pause_s"),
    [
        (as_json({}, status=429), None),
        (as_json({}, status=429, headers={"Retry-After": "7"}), 7.0),
        (as_json({}, status=503, headers={"Retry-After": "120"}), 120.0),
        (as_json({}, status=403, headers={"Retry-After": "60"}), 60.0),
        (as_json({}, status=202, headers={"Retry-After": "60"}), 60.0),
        (Reply(status=204, headers={"Retry-After": "60"}), 60.0),
        (as_json({}, status=302, headers={"Retry-After": "60"}), 60.0),
        (Reply(status=304, headers={"Retry-After": "60"}), 60.0),
        (
            as_json(
                {}, status=202, headers={"Date": NOW, "Retry-After": NOW.replace("08:49", "08:51")}
            ),
            120.0,
        ),
        (
            as_json(
                {}, status=429, headers={"Date": NOW, "Retry-After": NOW.replace("08:49", "08:51")}
            ),
            120.0,
        ),
        (Reply(body=b"Sorry", headers={"Retry-After": "60", "Content-Type": "text/html"}), 60.0),
        (as_json({"status": "pending"}, headers={"Retry-After": "60"}), 60.0),
        (Reply(body=b'["\xff"]', headers={"Retry-After": "60"}), 60.0),
        (Reply(body=b"Sorry", headers={"Retry-After": "60"}), 60.0),
    ],
)
def test_a_pause_that_is_asked_for_wins(reply: Reply, pause_s: float | None) -> None:
    """In seconds or as a date; the engine keeps it in the store."""
    error = failure(reply)

    assert type(error) is Throttled
    assert error.retry_after == pause_s


@pytest.mark.parametrize("when", ["0", NOW, NOW.replace("1994", "1993")])
@pytest.mark.parametrize("status", [403, 404, 503, 202])
def test_who_may_come_back_at_once_does_so_by_policy(status: int, when: str) -> None:
    """A moment that has just passed on the way is no reason never to come again."""
    error = failure(as_json({}, status=status, headers={"Date": NOW, "Retry-After": when}))

    assert type(error) is Throttled
    assert error.retry_after is None
    assert Policy().retries(names_of(error))


def test_a_pause_that_a_whole_page_asks_for_is_none() -> None:
    """It is not refused, so there is nothing to come back for."""
    with serving(lambda _: as_json(ROWS, headers={"Retry-After": "60"})) as web:
        (batch,) = read_rest(task(), web.url)

    assert batch.records == ROWS


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "60, 120"}, 120.0),
        ({"retry-after": "60, soon"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sun Nov  6 08:49:47 1994"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:27 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT", "date": "?"}, 10.0),
        # A server whose clock is a minute behind ours: its own Date says what it means.
        (
            {
                "retry-after": "Sun, 06 Nov 1994 08:48:47 GMT",
                "date": "Sun, 06 Nov 1994 08:48:37 GMT",
            },
            10.0,
        ),
    ],
    ids=str,
)
def test_both_forms_of_retry_after_are_read(
    headers: dict[str, str], expected: float | None
) -> None:
    """Nonsense and the past are no pause: then the policy computes one."""
    assert retry_after_s(headers, now_ms=NOW_MS) == expected


@given(st.text(), st.text())
def test_no_header_breaks_the_reader(text: str, date: str) -> None:
    """They are whatever the other side sends."""
    pause = retry_after_s({"retry-after": text, "date": date}, now_ms=NOW_MS)
    link = None
    with suppress(UnusableError):
        link = next_link(text)

    assert pause is None or pause > 0
    assert link is None or link in text


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ('<http://h/2>; rel="next"', "http://h/2"),
        ("<http://h/2>; rel=next", "http://h/2"),
        ('</1>; rel="prev", </3>; rel="next"', "/3"),
        ('</1>; title="a, <b>; rel=next"; rel="prev", </3;v=1,2>; REL="Last Next"', "/3;v=1,2"),
        ('</1>; rel="nextish"', None),
        ("</1>", None),
        (r'</2>; title="a \" b\\"; rel="next"', "/2"),
        ('</2>;; rel="next" ;', "/2"),
        ("</2>; rel='next'", "/2"),
        ('</1>; rel="prev";;, ', None),
        ('</2>; rel="next", rubbish about what is next', "/2"),
        ("nothing that leads on", None),
    ],
    ids=str,
)
def test_the_next_link_is_found_among_others(header: str | None, expected: str | None) -> None:
    """Quoted or not, wherever it stands, with commas and semicolons around and in it."""
    assert next_link(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        '</2>; rel="next',
        '</2>; title=a b; rel="next"',
        '/2; rel="next"',
        '</q?<2>>; rel="next"',
        "</2>; rel='last next'",
    ],
)
def test_a_link_header_that_cannot_be_read_is_not_the_end(header: str) -> None:
    """It speaks of a next page, so this was not the last; who goes by the body may ignore it."""
    with serving(lambda _: as_json(ROWS, headers={"Link": header})) as web:
        with pytest.raises(BadAnswer, match="its Link header speaks of what is next"):
            list(read_rest(task(), web.url, pages=ByLink()))
        (batch,) = read_rest(task(), web.url)

    assert batch.records == ROWS


def test_a_failure_is_told_though_its_body_is_cut() -> None:
    """The status says enough; what came of the body is quoted."""
    error = failure(as_json(ROWS, status=404, cut=5))

    assert type(error) is Fatal
    assert str(error).endswith('404 Not Found: [{"n"')


def test_limits_that_no_answer_could_keep_are_refused() -> None:
    """Before anything is asked."""
    with pytest.raises(DefinitionError, match="read_ms is 0"):
        HttpLimits(read_ms=0)


def test_without_httpx2_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra that is missing is no traceback."""
    monkeypatch.delitem(sys.modules, "statepipe.io.rest.http", raising=False)
    monkeypatch.delattr(rest, "http", raising=False)
    monkeypatch.setitem(sys.modules, "httpx2", None)

    with pytest.raises(DataError, match="not installed") as refusal:
        list(read_rest(task(), "http://127.0.0.1:1/"))

    assert "statepipe[http]" in refusal.value.next_step


def test_a_stop_is_noticed_between_pages_and_in_the_middle_of_one() -> None:
    """A body that comes slowly does not hold up a cancel."""
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(len(asked))
        return len(asked) > 3

    with serving(lambda _: as_json(ROWS, drip_s=0.01)) as web:
        source = task()
        source._is_cancelled = cancelled
        with pytest.raises(TaskCancelled):
            list(read_rest(source, web.url))


def test_every_request_is_a_sign_of_life() -> None:
    """For policies with a heartbeat; a task that was asked to stop asks for nothing more."""

    def stop() -> None:
        raise TaskCancelled

    with serving(lambda _: as_json(ROWS)) as web:
        source = task()
        source._beat = stop
        with pytest.raises(TaskError):
            list(read_rest(source, web.url))

    assert web.requests == []
