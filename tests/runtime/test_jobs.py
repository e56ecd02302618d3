"""Jobs that are done elsewhere: submitted once, polled at leisure, stopped if nobody waits."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.errors import Fatal, StoreUnusable
from statepipe.model import Outcome
from statepipe.runtime import attendants
from statepipe.runtime.driving import jobs
from statepipe.runtime.stopping import Stopper
from statepipe.store.care.prune import Which, prunable, prune
from statepipe.store.stage.directory import Stage, stage_directory
from tests.runtime.cluster import EVERY_MS, JOB, cluster, scene_of, stop_lost
from tests.runtime.waiting import HOUR_MS, Waiting, seen


@pytest.fixture(autouse=True)
def _by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread of an engine stop what is lost: it looks by a real clock, while tests count."""
    monkeypatch.setattr(attendants, "can_stop", lambda _: False)


def rows(scene: Waiting) -> list[tuple[object, ...]]:
    """Return the jobs of the store."""
    return list(scene.rows("SELECT number, polls, stopping, over_at_ms IS NOT NULL FROM job"))


def test_a_job_is_submitted_once_and_polled_until_it_is_over(tmp_path: Path) -> None:
    """Between two polls the instance is a row with a timer; the last one says its result."""
    scene = scene_of(tmp_path, None, None, {"rows": 7})
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    assert scene.row()["wake_delay_ms"] == EVERY_MS
    assert (cluster.keys, cluster.polled) == (["i:1:asking:asking:0"], [0])

    scene.clock.advance(EVERY_MS - 1)
    scene.turn()
    assert cluster.polled == [0]
    scene.clock.advance(1)
    scene.turn()
    scene.clock.advance(EVERY_MS)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert (cluster.keys, cluster.polled) == (["i:1:asking:asking:0"], [0, 0, 0])
    assert seen == [{"asking": {"rows": 7}}]
    assert rows(scene) == [(0, 3, 0, 1)]
    assert scene.rows("SELECT count(*) FROM journal WHERE attempt IS NOT NULL") == [(2,)]
    assert stop_lost(scene) == 0
    assert scene.is_sound()


def test_a_poll_names_an_event(tmp_path: Path) -> None:
    """As every task may."""
    scene = scene_of(tmp_path, Outcome("empty"))
    scene.turn()

    assert scene.rests()[0] == "done"
    assert seen == []
    assert scene.is_sound()


def test_a_poll_that_fails_is_tried_again_and_submits_nothing(tmp_path: Path) -> None:
    """By the policy; a poll that says how the job stands ends a row of failures."""
    lost = ConnectionError("no route")
    scene = scene_of(tmp_path, lost, lost, None, lost, lost, "over")
    for _ in range(6):
        scene.turn()
        scene.clock.advance(EVERY_MS)

    assert scene.rests()[0] == "done"
    assert cluster.keys == ["i:1:asking:asking:0"]
    assert scene.rows("SELECT count(*) FROM journal WHERE kind = 'retry'") == [(4,)]
    assert scene.is_sound()


def test_a_resume_goes_on_with_a_job_whose_polls_failed(tmp_path: Path) -> None:
    """It may well go on: nobody knows better."""
    lost = ConnectionError("no route")
    scene = scene_of(tmp_path, lost, lost, lost, "over")
    for _ in range(3):
        scene.turn()
        scene.clock.advance(10_000)
    assert scene.rests()[0] == "failed"
    assert stop_lost(scene) == 0

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert (len(cluster.keys), cluster.cancelled) == (1, [])
    assert scene.is_sound()


def test_a_resume_submits_anew_what_a_poll_gave_up(tmp_path: Path) -> None:
    """Under another key, or it would be given the job that is lost."""
    scene = scene_of(tmp_path, Fatal("killed by the cluster"), "over")
    scene.turn()
    assert scene.rests()[0] == "failed"
    assert stop_lost(scene) == 0

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert cluster.keys == ["i:1:asking:asking:0", "i:1:asking:asking:1"]
    assert scene.is_sound()


def test_a_submission_that_fails_is_tried_again_under_the_same_key(tmp_path: Path) -> None:
    """Its answer may have been lost: the other side makes no second job of it."""
    scene = scene_of(tmp_path, "over")
    cluster.breaks = {"submit"}
    scene.turn()
    cluster.breaks = set()

    scene.clock.advance(1_000)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert cluster.keys == ["i:1:asking:asking:0"]
    assert scene.is_sound()


