"""An attempt that fails while a cancel of its instance is pending: where that is told."""

from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.machine.definition import State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.story import told
from statepipe.store.questions.evidence import evidence
from statepipe.store.reading import Reader
from tests.runtime.families import Scene, machine_of

INLINE = {"executor": "inline"}


@pytest.mark.parametrize("wish", ["cancel", "kill"])
def test_what_fails_while_its_cancel_is_pending_is_told_by_the_journal(
    tmp_path: Path, wish: str
) -> None:
    """No figure counts it, since it may have failed because of that; the cancel is what it was."""

    def work(_: Task) -> None:
        with scene.engine() as other:
            assert not (other.cancel if wish == "cancel" else other.kill)("i", reason="enough")
        raise ValueError("too much")

    on = (Transition(event="ok", target="done"),)
    acting = State(name="a", task=Run(function=work), on=on, settings=INLINE)
    cleans = State(name="cancelling", task=Run(function=lambda _: None), settings=INLINE)
    scene = Scene(tmp_path, machine_of(acting, on_cancel=cleans))
    assert scene.run() == "cancelled"

    to = "cancelling" if wish == "cancel" else "cancelled"
    sql = "SELECT event, target, attempt, error_class, error FROM history WHERE kind = 'cancel'"
    assert scene.ask(sql) == [(wish, to, 1, "ValueError", "too much")]
    assert scene.ask("SELECT error_class FROM instance") == [(None,)]
    assert scene.ask("SELECT value FROM counter WHERE metric = 'errors'") == []
    with Reader(scene.config.store, clock=SystemClock()) as reader:
        known = evidence(reader, "i")
    said = {each.code: each.text for each in reasons(known, now_ms=0)}
    done = "killed" if wish == "kill" else "cancelled"
    assert said[wish] == f"somebody {done} it in a: enough"
    assert said["error"] == "attempt 1 of a failed: ValueError: too much"
    (row,) = [each for each in known.journal.rows if each.kind == "cancel"]
    assert told(row).endswith("and it was cancelled as somebody had asked: ValueError: too much")
    assert scene.sound()
