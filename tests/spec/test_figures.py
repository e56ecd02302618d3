"""
Promise R17: every figure is what the journal says, and none falls.

`violations` asks the same of each store, after whatever another test did to it.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Throttled
from statepipe.figures import ABOVE, BOUNDS_US, bucket_of
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Outcome, Task
from statepipe.sqlite import sqlite3
from statepipe.store.metrics import recount
from statepipe.testing import ManualClock, violations


class Author:
    """A machine's functions, which do at each call what the test says next."""

    def __init__(self, *acts: object) -> None:
        self.acts = list(acts)

    def __call__(self, _task: Task) -> Any:  # noqa: ANN401 whatever a task may return
        """Do the next thing."""
        act = self.acts.pop(0)
        if isinstance(act, Exception):
            raise act
        return act


def _machine(author: Author) -> Machine:
    def state(name: str, *on: Transition) -> State:
        task = Run(function=author)
        retry = {"jitter": "none", "errors": ["Throttled", "OSError"], "max_attempts": 2}
        return State(name=name, task=task, on=on, settings={"executor": "inline"}, retry=retry)

    return Machine(
        name="m",
        initial="one",
        states=(
            state("one", Transition(event="ok", target="two")),
            state(
                "two",
                Transition(event="ok", target="done"),
                Transition(event="again", target="one", max_visits=3),
            ),
            State(name="done", final="success"),
        ),
    )


class Scene:
    """One engine on one store, and what it counted."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(now_ms=1_700_000_000_000)
        self.author = Author()
        self.path = load_config(start=folder, environ={}).store
        self.engine = Engine(
            load_config(start=folder, environ={}),
            machines=[_machine(self.author)],
            clock=self.clock,
            observe=lambda _drive, _change: self.clock.advance(5_000),
        )

    def plays(self, *acts: object) -> None:
        """Say what the next calls do."""
        self.author.acts = list(acts)

    def counted(self, metric: str) -> dict[tuple[str, str], int]:
        """Return a counter by state and label."""
        sql = "SELECT state, label, value FROM counter WHERE metric = ? AND machine = 'm'"
        return {row[:2]: row[2] for row in self._rows(sql, metric)}

    def timed(self, metric: str) -> dict[tuple[str, str], tuple[int, float]]:
        """Return how often, and how many seconds in all, by state and label."""
        sql = (
            "SELECT state, label, sum(n), sum(sum_us) / 1e6 FROM duration"
            " WHERE metric = ? GROUP BY 1, 2"
        )
        return {row[:2]: row[2:] for row in self._rows(sql, metric)}

    def _rows(self, sql: str, *facts: object) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            rows: list[Any] = connection.execute(sql, facts).fetchall()
        return rows


@pytest.fixture
def scene(tmp_path: Path) -> Any:  # noqa: ANN401 a generator of one
    """Open the scene; in the end its figures must be what its journal says."""
    opened = Scene(tmp_path)
    yield opened
    opened.engine.close()
    assert violations(opened.path) == []


def test_every_attempt_is_counted_by_how_it_ended(scene: Scene) -> None:
    """A retry is an attempt of its own; an author's event is no failure."""
    scene.plays(
        Throttled(retry_after=0.001), None, Outcome("again"), None, OSError("x"), KeyError()
    )
    scene.engine.create("m", instance_id="i")
    scene.engine.run(["i"])

    assert scene.counted("attempts") == {
        ("one", "error"): 1,
        ("one", "ok"): 2,
        ("two", "error"): 2,
        ("two", "ok"): 1,
    }
    assert scene.counted("exhausted") == {("two", ""): 1}
    assert scene.counted("errors") == {
        ("one", "Throttled"): 1,
        ("two", "OSError"): 1,
        ("two", "other"): 1,
    }
    assert scene.counted("finished") == {("", "failed"): 1}


def test_a_class_made_up_by_an_author_is_counted_as_what_is_declared(scene: Scene) -> None:
    """A label cannot be made up: a subclass counts as its declared base, others as `other`."""
    made_up = type("Wire4711Broken", (ConnectionError,), {})
    scene.plays(made_up("x"), type("Order4711Missing", (Exception,), {})("x"))
    scene.engine.create("m", instance_id="i")
    scene.engine.run(["i"])

    assert scene.counted("errors") == {("one", "OSError"): 1, ("one", "other"): 1}