@pytest.mark.parametrize("where", ["submitted", "rested"])
def test_a_crash_before_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Of the submission, or of a poll: the same job is found again, and there is never another."""
    scene = scene_of(tmp_path, None, None, "over")

    def dies(*_: object, **__: object) -> None:
        raise StoreUnusable("power", meaning="", next_step="")

    with monkeypatch.context() as broken:
        broken.setattr(jobs, where, dies)
        with pytest.raises(StoreUnusable):
            scene.turn()
    other = scene.other()
    scene.dies()
    for _ in range(3):
        scene.turn(other)
        scene.clock.advance(EVERY_MS)

    assert scene.rests()[0] == "done"
    assert cluster.keys == ["i:1:asking:asking:0"]
    other.close()
    assert scene.is_sound()


def test_a_job_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    """Its state ends with `timeout`, and whoever has the functions calls `cancel`."""
    scene = scene_of(tmp_path)
    scene.turn()
    scene.clock.advance(HOUR_MS - 1)
    scene.turn()
    assert scene.row()["wake_delay_ms"] == 1

    scene.clock.advance(1)
    scene.turn()

    row = scene.row()
    assert (row["state"], row["error_class"]) == ("failed", "JobTimeout")
    assert row["error"] == "the job took longer than 1h 0m"
    assert stop_lost(scene) == 1
    assert cluster.cancelled == [0]
    assert stop_lost(scene) == 0
    assert rows(scene) == [(0, 3, 1, 1)]
    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()
    assert cluster.keys == ["i:1:asking:asking:0", "i:1:asking:asking:1"]
    assert scene.is_sound()


def test_a_job_that_is_over_when_its_time_is_up_is_not_late(tmp_path: Path) -> None:
    """It is asked once more before anybody gives up."""
    scene = scene_of(tmp_path, None, "over")
    scene.turn()
    scene.clock.advance(2 * HOUR_MS)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_setting_the_wall_clock_ends_no_job_and_prolongs_none(tmp_path: Path) -> None:
    """On the boot that submitted it the boot clock alone decides; on another the wall clock."""
    scene = scene_of(tmp_path)
    scene.turn()
    scene.clock.set_wall(scene.clock.now_ms() + 90 * HOUR_MS)
    scene.clock.advance(HOUR_MS // 2)
    scene.turn()
    assert scene.rests()[0] == "asking"
    scene.clock.set_wall(scene.clock.now_ms() - 90 * HOUR_MS)
    scene.clock.reboot(down_ms=HOUR_MS // 2)
    scene.clock.advance(EVERY_MS)
    scene.turn()

    assert scene.rests()[0] == "failed"
    assert scene.is_sound()


@pytest.mark.parametrize("breaks", [False, True])
def test_a_cancelled_instance_leaves_no_job_behind(tmp_path: Path, *, breaks: bool) -> None:
    """At once, whoever cancels; a `cancel` that fails is noted with the job and not tried again."""
    scene = scene_of(tmp_path)
    cluster.breaks = {"cancel"} if breaks else set()
    scene.turn()
    assert scene.engine.cancel("i")

    assert stop_lost(scene) == 1

    assert cluster.cancelled == [0]
    expected = "cancel failed: ConnectionError: nobody answers" if breaks else None
    assert scene.rows("SELECT note FROM job") == [(expected,)]
    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()
    assert len(cluster.keys) == 2
    assert scene.is_sound()


def test_an_instance_is_not_pruned_before_its_job_is_stopped(tmp_path: Path) -> None:
    """The job would run on elsewhere, and its name be forgotten."""
    scene = scene_of(tmp_path)
    scene.turn()
    scene.engine.cancel("i")
    store = scene.engine._store
    stage = Stage(stage_directory(store.path, store_id=store.store_id))
    which = Which(before_ms=10**15, statuses=("cancelled",))

    assert prunable(store.connection, which, clock=store.clock) == []
    assert list(prune(store, stage, which)) == []
    assert stop_lost(scene) == 1
    assert [each.instances for each in prunable(store.connection, which, clock=store.clock)] == [1]
    assert list(prune(store, stage, which)) == [1]

    assert cluster.cancelled == [0]
    assert rows(scene) == []
    assert scene.is_sound()


def test_a_cancel_that_comes_with_the_submission_stops_that_job(tmp_path: Path) -> None:
    """What was submitted is written down whatever is wished, or nobody could stop it."""
    scene = scene_of(tmp_path)
    other = scene.other()
    asked = []

    class Keys(list[str]):
        def append(self, key: str) -> None:
            super().append(key)
            asked.append(other.cancel("i"))

    cluster.keys = Keys()
    scene.turn()

    assert asked == [False]
    assert scene.rests()[0] == "cancelled"
    assert stop_lost(scene) == 1
    assert cluster.cancelled == [0]
    other.close()
    assert scene.is_sound()


@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_a_wish_that_comes_with_a_poll_is_honoured(tmp_path: Path, wish: str) -> None:
    """The poll says that the job goes on; the instance does not."""
    scene = scene_of(tmp_path)
    other = scene.other()

    def wished() -> None:
        assert not getattr(other, wish)("i")

    cluster.answers = [wished]
    scene.turn()

    assert scene.rests()[:2] == (
        ("cancelled", "cancelled") if wish == "cancel" else ("asking", "paused")
    )
    assert stop_lost(scene) == (1 if wish == "cancel" else 0)
    assert rows(scene)[0][:2] == (0, 1)
    other.close()
    assert scene.is_sound()


def test_a_rewind_submits_anew_and_stops_the_old_one(tmp_path: Path) -> None:
    """The old job is one of a generation that nobody waits for."""
    scene = scene_of(tmp_path)
    scene.turn()
    scene.engine.pause("i")
    scene.engine.rewind("i", to="asking")
    scene.turn()

    assert cluster.keys == ["i:1:asking:asking:0", "i:2:asking:asking:0"]
    assert stop_lost(scene) == 1
    assert cluster.cancelled == [0]
    scene.clock.advance(EVERY_MS)
    scene.turn()
    assert cluster.polled == [0, 1, 1]
    assert scene.is_sound()


def test_a_pause_leaves_the_job_alone(tmp_path: Path) -> None:
    """Nobody polls it meanwhile, and a resume polls it at once."""
    scene = scene_of(tmp_path, None, "over")
    scene.turn()
    scene.engine.pause("i")
    scene.clock.advance(3 * EVERY_MS)
    scene.turn()
    assert (cluster.polled, stop_lost(scene)) == ([0], 0)

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert (len(cluster.keys), cluster.polled) == (1, [0, 0])
    assert scene.is_sound()


def test_a_job_that_nobody_can_stop_is_left_to_itself(tmp_path: Path) -> None:
    """Without a `cancel`: a resume of the cancelled instance finds it again."""
    scene = scene_of(tmp_path, None, "over", job=replace(JOB, cancel=None))
    scene.turn()
    scene.engine.cancel("i")
    assert stop_lost(scene) == 0

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()

    assert (scene.rests()[0], len(cluster.keys)) == ("done", 1)
    assert scene.is_sound()


@pytest.mark.parametrize("stops", [True, False])
def test_a_machine_that_goes_on_without_a_job_gives_it_up(tmp_path: Path, *, stops: bool) -> None:
    """Its polls failed and `error` leads on: nobody comes back to it, so it is to be stopped."""
    job = JOB if stops else replace(JOB, cancel=None)
    scene = scene_of(tmp_path, ConnectionError("no route"), job=job, error="done")
    for _ in range(3):
        scene.turn()
        scene.clock.advance(10_000)

    assert scene.rests()[0] == "done"
    assert stop_lost(scene) == stops
    assert cluster.cancelled == [0] * stops
    assert scene.is_sound()


def test_a_machine_that_comes_back_at_once_leaves_no_job_behind(tmp_path: Path) -> None:
    """The state is the same, the visit is another: it has a job of its own."""
    lost = ConnectionError("no route")
    scene = scene_of(tmp_path, lost, lost, lost, None, "over", error="asking")
    for _ in range(3):
        scene.turn()
        scene.clock.advance(10_000)
    assert scene.rests()[:2] == ("asking", "ready")
    assert stop_lost(scene) == 1
    assert cluster.cancelled == [0]

    scene.clock.advance(EVERY_MS)
    scene.turn()
    assert scene.rests()[0] == "done"
    assert len(cluster.keys) == 2
    assert scene.is_sound()


def test_who_dies_while_it_stops_a_job_leaves_it_to_the_next(tmp_path: Path) -> None:
    """It is taken again once that process is dead, and not before."""
    scene = scene_of(tmp_path)
    scene.turn()
    scene.engine.cancel("i")
    stuck = Stopper(scene.engine._store, 1, scene.engine._programs, is_over=lambda: True)
    stuck._ended = lambda *_: False  # type: ignore[method-assign]  # it dies meanwhile
    assert not stuck.turn()
    assert stop_lost(scene) == 0

    scene.dies()

    assert stop_lost(scene) == 1
    assert rows(scene) == [(0, 1, 1, 1)]
    stuck.close()
    assert scene.is_sound()


@pytest.mark.parametrize("handle", [None, object(), "x" * 70_000])
def test_a_handle_that_cannot_be_kept_fails_the_attempt(tmp_path: Path, handle: object) -> None:
    """It is plain data, and small: what is needed to find the job again."""
    scene = scene_of(tmp_path, job=replace(JOB, submit=lambda task: handle if task else None))
    scene.turn()
    for _ in range(3):
        scene.clock.advance(10_000)
        scene.turn()

    assert scene.rests()[0] == "failed"
    assert rows(scene) == []
    assert scene.is_sound()
