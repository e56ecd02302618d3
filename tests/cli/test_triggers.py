"""`statepipe triggers`, and what an emit and a worker do about them."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.runtime.triggers import asking
from tests.cli.project import Project

MACHINE = """\
machine = "orders"
initial = "working"

[params]
order = { default = "" }
day   = { type = "date", default = "today" }

[states.working]
run   = "orders_:work"
on.ok = "done"

[states.done]
final = "success"

[triggers.nightly]
schedule = "30 2 * * *"
tz       = "Europe/Berlin"
params   = { day = "{previous.date}" }

[triggers.on_order]
event  = "order-ready"
params = { order = "{event.key}", day = "{event.params.day}" }
"""

PERIOD = ("orders.nightly", "--from", "2026-03-28", "--to", "2026-03-30")


@pytest.fixture
def orders(project: Project) -> Project:
    """A project with a machine that starts by itself, and no store yet."""
    folder = project.root / "machines"
    (folder / "orders.toml").write_text(MACHINE, encoding="utf-8")
    work = '"""Orders."""\n\n\ndef work(task):\n    """Do nothing."""\n'
    (folder / "orders_.py").write_text(work, encoding="utf-8")
    return project


def listed(project: Project) -> Mapping[str, dict[str, Any]]:
    """Return what `triggers ls` says, by trigger."""
    said = project.call("triggers", "ls", "orders", "-o", "json")
    return {each["trigger"]: each for each in said.json}


def _today() -> str:
    return str(dt.datetime.fromtimestamp(SystemClock().now_ms() / 1000, tz=dt.UTC).date())


def test_an_event_starts_an_instance_that_says_so(orders: Project) -> None:
    """Emitted before there ever was a store; a worker starts it and drives it to its end."""
    emit = orders.call("emit", "order-ready", "--key", "o/17", "-p", "day=2026-03-01")
    assert "orders.on_order starts one   next: statepipe worker" in emit.out
    before = listed(orders)
    assert (before["orders.on_order"]["due"], before["orders.on_order"]["last"]) == (1, None)
    assert before["orders.nightly"]["stands"] == "not seen yet"

    assert orders.call("worker", "--until-idle").code == 0

    last = listed(orders)["orders.on_order"]["last"]
    assert (last["key"], last["refusal"]) == ("o/17", None)
    inspected = orders.call("inspect", last["instance"], "-o", "json").json
    assert inspected["started_by"] == {"trigger": "orders.on_order", "key": "o/17"}
    assert inspected["params"] == {"order": "o/17", "day": "2026-03-01"}
    assert inspected["status"] == "done"
    assert "started by  orders.on_order, for o/17" in orders.call("inspect", last["instance"]).out
    why = orders.call("why", last["instance"]).out
    assert "it was created, in working: trigger orders.on_order, o/17" in why
    assert orders.call("metrics", "verify").code == 0
    again = orders.call("emit", "order-ready", "--key", "o/17", "-o", "json").json
    assert (again["repeats"], again["starts"]) == (1, [])


def test_an_event_whose_parameters_make_no_instance_is_said(orders: Project) -> None:
    """It is no reason to stop; a backfill tries again once the cause is mended."""
    emit = orders.call("emit", "order-ready", "--key", "bad", "-p", "day=soon")
    assert '; orders.on_order starts none: parameter "day" of machine' in emit.out
    assert "next: statepipe triggers test orders.on_order\n" in emit.out
    tested = orders.call("triggers", "test", "orders.on_order")
    assert tested.code == 6
    assert "is 'soon', not a date" in tested.out
    worked = orders.call("worker", "--until-idle")
    assert worked.code == 0
    assert "0 instances done" in worked.out
    assert 'nothing: parameter "day" of machine' in orders.call("triggers", "ls").out

    at = ("--from", "2020-01-01", "--to", _today(), "--dry-run")
    dry = orders.call("triggers", "backfill", "orders.on_order", *at)
    assert dry.code == 6
    assert "0 occasions of orders.on_order would be started\n" in dry.out
    assert '1 would start nothing, such as bad: parameter "day"' in dry.out
    real = orders.call("triggers", "backfill", "orders.on_order", *at[:-1], "--yes", "-o", "json")
    assert (real.code, real.json["started"], list(real.json["refused"])) == (6, [], ["bad"])

    path = orders.root / "machines" / "orders.toml"
    path.write_text(MACHINE.replace(', day = "{event.params.day}"', ""), encoding="utf-8")
    period = ("--from", "2020-01-01", "--to", "2020-12-31", "--yes")
    assert "0 occasions" in orders.call("triggers", "backfill", "orders.on_order", *period).out
    recent = ("--from", "2021-01-01", "--to", _today(), "--yes")
    filled = orders.call("triggers", "backfill", "orders.on_order", *recent, "-o", "json")
    assert len(filled.json["started"]) == 1
    assert listed(orders)["orders.on_order"]["last"]["refusal"] is None


def test_an_event_may_start_one_by_one_trigger_and_none_by_another(orders: Project) -> None:
    """A parameter that has no default, and was not emitted; said in JSON as well."""
    needs = MACHINE.replace('{ default = "" }', '{ type = "text" }')
    needs = needs.replace('{ day = "{previous.date}" }', '{ order = "tick" }')
    other = '[triggers.on_any]\nevent = "order-ready"\nparams = { order = "{event.params.id}" }\n'
    path = orders.root / "machines" / "orders.toml"
    path.write_text(f"{needs}\n{other}", encoding="utf-8")

    typed = ("emit", "order-ready", "--key", "k", "-p", "day=2026-03-01", "-o", "json")
    said = orders.call(*typed).json

    assert said["starts"] == ["orders.on_order"]
    assert said["refused"] == {"orders.on_any": 'parameter "order" of machine "orders" is missing'}


def test_what_was_refused_stays_visible_behind_what_was_started(orders: Project) -> None:
    """However many start after it, until a backfill has made up for it."""
    for key, day in (("bad", "soon"), ("worse", "late"), ("good", "2026-03-01")):
        orders.call("emit", "order-ready", "--key", key, "-p", f"day={day}")
    orders.call("worker", "--until-idle")

    row = listed(orders)["orders.on_order"]
    assert (row["last"]["key"], row["refused"], row["last_refused"]["key"]) == ("good", 2, "worse")
    assert "'late', not a date" in row["last_refused"]["refusal"]
    assert f'{row["last"]["instance"]}; 2 refused, the last worse: parameter "day"' in (
        orders.call("triggers", "ls").out
    )


def test_test_says_that_a_concurrency_key_is_too_long(orders: Project) -> None:
    """As the worker will: such an occasion starts nothing."""
    path = orders.root / "machines" / "orders.toml"
    twice = 'concurrency = { key = "{params.order} {params.order}" }'
    path.write_text(f"{twice}\n{MACHINE}", encoding="utf-8")
    orders.call("emit", "order-ready", "--key", "o" * 700)

    tested = orders.call("triggers", "test", "orders.on_order")
    assert tested.code == 6
    assert "more than 1,200" in tested.out


def test_test_shows_what_a_schedule_would_start_and_starts_nothing(orders: Project) -> None:
    """With its parameters; also where an hour is skipped, and without any store."""
    said = orders.call(
        *("triggers", "test", "orders.nightly", "--at", "2026-03-28", "--count", "2", "-o", "json")
    )

    assert [(each["key"], each["begins_at"], each["params"]["day"]) for each in said.json] == [
        ("2026-03-28T01:30:00Z", "2026-03-28 01:30:00Z", "2026-03-27"),
        ("2026-03-29T01:00:00Z", "2026-03-29 01:00:00Z", "2026-03-28"),
    ]
    assert not (orders.root / "statepipe.db").exists()
    assert orders.call("triggers", "test", "orders.on_order").code == 0


def test_a_backfill_starts_each_occasion_once(orders: Project) -> None:
    """What has an instance is skipped; without a yes, and in a dry run, nothing is started."""
    dry = orders.call("triggers", "backfill", *PERIOD, "--dry-run")
    assert "3 occasions of orders.nightly would be started: 2026-03-28T01:30:00Z" in dry.out
    assert not (orders.root / "statepipe.db").exists()
    refused = orders.call("triggers", "backfill", *PERIOD)
    assert refused.code == 2
    assert "needs a yes" in refused.err

    first = orders.call("triggers", "backfill", *PERIOD, "--yes", "--reason", "a new source")
    assert "3 instances started   next: statepipe worker" in first.out
    wider = ("orders.nightly", "--from", "2026-03-27T00:00:00Z", "--to", "2026-03-30", "--yes")
    more = orders.call("triggers", "backfill", *wider, "-o", "json").json
    assert (more["missing"], more["existing"]) == (["2026-03-27T01:30:00Z"], 3)
    assert "0 occasions" in orders.call("triggers", "backfill", *wider).out
    assert len(orders.call("ls", "-o", "json").json) == 4


def test_a_paused_trigger_starts_nothing_until_it_goes_on(orders: Project) -> None:
    """Events that came meanwhile are not lost."""
    name = "orders.on_order"
    assert orders.call("triggers", "pause", name, "--reason", "the source moves").code == 0
    orders.call("emit", "order-ready", "--key", "k")
    orders.call("worker", "--until-idle")
    stands = listed(orders)[name]
    assert (stands["stands"], stands["paused_reason"]) == ("paused", "the source moves")
    assert stands["last"] is None
    twice = orders.call("triggers", "pause", name, "--reason", "again")
    assert "trigger orders.on_order is already paused" in twice.err

    assert orders.call("triggers", "unpause", name, "--reason", "it is there").code == 0
    orders.call("worker", "--until-idle")
    assert listed(orders)[name]["last"]["key"] == "k"
    assert "is not paused" in orders.call("triggers", "unpause", name, "--reason", "again").err


def test_ls_says_that_the_queue_is_full(orders: Project) -> None:
    """What is due is not decided upon; once there is room a worker starts it."""
    path = orders.root / "machines" / "orders.toml"
    path.write_text(f"ready_max = 1\n{MACHINE}", encoding="utf-8")
    orders.call("start", "orders")
    orders.call("emit", "order-ready", "--key", "k")

    stands = listed(orders)["orders.on_order"]
    assert (stands["due"], stands["waits"]) == (1, "the queue is full (1 of 1 ready)")
    assert "waits: the queue is full (1 of 1 ready)" in orders.call("triggers", "ls").out
    period = ("orders.nightly", "--from", "2026-03-28", "--to", "2026-03-30", "--yes")
    assert orders.call("triggers", "backfill", *period).code == 75

    assert "2 instances done" in orders.call("worker", "--until-idle").out
    stands = listed(orders)["orders.on_order"]
    assert (stands["due"], stands["waits"], stands["last"]["key"]) == (0, None, "k")


def test_ls_says_who_has_the_key_of_what_was_skipped(orders: Project) -> None:
    """So does a backfill, and it is no failure: the machine says so."""
    path = orders.root / "machines" / "orders.toml"
    skip = 'concurrency = { key = "one", behavior = "skip" }'
    path.write_text(f"{skip}\n{MACHINE}", encoding="utf-8")
    for key in ("k", "l"):
        orders.call("emit", "order-ready", "--key", key)
    assert "1 instance done" in orders.call("worker", "--until-idle").out

    last = listed(orders)["orders.on_order"]["last"]
    (first,) = orders.call("ls", "--all", "-o", "json").json
    assert (last["key"], last["instance"]) == ("l", None)
    assert last["skipped"] == f"key 'one' is taken by {first['id']}"
    assert f"skipped: key 'one' is taken by {first['id']}" in orders.call("triggers", "ls").out
    filled = orders.call("triggers", "backfill", *PERIOD, "--yes")
    assert filled.code == 0
    assert "1 instance started; 2 skipped, whose key is taken" in filled.out


@pytest.mark.parametrize(
    ("typed", "code", "told"),
    [
        (("test", "orders"), 2, "'orders' does not name a trigger"),
        (("test", "orders.nigthly"), 3, 'did you mean "nightly"?'),
        (("test", "ordrs.nightly"), 3, 'did you mean "orders"?'),
        (("test", "orders.nightly", "--at", "monday"), 2, "neither a date nor a moment"),
        (("test", "orders.nightly", "--at", "2026-03-28T10:00:00"), 2, "with its offset"),
        (("backfill", *PERIOD[:-1], "2999-01-01", "--yes"), 2, "is still to come"),
        (("pause", "numbers.x", "--reason", "y"), 3, "its triggers are none"),
        (("ls", "ordrs"), 3, 'did you mean "orders"?'),
    ],
)
def test_what_makes_no_sense_is_refused(
    orders: Project, typed: tuple[str, ...], code: int, told: str
) -> None:
    """With what to type instead, and nothing started."""
    said = orders.call("triggers", *typed)

    assert (said.code, told in said.err) == (code, True), said.err
    assert not (orders.root / "statepipe.db").exists()


def test_a_backfill_is_bounded(orders: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody starts a century of minutes by a slip of the finger."""
    monkeypatch.setattr(asking, "BACKFILL_MAX", 2)
    said = orders.call("triggers", "backfill", *PERIOD, "--yes")

    assert said.code == 2
    assert "more than 2 occasions" in said.err


