"""A log line: what it says of a fact, that its schema describes it, that it hides secrets."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.observe import redact
from statepipe.observe.lines import JsonFormatter, log_fact, schema, sentence
from statepipe.said import Fact

VALIDATOR = jsonschema_rs.validator_for(schema())

MOVE = Fact(
    kind="move",
    event="ok",
    at_ms=1_770_552_605_007,
    machine="orders",
    instance="monday",
    source="extracting",
    target="validating",
    status="ready",
    seq=3,
    epoch=1,
    generation=1,
    attempt=1,
    took_ms=12,
)
RETRY = MOVE._replace(
    kind="retry",
    event="error",
    target="extracting",
    attempt=2,
    wake_at_ms=MOVE.at_ms + 1_500,
    error_class="ConnectionError",
    error="hung up",
    traceback="Traceback …",
)


class Lines(logging.Handler):
    """Keeps each record as the line it becomes, after the schema has seen it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        text = self.format(record)
        assert "\n" not in text
        assert text.isascii()
        line = json.loads(text)
        VALIDATOR.validate(line)
        self.lines.append(line)


@pytest.fixture
def shown() -> Iterator[list[dict[str, Any]]]:
    """Listen to the logger of statepipe."""
    redact.forget()
    handler, logger = Lines(), logging.getLogger("statepipe")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.lines
    logger.setLevel(level)
    logger.removeHandler(handler)
    redact.forget()


def test_a_line_says_all_of_a_fact_and_nothing_else(shown: list[dict[str, Any]]) -> None:
    """What is not known is left out, and nothing is null."""
    log_fact(MOVE)

    assert shown == [
        {
            "schema": 1,
            "timestamp": "2026-02-08T12:10:05.007Z",
            "level": "info",
            "kind": "move",
            "event": "ok",
            "machine": "orders",
            "instance": "monday",
            "state": "validating",
            "source": "extracting",
            "target": "validating",
            "status": "ready",
            "seq": 3,
            "epoch": 1,
            "generation": 1,
            "attempt": 1,
            "at_ms": 1_770_552_605_007,
            "took_ms": 12,
            "message": "monday: extracting -> validating, ok, 12ms",
        }
    ]


def test_a_failure_has_its_class_its_message_its_traceback_and_what_comes_next(
    shown: list[dict[str, Any]],
) -> None:
    """Whoever is woken up at night reads this line."""
    log_fact(RETRY)

    (line,) = shown
    assert line["level"] == "warning"
    assert (line["error_class"], line["error"]) == ("ConnectionError", "hung up")
    assert line["traceback"] == "Traceback …"
    assert line["wakes_at"] == "2026-02-08T12:10:06.507Z"
    assert line["message"] == (
        "monday: retry in extracting, error, attempt 2, 12ms, again in 1.5s,"
        " ConnectionError: hung up"
    )


@pytest.mark.parametrize(
    ("fact", "level"),
    [
        (MOVE, "info"),
        (MOVE._replace(kind="batch", event="staged", records=1, bytes=2, rejected=0), "debug"),
        (MOVE._replace(event="error", status="failed", error_class="E", error=""), "error"),
        (MOVE._replace(event="timeout", error_class="TaskTimeout", error="late"), "warning"),
        (MOVE._replace(kind="claim", event="claim", note="host:1"), "info"),
        (MOVE._replace(kind="claim", event="takeover", note="host:2 from host:1"), "warning"),
        (MOVE._replace(kind="fenced", event="fenced"), "warning"),
        (MOVE._replace(kind="cancel", event="cancel", status="cancelled"), "info"),
    ],
)
def test_the_level_says_who_should_look(
    shown: list[dict[str, Any]], fact: Fact, level: str
) -> None:
    """Errors need somebody, warnings may, batches are for those who look closely."""
    log_fact(fact)

    assert shown[0]["level"] == level


@given(
    fact=st.builds(
        Fact,
        kind=st.sampled_from(["create", "move", "batch", "retry", "resume", "fenced"]),
        event=st.text(min_size=1),
        at_ms=st.integers(0, 4_000_000_000_000),
        machine=st.text(min_size=1),
        instance=st.text(min_size=1),
        source=st.text(),
        target=st.text(),
        status=st.sampled_from(["ready", "done", "failed"]),
        seq=st.integers(1, 2**53),
        epoch=st.integers(0, 2**53),
        generation=st.integers(1, 2**53),
        attempt=st.none() | st.integers(1, 2**53),
        took_ms=st.none() | st.integers(0, 2**53),
        records=st.none() | st.integers(0, 2**53),
        bytes=st.none() | st.integers(0, 2**53),
        rejected=st.none() | st.integers(0, 2**53),
        wake_at_ms=st.none() | st.integers(0, 4_000_000_000_000),
        error_class=st.just("E"),
        error=st.none() | st.text(),
        note=st.none() | st.text(),
    )
)
def test_every_fact_becomes_one_line_that_conforms(fact: Fact) -> None:
    """Ids, reasons and messages may hold anything, line breaks and escapes included."""
    handler = Lines()
    record = logging.LogRecord("statepipe", logging.INFO, "", 0, sentence(fact), None, None)
    record.fact = fact

    handler.emit(record)

    assert handler.lines[0]["schema"] == 1


def test_a_record_that_is_no_fact_is_a_line_too(shown: list[dict[str, Any]]) -> None:
    """What statepipe itself has to say, a defect for example, is in the same stream."""
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("statepipe.runtime.somewhere").exception("a slot %s", "failed")

    (first,) = shown
    assert (first["kind"], first["logger"]) == ("log", "statepipe.runtime.somewhere")
    assert (first["message"], first["error_class"]) == ("a slot failed", "ZeroDivisionError")
    assert first["traceback"].endswith("ZeroDivisionError: division by zero")


def test_a_record_that_cannot_be_formatted_is_a_line_too() -> None:
    """A mistake in a log call must not cost the line."""
    handler = Lines()

    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "%d", ("no number",), None))

    assert handler.lines[0]["message"] == "(a log record that cannot be formatted: TypeError)"


def test_no_line_shows_a_secret_or_grows_without_bound(shown: list[dict[str, Any]]) -> None:
    """Reasons are typed by people, messages come from libraries."""
    redact.hide("hunter2hunter2")

    log_fact(
        RETRY._replace(
            instance="i-hunter2hunter2",
            error="x" * 3_995 + "hunter2hunter2" * 100,
            traceback="hunter2hunter2 " * 5_000,
            note="pg://ann:topsecret@db",
        )
    )

    text = json.dumps(shown)
    assert "hunter" not in text
    assert "topsecret" not in text
    assert len(text) < 30_000


def test_the_schema_is_itself_a_schema() -> None:
    """It is shipped for other people's validators."""
    jsonschema_rs.meta.validate(schema())
    assert schema()["properties"]["schema"]["const"] == 1
