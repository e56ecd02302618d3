"""
What a resume would do with an instance, worked out from its checkpoint alone.

    outlook     the states behind it, the one it would run, those ahead
    Outlook     the same as a value
    Leg         one state on the way
    at_hand     the parts that it would go on with

No machine file is needed: the definition an instance began with is in the store. The
states ahead are those that `ok` leads to, since nobody can know how the rest will end.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from statepipe.model import OK, Status, Stay
from statepipe.runtime.picture import Picture
from statepipe.runtime.steering.way import Passage, entries
from statepipe.store.lookups.inspection import Inspection, Tally
from statepipe.store.lookups.parts import Part

Place = Literal["behind", "here", "ahead"]

_NOTHING = Tally(0, 0, 0, 0, 0)


class Leg(NamedTuple):
    """
    One state on the way of an instance.

    Attributes:
        state: Its name.
        place: "behind" (a resume skips it), "here" (it goes on there), "ahead".
        work: What runs there, such as "run flights:extract"; "" in a final state.
        tally: What was done there so far.
        total: How many batches it will handle, None if nobody can know.
    """

    state: str
    place: Place
    work: str
    tally: Tally
    total: int | None


class Outlook(NamedTuple):
    """
    What a resume would run and skip.

    Attributes:
        legs: Every state of the way, in order.
        runs: The state a resume goes on in; None if the instance is done.
        batch: Number of the first batch it would make or load there, from 0.
        total: How many batches there are in that state, None if nobody can know.
    """

    legs: tuple[Leg, ...]
    runs: str | None
    batch: int
    total: int | None


def outlook(found: Inspection) -> Outlook:
    """Return what a resume of `found` would do."""
    states: Mapping[str, Any] = found.form["states"]
    done = found.status == Status.DONE
    here = found.resume_state
    picture = Picture.read(found.picture)
    way = [each for each in entries(Passage(*row) for row in found.steps) if each.state in states]
    behind = [(each.state, each.generation) for each in way if _acts(states, each.state)]
    if not done and (here, found.generation) in behind:
        # Where it rests is the last state it entered; an earlier visit is not shown twice.
        behind = [each for each in behind if each[0] != here]
    legs = [
        Leg(state, "behind", _work(states[state]), _tally(found, state, generation), None)
        for state, generation in dict.fromkeys(behind)
    ]
    if done:
        return Outlook((*legs, _ahead(states, found.state)), None, 0, None)
    if found.is_being_cancelled:  # a resume goes on with that, and leaves the rest
        work, tally = f"run {found.form['on_cancel']}", _tally(found, found.state, found.generation)
        return Outlook((*legs, Leg(found.state, "here", work, tally, None)), found.state, 0, None)
    total = _total(found, here, picture)
    tally = _tally(found, here, found.generation)
    legs.append(Leg(here, "here", _work(states.get(here, {})), tally, total))
    legs += [_ahead(states, name) for name in _path(states, here)]
    return Outlook(tuple(legs), here, found.batches, total)


def at_hand(found: Inspection) -> tuple[Part, ...]:
    """Return what does part of the work of the stay that a resume goes on with; not of old ones."""
    here = found.resume_state
    stay = (found.generation, here, Picture.read(found.picture).visit(here))
    return tuple(each for each in found.parts if (each.generation, each.state, each.visit) == stay)


def _path(states: Mapping[str, Any], start: str) -> list[str]:
    """Return the states that `ok` leads to from `start`, the final one included."""
    path: list[str] = []
    name = start
    while choices := _way_on(states.get(name, {})):
        name = choices[0]["to"]
        if name in path or name == start:
            break
        path.append(name)
    return path


def _way_on(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return where a state leads if all goes well; a wait's first event is taken for that."""
    on: Mapping[str, list[dict[str, Any]]] = state.get("on", {})
    return on.get(next(iter(state.get("task", {}).get("wait", ())), OK), [])


def _total(found: Inspection, state: str, picture: Picture) -> int | None:
    task = found.form["states"].get(state, {}).get("task", {})
    stay = Stay(found.generation, state, picture.visit(state))
    if "load" in task:
        planned = found.planned.get((state, stay.generation, stay.visit))
        return None if planned is None else planned[0]
    source = picture.input
    if (
        source is None
        or not task.keys().isdisjoint(_NO_BATCHES)
        or ("run" in task and not found.batches)
    ):
        return None  # a function may be called once, whatever its input; nobody can tell yet
    return found.staged.get((source.state, source.generation, source.visit))


#: What handles no batches itself.
_NO_BATCHES: Final = ("wait", "job", "tasks", "machine")


def _tally(found: Inspection, state: str, generation: int) -> Tally:
    return found.tallies.get((generation, state), _NOTHING)


def _ahead(states: Mapping[str, Any], name: str) -> Leg:
    return Leg(name, "ahead", _work(states[name]), _NOTHING, None)


def _acts(states: Mapping[str, Any], name: str) -> bool:
    return "task" in states[name]


def _work(state: Mapping[str, Any]) -> str:
    task = state.get("task")
    return "" if task is None else next(say(task) for key, say in _SAID.items() if key in task)


_SAID: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "run": lambda task: f"run {task['run']}",
    "job": lambda task: f"job {task['job']}",
    "contract": lambda task: f"contract {task['contract']}",
    "tasks": lambda task: f"tasks {', '.join(task['tasks'])}",
    "machine": lambda task: f"machine {task['machine']}",
    "wait": lambda task: f"wait for {' or '.join(task['wait'])}" if task["wait"] else "wait",
    "load": lambda task: (
        f"load {task['table']} in {task['load']}" if task["table"] else f"post to {task['load']}"
    ),
}