def test_an_event_that_nobody_listens_to_is_refused(orders: Project) -> None:
    """The names of triggers' events are offered as those of waits are."""
    orders.call("emit", "order-ready", "--key", "k")
    said = orders.call("emit", "order-redy", "--key", "k")

    assert said.code == 3
    assert 'did you mean "order-ready"?' in said.err


def test_check_refuses_a_schedule_that_never_fires(orders: Project) -> None:
    """And says what to write instead."""
    path = orders.root / "machines" / "orders.toml"
    path.write_text(MACHINE.replace("30 2 * * *", "30 2 30 2 *"), encoding="utf-8")
    said = orders.call("check", "orders", "-o", "json")

    assert said.code == 6
    (finding,) = json.loads(said.out)
    assert "triggers.nightly" in finding["message"]
    assert "never fires: no month 2 has a day 30" in finding["message"]


def test_triggers_that_are_gone_are_still_listed(orders: Project) -> None:
    """What they started stays; without any, there is a hint."""
    orders.call("worker", "--until-idle")
    path = orders.root / "machines" / "orders.toml"
    path.write_text(MACHINE.partition("[triggers.")[0], encoding="utf-8")

    assert {each["stands"] for each in listed(orders).values()} == {"gone"}
    assert "gone" in orders.call("triggers", "ls").out
    assert "no machine has triggers" in orders.call("triggers", "ls", "numbers").err


