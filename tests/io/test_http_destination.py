"""
The HTTP destination: what is sent, under which key, and what each answer means.

A receiver has no ledger: what it took before an answer was lost, it is offered again.
"""

import json
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import (
    BadAnswer,
    DataError,
    TaskCancelled,
    Throttled,
    Unreachable,
)
from statepipe.io.destinations import LoadBatch
from statepipe.io.rest import destination as posting
from statepipe.io.rest.destination import HttpDestination
from statepipe.io.rest.limits import HttpLimits
from tests.io.receiver import Receiver, lost, told
from tests.io.warehouse import ROWS, batch, rejects_of
from tests.io.web import Reply, Web, as_json, serving

#: Short, so that silence is noticed soon.
QUICK = HttpLimits(connect_ms=2_000, read_ms=300, total_ms=600, body_bytes_max=10_000)


def to(web: Web, **more: Any) -> HttpDestination:  # noqa: ANN401  (its arguments)
    """Return a destination that sends to `web`."""
    address = f"{web.url}/orders"
    return HttpDestination(address, name=address, **more)


def load(web: Web, given: LoadBatch | None = None, **more: Any) -> Any:  # noqa: ANN401  (a Landed)
    """Send one batch and return what came of it."""
    with closing(to(web, **more)) as target:
        return target.load(given or batch())


def test_a_batch_is_one_request_with_a_key_in_quotes() -> None:
    """A JSON array of all records in order; the key is a string as the draft spells it."""
    receiver = Receiver()
    with serving(receiver) as web:
        landed = load(web)

    (request,) = web.requests
    assert landed == (3, [], False)
    assert (request.method, request.path) == ("POST", "/orders")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == ROWS == receiver.taken
    key = request.headers["idempotency-key"]
    assert len(key) == 38, key
    assert key[0] == key[-1] == '"'


def test_a_key_that_no_record_has_is_wrong_and_nothing_is_sent() -> None:
    """The first batch tells; a later one may be of bad records only."""
    bad = batch([{"name": "x"}], number=1)
    with serving(Receiver()) as web:
        with pytest.raises(DataError, match="no record of the batch has the field 'ID'"):
            load(web, key=("ID",))
        landed = load(web, bad, key=("id",))

    assert (web.requests, [*rejects_of(landed)]) == ([], [(0, "key", "/id")])


@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        ("lines", [b'{"id":1,"name":"a"}\n{"id":2,"name":"b"}\n{"id":3,"name":"c"}\n']),
        ("record", [b'{"id":1,"name":"a"}', b'{"id":2,"name":"b"}', b'{"id":3,"name":"c"}']),
    ],
)
def test_a_body_is_json_lines_or_one_record_if_that_is_said(body: str, bodies: list[bytes]) -> None:
    """Each request has its own key."""
    receiver = Receiver()
    with serving(receiver) as web:
        load(web, body=body)

    assert [request.body for request in web.requests] == bodies
    assert len(receiver.keys) == len(bodies)
    assert receiver.taken == ROWS


