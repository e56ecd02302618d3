"""What bounds a run: the longest way by medians, the tasks within it, and what may shorten it."""

from array import array
from collections.abc import Mapping

from statepipe.machine.definition import Machine, State
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.runtime.criticalpath import (
    Median,
    Suggestion,
    critical_path,
    measured,
    suggestions,
    whole,
)
from statepipe.store.questions.durations import WHOLE, Took, Week
from tests.unit.building import acting, pipeline, to

MINUTE = 60_000


def medians(**minutes: int) -> Mapping[tuple[str, str], Median]:
    """Return medians of the machine `m`, of ten each; `doing_t` is a task of the state `doing`."""
    found = {}
    for name, took in minutes.items():
        state, _, task = name.partition("_")
        key = (f"m/{state}/{task}", task) if task else ("m", state)
        found[key] = Median(took * MINUTE, 10)
    return found


def lengths(machine: Machine, took: Mapping[tuple[str, str], Median]) -> list[tuple[str, int]]:
    """Return the path, in minutes; tasks as "doing.t"."""
    return [
        (each.state if each.task is None else f"{each.state}.{each.task}", each.ms // MINUTE)
        for each in critical_path(machine, took)
    ]


def kinds(run: Run) -> str:
    """Every function is called once, but those of modules named after another kind."""
    return run.reference.partition(":")[0] if not run.reference.startswith("m:") else "call"


def test_the_longest_way_to_a_good_end_is_the_path() -> None:
    """A branch that takes longer wins; a way back, and a way that only fails, are none."""
    machine = pipeline(
        acting("a", to("b"), to("c", "empty"), to("fix", "invalid", most=2)),
        acting("b", to("d")),
        acting("c", to("d")),
        acting("fix", to("a")),
        acting("d", to("done")),
        acting("never", to("failed")),
    )

    assert lengths(machine, medians(a=1, b=2, c=3, fix=99, d=4)) == [("a", 1), ("c", 3), ("d", 4)]
    assert lengths(machine, medians(a=1, b=2, d=4)) == [("a", 1), ("b", 2), ("d", 4)]
    endless = pipeline(acting("a", to("a")), acting("b", to("done")))
    assert lengths(endless, medians(a=1)) == [("a", 1)]


def test_a_way_through_as_many_states_as_there_may_be_is_found() -> None:
    """None is too long to be looked at."""
    names = [f"s{n}" for n in range(498)]
    states = [acting(one, to(two)) for one, two in zip(names, [*names[1:], "done"], strict=True)]

    assert len(lengths(pipeline(*states, initial="s0"), {})) == 498


GRAPH = Graph(
    tasks=(
        GraphTask(name="list", function="m:f"),
        GraphTask(name="crm", function="m:f"),
        GraphTask(name="page", function="m:f", needs=("list",), foreach="result", max_parallel=2),
        GraphTask(name="join", function="m:f", needs=("crm", "page")),
    )
)
DOING = State(name="doing", task=GRAPH, on=(to("done"),))


def test_the_tasks_that_bound_a_state_follow_it() -> None:
    """A list is worked on in turns: five elements, two at once, take three times one."""
    machine = pipeline(DOING, initial="doing")
    took = {
        **medians(doing=20, doing_list=1, doing_crm=3, doing_join=2),
        ("m/doing/page", "page"): Median(4 * MINUTE, 50),
    }

    path = critical_path(machine, took)

    assert lengths(machine, took) == [
        ("doing", 20),
        ("doing.list", 1),
        ("doing.page", 12),
        ("doing.join", 2),
    ]
    assert (path[2].elements, path[2].rounds, path[2].took) == (5.0, 3, Median(4 * MINUTE, 50))
    assert lengths(machine, medians(doing=20, doing_crm=3)) == [
        ("doing", 20),
        ("doing.crm", 3),
        ("doing.join", 0),
    ]


def said(machine: Machine, took: Mapping[tuple[str, str], Median]) -> list[Suggestion]:
    """Return what is suggested."""
    return suggestions(machine, took, kinds=kinds)


def test_what_takes_most_of_a_run_is_named() -> None:
    """If there is anything to compare it with."""
    machine = pipeline(acting("a", to("b"), run="source:f"), acting("b", to("done"), run="map:f"))

    (found,) = said(machine, medians(a=1, b=3))

    assert (found.state, found.saves_ms, found.of) == ("b", 3 * MINUTE, 10)
    assert found.text.startswith('"b" takes 3m 0s of 4m 0s:')
    assert said(machine, {}) == []
    assert said(pipeline(acting("a", to("done"))), medians(a=5)) == []


def test_two_that_are_called_in_turn_may_be_called_at_once() -> None:
    """If nothing lies between them, and neither works on batches."""
    took = medians(a=2, b=3, c=3)
    wait = State(name="c", task=Wait(ms=MINUTE), on=(to("done"),))
    calls = pipeline(acting("a", to("b")), acting("b", to("c")), wait)
    maps = pipeline(acting("a", to("b"), run="source:f"), acting("b", to("c"), run="map:f"), wait)
    chosen = pipeline(acting("a", to("b", when="records > 0"), to("c")), acting("b", to("c")), wait)

    (found,) = said(calls, took)

    assert (found.state, found.saves_ms) == ("a", 2 * MINUTE)
    assert found.text.startswith('"a" and "b" follow each other: if the second does not use')
    assert said(maps, took) == said(chosen, took) == []


def test_the_task_that_keeps_the_others_waiting_is_named() -> None:
    """And a list that is worked on by few at once, the best first."""
    took = {
        **medians(doing=20, doing_list=1, doing_crm=3, doing_join=2),
        ("m/doing/page", "page"): Median(4 * MINUTE, 50),
    }

    bounds, turns = said(pipeline(DOING, initial="doing"), took)

    assert (bounds.saves_ms, turns.saves_ms) == (10 * MINUTE, 8 * MINUTE)
    assert bounds.text == (
        '"page" bounds the tasks of "doing": they take 15m 0s, the others alone 5m 0s'
    )
    assert turns.text.startswith('"page" works on some 5 elements, 2 at once: all at once they')
    assert turns.of == 50


def test_medians_are_of_all_weeks_and_of_this_machine() -> None:
    """Whole runs, states, and tasks under the machine that each is counted as."""

    def ended(*ms: int) -> Took:
        return Took(well=array("q", ms))

    weeks = [
        Week(0, {("m", "a"): ended(1, 9), ("m", WHOLE): ended(4), ("n", "a"): ended(7)}),
        Week(1, {("m", "a"): ended(3), ("m/doing/t", "t"): ended(5), ("m", "b"): ended()}),
    ]

    took = measured(weeks, "m")

    assert took == {
        ("m", "a"): Median(3, 3),
        ("m", WHOLE): Median(4, 1),
        ("m/doing/t", "t"): Median(5, 1),
    }
    machine = pipeline(acting("a", to("done")))
    assert whole(machine, took) == Median(4, 1)
    assert whole(machine, {}) == Median(None, 0)
