"""What a notice says: the same keys for every event, one line for people, and no secret."""

import json

import pytest

from statepipe.observe import redact
from statepipe.observe.notices.body import (
    MESSAGE_CHARS_MAX,
    SUMMARY_CHARS_MAX,
    Occasion,
    body_of,
    message,
    read,
)

FAILED = Occasion(
    event="failed",
    at_ms=1_762_153_200_123,
    store="5707",
    env="prod",
    machine="orders",
    version=3,
    instance="monday's",
    state="loading",
    target_state="failed",
    attempt=5,
    error_class="Throttled",
    error="slow down",
)


def test_a_failure_says_all_there_is_to_know() -> None:
    """Keys and forms are a contract with whoever receives it."""
    assert read(body_of(FAILED, key="k")) == {
        "format": 1,
        "key": "k",
        "event": "failed",
        "at": "2025-11-03T07:00:00.123Z",
        "machine": "orders",
        "version": 3,
        "instance": "monday's",
        "state": "loading",
        "target_state": "failed",
        "attempt": 5,
        "error": {"class": "Throttled", "message": "slow down"},
        "silent_ms": None,
        "dropped": None,
        "store": "5707",
        "env": "prod",
        "summary": "orders (prod): monday's failed in loading on attempt 5: Throttled: slow down",
        "next": "statepipe inspect 'monday'\"'\"'s' --env prod",
    }


@pytest.mark.parametrize(
    ("facts", "summary", "next_step"),
    [
        (
            {"event": "done", "error_class": None},
            "orders: monday is done",
            "statepipe history monday",
        ),
        (
            {"event": "retries_exhausted", "target_state": "mending", "error": "no"},
            "orders: monday left loading for mending after 5 attempts that failed: Throttled: no",
            "statepipe inspect monday",
        ),
        (
            {"event": "drift", "error_class": "SchemaDrift", "error": "tax added"},
            (
                "orders: monday met records in loading that have changed their shape:"
                " SchemaDrift: tax added"
            ),
            "statepipe inspect monday",
        ),
        (
            {"event": "stalled", "error_class": None, "silent_ms": 725_000},
            "orders: monday is stalled in loading: its driver has been gone for 12m 5s",
            "statepipe resume monday",
        ),
        (
            {"event": "dropped", "machine": None, "instance": None, "dropped": 1_017}
            | {"error_class": None},
            "statepipe: 1,017 more were dropped, beyond the rate of this target",
            "statepipe notify ls",
        ),
        (
            {"event": "test", "machine": None, "instance": None, "error_class": None},
            "statepipe: this is a test, nothing has happened",
            "statepipe notify ls",
        ),
    ],
)
def test_each_event_has_its_sentence_and_the_command_to_type(
    facts: dict[str, object], summary: str, next_step: str
) -> None:
    """Who is woken at night reads one line and types one line."""
    occasion = FAILED._replace(env=None, instance="monday")._replace(**facts)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    said = read(body_of(occasion, key="k"))

    assert (said["summary"], said["next"]) == (summary, next_step)
    assert said.keys() == read(body_of(FAILED, key="k")).keys()


def test_whatever_an_error_says_the_summary_is_one_short_line_and_the_body_ascii() -> None:
    """It becomes the subject of a mail, a header, an argument."""
    hostile = "a\r\nBcc: eve@example.org\0\x1b[31m\u202e" + "ü" * 10_000 + "\ud800"
    body = body_of(FAILED._replace(error=hostile, instance="x\n\ty"), key="k")
    said = json.loads(body)

    assert body.isascii()
    assert body.isprintable()
    assert said["summary"].isprintable()
    assert len(said["summary"]) <= SUMMARY_CHARS_MAX
    assert len(said["error"]["message"]) <= MESSAGE_CHARS_MAX
    assert said["instance"] == "x\n\ty"


def test_secrets_are_in_no_part_of_it() -> None:
    """Error messages of libraries repeat what they were given, and an alert goes far."""
    redact.hide("hunter2hunter2")
    leaky = "x" * (MESSAGE_CHARS_MAX - 50) + " postgresql://ann:pw1234@db hunter2hunter2 " * 3
    bodies = [
        body_of(FAILED._replace(error=leaky), key="k"),
        body_of(FAILED._replace(error="hunter2hunter2"), key="k"),
    ]
    redact.forget()

    for body in bodies:
        assert "hunter2" not in body
        assert "pw1234" not in body


def test_for_people_it_is_a_few_lines_that_end_in_the_key() -> None:
    """Chats and mails have no place for a key of their own."""
    assert message(read(body_of(FAILED, key="the-key"))).splitlines() == [
        "orders (prod): monday's failed in loading on attempt 5: Throttled: slow down",
        "",
        "error: Throttled: slow down",
        "at: 2025-11-03T07:00:00.123Z",
        "next: statepipe inspect 'monday'\"'\"'s' --env prod",
        "notice: the-key",
    ]
