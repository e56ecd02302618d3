"""Moments that are waited for: what a text means, where clocks are changed, what is refused."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.states.until import Until
from tests.unit.test_waits import loaded

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    """Return a moment in milliseconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "tz", "after", "moment"),
    [
        ("06:00", "UTC", "2026-03-01T05:59:59+00:00", "2026-03-01T06:00:00+00:00"),
        ("06:00", "UTC", "2026-03-01T06:00:00+00:00", "2026-03-02T06:00:00+00:00"),
        ("06:00", BERLIN, "2026-03-01T05:30:00+00:00", "2026-03-02T05:00:00+00:00"),
        ("06:00", "Asia/Kolkata", "2026-03-01T20:00:00+00:00", "2026-03-02T00:30:00+00:00"),
        ("00:00", "Pacific/Auckland", "2026-03-01T12:00:00+00:00", "2026-03-02T11:00:00+00:00"),
        # Clocks skip 02:00..03:00 on the 29th of March, and show it twice on the 25th of October.
        ("02:30", BERLIN, "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        ("2026-03-29T02:30", BERLIN, "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        ("02:30", BERLIN, "2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"),
        ("02:30", BERLIN, "2026-10-24T12:00:00+00:00", "2026-10-25T00:30:00+00:00"),
        ("02:30", BERLIN, "2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"),
        ("2026-10-25T02:30", BERLIN, "2026-10-24T12:00:00+00:00", "2026-10-25T00:30:00+00:00"),
        ("02:15:10", "Australia/Lord_Howe", "2026-10-03T00:00:00+00:00", "2026-10-03T15:30+00:00"),
        ("2024-02-29", BERLIN, "2024-02-01T00:00:00+00:00", "2024-02-28T23:00:00+00:00"),
        ("2026-03-01T06:00-05:00", BERLIN, "2026-03-01T00:00:00+00:00", "2026-03-01T11:00+00:00"),
        ("2020-03-01T06:00Z", BERLIN, "2026-03-01T00:00:00+00:00", "2020-03-01T06:00+00:00"),
    ],
)
def test_a_text_means_a_moment(text: str, tz: str, after: str, moment: str) -> None:
    """The next such time of day; a skipped one is when it is skipped, a double one the first."""
    found = Until(text=text, tz=tz).moment({}, after_ms=ms(after))

    assert datetime.fromtimestamp(found / 1000, UTC) == datetime.fromisoformat(moment)


def test_parameters_make_a_moment() -> None:
    """A day with a time of a zone, or a moment that has its own offset."""
    params = {"day": date(2026, 7, 6), "at": datetime.fromisoformat("2026-07-06T01:02:03+05:30")}
    after_ms = ms("2026-07-01T00:00+00:00")

    of_day = Until(text="{params.day}T06:00", tz=BERLIN).moment(params, after_ms=after_ms)
    of_moment = Until(text="{params.at}", tz=BERLIN).moment(params, after_ms=after_ms)

    assert of_day == ms("2026-07-06T04:00+00:00")
    assert of_moment == ms("2026-07-06T01:02:03+05:30")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("soon", "is not a moment"),
        ("2026-02-30T06:00", "is not a moment"),
        ("0001-01-01T00:00", "is not a moment"),
        ("9999-12-31T23:59", "more than 365 days away"),
    ],
)
def test_what_a_parameter_says_may_be_none(given: str, told: str) -> None:
    """Text can be anything; the message says how to write one."""
    until = Until(text="{params.at}", tz="Pacific/Auckland")

    with pytest.raises(ValueError, match=told):
        until.moment({"at": given}, after_ms=ms("2026-07-01T00:00+00:00"))


UNTIL = 'until = "06:00"'


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ('until = "6 am"', "until is '6 am', not a moment"),
        ('until = "25:00"', "until is '25:00', not a moment"),
        ('until = "{day}T06:00"', "not a moment"),
        ("until = 6", "until is 6, not text"),
        (f'{UNTIL}, tz = "Mars/Olympus"', "no time zone"),
        (f'{UNTIL}, tz = "Europe/Berlinn"', 'did you mean "Europe/Berlin"?'),
        (f'{UNTIL}, tz = "../etc"', "no time zone"),
        (f"{UNTIL}, tz = 2", "tz is 2, not text"),
        (f'{UNTIL}, timeout = "1h"', "until is its own end"),
        (f'{UNTIL}, for = "1h"', "must have one of"),
        (f'{UNTIL}, event = "approved", timeout = "1h"', "until is its own end"),
        ('for = "1h", tz = "UTC"', "tz is of a moment"),
        ('until = "{params.n}T06:00"', 'parameter "n" is of type int'),
        ('until = "{params.at}T06:00"', "not a moment"),
        ('until = "{params.nobody}T06:00"', 'there is no parameter "nobody"'),
    ],
)
def test_what_can_be_no_moment_is_refused(tmp_path: Path, new: str, told: str) -> None:
    """When the machine is loaded, with its place and what to write."""
    declared = '[params]\nn = "int"\nat = "datetime"\n\n[states.done]'

    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, 'for = "10m"', new, "[states.done]", declared)

    assert told in refused.value.message
    assert refused.value.next_step


def test_a_file_may_say_a_moment_without_quotes(tmp_path: Path) -> None:
    """TOML has dates and times of its own."""
    machine = loaded(tmp_path, 'for = "10m"', 'until = 06:00:00, tz = "Europe/Berlin"')

    wait = machine.state("cooling").task
    assert getattr(wait, "until", None) == Until(text="06:00:00", tz=BERLIN)
