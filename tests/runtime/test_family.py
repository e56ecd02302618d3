"""A state with several tasks: each an instance, begun once, in the order of their needs."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.batch import Batch
from statepipe.machine.definition import State, Transition
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.model import Task
from tests.runtime.families import Scene, acting, machine_of, task, working

SOON_S = 30


def test_tasks_get_the_results_of_those_they_need(tmp_path: Path) -> None:
    """And the state's result is what all of them returned, by task."""
    seen: dict[str, Any] = {}

    def add(it: Task) -> int:
        return int(it.results["one"]) + int(it.results["two"])

    graph = Graph(
        tasks=(
            task("sum", add, "one", "two"),
            task("one", lambda _it: 1),
            task("two", lambda _it: 2),
            task("quiet", lambda _it: None),
        )
    )
    after = acting("after", lambda it: seen.update(it.results))
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), after))

    assert scene.run() == "done"
    assert seen == {"work": {"one": 1, "two": 2, "sum": 3}}
    assert scene.children() == {
        "i/work.one": "done",
        "i/work.two": "done",
        "i/work.quiet": "done",
        "i/work.sum": "done",
    }
    assert scene.sound()


def test_tasks_without_needs_work_at_the_same_time(tmp_path: Path) -> None:
    """Each waits for the other, and neither in vain."""
    meeting = threading.Barrier(2)

    def meet(_it: Task) -> None:
        meeting.wait(SOON_S)

    graph = Graph(tasks=(task("one", meet), task("two", meet)))
    scene = Scene(tmp_path, machine_of(working(graph)))

    assert scene.run() == "done"
    assert scene.sound()


def test_a_join_reads_the_batches_of_sources(tmp_path: Path) -> None:
    """Where they lie; what it makes of them is the state's, for the next one."""
    loaded: list[Any] = []

    def source(it: Task) -> Iterator[Batch]:
        for n in range(it.cursor or 0, 3):
            yield Batch([{"of": it.name, "n": n}], cursor=n + 1)

    def join(it: Task) -> Iterator[Batch]:
        left = [record for batch in it.batches("left") for record in batch.records]
        right = {record["n"] for batch in it.batches("right") for record in batch.records}
        yield Batch([{**each, "both": each["n"] in right} for each in left], cursor=1)

    def after(_it: Task, batch: Batch) -> None:
        loaded.extend(batch.records)

    graph = Graph(
        tasks=(task("left", source), task("right", source), task("join", join, "left", "right"))
    )
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), acting("after", after)))

    assert scene.run() == "done"
    assert loaded == [{"of": "left", "n": n, "both": True} for n in range(3)]
    assert scene.ask("SELECT count(*) FROM batch") == [(0,)], "given back when it was done"
    assert scene.sound()


def test_a_map_is_given_the_batches_of_the_task_it_needs(tmp_path: Path) -> None:
    """Without one that made some, those of the state before."""
    loaded: list[Any] = []

    def source(_it: Task) -> Iterator[Batch]:
        yield Batch([{"n": 1}], cursor=1)
        yield Batch([{"n": 2}], cursor=2)

    def double(_it: Task, batch: Batch) -> Batch:
        return Batch([{"n": 2 * each["n"]} for each in batch.records])

    def price(it: Task, batch: Batch) -> Batch:
        rate = it.results["rate"]
        return Batch([{**each, "price": rate * each["n"]} for each in batch.records])

    def after(_it: Task, batch: Batch) -> None:
        loaded.extend(batch.records)

    graph = Graph(
        tasks=(
            task("rate", lambda _it: 10),
            task("double", double),
            task("price", price, "double", "rate"),
        )
    )
    reading = acting("reading", source, to="work")
    machine = machine_of(reading, working(graph, to="after"), acting("after", after))
    scene = Scene(tmp_path, machine)

    assert scene.run() == "done"
    assert loaded == [{"n": 2, "price": 20}, {"n": 4, "price": 40}]
    assert scene.sound()