def test_times_are_those_of_the_clock(scene: Scene) -> None:
    """Each commit takes the scene five seconds; so each stay does, and the life has three."""
    scene.plays(None, None)
    scene.engine.create("m", instance_id="i")
    scene.clock.advance(60_000)
    scene.engine.run(["i"])

    assert scene.timed("queue") == {("", ""): (1, 60.0)}
    assert scene.timed("state") == {("one", "ok"): (1, 60.0), ("two", "ok"): (1, 5.0)}
    assert scene.timed("instance") == {("", "done"): (1, 65.0)}


def test_no_figure_falls_whatever_people_do(scene: Scene) -> None:
    """Failed, resumed, done, rewound, cancelled, resumed and done again: all of it counts."""
    scene.plays(KeyError(), None, None, None, None)
    scene.engine.create("m", instance_id="i")
    scene.engine.run(["i"])
    scene.engine.resume(["i"])
    scene.engine.rewind("i", to="two")
    scene.engine.cancel("i")
    scene.engine.resume(["i"])

    assert scene.counted("finished") == {
        ("", "cancelled"): 1,
        ("", "done"): 2,
        ("", "failed"): 1,
    }
    assert scene.counted("resumes") == {("", "manual"): 2}


def test_records_are_counted_where_batches_are_committed(scene: Scene) -> None:
    """In, out and rejected, by state; bytes of what was staged."""

    def rows(task: Task) -> Any:  # noqa: ANN401 a generator
        task.reject({"n": 0}, "zero")
        yield Batch([{"n": 1}, {"n": 2}], cursor=2)

    scene.plays(rows, None)
    scene.author.__class__ = _Calling
    scene.engine.create("m", instance_id="i")
    scene.engine.run(["i"])

    assert scene.counted("records") == {
        ("one", "in"): 3,
        ("one", "out"): 2,
        ("one", "rejected"): 1,
    }
    assert scene.counted("bytes")["one", "out"] > 0


class _Calling(Author):
    def __call__(self, task: Task) -> Any:  # noqa: ANN401 whatever a task may return
        """Call the next thing."""
        act = self.acts.pop(0)
        return act(task) if callable(act) else act


@pytest.mark.parametrize(
    ("sql", "figure"),
    [
        (
            "UPDATE counter SET value = value + 1 WHERE metric = 'finished'",
            "counter finished m  done",
        ),
        (
            "UPDATE transition_count SET taken = taken + 1 WHERE source = 'two'",
            "transition m two ok done",
        ),
        ("UPDATE duration SET n = n + 1 WHERE metric = 'queue'", "duration.n queue m   10000"),
        ("UPDATE duration SET sum_us = sum_us + 1 WHERE metric = 'queue'", "duration.sum_us queue"),
    ],
)
def test_a_figure_that_was_changed_is_found(tmp_path: Path, sql: str, figure: str) -> None:
    """Otherwise `violations` and `metrics verify` would be true of any store."""
    scene = Scene(tmp_path)
    scene.plays(None, None)
    scene.engine.create("m", instance_id="i")
    scene.engine.run(["i"])
    scene.engine.close()

    with closing(sqlite3.connect(scene.path, isolation_level=None)) as connection:
        assert recount.differences(connection) == []
        connection.execute(sql)
        found = recount.differences(connection)

    assert [each.figure for each in found if each.figure.startswith(figure)], found


@pytest.mark.parametrize("metric", sorted(BOUNDS_US))
def test_a_duration_falls_into_the_bucket_that_bounds_it(metric: str) -> None:
    """A bound belongs to its own bucket, as Prometheus's `le` says."""
    bounds = BOUNDS_US[metric]

    assert bucket_of(0, bounds) == bounds[0]
    assert [bucket_of(bound, bounds) for bound in bounds] == list(bounds)
    assert bucket_of(bounds[0] + 1, bounds) == bounds[1]
    assert bucket_of(bounds[-1] + 1, bounds) == ABOVE
