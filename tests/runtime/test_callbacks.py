"""Callbacks: a token lets its bearer tell the state that waits next, once, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.errors import BadParameter, BadToken, NotFound, Refused
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import CALLBACK, Wait
from statepipe.model import Outcome, Task
from tests.runtime.waiting import ASKING, HOUR_MS, INLINE, Waiting, leads, seen, work

given: list[str | None] = []


def begin(task: Task) -> None:
    """Keep the token, as what is begun outside would."""
    given.append(task.callback_token)
    task.log.info("the token is %s", task.callback_token)


def again(task: Task) -> Outcome:
    """Keep its own token, and go back once."""
    given.append(task.callback_token)
    return Outcome("back" if len(given) == 1 else "ok")


def machine(wait: Wait = ASKING, function: object = begin) -> Machine:
    """Return a machine that begins something in `a`, waits in `asking`, and looks in `b`."""
    assert callable(function)
    ends = dict.fromkeys(wait.events, "b")
    states = (
        State(
            name="a", task=Run(function=function), on=leads(ok="asking", back="a"), settings=INLINE
        ),
        State(name="asking", task=wait, on=leads(**ends)),
        State(name="b", task=Run(function=work), on=leads(ok="done"), settings=INLINE),
        State(name="done", final="success"),
    )
    return Machine(name="m", initial="a", states=states)


def scene_of(folder: Path, asked: Machine | None = None) -> Waiting:
    """Return a scene whose task has its token in `given`."""
    given.clear()
    scene = Waiting(folder, asked or machine())
    scene.turn()
    return scene


def token() -> str:
    """Return the first token that was given out."""
    assert given[0] is not None
    return given[0]


def test_the_bearer_of_a_token_moves_the_instance_on(tmp_path: Path) -> None:
    """What is said with it is the state's result."""
    scene = scene_of(tmp_path)
    assert scene.rests() == ("asking", "ready", True)

    called = scene.engine.callback(token(), "approved", {"rows": 7})
    scene.turn()

    assert (called.event, called.is_awaited, called.is_repeated) == ("approved", True, False)
    assert scene.rests()[0] == "done"
    assert seen == [{"asking": {"rows": 7}}]
    assert scene.rows("SELECT note FROM journal WHERE event = 'signal'") == [
        ("approved: called back for a",)
    ]
    assert given == [given[0]]
    assert scene.is_sound()


def test_only_a_task_that_a_wait_follows_has_a_token(tmp_path: Path) -> None:
    """And a store without such has no secret."""
    plain = replace(
        machine(function=begin),
        states=(
            State(name="a", task=Run(function=begin), on=leads(ok="done"), settings=INLINE),
            State(name="done", final="success"),
        ),
    )
    scene = scene_of(tmp_path, plain)

    assert given == [None]
    assert not list(tmp_path.rglob("*.callbacks"))
    assert scene.is_sound()


def test_one_event_needs_no_name(tmp_path: Path) -> None:
    """As in `wait = { callback = true }`; of several the bearer has to say which."""
    scene = scene_of(tmp_path, machine(Wait(events=(CALLBACK,), ms=HOUR_MS)))
    assert scene.engine.callback(token()).event == CALLBACK
    scene.turn()
    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_the_same_call_twice_counts_once_and_says_so(tmp_path: Path) -> None:
    """However late: also when the instance is done. Anything else by that token is refused."""
    scene = scene_of(tmp_path)
    scene.engine.callback(token(), "approved", {"n": 1})
    before = scene.row()

    second = scene.engine.callback(token(), "approved", {"n": 1})
    assert (second.is_repeated, scene.row()) == (True, before)
    for event, params in (("rejected", {"n": 1}), ("approved", {"n": 2})):
        with pytest.raises(Refused, match="used before"):
            scene.engine.callback(token(), event, params)
    scene.turn()
    assert scene.rests()[0] == "done"
    assert scene.engine.callback(token(), "approved", {"n": 1}).is_repeated

    assert scene.rows("SELECT repeats FROM callback") == [(2,)]
    assert scene.rows("SELECT count(*) FROM signal") == [(1,)]
    assert scene.is_sound()


