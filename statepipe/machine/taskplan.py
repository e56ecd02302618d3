"""
What a graph of tasks does next, of where its tasks stand; pure, and asked again at every end.

    plan        what is to begin, what counts as skipped, and how the whole ends
    Standing    where each task stands that has begun
    Place       a task, or one element of a fan-out
    Plan        the answer

Whatever the order in which tasks end: each begins once, none before all that it needs has
ended, and once nothing works and nothing is left to begin the whole has ended. Without a
failure that halts, what has run depends only on what failed (tests/unit/test_taskplan.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.model import Status

#: A child that is skipped by its author's word; all others are what the store says of it.
SKIPPED: Final = "skipped"


class Place(NamedTuple):
    """
    A task, or one element of a fan-out.

    Attributes:
        task: The task's name.
        element: The element's number, from 0; None for a task without foreach.
    """

    task: str
    element: int | None = None

    def __str__(self) -> str:
        """As in the id of its instance: "enrich", "enrich[3]"."""
        return self.task if self.element is None else f"{self.task}[{self.element}]"


#: The status (`model.Status`, or SKIPPED) of what has begun; what is absent has not.
Standing: TypeAlias = Mapping[Place, str]

#: Where a place, or a whole task, is. "without": it failed, and others go on without its result.
_Phase = Literal["waits", "works", "done", "without", "skipped", "halted"]
_SETTLED: Final[Mapping[str, _Phase]] = {Status.DONE: "done", SKIPPED: "skipped"}
#: What has ended in another way; all else still works, or rests, or will be tried again.
_OVER: Final = (Status.FAILED, Status.CANCELLED)
_FAILED: Final[Mapping[str, _Phase]] = {
    "halt": "halted",
    "skip": "skipped",
    "continue": "without",
}
_Elements: TypeAlias = Mapping[int | None, _Phase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What is to be done next.

    Attributes:
        begin: What is to begin now, in the order of the graph.
        skip: What counts as skipped and has not that standing yet: what failed and may be
            skipped, and what has not begun and never will.
        event: "ok" or "error" if the whole has ended so; None if it goes on.
        failed: What failed, and is not skipped.
    """

    begin: tuple[Place, ...] = ()
    skip: tuple[Place, ...] = ()
    event: Literal["ok", "error"] | None = None
    failed: tuple[Place, ...] = ()


def plan(graph: Graph, standing: Standing, size: Callable[[GraphTask], int]) -> Plan:
    """
    Return what is to be done next.

    Args:
        graph: The tasks.
        standing: Where they stand.
        size: How many elements the list of a fan-out has; asked once the task that returns
            it is done, and not if nothing new may begin.

    What was cancelled counts as failed: it has no result. A fan-out begins with as many elements
    as may be worked on at once, is done once all have ended, and at once if there are none; so it
    is if it runs although the task that returns its list was skipped or failed.
    """
    on_error = {task.name: _FAILED[task.on_error] for task in graph.tasks}
    known: dict[str, dict[int | None, _Phase]] = {task.name: {} for task in graph.order}
    skip: list[Place] = []
    failed: list[Place] = []
    lists = {task.name for task in graph.tasks if task.source is not None}
    for place, status in standing.items():
        if place.task not in (known if place.element is None else lists):
            continue  # of the graph as it was before somebody changed it
        phase = _SETTLED.get(status) or (on_error[place.task] if status in _OVER else "works")
        known[place.task][place.element] = phase
        if phase in {"halted", "without"}:
            failed.append(place)
        elif phase == "skipped" and status != SKIPPED:
            skip.append(place)
    halted = any("halted" in each.values() for each in known.values())
    phases: dict[str, _Phase] = {}
    begin: list[Place] = []
    for task in graph.order:
        elements = known[task.name]
        phases[task.name], new = _next(task, elements, phases, size, halted=halted)
        begin += [Place(task.name, element) for element in new]
        if not elements and phases[task.name] == "skipped":
            skip.append(Place(task.name))
    event: Literal["ok", "error"] | None = None
    if not begin and "works" not in phases.values():
        event = "error" if halted else "ok"
    inorder = partial(_inorder, {task.name: n for n, task in enumerate(graph.order)})
    return Plan(begin=tuple(begin), skip=inorder(skip), event=event, failed=inorder(failed))


def _inorder(order: Mapping[str, int], places: list[Place]) -> tuple[Place, ...]:
    """By task in the order of the graph, then by element."""
    return tuple(sorted(places, key=lambda each: (order[each.task], each.element or 0)))


def _next(
    task: GraphTask,
    elements: _Elements,
    phases: Mapping[str, _Phase],
    size: Callable[[GraphTask], int],
    *,
    halted: bool,
) -> tuple[_Phase, list[int | None]]:
    """Where `task` is, those it needs being where `phases` says, and what of it is to begin."""
    if None in elements:  # it is no fan-out, or one that was skipped as a whole
        return elements[None], []
    if not elements:
        needs = [phases[need] for need in task.needs]
        if "skipped" in needs and task.when_skipped == "skip":
            return "skipped", []
        if halted or "waits" in needs or "works" in needs:
            return "waits", []
        if task.source is None:
            return "works", [None]
    works = [*elements.values()].count("works")
    new: list[int | None] = []
    if not halted:
        assert task.source is not None, "what has elements has a list"
        length = size(task) if phases[task.source.need] == "done" else 0
        left = [number for number in range(length) if number not in elements]
        new += left[: None if task.max_parallel is None else max(0, task.max_parallel - works)]
    # Done with some missing as well: of a failure that halts all, `halted` tells.
    return "works" if works or new else "done", new
