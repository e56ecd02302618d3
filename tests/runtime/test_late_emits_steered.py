"""Who is resumed, rewound, copied or pruned after a wait: what it has missed, and what not."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.engine import Engine
from statepipe.machine.states.taskgraph import Child
from statepipe.store.care.prune import Which, prune
from statepipe.store.file.opening import open_store
from statepipe.store.walk import asking
from tests.runtime.families import machine_of, working
from tests.runtime.lateness import KEY, by_cancel, by_time, late_rows, later, scene_of, twice
from tests.runtime.waiting import Waiting

GOLDEN = Path(__file__).parents[2] / "checkpoints" / "golden"


@pytest.mark.parametrize("is_driven", [False, True])
def test_who_waits_again_is_told_in_time(tmp_path: Path, *, is_driven: bool) -> None:
    """From the commit on by which it is in such a state: of a resume, before anybody drives it."""
    machine = twice()
    ends = machine.state("asking").on
    (first, *rest) = machine.states
    failing = replace(first, on=tuple(each for each in ends if each.event != "timeout"))
    scene = scene_of(tmp_path, replace(machine, states=(failing, *rest[1:])))
    by_time(scene)
    assert scene.rests()[0] == "failed"
    scene.engine._take_back("i", reason=None, definition="pinned")
    if is_driven:
        scene.turn()

    emitted = scene.engine.emit("approved", KEY)
    scene.turn()

    assert (emitted.late, len(emitted.woken)) == ((), int(is_driven))
    assert scene.rests()[0] == "pausing"
    assert scene.is_sound()


def test_a_resume_does_not_make_up_for_what_came_too_late(tmp_path: Path) -> None:
    """What was judged while nobody waited stays judged, whoever resumes it how often."""
    scene = scene_of(tmp_path)
    by_cancel(scene)
    scene.engine.emit("approved", KEY)
    for _ in range(2):
        scene.engine._take_back("i", reason=None, definition="pinned")
        scene.turn()
        assert scene.rests() == ("asking", "ready", True)
        by_cancel(scene)

    assert len(late_rows(scene)) == 1
    assert scene.is_sound()


def test_who_is_paused_still_waits(tmp_path: Path) -> None:
    """The wait has not ended, so it is in time, and taken when the instance goes on."""
    scene = scene_of(tmp_path)
    scene.engine.pause("i")

    emitted = scene.engine.emit("approved", KEY)
    scene.engine.unpause("i")
    scene.turn()

    assert (emitted.late, emitted.woken) == ((), ())
    assert scene.rests()[0] == "pausing"
    assert scene.is_sound()


def test_a_rewind_begins_anew(tmp_path: Path) -> None:
    """Waits of an earlier generation have missed nothing; what they missed is there again."""
    scene = scene_of(tmp_path)
    by_time(scene)
    scene.engine.rewind("i", to="b")
    assert scene.engine.emit("approved", KEY).late == ()
    scene.engine.create("m", instance_id="j", params={"day": "2026-07-02"})
    scene.turn()
    later(scene)
    assert scene.rests()[0] == "done"

    assert scene.rests("j")[0] == "b"
    assert scene.engine.emit("approved", "2026-07-02/x").late == ((2, "quarantine"),)
    scene.engine.rewind("j", to="asking")
    scene.turn()

    assert scene.rests("j")[0] == "pausing"
    assert [each[0] for each in late_rows(scene)] == ["j"]
    assert scene.is_sound()


def test_a_copy_finds_what_came_too_late_for_its_origin(tmp_path: Path) -> None:
    """It is another instance, and has missed nothing."""
    scene = scene_of(tmp_path)
    by_time(scene)
    scene.engine.emit("approved", KEY)
    copies = scene.engine.copies
    copy = copies.restart("i", reason="once more")
    other = copies.fork("i", at="asking", reason="from there")
    scene.turn()

    assert [scene.rests(each)[0] for each in (copy, other)] == ["pausing"] * 2
    assert scene.is_sound()


def test_other_parameters_wait_for_another_key(tmp_path: Path) -> None:
    """The wait for the first key is no wait of this instance any more, neither now nor before."""
    scene = scene_of(tmp_path)
    by_cancel(scene)
    scene.engine._take_back("i", reason=None, definition="pinned", params={"day": "2026-07-02"})
    scene.turn()
    assert scene.rows("SELECT key FROM waited") == [("2026-07-02/x",)]

    emitted = scene.engine.emit("approved", KEY)

    assert (emitted.late, emitted.woken) == ((), ())
    assert len(scene.engine.emit("approved", "2026-07-02/x").woken) == 1
    assert scene.is_sound()


def test_too_late_for_one_key_is_not_too_late_for_another(tmp_path: Path) -> None:
    """It is judged once an event and key, and what is there for the second one is taken."""
    scene = scene_of(tmp_path)
    by_cancel(scene)
    assert scene.engine.emit("approved", KEY).late == ((1, "quarantine"),)
    scene.engine._take_back("i", reason=None, definition="pinned", params={"day": "2026-07-02"})
    scene.engine.emit("approved", "2026-07-02/x")
    scene.turn()

    assert scene.rests()[0] == "pausing"
    assert scene.is_sound()


class Parents(Waiting):
    """The same with a machine `p`, whose work an instance of `m` does."""

    def other(self, **options: Any) -> Engine:  # noqa: ANN401  (the engine's)
        """Return another engine on the same store, which knows both."""
        parent = machine_of(working(Child(machine="m")), name="p")
        machines = [self.machine, parent]
        return Engine(self.config, machines=machines, clock=self.clock, **options)


def test_a_child_has_waits_of_its_own(tmp_path: Path) -> None:
    """They end when its parent is killed, and nobody else's do."""
    scene = Parents(tmp_path, twice())
    scene.engine.create("p", instance_id="p")
    scene.engine._program("p")
    scene.turn()
    assert len(scene.rows("SELECT * FROM waited")) == 2
    scene.engine.kill("p")

    emitted = scene.engine.emit("approved", KEY)

    assert emitted.late == tuple(
        (n, "quarantine") for (n,) in scene.rows("SELECT instance FROM child")
    )
    assert len(emitted.woken) == len(emitted.late) == 1
    assert scene.is_sound()


