"""
A commit cut off at any of SQLite's steps is whole or absent (R1).

SQLite is made to abandon its work at its 1st step, its 2nd, and so on until one transaction is
not cut. After each cut another connection must see the store exactly as it was, or exactly as
it should become, and the store must go on working, or say that it is in doubt.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.errors import StoreInDoubt, StoreUnusable
from statepipe.model import (
    Attachment,
    Change,
    Detail,
    Loaded,
    Plan,
    Rejects,
    Staged,
    Status,
    Stay,
)
from statepipe.sqlite import sqlite3
from statepipe.store.codec import encode
from statepipe.store.file.opening import open_reader, open_store
from statepipe.store.liveness import Worker
from statepipe.store.steering import instances as steering
from statepipe.store.walk import asking, claims, resuming, workers
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock, violations

IDS: Final = ["a", "b", "c", "d", "e", "f"]

_TABLES: Final = (
    "instance",
    "journal",
    "batch",
    "reject",
    "plan",
    "policy",
    "transition_count",
)

_DIGEST: Final = b"d" * 32
_EXTRACTING: Final = Stay(1, "extracting", 1)
_LOADING: Final = Stay(1, "loading", 1)


class Scene:
    """A store with six instances in `extracting`, all driven by one worker."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.store = open_store(path, create=True, clock=self.clock)
        definition = steering.define(self.store, machine="m", version=1, digest="1", body="{}")
        self.definition = definition
        new = [steering.NewInstance(name, encode({})) for name in IDS]
        steering.create(
            self.store, machine="m", definition=definition, initial="extracting", instances=new
        )
        identity = Identity.of_this_process()
        self.worker: Worker = workers.register(self.store, identity)
        self.claim()

    def claim(self) -> None:
        """Take whatever is free."""
        claims.claim_ready(self.store, self.worker, scope=Scope(), limit=10)

    def row(self, name: str) -> tuple[int, int, int]:
        """Return number, epoch and seq of an instance."""
        sql = "SELECT n, epoch, seq FROM instance WHERE id = ?"
        found: tuple[int, int, int] = self.store.connection.execute(sql, (name,)).fetchone()
        return found

    def change(self, name: str, state: str, **more: Any) -> Change:  # noqa: ANN401 any field
        """Return a plain move of an instance, changed where `more` says so."""
        n, epoch, seq = self.row(name)
        kept = (Status.READY, "extracting", "m", 0, 0, None)
        return Change(n, epoch, seq, state, 1, "ok", 5, "p", *kept)._replace(**more)

    def reopen(self) -> None:
        """End the store that is in doubt, as its process would; open it anew."""
        self.store.close()
        self.store.connection.close()  # it holds its lock until the process ends
        self.store = open_store(self.path, create=False, clock=self.clock)


def detail(kind: str, worker: Worker | None, **more: Any) -> Detail:  # noqa: ANN401 any field
    """Return the detail that leaves everything as it is, changed where `more` says so."""
    nothing = dict.fromkeys(Detail._fields)
    same = {"kind": kind, "attempt": 0, "lost": 0, "batches": 0, "entered_at_ms": 1, "drifts": ()}
    return Detail(**{**nothing, **same, "worker": worker and worker.n, **more})


def group(scene: Scene) -> tuple[list[Change], dict[int, Attachment]]:
    """Return one change of each kind, with what goes with it."""
    rejects = Rejects(1, 3, _DIGEST, None, b"bad", {"/x: type": 1})
    staged = Staged(0, 2, 4, _DIGEST, "msgpack", None, b"good", encode(1), 3, rejects)
    worker = scene.worker
    return [
        scene.change("a", "validating"),
        scene.change("b", "done", status=Status.DONE),
        scene.change(
            "c",
            "extracting",
            event="staged",
            policy=None,
            detail=detail("batch", worker, batches=1),
        ),
        scene.change("d", "loading", detail=detail("move", worker, picture=b"p", learned=b"p")),
        scene.change(
            "e",
            "failed",
            event="error",
            status=Status.FAILED,
            detail=detail("move", None, finished_at_ms=1, failed_state="extracting", error="no"),
        ),
    ], {
        2: Attachment(_EXTRACTING, "extracting", staged=staged),
        3: Attachment(_LOADING, "loading", plan=Plan(_LOADING, _EXTRACTING)),
    }


def prepared(path: Path) -> Scene:
    """Return a scene in which `d` has a batch to plan, and `f` one of its plan to load."""
    scene = Scene(path)
    staged = Staged(0, 2, 4, _DIGEST, "msgpack", None, b"good", None, 2, None)
    kept = detail("batch", scene.worker, batches=1)
    moved = detail("move", scene.worker)
    committer = Committer(scene.store)
    batches = [scene.change(name, "extracting", event="staged", detail=kept) for name in "df"]
    attached = Attachment(_EXTRACTING, "extracting", staged=staged)
    committer.commit(batches, {0: attached, 1: attached}, policies={"p": "{}"})
    plan = Attachment(_LOADING, "loading", plan=Plan(_LOADING, _EXTRACTING))
    committer.commit([scene.change("f", "loading", detail=moved)], {0: plan}, policies={})
    return scene


