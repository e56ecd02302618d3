"""A change that the store does not take: one instance fails by it, and the others go on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from statepipe.batch import Batch
from statepipe.errors import DataError, Refused
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Attachment, Change, Outcome, Task
from statepipe.sqlite import sqlite3
from statepipe.store.walk import committer
from tests.runtime.families import Scene, machine_of

Breaks = Callable[[Change, Attachment | None], bool]

BATCH: Breaks = lambda _change, attachment: attachment is not None and bool(attachment.staged)  # noqa: E731
END: Breaks = lambda change, _attachment: change.status == "done"  # noqa: E731
ENDS: Breaks = lambda change, _attachment: change.status in ("done", "failed")  # noqa: E731


def source(_: Task) -> Iterator[Batch]:
    """Yield two batches."""
    yield Batch([{"a": 1}], cursor=1)
    yield Batch([{"a": 2}], cursor=2)


def machine(executor: str) -> Machine:
    """Return a machine that stages batches in its one state."""
    on = (Transition(event="ok", target="done"),)
    acting = State(name="a", task=Run(function=source), on=on, settings={"executor": executor})
    return machine_of(acting)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Breaks], None]:
    """Return what lets the store refuse some changes of the first instance; () refuses none."""
    apply = committer._apply_all
    breaks: list[Breaks] = []

    def refuse(
        connection: sqlite3.Connection,
        changes: Sequence[Change],
        attached: Mapping[int, Attachment],
    ) -> None:
        apply(connection, changes, attached)
        for index, change in enumerate(changes):
            if change.n == 1 and any(each(change, attached.get(index)) for each in breaks):
                raise Refused("it is full", meaning="nothing was changed", next_step="statepipe ls")

    def let(*which: Breaks) -> None:
        breaks[:] = which

    monkeypatch.setattr(committer, "_apply_all", refuse)
    return let


@pytest.mark.parametrize("executor", ["inline", "thread"])
@pytest.mark.parametrize("breaks", [BATCH, END], ids=["batch", "end"])
def test_an_instance_fails_alone_by_what_the_store_refuses(
    tmp_path: Path, broken: Callable[..., None], breaks: Breaks, executor: str
) -> None:
    """Its error says what refused it; a resume goes on once the store takes it."""
    broken(breaks)
    scene = Scene(tmp_path, machine(executor))
    with scene.engine() as engine:
        for name in ("i", "j"):
            engine.create("m", instance_id=name)
        assert engine.run(["i", "j"]) == {"i": "failed", "j": "done"}
    ((error_class, error),) = scene.ask("SELECT error_class, error FROM instance WHERE id = 'i'")
    assert error_class == "DataError"
    what = "a batch" if breaks is BATCH else "'ok'"
    assert error.startswith(f"the store refused {what} of 'i' in a: Refused: it is full")
    assert scene.sound()

    broken()
    assert scene.resume() == "done"
    assert scene.sound()


def test_an_instance_that_cannot_even_fail_ends_its_driver(
    tmp_path: Path, broken: Callable[..., None]
) -> None:
    """It would be claimed again and again; nothing is committed of it, and others are whole."""
    broken(ENDS)
    scene = Scene(tmp_path, machine("inline"))
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        with pytest.raises(DataError, match="the store refused 'error' of 'i' in a"):
            engine.run(["i"])
    assert scene.ask("SELECT status FROM instance") == [("ready",)]
    assert scene.sound()


def test_an_event_that_is_no_unicode_fails_its_instance(tmp_path: Path) -> None:
    """The refusal of the rules names it, and can be written down."""

    def ends(_: Task) -> Outcome:
        return Outcome("\udcff")

    on = (Transition(event="ok", target="done"),)
    acting = State(name="a", task=Run(function=ends), on=on, settings={"executor": "inline"})
    scene = Scene(tmp_path, machine_of(acting))

    assert scene.run() == "failed"
    ((error,),) = scene.ask("SELECT error FROM instance")
    assert error.endswith('does not accept the event "\\udcff"')
    assert scene.sound()