def test_the_rule_is_that_of_the_last_look(tmp_path: Path) -> None:
    """It is policy: whoever drives the end of the wait says what becomes of late ones."""
    scene = scene_of(tmp_path)
    scene.machine = twice("accept")
    with scene.other() as other:
        later(scene, other)
        assert scene.rests()[0] == "b"
        assert other.emit("approved", KEY).late == ()
    assert scene.is_sound()


def test_a_pruned_instance_has_missed_nothing(tmp_path: Path) -> None:
    """No row of it is left, and an emit is for the others."""
    scene = scene_of(tmp_path)
    scene.engine.create("m", instance_id="j", params={"day": "2026-07-02"})
    scene.turn()
    scene.engine.emit("approved", "2026-07-02/x")
    by_cancel(scene)
    assert len(scene.rows("SELECT * FROM waited")) == 1
    which = Which(before_ms=scene.clock.now_ms(), statuses=("cancelled",))

    assert list(prune(scene.engine._store, scene.engine._stage, which)) == [1]

    assert scene.rows("SELECT * FROM waited") == []
    assert scene.engine.emit("approved", KEY).late == ()
    assert scene.is_sound()


def test_it_is_late_for_each_that_has_given_up(tmp_path: Path) -> None:
    """One emit, thousands of instances: each gets its row, in that one transaction."""
    scene = scene_of(tmp_path)
    for n in range(20):
        scene.engine.create("m", instance_id=f"j{n:02}")
    scene.turn()
    later(scene)

    emitted = scene.engine.emit("approved", KEY)

    assert emitted.late == tuple((n, "quarantine") for n in range(1, 22))
    assert len(late_rows(scene)) == 21
    assert scene.rows("SELECT * FROM waited WHERE event = 'approved'") == []
    assert scene.is_sound()


def test_a_raised_store_knows_the_rule(tmp_path: Path) -> None:
    """One of schema version 1, which had neither waits with a key nor emits."""
    (tmp_path / "checkpoints").mkdir()
    path = shutil.copy(GOLDEN / "v1" / "statepipe.db", tmp_path / "checkpoints" / "statepipe.db")
    raised = open_store(Path(path), create=False, clock=SystemClock())
    asking.request(raised, instance_id="loading", wish="cancel", reason="of another machine")
    raised.close()
    scene = scene_of(tmp_path)
    by_time(scene)

    assert [became for _, became in scene.engine.emit("approved", KEY).late] == ["quarantine"]
    assert late_rows(scene) == [("i", "approved", KEY, None, "quarantine")]
    assert scene.is_sound()