def test_a_call_may_come_before_the_wait(tmp_path: Path) -> None:
    """The outside is quick: its task has not even ended."""
    scenes: list[Waiting] = []

    def quick(task: Task) -> None:
        begin(task)
        other = scenes[0].other()
        assert not other.callback(token(), "approved").is_awaited
        other.close()

    given.clear()
    scene = Waiting(tmp_path, machine(function=quick))
    scenes.append(scene)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_token_of_an_earlier_visit_is_stale(tmp_path: Path) -> None:
    """It was given for what is done again by now."""
    scene = scene_of(tmp_path, machine(function=again))
    first, second = given
    assert first is not None
    assert second is not None

    with pytest.raises(Refused, match="has come to a again since"):
        scene.engine.callback(first, "approved")
    scene.engine.callback(second, "approved")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_token_of_an_earlier_generation_is_stale(tmp_path: Path) -> None:
    """A rewind takes back what was asked."""
    scene = scene_of(tmp_path)
    scene.engine.rewind("i", to="a")
    with pytest.raises(Refused, match="was put back since"):
        scene.engine.callback(token(), "approved")
    scene.turn()
    assert scene.rests()[0] == "asking"
    assert given[0] != given[1]
    assert scene.is_sound()


def test_a_token_is_stale_once_the_instance_has_moved_on(tmp_path: Path) -> None:
    """Its wait ended by another way."""
    asked = replace(machine(), states=tuple(_with_a_rest(machine())))
    scene = scene_of(tmp_path, asked)
    scene.engine.signal("i", "approved")
    scene.turn()
    assert scene.rests() == ("b", "ready", True)

    with pytest.raises(Refused, match="is in b by now"):
        scene.engine.callback(token(), "approved")
    assert scene.is_sound()


def _with_a_rest(whole: Machine) -> list[State]:
    rest = State(name="b", task=Wait(ms=HOUR_MS), on=leads(ok="done"))
    return [rest if each.name == "b" else each for each in whole.states]


def test_a_resume_after_the_timeout_makes_the_token_good_again(tmp_path: Path) -> None:
    """The same wait is entered again; while it had failed, nobody took anything."""
    scene = scene_of(tmp_path)
    scene.clock.advance(HOUR_MS)
    scene.turn()
    with pytest.raises(Refused, match="already failed"):
        scene.engine.callback(token(), "approved")

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()
    scene.engine.callback(token(), "approved")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_what_makes_no_sense_is_refused_and_uses_up_nothing(tmp_path: Path) -> None:
    """Nor does it change anything; the token is in none of the messages."""
    scene = scene_of(tmp_path)
    before = scene.row()
    for bad, event, kind in (
        (f"{token()}x", "approved", BadToken),
        ("", "approved", BadToken),
        (token(), None, BadParameter),
        (token(), "aproved", NotFound),
        (token(), "timeout", NotFound),
    ):
        with pytest.raises(kind) as refused:
            scene.engine.callback(bad, event)
        assert token() not in str(vars(refused.value))
        assert refused.value.next_step
    with pytest.raises(BadParameter):
        scene.engine.callback(token(), "approved", {"x": "y" * 70_000})

    assert scene.row() == before
    assert scene.rows("SELECT * FROM callback") == []
    scene.engine.callback(token(), "approved")
    assert scene.is_sound()


def test_a_token_that_a_task_logs_is_not_stored(tmp_path: Path) -> None:
    """What is logged is redacted: a token is as good as a password."""
    settings = {"executor": "thread"}
    threaded = [
        replace(each, settings=settings) if each.name == "a" else each for each in machine().states
    ]
    scene = scene_of(tmp_path, replace(machine(), states=tuple(threaded)))
    scene.engine.callback(token(), "approved")
    scene.turn()

    assert scene.is_sound()
    whole = b"".join(path.read_bytes() for path in tmp_path.rglob("*.db*"))
    assert b"the token is" in whole
    assert token().encode() not in whole
