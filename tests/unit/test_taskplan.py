"""What a graph of tasks does next: once each, never before its needs, always to an end."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.machine.states.foreach import ELEMENTS_MAX
from statepipe.machine.states.taskgraph import ON_ERROR, Graph, GraphTask
from statepipe.machine.taskplan import SKIPPED, Place, Plan, plan
from statepipe.model import Status

NAMES = "abcdef"


def task(name: str, *needs: str, **said: object) -> GraphTask:
    """Return a task that needs `needs`."""
    return GraphTask(name=name, function="m:f", needs=needs, **said)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict


def places(text: str) -> tuple[Place, ...]:
    """Return the places that `text` names: "enrich, enrich[3]"."""
    found = []
    for name in filter(None, text.split(", ")):
        word, bracket, number = name.rstrip("]").partition("[")
        found.append(Place(word, int(number) if bracket else None))
    return tuple(found)


def told(tasks: Graph, size: int = 0, **standing: str) -> Plan:
    """Return what is next; keywords are statuses with the places that have it."""
    known = {place: status for status, names in standing.items() for place in places(names)}
    return plan(tasks, known, lambda _: size)


DIAMOND = Graph(tasks=(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")))


def test_what_needs_nothing_begins_and_the_rest_follows() -> None:
    """Two that need the same begin together; a join waits for both."""
    assert told(DIAMOND) == Plan(begin=places("a"))
    assert told(DIAMOND, ready="a") == Plan()
    assert told(DIAMOND, done="a") == Plan(begin=places("b, c"))
    assert told(DIAMOND, done="a, b", paused="c") == Plan()
    assert told(DIAMOND, done="a, b, c") == Plan(begin=places("d"))
    assert told(DIAMOND, done="a, b, c, d") == Plan(event="ok")


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_failure_halts_once_what_works_has_ended(status: str) -> None:
    """Nothing new begins; what runs is not lost. A cancelled task has no result either."""
    known = {Place("a"): "done", Place("b"): status, Place("c"): "ready"}

    works = plan(DIAMOND, known, lambda _: 0)
    ended = plan(DIAMOND, known | {Place("c"): "done"}, lambda _: 0)

    assert works == Plan(failed=places("b"))
    assert ended == Plan(event="error", failed=places("b"))


def test_what_may_be_skipped_takes_its_dependents_along_or_not() -> None:
    """Each dependent says itself whether it can do without."""
    tasks = Graph(
        tasks=(
            task("a", on_error="skip"),
            task("b", "a"),
            task("c", "a", when_skipped="run"),
            task("d", "b", when_skipped="run"),
            task("e"),
        )
    )

    first = told(tasks, failed="a", ready="e")
    assert first == Plan(begin=places("c, d"), skip=places("a, b"))
    # Once it is written down that they are skipped, it is not told again.
    assert told(tasks, skipped="a, b", done="c, d, e") == Plan(event="ok")
    assert told(tasks, failed="a", skipped="b", done="c, d, e").skip == places("a")


def test_a_failure_that_others_go_on_from_stays_a_failure() -> None:
    """`continue` is not `skip`: it is named as failed, and nobody is skipped."""
    tasks = Graph(tasks=(task("a", on_error="continue"), task("b", "a")))

    assert told(tasks, failed="a") == Plan(begin=places("b"), failed=places("a"))
    assert told(tasks, failed="a", done="b") == Plan(event="ok", failed=places("a"))


def fanned(**said: object) -> Graph:
    """Return a task that lists, one that works on each element, and one that gathers."""
    each = task("b", "a", foreach="result.files", **said)
    return Graph(tasks=(task("a"), each, task("c", "b")))


def test_a_fan_out_begins_with_as_many_elements_as_may_work_at_once() -> None:
    """How many there are is known only when the list is."""
    tasks = fanned(max_parallel=2)

    assert told(tasks, 3, done="a") == Plan(begin=places("b[0], b[1]"))
    assert told(tasks, 3, done="a", ready="b[0], b[1]") == Plan()
    assert told(tasks, 3, done="a, b[1]", ready="b[0]") == Plan(begin=places("b[2]"))
    assert told(tasks, 3, done="a, b[0], b[1], b[2]") == Plan(begin=places("c"))
    assert told(fanned(), 3, done="a").begin == places("b[0], b[1], b[2]")


def test_an_empty_list_is_done_at_once() -> None:
    """Nothing is there to be done, and what comes after goes on."""
    assert told(fanned(), 0, done="a") == Plan(begin=places("c"))


def test_an_element_that_fails_is_what_its_task_says_of_a_failure() -> None:
    """`skip` leaves the element out, `halt` begins no other."""
    skips, goes_on, halts = (
        fanned(on_error=o, max_parallel=2) for o in ON_ERROR[1:] + ON_ERROR[:1]
    )

    now = told(skips, 3, done="a", failed="b[0]", ready="b[1]")
    assert now == Plan(begin=places("b[2]"), skip=places("b[0]"))
    now = told(goes_on, 3, done="a", failed="b[0]", ready="b[1]")
    assert now == Plan(begin=places("b[2]"), failed=places("b[0]"))
    now = told(halts, 3, done="a", failed="b[0]", ready="b[1]")
    assert now == Plan(failed=places("b[0]"))
    now = told(halts, 3, done="a, b[1]", failed="b[0]")
    assert now == Plan(event="error", failed=places("b[0]"))
    for tasks in (skips, goes_on):
        assert told(tasks, 2, done="a, b[1]", failed="b[0]").begin == places("c")


def test_a_list_that_nobody_returned_has_no_elements() -> None:
    """The task that lists was skipped, and the one that works on each runs all the same."""
    tasks = Graph(
        tasks=(
            task("a", on_error="skip"),
            task("b", "a", foreach="result.files", when_skipped="run"),
            task("c", "b"),
        )
    )

    def never(of: GraphTask) -> int:
        raise AssertionError(of.name)

    assert plan(tasks, {Place("a"): "failed"}, never).begin == places("c")


def test_no_list_is_asked_for_once_nothing_new_may_begin() -> None:
    """It may not be there."""
    tasks = Graph(tasks=(*fanned().tasks, task("x")))
    standing = {Place("a"): "done", Place("x"): "failed"}

    assert plan(tasks, standing, lambda _: 1 // 0) == Plan(event="error", failed=places("x"))


def test_what_the_graph_does_not_have_any_more_is_nothing_to_it() -> None:
    """It was changed while the instance rested: a task is gone, a list is none any more."""
    assert told(DIAMOND, done="a, gone, b[0]", failed="gone[1]") == Plan(begin=places("b, c"))
    assert told(fanned(), 2, done="a, b") == Plan(begin=places("c")), "done as a whole"


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw up to six tasks; each needs some of those drawn before, some fan out."""
    tasks: list[GraphTask] = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        known = [each.name for each in tasks]
        needs = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        fans = bool(needs) and draw(st.booleans())
        tasks.append(
            task(
                name,
                *needs,
                on_error=draw(st.sampled_from(["halt", "skip", "continue"])),
                when_skipped=draw(st.sampled_from(["skip", "run"])),
                foreach=f"results.{needs[0]}.files" if fans else None,
                max_parallel=draw(st.sampled_from([None, 1, 2])) if fans else None,
            )
        )
    return Graph(tasks=tuple(draw(st.permutations(tasks))))


