"""Definitions built in Python: complete, immutable, and refused when they make no sense."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from statepipe.errors import DefinitionError, NotFound
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.tasks import Load, Run
from tests.unit.building import acting, pipeline, to


def test_a_machine_is_complete_once_built() -> None:
    """`failed` is there, and error and timeout lead to it."""
    machine = pipeline(acting("a", to("done")))

    assert [state.name for state in machine.states] == ["a", "done", "failed"]
    assert machine.state("a").on == (to("done"), to("failed", "error"), to("failed", "timeout"))


def test_building_a_complete_machine_again_changes_nothing() -> None:
    """Completion adds only what is not there."""
    machine = pipeline(acting("a", to("done")))

    again = Machine(name=machine.name, initial=machine.initial, states=machine.states)

    assert again == machine


def test_a_machine_cannot_be_changed() -> None:
    """Neither a field nor the settings of a state."""
    state = State(name="a", task=Run(function="m:f"), retry={"retries": 1}, settings={})

    with pytest.raises(FrozenInstanceError):
        state.name = "b"  # type: ignore[misc]  # a default binds the loop's value, or frozen is what is tested
    with pytest.raises(TypeError):
        state.settings["timeout"] = "1s"  # type: ignore[index]  # frozen is what is tested


def test_a_function_may_be_given_itself() -> None:
    """Its reference is the name it would be written by."""
    run = Run(function=pipeline)

    assert run.reference == "tests.unit.building:pipeline"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: pipeline(acting("a", to("b"))), 'states.a.on.ok: there is no state "b"'),
        (lambda: pipeline(acting("a"), acting("a")), 'state "a" is there twice'),
        (lambda: pipeline(acting("a"), initial="failed"), 'initial: state "failed" is final'),
        (lambda: pipeline(acting("a"), acting("failed")), 'state "failed" must be final'),
        (lambda: acting("cancelled"), '"cancelled" is reserved'),
        (lambda: acting("a", to("b", "cancel")), '"cancel" and "cancelled" are reserved'),
        (
            lambda: acting("a", to("b", most=2), to("b", when="attempt > 1")),
            'event "ok" of "a" leads to "b" twice, once with max_visits',
        ),
        (lambda: acting("a", to("failed", most=2)), 'max_visits bounds loops, and "failed"'),
        (
            lambda: State(name="a"),
            'state "a" must have one of run, contract, load, wait, job, tasks, machine, final',
        ),
        (
            lambda: State(name="a", task=Run(function="m:f"), settings={"retries": 3}),
            'unknown setting "retries"',
        ),
        (
            lambda: State(name="a", task=Run(function="m:f"), settings={"timeout": 3}),
            'state "a": timeout is 3; a duration carries its unit',
        ),
        (lambda: Run(function=17), "17 does not name a function"),  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
        (lambda: Transition(event="ok", target="b", when="1 +"), "guard `1 +`, column 4"),
        (
            lambda: Machine(
                name="m", initial="a", states=(acting("a"),), params=(Param(name="p"),) * 2
            ),
            'parameter "p" is there twice',
        ),
        (
            lambda: pipeline(*(acting(f"s{n}") for n in range(501)), initial="s0"),
            "more than 500 states",
        ),
        (
            lambda: Machine(name="m", initial="a", states=(acting("a"),), deadline_ms=-1),
            "deadline is -1 ms, outside",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(build: Callable[[], object], said: str) -> None:
    """Nobody downstream has to check again."""
    with pytest.raises(DefinitionError) as refusal:
        build()

    assert said in refusal.value.message
    assert refusal.value.next_step


def test_a_state_is_found_by_name_or_refused_with_the_nearest() -> None:
    """What `rewind --to` and `fork --at` ask."""
    machine = pipeline(acting("a", to("done")))

    assert machine.state("done").final == "success"
    with pytest.raises(NotFound, match='no state "don"; did you mean "done"'):
        machine.state("don")


@pytest.mark.parametrize(
    "to",
    [
        "postgresql://user:hunter2@host/db",
        "postgresql://user:hunter2@/db",
        "postgresql://user:hun%74er2@host/db",
        "postgresql://user:hunter2/@host/db",
        "postgresql://user:hunter2?@host/db",
        "postgresql://user@host/db?password=hunter2",
        "postgresql://user@host/db?sslmode=require&sslpassword=hunter2",
        "postgresql://user:hunter2@host/" + "x" * 2_000,
        "https://user:hunter2@host/path",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(to: str) -> None:
    """A definition is kept in the store and printed by commands; so would the password be."""
    with pytest.raises(DefinitionError, match="to has a password in it") as refusal:
        Load(to=to, table="t")

    assert "hunter2" not in f"{refusal.value.message} {refusal.value.next_step}"


@pytest.mark.parametrize(
    "to",
    [
        "sqlite:///a:b@c.db",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://host:5432/db",
        "postgresql://user@host:5432/db?sslmode=require",
        "postgresql://user:env:NAME@host/db",
        "postgresql://user:file:%2Frun%2Fsecret@host/db",
        "postgresql://user@host/db?password=env:NAME",
        "postgresql://user@host/db?password=file:/run/secret&sslmode=require",
        "env:NAME",
        "file:/run/secret",
    ],
)
def test_an_address_without_a_password_or_with_a_reference_is_taken(to: str) -> None:
    """Only what would give a secret away is refused."""
    assert Load(to=to, table="t").to == to


@pytest.mark.parametrize(
    ("mode", "key", "is_then"),
    [
        ("", (), "append"),
        ("", ("id",), "upsert"),
        ("append", (), "append"),
        ("upsert", ("id",), "upsert"),
        ("replace", (), "replace"),
        ("replace", ("id",), "replace"),
    ],
)
def test_a_load_has_the_mode_that_its_author_or_its_key_says(
    mode: str, key: tuple[str, ...], is_then: str
) -> None:
    """With a key rows are replaced, without one they are added."""
    load = Load(to="sqlite:///x.db", table="t", key=key, mode=mode)

    assert load.mode == is_then
    assert load == Load(to="sqlite:///x.db", table="t", key=key, mode=is_then)


@pytest.mark.parametrize(
    ("mode", "key", "problem"),
    [
        ("replcae", (), "did you mean"),
        ("upsert", (), "no key"),
        ("append", ("id",), "there is a key"),
    ],
)
def test_a_mode_that_the_key_contradicts_is_refused(
    mode: str, key: tuple[str, ...], problem: str
) -> None:
    """Which of the two was meant, nobody can tell."""
    with pytest.raises(DefinitionError, match=problem):
        Load(to="sqlite:///x.db", table="t", key=key, mode=mode)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"columns": "add"}, "there is none"),
        ({"contract": "c.json", "columns": "ad"}, r"columns: there is no 'ad'; did you mean"),
        ({"contract": "../c.json"}, "leaves the folder of the machines"),
        ({"contract": "/etc/passwd"}, "leaves the folder of the machines"),
        ({"contract": ""}, "contract is ''"),
        ({"contract": "c.json", "to": "https://h/x", "table": ""}, "there is no table"),
    ],
)
def test_a_contract_of_a_table_that_makes_no_sense_is_refused(
    asked: dict[str, Any], problem: str
) -> None:
    """What is unsaid refuses a column that the table lacks."""
    with pytest.raises(DefinitionError, match=problem):
        Load(**{"to": "sqlite:///x.db", "table": "t", **asked})

    load = Load(to="sqlite:///x.db", table="t", contract="c.json")
    assert load.columns == "refuse"
    assert load == Load(to="sqlite:///x.db", table="t", contract="c.json", columns="refuse")