def test_a_machine_whose_file_is_broken_is_named_where_triggers_are_listed(
    orders: Project,
) -> None:
    """Or a slip in its file looks as if nothing had ever been meant to start."""
    path = orders.root / "machines" / "orders.toml"
    path.write_text(f"nonsense = 1\n{MACHINE}", encoding="utf-8")

    said = orders.call("triggers", "ls")
    as_json = orders.call("triggers", "ls", "-o", "json")

    for each in (said, as_json):
        assert "orders is left out, and with it its triggers:" in each.err
        assert "nonsense" in each.err
    assert "no machine has triggers" not in said.err
    assert "statepipe check orders" in said.err
    assert as_json.json == []


def test_why_of_a_trigger_leads_to_what_its_occasions_wait_for(orders: Project) -> None:
    """They have no instance that could be asked about; any other name is none."""
    path = orders.root / "machines" / "orders.toml"
    path.write_text(f"ready_max = 1\n{MACHINE}", encoding="utf-8")
    orders.call("worker", "--until-idle")
    orders.call("start", "orders")
    orders.call("emit", "order-ready", "--key", "k")

    said = orders.call("why", "orders.on_order")
    other = orders.call("why", "orders.other")

    assert (said.code, other.code) == (3, 3)
    assert "'orders.on_order' is a trigger, and no instance" in said.err
    assert "statepipe triggers ls orders   # says what is due, and what it waits for" in said.err
    assert "there is no instance 'orders.other'" in other.err
    assert "waits: the queue is full" in orders.call("triggers", "ls", "orders").out


