"""The rule table: what it decides, what it refuses, and that its two halves agree."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import GuardError, NoTransition
from statepipe.machine.definition import Machine
from statepipe.machine.table import Table, _View
from statepipe.model import CANCEL
from tests.unit.building import acting, machines, orders, pipeline, to

FACTS = st.fixed_dictionaries(
    {
        "attempt": st.integers(1, 3),
        "records": st.integers(0, 2),
        "rejected": st.integers(0, 3),
    }
)


def expected(machine: Machine, state: str, event: str, facts: dict[str, Any]) -> str | None:
    """Decide as the definition reads, without table and library."""
    if event == CANCEL:
        return None if machine.state(state).final else "cancelled"
    for each in machine.state(state).on_event(event):
        key = f"{state}/{event}/{each.target}"
        if each.max_visits is not None and facts["visits"].get(key, 0) >= each.max_visits:
            continue
        if each.when is not None:
            names = {**facts, "visit": facts["visits"].get(state, 1)}
            if not eval(each.when, {}, names):  # the test's own guards, written above
                continue
        return each.target
    return None


def decided(table: Table, state: str, event: str, facts: dict[str, Any]) -> str | None:
    """Return what the table decides, or None for a refusal."""
    try:
        return table.decide(state, event, facts)
    except NoTransition:
        return None


@given(machine=machines(), facts=FACTS, taken=st.integers(0, 3), entered=st.integers(1, 4))
def test_the_table_and_the_definition_agree_on_every_pair(
    machine: Machine, facts: dict[str, Any], taken: int, entered: int
) -> None:
    """For every state and event, legal or not, both say the same target or both say no."""
    table = Table.compile(machine)
    visits = dict.fromkeys(table._limits.values(), taken)
    facts = {**facts, "visits": visits | {state.name: entered for state in machine.states}}

    for state in machine.states:
        for event in ("ok", "error", "timeout", "empty", "trigger", "cancel", "nonsense"):
            assert decided(table, state.name, event, facts) == expected(
                machine, state.name, event, facts
            )


@given(machine=machines(), facts=FACTS, taken=st.integers(0, 3))
def test_the_dict_and_the_library_agree_on_every_pair(
    machine: Machine, facts: dict[str, Any], taken: int
) -> None:
    """What was read out of the library is what the library itself would do."""
    table = Table.compile(machine)
    facts = {**facts, "visits": dict.fromkeys(table._limits.values(), taken)}

    for state in machine.states:
        for name, event in table._rules.events.items():
            view = _View(state.name)
            asked = None
            if state.name in event.transitions and event.trigger(view, facts):
                asked = view.state

            assert decided(table, state.name, name, facts) == asked


@settings(max_examples=50)
@given(machine=machines())
def test_exactly_the_limited_transitions_are_counted(machine: Machine) -> None:
    """A key for each transition with max_visits, and for no other; no key twice."""
    table = Table.compile(machine)
    keys = []

    for state in machine.states:
        for each in state.on:
            key = table.counted(state.name, each.event, each.target)
            assert (key is None) == (each.max_visits is None)
            keys += [key] if key else []

    assert len(keys) == len(set(keys))


def test_no_instance_is_left_behind_as_a_model_of_the_library(tmp_path: Path) -> None:
    """`transitions` keeps every model it is given; it is given none."""
    table = Table.compile(orders(tmp_path))

    table.decide("validating", "ok", {"records": 1})
    table.decide("extracting", "ok", {})

    assert table._rules.models == []


def test_a_visit_limit_closes_a_loop_and_says_so(tmp_path: Path) -> None:
    """At the limit the event leads nowhere, and the message has the count."""
    table = Table.compile(orders(tmp_path))
    key = table.counted("validating", "invalid", "cleaning")
    assert key is not None

    assert table.decide("validating", "invalid", {"visits": {key: 1}}) == "cleaning"
    with pytest.raises(NoTransition, match=r'"cleaning" is reached \(2 of 2\)'):
        table.decide("validating", "invalid", {"visits": {key: 2}})


def test_an_unknown_event_names_the_ones_that_are_known(tmp_path: Path) -> None:
    """The refusal suggests the nearest event and lists the others."""
    table = Table.compile(orders(tmp_path))

    with pytest.raises(NoTransition) as refusal:
        table.decide("validating", "invalld", {})

    assert refusal.value.message == (
        'state "validating" does not accept the event "invalld"; did you mean "invalid"?'
    )
    assert refusal.value.next_step.startswith(
        "it accepts cancel, error, timeout, invalid, ok; statepipe graph orders"
    )


def test_a_final_state_accepts_nothing(tmp_path: Path) -> None:
    """Neither an event of the machine nor a cancel moves an instance that has ended."""
    table = Table.compile(orders(tmp_path))

    for state in ("done", "failed", "cancelled"):
        for event in ("ok", "cancel", "error"):
            with pytest.raises(NoTransition, match="does not accept"):
                table.decide(state, event, {})


def test_an_unknown_state_is_named_with_the_nearest(tmp_path: Path) -> None:
    """A checkpoint of another definition is refused, not moved."""
    table = Table.compile(orders(tmp_path))

    with pytest.raises(NoTransition, match='no state "loadin"; did you mean "loading"'):
        table.decide("loadin", "ok", {})


def test_a_guard_that_cannot_be_decided_is_no_silent_no(tmp_path: Path) -> None:
    """A missing fact is an error with the guard's text, also through the library."""
    table = Table.compile(orders(tmp_path))

    with pytest.raises(GuardError, match=r'guard `records > 0` .* there is no "records" here'):
        table.decide("validating", "ok", {})


def test_a_guard_sees_how_often_its_state_was_entered() -> None:
    """`visit` is 1 until the state is counted as entered again."""
    table = Table.compile(pipeline(acting("a", to("a", when="visit < 3", most=9), to("done"))))

    assert table.decide("a", "ok", {}) == "a"
    assert table.decide("a", "ok", {"visits": {"a": 2}}) == "a"
    assert table.decide("a", "ok", {"visits": {"a": 3}}) == "done"


def test_ends_are_told_apart(tmp_path: Path) -> None:
    """Acting states have no kind; `cancelled` is an end that no file declares."""
    table = Table.compile(orders(tmp_path))

    assert [table.final_kind(state) for state in ("done", "failed", "cancelled", "loading")] == [
        "success",
        "failure",
        "cancelled",
        None,
    ]
    assert [table.acting(state) for state in ("loading", "done", "cancelled", "nowhere")] == [
        True,
        False,
        False,
        False,
    ]


def test_only_states_on_a_cycle_are_counted(tmp_path: Path) -> None:
    """The straight part of a pipeline costs no counting."""
    table = Table.compile(orders(tmp_path))

    assert table.cyclic_states == {"extracting", "validating", "cleaning"}
    assert table.counts("cleaning", "ok", "extracting")
    assert table.counts("validating", "invalid", "cleaning")
    assert not table.counts("loading", "ok", "done")


def test_only_the_table_costs_the_import_of_transitions() -> None:
    """Looking at definitions (`inspect`, `graph`) stays fast."""
    code = (
        "import sys, statepipe.machine.loading.loader, statepipe.machine.checks.checker,"
        " statepipe.machine.graph, statepipe.machine.digest, statepipe.machine.params,"
        " statepipe.config;"
        " sys.exit('transitions' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