def test_batches_of_several_ends_are_the_states_one_after_another(tmp_path: Path) -> None:
    """Three sources side by side, and what comes after reads all that they have read."""
    loaded: list[Any] = []

    def source(it: Task) -> Iterator[Batch]:
        for n in range(2):
            yield Batch([{"of": it.name, "n": n}], cursor=n + 1)

    def after(_it: Task, batch: Batch) -> None:
        loaded.extend((each["of"], each["n"]) for each in batch.records)

    graph = Graph(tasks=tuple(task(name, source) for name in ("a", "b", "c")))
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), acting("after", after)))

    assert scene.run() == "done"
    assert loaded == [(name, n) for name in ("a", "b", "c") for n in range(2)]
    assert scene.sound()


def test_a_side_task_leaves_the_batches_to_the_state(tmp_path: Path) -> None:
    """It needs the report, tells somebody of it, and makes nothing of it."""
    loaded: list[Any] = []
    told: list[int] = []

    def report(_it: Task) -> Iterator[Batch]:
        yield Batch([{"n": 1}, {"n": 2}], cursor=1)

    def tell(it: Task) -> None:
        told.append(sum(len(batch.records) for batch in it.batches("report")))

    def after(_it: Task, batch: Batch) -> None:
        loaded.extend(batch.records)

    graph = Graph(tasks=(task("report", report), task("tell", tell, "report")))
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), acting("after", after)))

    assert scene.run() == "done"
    assert (told, loaded) == ([2], [{"n": 1}, {"n": 2}])
    assert scene.sound()


def test_a_fan_out_works_on_each_element_alone(tmp_path: Path) -> None:
    """No more at once than `max_parallel`; its result is the list of theirs, in order."""
    seen: dict[str, Any] = {}
    lock, now, most = threading.Lock(), 0, 0

    def length(it: Task) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            return len(it.item)
        finally:
            with lock:
                now -= 1

    graph = Graph(
        tasks=(
            task("names", lambda _it: {"files": ["a", "bb", "ccc", "dddd", ""]}),
            task("length", length, "names", foreach="result.files", max_parallel=2),
            task("total", lambda it: sum(it.results["length"]), "length"),
        )
    )
    after = acting("after", lambda it: seen.update(it.results["work"]))
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), after))

    assert scene.run() == "done"
    assert seen["length"] == [1, 2, 3, 4, 0]
    assert seen["total"] == 10
    assert most <= 2
    assert "i/work.length[4]" in scene.children()
    assert scene.sound()


def test_an_empty_list_is_done_at_once(tmp_path: Path) -> None:
    """And those that need the fan-out get the empty list, and are not skipped."""
    seen: dict[str, Any] = {}
    graph = Graph(
        tasks=(
            task("names", lambda _it: []),
            task("length", lambda _it: 1, "names", foreach="result"),
            task("total", lambda it: sum(it.results["length"]), "length"),
        )
    )
    after = acting("after", lambda it: seen.update(it.results["work"]))
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), after))

    assert scene.run() == "done"
    assert seen == {"names": [], "length": [], "total": 0}
    assert scene.sound()


def test_no_list_is_an_error_of_the_state(tmp_path: Path) -> None:
    """It names the task and what was found instead."""
    graph = Graph(
        tasks=(
            task("names", lambda _it: {"files": 7}),
            task("length", lambda _it: 1, "names", foreach="result.files"),
        )
    )
    scene = Scene(tmp_path, machine_of(working(graph)))

    assert scene.run() == "failed"
    ((error_class, error),) = scene.ask("SELECT error_class, error FROM instance WHERE id = 'i'")
    assert error_class == "DataError"
    assert "foreach of 'length'" in error
    assert "int" in error
    assert scene.sound()


