"""Several that are taken back to work at once: all of them, or a refusal with nothing changed."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy, Refused, UsageError
from statepipe.machine.parameter import Param
from statepipe.machine.states.taskgraph import Graph
from statepipe.model import Task
from statepipe.sharing import Concurrency, Sharing
from statepipe.store.file.opening import open_reader
from statepipe.store.walk import resuming
from tests.runtime.families import Scene, acting, machine_of, task, working
from tests.store import stores

JOURNAL = "SELECT kind, note FROM journal WHERE instance = 1 ORDER BY seq"


def breaks(_: Task) -> None:
    """Fail."""
    raise ValueError("no")


def works(_: Task) -> None:
    """Do nothing."""


def failed_and_done(folder: Path) -> Scene:
    """Return a store with an instance `a` that failed, and one `b` that is done."""
    broken, fine = machine_of(acting("a", breaks)), machine_of(acting("a", works), name="fine")
    scene = Scene(folder, broken, fine)
    with scene.engine() as engine:
        engine.create("m", instance_id="a")
        engine.create("fine", instance_id="b")
        assert engine.run(["a", "b"]) == {"a": "failed", "b": "done"}
    return scene


def refused_late(monkeypatch: pytest.MonkeyPatch, instance: str) -> None:
    """Let another process be quicker: one is driven once the others have been looked at."""
    claim = resuming.claim_resume

    def claiming(*args: Any, instance_id: str, **kwargs: Any) -> Any:  # noqa: ANN401  (passed on as it is)
        if instance_id == instance:
            raise Busy(f"{instance} is driven", meaning="nothing was changed", next_step="wait")
        return claim(*args, instance_id=instance_id, **kwargs)

    monkeypatch.setattr(resuming, "claim_resume", claiming)


def test_a_refusal_of_one_changes_none(tmp_path: Path) -> None:
    """Also if it comes last: nothing is journaled, and nobody lets anything go."""
    scene = failed_and_done(tmp_path)
    before = scene.ask("SELECT * FROM journal")
    with scene.engine() as engine, pytest.raises(Refused, match="'b' is done"):
        engine.resume(["a", "b"])

    assert scene.ask("SELECT * FROM journal") == before
    assert scene.ask("SELECT id, status FROM instance ORDER BY id") == [
        ("a", "failed"),
        ("b", "done"),
    ]
    assert scene.sound()


def test_who_was_taken_back_before_another_process_was_quicker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is let go, ready, and its journal says why."""
    scene = failed_and_done(tmp_path)
    with scene.engine() as engine:
        engine.create("m", instance_id="c")
        refused_late(monkeypatch, "c")
        with pytest.raises(Busy, match="c is driven") as caught:
            engine.resume(["a", "c"])

    assert caught.value.meaning == (
        "it was so only after 'a' had been taken back to work: what of them has not ended is"
        " ready, for `run` or a worker; all others are as they were"
    )
    assert scene.ask("SELECT status FROM instance WHERE id = 'a'") == [("ready",)]
    why = "another one that was to be resumed with it was refused"
    assert scene.ask(JOURNAL)[-2:] == [("resume", None), ("interrupt", why)]
    assert scene.sound()


@pytest.mark.parametrize("is_race", [False, True])
def test_a_task_is_not_retried_without_its_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_race: bool
) -> None:
    """Refused before, nothing is changed; refused after, the task is named."""
    graph = Graph(tasks=(task("one", breaks), task("two", works)))
    scene = Scene(tmp_path, machine_of(working(graph)))
    assert scene.run() == "failed"
    (part,) = [name for name, status in scene.children().items() if status == "failed"]
    if is_race:
        refused_late(monkeypatch, "i")
    else:
        refuse = resuming.refuse_resume

        def refusing(store: Any, me: Any, instance_id: str) -> None:  # noqa: ANN401  (passed on as it is)
            refuse(store, me, instance_id)
            if instance_id == "i":
                raise Busy("i is driven", meaning="nothing was changed", next_step="wait")

        monkeypatch.setattr(resuming, "refuse_resume", refusing)
    with closing(open_reader(scene.config.store)) as reader:
        before = stores.dump(reader)["journal"]
    with scene.engine() as engine, pytest.raises(Busy, match="i is driven") as caught:
        engine.retry("i", part)

    assert (f"after {part!r} had been taken back" in caught.value.meaning) == is_race
    with closing(open_reader(scene.config.store)) as reader:
        assert (stores.dump(reader)["journal"] == before) != is_race
    assert scene.sound()


def test_one_of_very_many_that_is_refused_late_names_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message is read by people."""
    scene = failed_and_done(tmp_path)
    with scene.engine() as engine:
        names = [str(engine.create("m", instance_id=f"i{n}")) for n in range(6)]
        refused_late(monkeypatch, "i5")
        with pytest.raises(Busy, match="i5 is driven") as caught:
            engine.resume(names)

    assert "only after 'i0', 'i1', 'i2' and 2 more had been taken back" in caught.value.meaning
    assert scene.sound()


@pytest.mark.parametrize("is_said_by", ["machine", "config"])
def test_what_is_in_a_key_that_few_may_have_is_not_set(tmp_path: Path, is_said_by: str) -> None:
    """Its place is counted by the key that it was made with: two would be driven with one value."""
    concurrency = Concurrency(key="{params.day}")
    day, limit = Param(name="day"), Param(name="limit", type="int", default=1)
    sharing = Sharing(concurrency=concurrency) if is_said_by == "machine" else Sharing()
    machine = machine_of(acting("a", breaks), params=(day, limit), sharing=sharing)
    config = '[machines.m]\nconcurrency = { key = "{params.day}" }\n'
    scene = Scene(tmp_path, machine, config="" if is_said_by == "machine" else config)
    scene.run("k1", day="d1")
    before = scene.ask("SELECT * FROM journal")
    with pytest.raises(Refused, match='"day" is in the concurrency key of m'):
        scene.resume("k1", params={"day": "d2"}, reason="x")
    assert scene.ask("SELECT * FROM journal") == before

    assert scene.resume("k1", params={"limit": 10}, reason="x") == "failed"
    assert scene.ask("SELECT concurrency_key FROM instance") == [("m:d1",)]
    assert scene.sound()


@pytest.mark.parametrize("method", ["run", "resume", "refuse"])
def test_one_id_is_no_list_of_ids(tmp_path: Path, method: str) -> None:
    """Its letters may be ids of others: it is refused, and nothing is driven."""
    scene = failed_and_done(tmp_path)
    before = scene.ask("SELECT * FROM journal")
    with scene.engine() as engine, pytest.raises(UsageError, match="given the text 'ab'") as no:
        getattr(engine, method)("ab")

    assert no.value.next_step == f"engine.{method}(['ab'])"
    assert scene.ask("SELECT * FROM journal") == before
