"""`check` of several tasks in a state: who makes batches for whom, and how each is run."""

from dataclasses import replace

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.checks.checker import check
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.machine.states.tasks import Load, Run
from tests.unit.building import acting, pipeline, to
from tests.unit.test_checker import messages, others_of

#: What `m:source` and the others are.
KINDS = {f"m:{kind}": kind for kind in ("source", "map", "call")}


def task(name: str, kind: str, *needs: str, foreach: str | None = None) -> GraphTask:
    """Return a task whose function is of that kind."""
    return GraphTask(name=name, function=f"m:{kind}", needs=needs, foreach=foreach)


def several(*tasks: GraphTask, name: str = "a", target: str = "done") -> State:
    """Return a state with `tasks`."""
    return State(name=name, task=Graph(tasks=tasks), on=(to(target),))


LOAD = State(name="b", task=Load(to="sqlite:///x.db", table="t"), on=(to("done"),))


def test_batches_that_no_further_task_made_others_of_are_what_the_state_gives_on() -> None:
    """A load may follow a graph in which somebody makes batches, and no other."""
    source, shape, counts = task("s", "source"), task("x", "map", "s"), task("n", "call", "x")

    for tasks in ((source, shape), (source, shape, counts)):
        assert messages(pipeline(several(*tasks, target="b"), LOAD), KINDS) == []
    calls = several(task("c", "call"), task("n", "call", "c"), target="b")
    ((_, state, message),) = messages(pipeline(calls, LOAD), KINDS)
    assert (state, message[:13]) == ("b", "loads batches")


def test_all_that_no_other_needs_is_given_on() -> None:
    """Two sources side by side are one to those who come after."""
    both = several(task("s", "source"), task("n", "call"), task("t", "source"), target="b")

    assert messages(pipeline(both, LOAD), KINDS) == []


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        (
            (task("s", "source"), task("t", "source"), task("x", "map", "s", "t")),
            "a.x: takes batches, and s and t, which it needs, both make some",
        ),
        (
            (task("s", "source"), task("x", "call", "s", foreach="result")),
            'a.x: takes its list from the result of "s", which yields batches',
        ),
        ((task("c", "call"), task("x", "call", "c", foreach="result.files")), ""),
        ((task("s", "source"), task("c", "call"), task("x", "map", "s", "c")), ""),
    ],
)
def test_who_takes_batches_takes_them_of_one_task(tasks: tuple[GraphTask, ...], told: str) -> None:
    """And who works on a list needs one who returns it."""
    found = [
        f"{state}: {message}" for _, state, message in messages(pipeline(several(*tasks)), KINDS)
    ]

    assert len(found) == bool(told)
    assert all(each.startswith(told) for each in found)


@pytest.mark.parametrize("tasks", [[task("x", "map")], [task("c", "call"), task("x", "map", "c")]])
def test_a_task_that_needs_no_batches_of_others_takes_those_of_the_state_before(
    tasks: list[GraphTask],
) -> None:
    """Without a source before it there would be none."""
    shaped = several(*tasks, name="b", target="c")
    load = replace(LOAD, name="c")

    fed = pipeline(acting("a", to("b"), run="m:source"), shaped, load)
    unfed = pipeline(acting("a", to("b"), run="m:call"), shaped, load)

    assert messages(fed, KINDS) == []
    ((_, state, message),) = messages(unfed, KINDS)
    assert (state, message[:13]) == ("b", "takes batches")


def test_functions_policies_and_effects_of_tasks_are_told_by_task() -> None:
    """One defect does not hide another, and what cannot be known is not guessed at."""
    tasks = (
        replace(task("s", "source"), effect="exactly_once", retry="none"),
        task("x", "map", "s"),
        replace(task("y", "source"), function="m:gone"),
    )

    def functions(run: Run) -> str:
        if run.reference == "m:gone":
            raise DefinitionError("m:gone is not there", next_step="write it")
        return KINDS[run.reference]

    def policies(machine: Machine, state: State) -> None:
        if state.retry is not None:
            raise DefinitionError(f"no policy for {machine.name}", next_step="add it")

    findings = check(
        pipeline(several(*tasks, target="b"), LOAD),
        functions=functions,
        contracts=lambda _path: None,
        tables=lambda _load: None,
        policies=policies,
        machines=others_of(),
    )

    assert [(each.severity, each.state, each.message[:32]) for each in findings] == [
        ("error", "a.s", "no policy for m/a/s"),
        ("error", "a.y", "m:gone is not there"),
        ("warning", "a.s", "says exactly_once, which cannot "),
    ]