def test_triggers_of_a_broken_machine_are_not_gone(orders: Project) -> None:
    """They say so, and to what they listen; of what no worker has seen there is the reason."""
    orders.call("emit", "order-ready", "--key", "one")
    folder = orders.root / "machines"
    (folder / "orders.toml").write_text(f"oops =\n{MACHINE}", encoding="utf-8")

    (row,) = orders.call("triggers", "ls", "-o", "json").json
    assert (row["trigger"], row["stands"]) == ("orders.on_order", "machine broken")
    assert "orders.toml" in row["broken"]
    said = orders.call("triggers", "ls")
    assert "event order-ready" in said.out
    assert "machine broken" in said.out
    assert "orders is left out" in said.err
    assert "next: statepipe check orders" in said.err


@pytest.mark.parametrize(("seen", "code"), [(True, 0), (False, 3)])
def test_an_emit_says_which_machines_are_broken(orders: Project, *, seen: bool, code: int) -> None:
    """One of them may listen to the event, whether anybody knows it or not."""
    orders.call("start", "numbers")
    if seen:
        orders.call("emit", "order-ready", "--key", "one")
    path = orders.root / "machines" / "orders.toml"
    path.write_text(f"oops =\n{MACHINE}", encoding="utf-8")

    said = orders.call("emit", "order-ready", "--key", "two")

    assert said.code == code
    assert "orders is left out" in said.err
    assert "next: statepipe check orders" in said.err
