"""Triggers of a machine file: what they say, and every mistake by its place."""

import datetime as dt
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import DefinitionError
from statepipe.machine.digest import canonical
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.triggers.cron import local, ticks
from statepipe.machine.triggers.due import BACKLOG_MAX, before, begin_of, between, due
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from tests.unit.building import written

MACHINE = """\
machine = "orders"
initial = "working"

[params]
order = { type = "text" }
day   = { type = "date", default = "today" }
limit = { type = "int", default = 3 }

[states.working]
run   = "orders:work"
on.ok = "done"

[states.done]
final = "success"
"""

TRIGGERS = """
[triggers.nightly]
schedule = "0  3 * * *"
tz       = "Europe/Berlin"
catchup  = "last"
jitter   = "5m"
params   = { order = "of {previous.date}", day = "{tick.date}" }

[triggers.on_order]
event  = "order-ready"
params = { order = "{event.key}", limit = "{event.params.limit}" }
"""

HOUR_MS = 3_600_000


def test_a_machine_file_declares_triggers(tmp_path: Path) -> None:
    """Every key ends in its field; what instances run is not another machine for that."""
    machine = load_machine(written(tmp_path, MACHINE + TRIGGERS))

    assert machine.triggers == (
        Trigger(
            name="nightly",
            on=Schedule(cron="0 3 * * *", tz="Europe/Berlin", catchup="last", jitter_ms=5 * 60_000),
            params={"order": "of {previous.date}", "day": "{tick.date}"},
        ),
        Trigger(
            name="on_order",
            on=Emitted(event="order-ready"),
            params={"order": "{event.key}", "limit": "{event.params.limit}"},
        ),
    )
    plain = replace(machine, triggers=())
    assert canonical(machine, contract_digests={}) == canonical(plain, contract_digests={})


