"""Whatever a task does or returns: its own instance fails with a clear error, the others go on."""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import BadParameter, NotFound, UsageError
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.tasks import Run
from statepipe.runtime.driving.pools import Pools
from statepipe.store.codec import decode
from statepipe.testing import violations
from tests.spec import bad_tasks


def machine(function: Callable[..., Any], **settings: str) -> Machine:
    """Return a machine of one task, named after it."""
    work = State(
        name="working",
        task=Run(function=f"{bad_tasks.__name__}:{function.__name__}"),
        on=(Transition(event="ok", target="done"),),
        retry={"max_attempts": 1},
        settings={"executor": "thread", **settings},
    )
    return Machine(
        name=function.__name__.replace("_", "-"),
        initial="working",
        states=(work, State(name="done", final="success")),
        params=(Param(name="which", required=False),),
    )


IN_PROCESSES = [
    machine(bad_tasks.raise_unprintable, executor="process"),
    machine(bad_tasks.exit_at_once, executor="process"),
    machine(bad_tasks.segfault, executor="process"),
    machine(bad_tasks.print_100_mb, executor="process"),
    machine(bad_tasks.never_end, executor="process", timeout="300ms", grace="50ms"),
    machine(bad_tasks.leave_a_child, executor="process"),
    machine(bad_tasks.fine, executor="process"),
]
IN_THREADS = [
    machine(bad_tasks.return_value),
    machine(bad_tasks.yield_value),
    machine(bad_tasks.cursor_value),
    machine(bad_tasks.unknown_event),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Open an engine; whatever happened in it, its store is whole afterwards."""
    config = load_config(start=tmp_path, environ={})
    with Engine(config, machines=[*IN_PROCESSES, *IN_THREADS], pools=Pools(processes=2)) as opened:
        yield opened
    assert not config.store.exists() or violations(config.store) == []


def end_of(engine: Engine, instance: str) -> tuple[str, str, str]:
    """Return where an instance ended: state, class and text of its error."""
    row = engine._store.connection.execute(
        "SELECT state, error_class, error FROM instance WHERE id = ?", (instance,)
    ).fetchone()
    return row[0], row[1] or "", row[2] or ""


def result_of(engine: Engine, instance: str) -> Any:  # noqa: ANN401  (whatever is passed on)
    """Return what the task of an instance returned."""
    (picture,) = engine._store.connection.execute(
        "SELECT picture FROM instance WHERE id = ?", (instance,)
    ).fetchone()
    return decode(picture)[0]["working"]


def test_hostile_tasks_fail_alone_while_the_others_go_on(engine: Engine) -> None:
    """All in flight at once, in two worker processes that they keep killing."""
    ids = [engine.create(each.name, instance_id=each.name) or "" for each in IN_PROCESSES]

    statuses = engine.run(ids)

    ends = {instance: end_of(engine, instance) for instance in ids}
    assert {instance for instance in ids if statuses[instance] == "done"} == {
        "print-100-mb",
        "leave-a-child",
        "fine",
    }, ends
    assert ends["raise-unprintable"][1] == "UnprintableError"
    assert "cannot be printed" in ends["raise-unprintable"][2]
    assert ends["exit-at-once"][1] == ends["segfault"][1] == "TaskCrashed"
    assert "status 3" in ends["exit-at-once"][2]
    assert "SIGSEGV" in ends["segfault"][2]
    assert ends["never-end"][1:] == ("TaskTimeout", "the attempt took longer than 300ms")
    events = engine._store.connection.execute(
        "SELECT event FROM history WHERE id = 'never-end' ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    assert events == ("timeout",)
    assert not alive(result_of(engine, "leave-a-child"))


def alive(pid: int) -> bool:
    """Return whether a process is there, and no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


@pytest.mark.parametrize("which", ["nan", "infinity", "big", "bigger"])
def test_a_value_that_json_would_change_comes_back_exactly(engine: Engine, which: str) -> None:
    """As a result, in a record, and in a cursor."""
    ids = [
        engine.create(name, params={"which": which}, instance_id=name) or ""
        for name in ("return-value", "yield-value", "cursor-value")
    ]

    assert set(engine.run(ids).values()) == {"done"}

    value = bad_tasks.VALUES[which]
    back = result_of(engine, "return-value")["rows"][1]
    assert type(back) is type(value)
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize(
    ("which", "text"),
    [
        ("surrogate", "surrogate"),
        ("lambda", "function"),
        ("object", "object"),
        ("deep", "deep"),
        ("large", "2,09|bytes"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_with_its_path(
    engine: Engine, which: str, text: str
) -> None:
    """At write, by the attempt that made it; what it committed before stays committed."""
    names = ["return-value", "cursor-value"] + (["yield-value"] if which != "large" else [])
    ids = [engine.create(name, params={"which": which}, instance_id=name) or "" for name in names]

    assert set(engine.run(ids).values()) == {"failed"}

    paths = {"return-value": "$.rows[1]", "yield-value": "[1].price", "cursor-value": "$.at"}
    for name in names:
        _, kind, message = end_of(engine, name)
        assert kind == "ValueRefused"
        assert any(each in message for each in text.split("|")), message
        if which not in ("large", "deep"):
            assert paths[name] in message
    staged = engine._store.connection.execute("SELECT id, number FROM staged").fetchall()
    assert staged == [("yield-value", 0)] * ("yield-value" in names)


def test_an_event_the_state_does_not_know_fails_with_a_clear_error(engine: Engine) -> None:
    """The machine has no such edge, so nothing moves along one."""
    engine.create("unknown-event", instance_id="u")

    assert engine.run(["u"]) == {"u": "failed"}

    _, kind, message = end_of(engine, "u")
    assert kind == "NoTransition"
    assert '"working" does not accept the event "okay"; did you mean "ok"?' in message


@pytest.mark.parametrize(
    "name", ["../escape", "a/b", "", ".", "..", "a\0b", "x" * 300, "a\nb", "-rf", "ü", "a b"]
)
def test_a_machine_name_that_is_no_name_is_refused(engine: Engine, name: str) -> None:
    """No path is made of it."""
    with pytest.raises((NotFound, UsageError)):
        engine.create(name)


@pytest.mark.parametrize(
    "params", [{"which": 3}, {"which": None, "wich": "x"}, {"which": ["a"]}, {"which": 1.5}]
)
def test_a_parameter_of_the_wrong_type_creates_nothing(
    engine: Engine, params: dict[str, Any]
) -> None:
    """And says which parameter, and what it takes."""
    with pytest.raises(BadParameter, match="which"):
        engine.create("return-value", params=params, instance_id="a")
    with pytest.raises(NotFound):
        engine.run(["a"])


def test_a_task_that_ends_its_process_leaves_the_worker_alone(engine: Engine) -> None:
    """The pool replaces what died, again and again."""
    began_ms = SystemClock().boot_ms()
    ids = [engine.create("exit-at-once", instance_id=f"e{i}") or "" for i in range(6)]
    ids.append(engine.create("fine", instance_id="fine") or "")

    statuses = engine.run(ids)

    assert statuses.pop("fine") == "done"
    assert set(statuses.values()) == {"failed"}
    assert os.getpid() == engine._driver.worker.pid if engine._driver.worker else False
    assert SystemClock().boot_ms() - began_ms < 20_000
