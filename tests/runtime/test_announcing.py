"""What becomes a notice: in the commit that causes it, once for each target, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import DefinitionError
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.observe import redact
from statepipe.store.metrics.recount import differences

#: Nobody listens on it, and whoever tries is refused at once.
NOWHERE = 'webhook = "http://127.0.0.1:9/"'

TOML = f"""\
[notify.oncall]
{NOWHERE}
on = ["failed", "retries_exhausted"]

[notify.retries]
{NOWHERE}
on = "retries_exhausted"

[notify.team]
{NOWHERE}
on = "done"
machines = ["other"]

[notify.author]
{NOWHERE}
"""

FAILS: list[str] = []


def work(task: Task) -> None:
    """Fail as often as it was asked to."""
    assert task.attempt >= 1
    if FAILS:
        raise ConnectionError(FAILS.pop())


def machine(name: str = "m", *, handled: bool = False, told: tuple[str, ...] = ()) -> Machine:
    """Return a machine that works, and whose failures are handled, or not."""
    error = (Transition(event="error", target="mending"),) if handled else ()
    settings = {"executor": "inline"}
    retry = {"max_attempts": 3, "interval": "1ms"}
    first = State(
        name="working",
        task=Run(function=work),
        on=(Transition(event="ok", target="done"), *error),
        settings=settings,
        retry=retry,
    )
    mending = State(
        name="mending",
        task=Run(function=work),
        on=(Transition(event="ok", target="done"),),
        settings=settings,
    )
    ends = (State(name="done", final="success"), State(name="failed", final="failure", notify=told))
    return Machine(
        name=name, initial="working", states=(first, *((mending,) if handled else ()), *ends)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a project's folder."""
    FAILS.clear()
    (tmp_path / "statepipe.toml").write_text(TOML, encoding="utf-8")
    yield tmp_path
    redact.forget()


def opened(folder: Path, *machines: Machine, env: str | None = None) -> Engine:
    """Open an engine there."""
    return Engine(load_config(start=folder, environ={}, env=env), machines=machines)


def outbox(engine: Engine) -> list[dict[str, Any]]:
    """Return the notices in the outbox, as they are told."""
    sql = "SELECT target, body FROM notice ORDER BY n"
    rows = engine._store.connection.execute(sql)
    return [{"target": target, **json.loads(body)} for target, body in rows]


def told(engine: Engine) -> list[tuple[str, str]]:
    """Return who is told of what."""
    return [(each["event"], each["target"]) for each in outbox(engine)]


def test_an_instance_that_fails_is_told_once_to_each_who_hears_of_it(folder: Path) -> None:
    """Whoever hears of the end need not hear of the retries as well."""
    FAILS.extend(["last", "second", "first"])
    with opened(folder, machine(told=("author", "oncall"))) as engine:
        engine.create("m", instance_id="one")
        engine.run(["one"])
        found = outbox(engine)

    assert [(each["event"], each["target"]) for each in found] == [
        ("failed", "oncall"),
        ("retries_exhausted", "retries"),
        ("failed", "author"),
    ]
    assert found[0] == found[0] | {
        "instance": "one",
        "machine": "m",
        "version": 1,
        "state": "working",
        "target_state": "failed",
        "attempt": 3,
        "error": {"class": "ConnectionError", "message": "last"},
        "summary": "m: one failed in working on attempt 3: ConnectionError: last",
    }


def test_a_failure_that_is_handled_is_told_to_who_hears_of_retries(folder: Path) -> None:
    """As often as `exhausted` counts it: not if the first attempt was the only one."""
    FAILS.extend(["third", "second", "first"])
    with opened(folder, machine(handled=True)) as engine:
        engine.create("m", instance_id="one")
        engine.run(["one"])
        FAILS.append("once")
        engine.create("m", instance_id="two")
        engine.run(["two"])
        count = "SELECT sum(value) FROM counter WHERE metric = 'exhausted'"

        assert told(engine) == [("retries_exhausted", "oncall"), ("retries_exhausted", "retries")]
        assert engine._store.connection.execute(count).fetchone() == (1,)
        assert differences(engine._store.connection) == []


def test_a_success_is_told_of_the_machines_that_the_target_lists(folder: Path) -> None:
    """And of no other."""
    with opened(folder, machine(), machine("other")) as engine:
        for each in ("m", "other"):
            engine.create(each, instance_id=f"one-{each}")
            engine.run([f"one-{each}"])

        assert [(each["event"], each["instance"]) for each in outbox(engine)] == [
            ("done", "one-other")
        ]


def test_each_failure_is_an_occasion_of_its_own(folder: Path) -> None:
    """A resume that fails again is told again, under another key."""
    FAILS.extend(["no"] * 6)
    with opened(folder, machine()) as engine:
        engine.create("m", instance_id="one")
        engine.run(["one"])
        engine.resume(["one"])
        keys = [each["key"] for each in outbox(engine) if each["target"] == "oncall"]
        seqs = engine._store.connection.execute("SELECT seq FROM journal WHERE ended = 'failed'")
        store = engine._store.store_id

        assert keys == [f"{store}:1:1:{seq}:failed:oncall" for (seq,) in seqs]


def test_a_cancel_is_nobody_s_alarm(folder: Path) -> None:
    """Somebody wanted it."""
    with opened(folder, machine()) as engine:
        engine.create("m", instance_id="one")
        engine.cancel("one")

        assert told(engine) == []


def test_secrets_of_an_error_are_not_put_into_the_outbox(folder: Path) -> None:
    """What is stored is stored for long, and sent far."""
    redact.hide("hunter2hunter2")
    FAILS.extend(["at postgresql://ann:pw1234@db with hunter2hunter2"] * 3)
    with opened(folder, machine()) as engine:
        engine.create("m", instance_id="one")
        engine.run(["one"])
        bodies = str(outbox(engine))

    assert "at postgresql://***@db with ***" in bodies
    assert "hunter2" not in bodies
    assert "pw1234" not in bodies


def test_a_machine_that_names_nobody_s_target_is_not_run(folder: Path) -> None:
    """Its alarm would never be heard."""
    with (
        opened(folder, machine(told=("oncal",))) as engine,
        pytest.raises(DefinitionError, match='no target "oncal"; did you mean "oncall"'),
    ):
        engine.create("m")


def test_without_targets_nothing_is_asked_and_no_thread_is_started(tmp_path: Path) -> None:
    """Who tells nobody pays nothing."""
    FAILS.extend(["no"] * 3)
    with opened(tmp_path, machine()) as engine:
        engine.create("m", instance_id="one")
        engine.run(["one"])

        assert engine._program("m").alerts is None
        assert engine._driver._attendants is not None
        assert engine._driver._attendants._sender is None
        assert told(engine) == []
