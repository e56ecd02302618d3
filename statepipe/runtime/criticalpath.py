"""
What a run of a machine spends its time on: the longest way through it, by medians of the journal.

    measured        the median of each state and task, and how many it rests on
    critical_path   the states from the first to the end, and the tasks within, that bound a run
    suggestions     what dominates, and what could run at once

Medians are of stays that ended well, retries and pauses between them included. What was never
measured counts as nothing, and says so. A way back that a loop takes is not followed, and a
state that only a failure leads to is on no way.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import median_low
from typing import Final, NamedTuple

from statepipe.machine.definition import Machine, State
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.model import ERROR, OK, TIMEOUT
from statepipe.store.questions.durations import WHOLE, Week
from statepipe.tasknames import task_machine_name, task_of
from statepipe.units import format_duration

#: From this part of the whole on a state, or a task, is said to dominate it.
DOMINATES: Final = 0.5


class Median(NamedTuple):
    """How long something takes, in milliseconds, None if it never ended well; and of how many."""

    ms: int | None
    of: int


NEVER = Median(None, 0)
Medians = Mapping[tuple[str, str], Median]


class Stretch(NamedTuple):
    """
    One state of the path, or one task within it.

    Attributes:
        state: Its name.
        task: The task's name; None for the state as a whole.
        took: One stay; of one element, if the task fans out.
        elements: How many elements a fan-out has on average; None if it is none.
        rounds: How many of them follow each other, by `max_parallel`; 1 if it does not fan out.
    """

    state: str
    task: str | None
    took: Median
    elements: float | None = None
    rounds: int = 1

    @property
    def ms(self) -> int:
        """How long it takes in all, in milliseconds; 0 if nobody knows."""
        return (self.took.ms or 0) * self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """
    What may make a run shorter.

    Attributes:
        state: The state it is about.
        text: What is the case, and what could be done, for people.
        saves_ms: What it may save at most, by medians, in milliseconds.
        of: How many measurements that rests on, those of what was measured least often.
    """

    state: str
    text: str
    saves_ms: int
    of: int


def measured(weeks: Iterable[Week], machine: str) -> dict[tuple[str, str], Median]:
    """Return the median of each state of `machine`, and of each of its tasks, by their machine."""
    well: dict[tuple[str, str], array[int]] = {}
    for week in weeks:
        for (name, state), took in week.took.items():
            task = task_of(name)
            if machine in (name, task and task.machine):
                well.setdefault((name, state), array("q")).extend(took.well)
    return {key: Median(median_low(values), len(values)) for key, values in well.items() if values}


def critical_path(machine: Machine, medians: Medians) -> list[Stretch]:
    """Return the longest way through `machine` to a good end, each state before its tasks."""
    return [
        stretch
        for state in _states(machine, medians)
        for stretch in (
            Stretch(state.name, None, medians.get((machine.name, state.name), NEVER)),
            *_tasks(machine, state, medians),
        )
    ]


def suggestions(
    machine: Machine, medians: Medians, *, kinds: Callable[[Run], str]
) -> list[Suggestion]:
    """
    Return what may make a run of `machine` shorter, the most promising first.

    Args:
        machine: The definition.
        medians: As `measured`.
        kinds: Returns what kind of task a function is: "source", "map", "call", or "" if
            nobody can tell.
    """
    path = _states(machine, medians)
    found = [*_dominating(machine, path, medians), *_side_by_side(machine, path, medians, kinds)]
    for state in path:
        if isinstance(state.task, Graph):
            found += _in_graph(machine, state, state.task, medians)
    return sorted(found, key=lambda each: -each.saves_ms)


def whole(machine: Machine, medians: Medians) -> Median:
    """Return how long a whole instance takes, from its creation to a good end."""
    return medians.get((machine.name, WHOLE), NEVER)


def _states(machine: Machine, medians: Medians) -> list[State]:
    """The acting states of the longest way, in order."""
    best: dict[str, tuple[int, list[State]] | None] = {}
    on_way: set[str] = set()

    def longest(name: str) -> tuple[int, list[State]] | None:
        state = machine.state(name)
        if state.final is not None:
            return (0, []) if state.final == "success" else None
        if name in best:
            return best[name]
        # A loop, not a comprehension: as deep as there are states, one frame for each.
        on_way.add(name)
        rest: tuple[int, list[State]] | None = None
        for each in state.on:
            if each.event not in {ERROR, TIMEOUT} and each.target not in on_way:
                way = longest(each.target)
                if way is not None and (rest is None or way[0] > rest[0]):
                    rest = way
        on_way.discard(name)
        ms = medians.get((machine.name, name), NEVER).ms or 0
        best[name] = None if rest is None else (ms + rest[0], [state, *rest[1]])
        return best[name]

    way = longest(machine.initial)
    return [machine.state(machine.initial)] if way is None else way[1]


def _tasks(machine: Machine, state: State, medians: Medians) -> list[Stretch]:
    """The tasks of a state that bound it, in order; [] if it has none."""
    if not isinstance(state.task, Graph):
        return []
    stretches = _stretches(machine, state, state.task, medians)
    names, _ = _longest(state.task, {name: each.ms for name, each in stretches.items()})
    return [stretches[name] for name in names]


def _stretches(
    machine: Machine, state: State, graph: Graph, medians: Medians
) -> dict[str, Stretch]:
    runs = medians.get((machine.name, state.name), NEVER).of
    return {task.name: _stretch(machine, state, task, medians, runs) for task in graph.tasks}


def _stretch(
    machine: Machine, state: State, task: GraphTask, medians: Medians, runs: int
) -> Stretch:
    name = task_machine_name(machine.name, state.name, task.name)
    took = medians.get((name, task.name), NEVER)
    if task.foreach is None or not runs:
        return Stretch(state.name, task.name, took)
    elements = took.of / runs
    rounds = 1 if task.max_parallel is None else max(1, ceil(elements / task.max_parallel))
    return Stretch(state.name, task.name, took, elements, rounds)


def _longest(graph: Graph, ms: Mapping[str, int]) -> tuple[list[str], int]:
    """The chain of needs that takes longest, and how long; of equals the one of more tasks."""
    ends: dict[str, tuple[list[str], int]] = {}
    for task in graph.order:
        before, so_far = max((ends[need] for need in task.needs), key=_length, default=([], 0))
        ends[task.name] = [*before, task.name], so_far + ms[task.name]
    return max((ends[task.name] for task in graph.tasks), key=_length)


def _length(chain: tuple[list[str], int]) -> tuple[int, int]:
    return chain[1], len(chain[0])


def _dominating(machine: Machine, path: list[State], medians: Medians) -> list[Suggestion]:
    took = {state.name: medians.get((machine.name, state.name), NEVER) for state in path}
    all_ms = sum(each.ms or 0 for each in took.values())
    return [
        Suggestion(
            state=name,
            text=f'"{name}" takes {format_duration(each.ms)} of {format_duration(all_ms)}:'
            " whatever makes it shorter makes the run shorter",
            saves_ms=each.ms,
            of=each.of,
        )
        for name, each in took.items()
        if len(path) > 1 and each.ms and each.ms >= DOMINATES * all_ms
    ]


def _side_by_side(
    machine: Machine, path: list[State], medians: Medians, kinds: Callable[[Run], str]
) -> Iterable[Suggestion]:
    """Two functions called one after the other, each once: they may not need each other."""
    for one, other in pairwise(path):
        if not (_called(one, kinds) and _called(other, kinds)):
            continue
        if [each.target for each in one.on_event(OK)] != [other.name]:
            continue
        both = [medians.get((machine.name, each.name), NEVER) for each in (one, other)]
        saves_ms = min(each.ms or 0 for each in both)
        if saves_ms:
            yield Suggestion(
                state=one.name,
                text=f'"{one.name}" and "{other.name}" follow each other: if the second does not'
                " use the result of the first, they could be tasks of one state and run at once",
                saves_ms=saves_ms,
                of=min(each.of for each in both),
            )


def _called(state: State, kinds: Callable[[Run], str]) -> bool:
    return isinstance(state.task, Run) and kinds(state.task) == "call"


def _in_graph(
    machine: Machine, state: State, graph: Graph, medians: Medians
) -> Iterable[Suggestion]:
    """The one task without which the others would be done soonest, and lists worked on in turn."""
    stretches = _stretches(machine, state, graph, medians)
    ms = {name: each.ms for name, each in stretches.items()}
    chain, all_ms = _longest(graph, ms)
    least = min((stretches[name].took.of for name in chain), default=0)
    saved = {name: all_ms - _longest(graph, {**ms, name: 0})[1] for name in chain}
    most = max(chain, key=lambda name: saved[name])
    if saved[most] >= DOMINATES * all_ms > 0:
        yield Suggestion(
            state=state.name,
            text=f'"{most}" bounds the tasks of "{state.name}": they take'
            f" {format_duration(all_ms)}, the others alone {format_duration(all_ms - saved[most])}",
            saves_ms=saved[most],
            of=least,
        )
    for name in chain:
        each, task = stretches[name], graph.task(name)
        if each.rounds == 1 or each.elements is None or task is None:
            continue
        once = {**ms, name: each.took.ms or 0}
        yield Suggestion(
            state=state.name,
            text=f'"{name}" works on some {each.elements:.0f} elements, {task.max_parallel} at'
            f" once: all at once they take {format_duration(each.took.ms or 0)}, and not"
            f" {format_duration(each.ms)}, given workers for them and a larger max_parallel",
            saves_ms=all_ms - _longest(graph, once)[1],
            of=each.took.of,
        )