@pytest.mark.parametrize("on_error", ["skip", "continue"])
def test_a_join_goes_on_with_partial_data(tmp_path: Path, on_error: str) -> None:
    """It is told what is missing, and so is whoever looks at the instance."""
    seen: dict[str, Any] = {}

    def broken(_it: Task) -> None:
        raise RuntimeError("the supplier is down")

    def join(it: Task) -> dict[str, list[str]]:
        return {"with": sorted(set(it.results) & {"a", "b"}), "without": list(it.skipped)}

    graph = Graph(
        tasks=(
            task("a", lambda _it: 1),
            task("b", broken, on_error=on_error),
            task("join", join, "a", "b", when_skipped="run"),
        )
    )
    after = acting("after", lambda it: seen.update(it.results["work"]))
    scene = Scene(tmp_path, machine_of(working(graph, to="after"), after))

    assert scene.run() == "done"
    assert seen["join"] == {"with": ["a"], "without": ["b"]}
    assert seen.get("skipped", []) == (["b"] if on_error == "skip" else [])
    notes = scene.ask("SELECT note FROM journal WHERE event = 'ok' AND source = 'work'")
    assert notes == [("without b",)]
    assert scene.sound()


def test_what_depends_on_a_skipped_task_is_skipped(tmp_path: Path) -> None:
    """Unless it says that it can do without."""
    graph = Graph(
        tasks=(
            task("a", lambda _it: 1 / 0, on_error="skip"),
            task("b", lambda _it: 1, "a"),
            task("c", lambda _it: 1),
        )
    )
    scene = Scene(tmp_path, machine_of(working(graph)))

    assert scene.run() == "done"
    assert scene.children() == {"i/work.a": "failed", "i/work.c": "done"}
    notes = scene.ask("SELECT note FROM journal WHERE event = 'ok' AND source = 'work'")
    assert notes == [("without a, b",)]
    assert scene.ask("SELECT state, task FROM skipped ORDER BY n") == [("work", "a"), ("work", "b")]
    assert scene.ask("SELECT value FROM counter WHERE metric = 'skipped'") == [(2,)]
    assert scene.sound()


def test_who_wants_to_know_is_told_of_what_was_skipped(tmp_path: Path) -> None:
    """Once, in the commit of the move, and what is missing is said."""
    config = """
[notify.team]
command = ["true"]
on = ["skipped"]
"""
    graph = Graph(tasks=(task("a", lambda _it: 1 / 0, on_error="skip"), task("c", lambda _it: 1)))
    machine = machine_of(working(graph), notify=("team",))
    scene = Scene(tmp_path, machine, config=config)

    assert scene.run() == "done"
    ((event, body),) = scene.ask("SELECT event, body FROM notice")
    assert event == "skipped"
    assert "i left work without some of its tasks" in body
    assert "without a" in body
    assert scene.sound()


def test_long_names_and_ids_make_ids_of_children_that_fit(tmp_path: Path) -> None:
    """Of the parent's id there is as much as fits; who has the same beginning is counted."""
    state, listing, each = "s" * 64, "l" * 64, "e" * 64
    graph = Graph(
        tasks=(
            task(listing, lambda _it: list(range(11))),
            task(each, lambda it: it.item, listing, foreach="result"),
        )
    )
    work = State(name=state, task=graph, on=(Transition(event="ok", target="done"),))
    inner = machine_of(work, name="c" * 64)
    outer = State(name=state, task=Child(machine=inner.name), on=work.on)
    scene = Scene(tmp_path, machine_of(outer, name="m" * 64), inner)
    first, second = "x" * 199 + "1", "x" * 199 + "2"
    with scene.engine() as engine:
        for name in (first, second):
            engine.create(scene.machines[0].name, instance_id=name)
        engine.work(until_idle=True)

    assert set(scene.ask("SELECT status, length(id) <= 200 FROM instance")) == {("done", 1)}
    ids = [name for (name,) in scene.ask("SELECT id FROM children")]
    assert len(ids) == 2 * (1 + 1 + 11)
    beginning = "x" * (200 - 10 - 65)
    assert {f"{beginning}/{state}", f"{beginning}/{state}~2"} < set(ids)
    assert f"{beginning[:56]}/{state}.{each}[10]" in {name.removesuffix("~2") for name in ids}
    assert scene.sound()