def driven(
    tasks: Graph, fails: frozenset[Place], sizes: Mapping[str, int], pick: Callable[[int], int]
) -> tuple[Plan, dict[Place, str]]:
    """Drive `tasks` to the end, as `pick` chooses who ends next; return the last plan, and all."""
    by_name = {each.name: each for each in tasks.tasks}
    standing: dict[Place, str] = {}
    for _ in range(200):
        now = plan(tasks, standing, lambda each: sizes[each.name])
        for place in now.begin:
            assert place not in standing, "it begins twice"
            for need in by_name[place.task].needs:
                working = [s for p, s in standing.items() if p.task == need]
                assert Status.READY not in working, "a need still works"
            standing[place] = Status.READY
        for each in tasks.tasks:
            at_once = sum(p.task == each.name and s == "ready" for p, s in standing.items())
            assert at_once <= (each.max_parallel or ELEMENTS_MAX)
        standing |= dict.fromkeys(now.skip, SKIPPED)
        works = sorted(
            (place for place, status in standing.items() if status == Status.READY),
            key=lambda place: (place.task, place.element or 0),
        )
        assert (now.event is None) == bool(works), "it ends when nothing works, and only then"
        if now.event is not None:
            return now, standing
        ends = works[pick(len(works))]
        standing[ends] = Status.FAILED if ends in fails else Status.DONE
    raise AssertionError("it comes to no end")


@given(data=st.data(), tasks=graphs())
def test_every_order_of_ends_leads_to_one_end(data: st.DataObject, tasks: Graph) -> None:
    """
    Each begins at most once, after its needs, and the whole comes to an event.

    Unless a failure halted it, what ran depends on what failed alone: two orders give the same.
    """
    sizes = {each.name: data.draw(st.integers(0, 3)) for each in tasks.tasks}
    every = [Place(n, element) for n in NAMES for element in (None, 0, 1, 2)]
    fails = data.draw(st.frozensets(st.sampled_from(every), max_size=6))

    def pick(length: int) -> int:
        return data.draw(st.integers(0, length - 1))

    ended, standing = driven(tasks, fails, sizes, pick)
    again, other = driven(tasks, fails, sizes, pick)
    first, second = (driven(tasks, fails, sizes, each) for each in (lambda _: 0, lambda n: n - 1))

    halting = {each.name for each in tasks.tasks if each.on_error == "halt"}
    halted = any(status == "failed" and place.task in halting for place, status in standing.items())
    assert ended.event == ("error" if halted else "ok")
    if not halted:
        assert standing == other == first[1] == second[1]
        assert ended.event == again.event
        in_all = {place.task for place in standing}
        assert all(each.name in in_all or each.foreach is not None for each in tasks.tasks), (
            "every task has run, or was skipped, or had an empty list"
        )