BAD = {
    "no kind": ('params = { order = "x" }', "must have exactly one of schedule, event"),
    "two kinds": ('event = "a"\nschedule = "* * * * *"', "must have exactly one of schedule"),
    "a misspelt kind": ('shedule = "* * * * *"', 'unknown key "shedule"; did you mean "schedule"?'),
    "another kind's key": ('event = "a"\ntz = "UTC"', 'unknown key "tz"'),
    "never fires": ('schedule = "0 0 30 2 *"', "never fires: no month 2 has a day 30"),
    "never fires in some months": ('schedule = "0 0 31 4,6,9,11 *"', "never fires"),
    "too few fields": ('schedule = "0 3 * *"', "not a cron expression of 5 fields"),
    "seconds": ('schedule = "0 0 3 * * *"', "not a cron expression of 5 fields"),
    "an hour that is none": ('schedule = "0 24 * * *"', "not a cron expression: bad hour"),
    "no zone": ('schedule = "0 3 * * *"\ntz = "Europe/Berln"', 'did you mean "Europe/Berlin"?'),
    "a path": ('schedule = "0 3 * * *"\ntz = "../etc"', "there is no time zone '../etc'"),
    "no catchup": ('schedule = "0 3 * * *"\ncatchup = "lst"', 'did you mean "last"?'),
    "no duration": ('schedule = "0 3 * * *"\njitter = "5 parsecs"', "is not a duration"),
    "too much jitter": ('schedule = "0 3 * * *"\njitter = "2d"', "outside 0..1 day"),
    "no event": ('event = "Order.Ready"', "'Order.Ready' is not a name"),
    "our event": ('event = "timeout"', "the engine raises it itself"),
    "no parameter": ('event = "a"\nparams = { ordre = "x" }', 'there is no parameter "ordre"; did'),
    "one is missing": ('event = "a"', 'parameter "order" is missing, and every instance needs it'),
    "another type": ('event = "a"\nparams = { order = "x", limit = "y" }', "not a whole number"),
    "no such place": (
        'event = "a"\nparams = { order = "{tick.date}" }',
        "an event has no 'tick.date'",
    ),
    "no such tick": (
        'schedule = "* * * * *"\nparams = { order = "{tick.dat}" }',
        'did you mean "tick.date"?',
    ),
    "a brace": ('event = "a"\nparams = { order = "{event.key" }', "has a brace too many"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_in_a_trigger_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    """When the machine is loaded, so that `check` says so, and nothing is ever started by it."""
    text, told = BAD[name]

    with pytest.raises(DefinitionError) as refusal:
        load_machine(written(tmp_path, f"{MACHINE}\n[triggers.t]\n{text}\n"))

    assert "triggers.t" in refusal.value.message
    assert told in refusal.value.message
    assert refusal.value.next_step


def test_triggers_are_no_list_and_not_endless(tmp_path: Path) -> None:
    """A name each, and a hundred at most."""
    with pytest.raises(DefinitionError, match="not a table"):
        load_machine(written(tmp_path, f"triggers = []\n{MACHINE}"))
    many = "".join(
        f'\n[triggers.t{n}]\nevent = "a"\nparams = {{ order = "x" }}\n' for n in range(101)
    )
    with pytest.raises(DefinitionError, match="more than 100 triggers"):
        load_machine(written(tmp_path, MACHINE + many))
    trigger = Trigger(name="t", on=Emitted(event="a"), params={"order": "x"})
    with pytest.raises(DefinitionError, match='trigger "t" is there twice'):
        replace(load_machine(written(tmp_path, MACHINE)), triggers=(trigger, trigger))


def test_without_cronsim_a_schedule_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; machines without schedules need none."""
    monkeypatch.setitem(sys.modules, "cronsim", None)

    with pytest.raises(DefinitionError, match="not installed") as refusal:
        Schedule(cron="0 3 * * *")
    assert "statepipe[schedule]" in refusal.value.next_step


def test_places_are_filled_in_as_they_are_or_as_text() -> None:
    """A text that is one place keeps its type; what the occasion lacks leaves the default."""
    params = {
        "one": "{event.params.n}",
        "text": "n={event.params.n} of {event.key}",
        "day": "{event.params.day}",
        "said": "day {event.params.day}, {event.params.flag}",
        "lacks": "{event.params.other}",
        "lacks_in_text": "x {event.params.other}",
        "plain": 7,
    }
    facts = {
        "event.key": "k",
        "event.params.n": 5,
        "event.params.day": dt.date(2026, 6, 1),
        "event.params.flag": True,
    }
    trigger = Trigger(name="t", on=Emitted(event="a"), params=params)

    assert trigger.given(facts) == {
        "one": 5,
        "text": "n=5 of k",
        "day": dt.date(2026, 6, 1),
        "said": "day 2026-06-01, true",
        "plain": 7,
    }


def test_an_expression_that_never_fires_is_found_in_time() -> None:
    """Also one of which no field alone is wrong; one that fires every 28 years is well."""
    with pytest.raises(DefinitionError, match="never fires"):
        Schedule(cron="0 0 */31 2 TUE#5,WED#5,THU#5")
    assert next(between(Schedule(cron="0 0 * 2 MON#5"), from_ms=0, until_ms=None), None)


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0,30 1-3 * * SUN", "15 */2 L * *", "0 0 1 * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    st.integers(1_700_000_000_000, 1_900_000_000_000),
)
def test_ticks_rise_and_are_the_same_wherever_one_begins(cron: str, tz: str, at_ms: int) -> None:
    """Else one of two workers would find an occasion that the other does not."""
    found = list(islice(ticks(cron, tz, after_ms=at_ms), 6))

    assert found == sorted(set(found))
    assert found[0] > at_ms
    for n, tick in enumerate(found[:-1]):
        assert next(ticks(cron, tz, after_ms=tick)) == found[n + 1]
        assert next(ticks(cron, tz, after_ms=tick - 1)) == tick


@given(st.integers(0, 400 * HOUR_MS), st.sampled_from(["all", "last", "none"]), st.integers(0, 90))
def test_every_tick_is_started_or_said_to_be_passed_over(
    slept_ms: int, catchup: str, jitter_min: int
) -> None:
    """Once, and in order; the position is behind all that was decided upon, and no further."""
    began_ms = 1_780_272_000_000
    schedule = Schedule(cron="0 * * * *", catchup=catchup, jitter_ms=jitter_min * 60_000)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    now_ms = began_ms + slept_ms
    found = due(schedule, name="m.t", after_ms=began_ms, now_ms=now_ms)

    passed = found.missed.ticks if found.missed else 0
    whole = list(between(schedule, from_ms=began_ms + 1, until_ms=now_ms))
    ready = [each for each in whole if begin_of(schedule, each, name="m.t") <= now_ms]
    assert len(whole) - len(ready) <= 1
    assert list(found.ticks) == ready[passed:]
    assert found.position_ms == (ready[-1] if ready else began_ms)
    assert found.look_at_ms is not None
    assert now_ms < found.look_at_ms <= now_ms + 2 * HOUR_MS
    assert (passed == 0) if catchup == "all" else (len(found.ticks) <= 1)


@pytest.mark.parametrize("jitter_ms", [0, 60_000])
def test_more_ticks_than_are_made_up_for_are_said_to_be_passed_over(jitter_ms: int) -> None:
    """Also if the last one is a tick that has not begun yet, for its jitter."""
    schedule = Schedule(cron="* * * * *", jitter_ms=jitter_ms)
    began_ms = 1_780_272_000_000
    now_ms = began_ms + 2_000 * 60_000
    found = due(schedule, name="m.t", after_ms=began_ms, now_ms=now_ms)

    assert (begin_of(schedule, now_ms, name="m.t") > now_ms) == (jitter_ms > 0)
    assert len(found.ticks) == BACKLOG_MAX
    assert found.missed is not None
    whole = found.missed.ticks + len(found.ticks)
    assert whole == (2_000 if jitter_ms == 0 else 1_999)
    assert found.missed.first_ms == began_ms + 60_000
    assert found.missed.last_ms == found.ticks[0] - 60_000


def test_the_tick_before_is_found_however_long_ago() -> None:
    """A nightly run is about the day before; a leap day's about one four years ago."""
    nightly = Schedule(cron="30 2 * * *", tz="Europe/Berlin")
    at_ms = next(between(nightly, from_ms=1_774_742_400_000, until_ms=None))  # 2026-03-29
    assert local(at_ms, nightly.tz).isoformat() == "2026-03-29T03:00:00+02:00"
    assert before(nightly, at_ms) == at_ms - 23 * HOUR_MS - HOUR_MS // 2

    leap = Schedule(cron="0 0 29 2 *")
    at_ms = next(between(leap, from_ms=1_780_272_000_000, until_ms=None))
    previous_ms = before(leap, at_ms)
    assert previous_ms is not None
    assert local(previous_ms, "UTC").date() == dt.date(2024, 2, 29)