def committed(scene: Scene) -> None:
    """A group in which everybody is what it was decided on."""
    changes, attached = group(scene)
    loaded = scene.change("f", "loading", event="loaded", source="loading", policy=None)
    changes.append(loaded._replace(detail=detail("batch", scene.worker, batches=1)))
    attached[5] = Attachment(_LOADING, "loading", loaded=Loaded(0, 2, None))
    verdicts = Committer(scene.store).commit(changes, attached, policies={"q": "{}"})
    assert set(verdicts) == {Verdict.COMMITTED}


def partly_fenced(scene: Scene) -> None:
    """A group in which one was taken over and one moved on: the rest lands, each for itself."""
    changes, attached = group(scene)
    changes[0] = changes[0]._replace(epoch=0)
    changes[1] = changes[1]._replace(seq=changes[1].seq - 1)
    verdicts = Committer(scene.store).commit(changes, attached, policies={"q": "{}"})
    assert verdicts[:2] == [Verdict.FENCED, Verdict.STALE]
    assert set(verdicts[2:]) == {Verdict.COMMITTED}


def created(scene: Scene) -> None:
    """Several instances, all or none."""
    new = [steering.NewInstance(f"new-{number}", encode({})) for number in range(3)]
    steering.create(
        scene.store, machine="m", definition=scene.definition, initial="extracting", instances=new
    )


def taken_over(scene: Scene) -> None:
    """All instances of a worker whose lease has passed."""
    scene.clock.advance(workers.LEASE_MS + 1)
    successor = scene.worker._replace(n=scene.worker.n + 1)
    assert claims.claim_ready(scene.store, successor, scope=Scope(), limit=10)


def resumed(scene: Scene) -> None:
    """One instance, by its worker, with a fresh budget."""
    resuming.claim_resume(
        scene.store, scene.worker, instance_id="a", reason="because", definition=None
    )


def asked(scene: Scene) -> None:
    """A cancel of a driven instance."""
    asking.request(scene.store, instance_id="a", wish="cancel", reason="because")


def rewound(scene: Scene) -> None:
    """An instance that nobody drives, to where it was before."""
    _, _, seq = scene.row("b")
    steering.rewind(
        scene.store, instance_id="b", seq=seq, state="extracting", picture=None, reason=None
    )


def ends_b(scene: Scene) -> None:
    """End one instance, so that it can be rewound."""
    Committer(scene.store).commit(
        [scene.change("b", "done", status=Status.DONE)], {}, policies={"p": "{}"}
    )


def adds_a_worker(scene: Scene) -> None:
    """Register the worker that will take over."""
    workers.register(scene.store, Identity.of_this_process())


def seen(reader: Any) -> list[Any]:  # noqa: ANN401 a connection
    """Return all that another connection sees."""
    return [reader.execute(f"SELECT * FROM {table}").fetchall() for table in _TABLES]


def cuts(scene: Scene) -> Iterator[int]:
    """Cut SQLite's work once, at its 1st step from now, then its 2nd, and so on."""
    for steps in itertools.count(1):
        countdown = itertools.count(steps, -1)
        scene.store.connection.set_progress_handler(lambda left=countdown: next(left) == 0, 1)
        yield steps


def nothing(_scene: Scene) -> None:
    """Prepare nothing."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("operation", "before", "steps_min"),
    [
        (committed, nothing, 800),
        (partly_fenced, nothing, 800),
        (created, nothing, 200),
        (taken_over, adds_a_worker, 500),
        (resumed, nothing, 100),
        (asked, nothing, 50),
        (rewound, ends_b, 100),
    ],
)
def test_a_transaction_cut_off_at_any_step_is_whole_or_absent(
    tmp_path: Path,
    operation: Callable[[Scene], None],
    before: Callable[[Scene], None],
    steps_min: int,
) -> None:
    """Nothing in between is ever seen, and the connection works on or says it is in doubt."""
    scene = prepared(tmp_path / "store.db")
    before(scene)
    reader = open_reader(scene.path)
    was, steps, doubts = seen(reader), 0, 0
    for steps in cuts(scene):  # noqa: B007  how many it took is asked below
        try:
            operation(scene)
        except StoreInDoubt:
            doubts += 1
            scene.reopen()
        except (StoreUnusable, sqlite3.OperationalError) as error:
            # The latter where it only reads, before its transaction.
            assert "interrupted" in str(error), error  # noqa: PT017  the cut, not something else
        else:
            break
        if seen(reader) != was:
            break
    scene.store.connection.set_progress_handler(None, 0)

    assert steps > steps_min
    assert doubts > 0, "no cut reached COMMIT"
    assert seen(reader) != was
    assert violations(scene.path) == []
    reader.close()
    scene.store.close()