@pytest.mark.parametrize("body", ["array", "lines"])
def test_a_large_batch_is_cut_the_same_way_each_time(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No body is larger than the bound but one of a single record; nothing is lost at a cut."""
    monkeypatch.setattr(posting, "BODY_BYTES_MAX", 1_000)
    rows = [{"id": n, "text": "ä" * (n * 7 % 90)} for n in range(60)]
    rows.insert(30, {"id": -1, "text": "x" * 3_000})
    receiver = Receiver()
    with serving(receiver) as web:
        load(web, batch(rows), body=body)
        first = list(web.requests)
        load(web, batch(rows), body=body)

    assert receiver.taken == rows
    assert len(first) > 5
    large = [request for request in first if len(request.body) > 1_000 + 2]
    assert [b'"id":-1' in request.body for request in large] == [True]
    again = web.requests[len(first) :]
    assert [each.body for each in again] == [each.body for each in first]
    assert set(receiver.keys.values()) == {2}


def test_nothing_is_sent_of_an_empty_batch() -> None:
    """A mapped batch of which nothing was left needs no request."""
    with serving(Receiver()) as web:
        assert load(web, batch([])) == (0, [], False)
        assert load(web, batch([{}, {"id": float("nan")}])).records == 0

    assert web.requests == []


def test_a_key_is_the_same_for_whoever_sends_the_batch_again() -> None:
    """Another process, another epoch, an answer that was lost: the receiver takes it once."""
    receiver = Receiver(troubles=[lost])
    with serving(receiver) as web:
        with pytest.raises(ConnectionError):
            load(web)
        assert load(web, batch(epoch=7)).records == 3

    assert receiver.taken == ROWS
    assert list(receiver.keys.values()) == [2]


def test_a_key_names_one_batch_and_the_records_in_the_request() -> None:
    """Another digest, or another cut, never comes under a key that was used."""
    given = batch()

    keys = {
        posting.key_of(given, first=0, last=2),
        posting.key_of(given, first=1, last=2),
        posting.key_of(given, first=0, last=1),
        posting.key_of(batch(digest=b"e" * 32), first=0, last=2),
    }
    assert len(keys) == 4
    assert posting.key_of(batch(epoch=9), first=0, last=2) in keys


def test_a_receiver_that_does_not_care_takes_it_again() -> None:
    """At least once, which is why the load is called so."""
    receiver = Receiver(honours=False, troubles=[lost])
    with serving(receiver) as web:
        with pytest.raises(ConnectionError):
            load(web)
        load(web)

    assert receiver.taken == ROWS * 2


def test_values_that_json_lacks_are_text_and_what_would_change_is_rejected() -> None:
    """The same text as in a JSON column; a reject names field and reason, the others are sent."""
    moment = datetime(2013, 2, 4, 5, 30, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {"id": 2**70, "at": moment, "day": date(2013, 2, 4), "eur": Decimal("1.50"), "b": b"\0"},
        {"id": 2, "x": float("nan")},
        {"id": 3, "in": {"x": [float("inf")]}},
        {"id": 4, "x": "\ud800"},
        {"id": 5, "x": None, "list": [True, "ä\0"]},
        {"id": 6, "x": {1: 2}},
        {"\ud800": 7},
    ]
    receiver = Receiver()
    with serving(receiver) as web:
        landed = load(web, batch(rows))

    assert receiver.taken == [
        {
            "id": 2**70,
            "at": "2013-02-04T05:30:00+00:00",
            "day": "2013-02-04",
            "eur": "1.50",
            "b": "AA==",
        },
        {"id": 5, "x": None, "list": [True, "ä\0"]},
    ]
    assert list(rejects_of(landed)) == [
        (1, "nan", "/x"),
        (2, "nan", "/in"),
        (3, "unicode", "/x"),
        (5, "keys", "/x"),
        (6, "unicode", ""),
    ]
    assert landed.records == 2


def test_a_columnar_table_is_sent_as_records() -> None:
    """Its rows, whatever holds them."""
    receiver = Receiver()
    with serving(receiver) as web:
        load(web, batch(pa.table({"id": [1, 2], "name": ["a", None]})))

    assert receiver.taken == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]


# ---- answers --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_an_answer_of_success_takes_the_batch(status: int) -> None:
    """Whatever it says besides, and in whichever type."""
    body = b"" if status == 204 else b"<p>thanks"
    with serving(lambda _: Reply(status=status, body=body)) as web:
        assert load(web).records == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=429, headers={"Retry-After": "7"}),
        Reply(status=503, headers={"Retry-After": "7"}),
        Reply(status=413, headers={"Retry-After": "7"}),
    ],
    ids=lambda reply: str(reply.status),
)
def test_a_receiver_that_asks_for_a_pause_gets_it(reply: Reply) -> None:
    """The policy then waits for so long, in the store."""
    with serving(lambda _: reply) as web, pytest.raises(Throttled) as throttled:
        load(web)

    assert throttled.value.retry_after == 7


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (as_json({"title": "A request is outstanding"}, status=409), BadAnswer),
        (Reply(status=500, body=b"oops"), BadAnswer),
        (Reply(status=503), BadAnswer),
        (Reply(status=408), BadAnswer),
        (Reply(body=b"x" * 100, cut=50), BadAnswer),
        (Reply(body=b"x" * 100, chunked=True, cut=60), BadAnswer),
        (Reply(headers={"Content-Encoding": "gzip"}, body=b"no gzip"), BadAnswer),
        (Reply(reset=True), (BadAnswer, Unreachable)),
        (Reply(body=b"x" * 100, cut=50, reset=True), (BadAnswer, Unreachable)),
        (Reply(body=b"x" * 100, stall_s=30), TimeoutError),
        (Reply(body=b"x" * 100, drip_s=0.05), TimeoutError),
    ],
    ids=str,
)
def test_what_may_pass_by_itself_is_an_error_that_policies_retry(reply: Reply, error: Any) -> None:  # noqa: ANN401  (a class, or two)
    """A 409 says that the key is in use; a success that is cut is no answer."""
    with serving(lambda _: reply) as web, pytest.raises(error) as raised:
        load(web, limits=QUICK)

    assert isinstance(raised.value, ConnectionError | TimeoutError)
    assert f"POST {web.url}/orders" in str(raised.value)


@pytest.mark.parametrize("status", [207, 206, 401, 403, 404, 405, 415])
def test_what_no_repetition_mends_says_so_with_the_answers_words(status: int) -> None:
    """A part that was taken (207), an address or a credential that is wrong."""
    reply = as_json({"detail": "no entry\n here"}, status=status)
    with serving(lambda _: reply) as web, pytest.raises(DataError, match=str(status)) as refusal:
        load(web)

    assert str(refusal.value).startswith(f"cannot load: POST {web.url}/orders: {status} ")
    assert status < 300 or "no entry" in str(refusal.value)
    assert "sent again" in refusal.value.meaning
    assert "`auth`" in refusal.value.next_step


def test_a_part_that_was_taken_is_not_given_again_because_a_header_says_so() -> None:
    """Who has no key to know it by would take that part twice; a person decides."""
    reply = as_json({}, status=207, headers={"Retry-After": "1"})
    with serving(lambda _: reply) as web, pytest.raises(DataError, match="207"):
        load(web)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    """Not even to the same host: most of them would make a GET of it."""
    reply = Reply(status=status, headers={"Location": "/elsewhere"})
    with serving(lambda _: reply) as web, pytest.raises(DataError, match="to /elsewhere"):
        load(web)

    assert [request.path for request in web.requests] == ["/orders"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_stops_the_load_and_names_its_records(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say which of several records it is about; those before it were taken."""
    monkeypatch.setattr(posting, "BODY_BYTES_MAX", 45)
    reply = as_json({"detail": "name must be a number"}, status=status)
    receiver = Receiver(troubles=[None, told(reply)])
    with serving(receiver) as web, pytest.raises(DataError) as refusal:
        load(web, batch(number=4))

    assert f"refused records 2 to 2 of batch 4: {status} " in str(refusal.value)
    assert "name must be a number" in str(refusal.value)
    assert 'body = "record"' in refusal.value.next_step
    assert receiver.taken == ROWS[:2]


def test_a_refused_record_that_was_sent_alone_is_rejected_alone() -> None:
    """With the receiver's words as the reason; the others are taken."""
    receiver = Receiver(refuses=lambda record: record["id"] == 2)
    with serving(receiver) as web:
        landed = load(web, body="record")
        again = load(web, body="record")

    assert landed == again
    assert landed.records == 2
    (entry,) = landed.rejects
    assert (entry["position"], entry["rule"], entry["record"]) == (1, "refused", ROWS[1])
    assert "422 " in entry["message"]
    assert "no such thing" in entry["message"]
    assert receiver.taken == [ROWS[0], ROWS[2]]


def test_a_receiver_that_is_not_there_is_told_from_one_that_refuses() -> None:
    """Nobody listens; policies retry it as a ConnectionError."""
    with serving(Receiver()) as web:
        pass
    with pytest.raises(Unreachable, match="refused") as refusal:
        load(web)

    assert "see to the receiver" in refusal.value.next_step


def test_a_load_that_must_stop_stops_between_two_requests() -> None:
    """What was sent stays; the batch does not count."""
    receiver = Receiver()
    beats = iter([None, None])

    def beat() -> None:
        if next(beats, "stop"):
            raise TaskCancelled("the attempt was asked to stop")

    with serving(receiver) as web, pytest.raises(TaskCancelled):
        load(web, batch(beat=beat), body="record")

    assert receiver.taken == ROWS[:1]
