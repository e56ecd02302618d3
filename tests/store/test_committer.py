"""The group commit: all of it or none of it, each member fenced, and every way it can fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from statepipe.errors import Busy, StoreFull, StoreInDoubt, StoreUnusable
from statepipe.model import Attachment, Change, Checkpoint, Loaded, Plan, Rejects, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.liveness import Worker
from statepipe.store.stage import rows as staged
from statepipe.store.walk import asking
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.testing import ManualClock, violations
from tests.store import stores

COMMITTED, FENCED, STALE, REFUSED = Verdict


class Scene(NamedTuple):
    """A store with a worker that drives three instances."""

    store: Store
    worker: Worker
    at: list[Checkpoint]

    def commit(self, *changes: Change, attached: dict[int, Attachment] | None = None) -> Any:  # noqa: ANN401  (whatever is passed on)
        """Commit a group."""
        return Committer(self.store).commit(changes, attached or {}, policies={})


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make the scene."""
    store = stores.opened(tmp_path)
    worker = stores.registered(store)
    stores.created(store, "a", "b", "c")
    return Scene(store, worker, stores.claimed(store, worker))


def test_a_group_lands_whole_with_its_journal_and_counters(scene: Scene) -> None:
    """A plain move, an end, and a failure in one transaction."""
    a, b, c = scene.at

    got = scene.commit(
        stores.plain(a, "s1"), stores.plain(b, "done", status="done"), stores.failing(c)
    )

    assert got == [COMMITTED] * 3
    rows = [stores.row(scene.store, each) for each in "abc"]
    assert [(row["state"], row["status"], row["seq"]) for row in rows] == [
        ("s1", "ready", 3),
        ("done", "done", 3),
        ("failed", "failed", 3),
    ]
    assert [row["worker"] for row in rows] == [scene.worker.n, None, None]
    counted = scene.store.connection.execute(
        "SELECT target, taken FROM transition_count WHERE event = 'ok' ORDER BY target"
    ).fetchall()
    assert counted == [("done", 1), ("failed", 1), ("s1", 1)]
    assert violations(scene.store.path) == []


@pytest.mark.parametrize("detailed", [False, True])
def test_whoever_was_taken_over_is_refused_alone(scene: Scene, detailed: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """R3: a lower epoch never writes, and the others lose nothing by it."""
    stores.stolen(scene.store, "b")
    before = stores.row(scene.store, "b")
    make = stores.detailed if detailed else stores.plain

    got = scene.commit(*(make(at, "s1") for at in scene.at))

    assert got == [COMMITTED, FENCED, COMMITTED]
    assert stores.row(scene.store, "b") == before
    assert violations(scene.store.path) == []


def test_a_change_decided_before_a_wish_was_written_is_stale(scene: Scene) -> None:
    """The driver reads the row again and honours the wish."""
    asking.request(scene.store, instance_id="a", wish="cancel", reason=None)

    got = scene.commit(*(stores.plain(at, "s1") for at in scene.at))

    assert got == [STALE, COMMITTED, COMMITTED]
    assert violations(scene.store.path) == []


def test_a_change_is_committed_once(scene: Scene) -> None:
    """Sent again, as after an answer that was lost, it finds the row moved on."""
    change = stores.plain(scene.at[0], "s1")

    assert [scene.commit(change), scene.commit(change)] == [[COMMITTED], [STALE]]
    assert stores.row(scene.store)["seq"] == 3


def test_an_instance_that_does_not_exist_is_fenced(scene: Scene) -> None:
    """There is nothing it could overwrite."""
    ghost = scene.at[0]._replace(n=99)

    assert scene.commit(stores.plain(ghost, "s1")) == [FENCED]


def test_what_a_constraint_refuses_is_isolated(scene: Scene) -> None:
    """A defect of one member does not hold up the others, and leaves no journal row."""
    a, b, c = scene.at
    broken = stores.detailed(b, "failed", status="failed")  # without finished_at_ms

    got = scene.commit(stores.plain(a, "s1"), broken, stores.plain(c, "s1"))

    assert got == [COMMITTED, REFUSED, COMMITTED]
    assert stores.count(scene.store, "journal") == 8
    assert violations(scene.store.path) == []


def test_what_sqlite_cannot_have_is_isolated_as_well(scene: Scene) -> None:
    """It raises no constraint's error, and is about one member all the same."""
    a, b, c = scene.at
    broken = stores.plain(b, "s1")._replace(event="\udcff")

    assert scene.commit(stores.plain(a, "s1"), broken, stores.plain(c, "s1")) == [
        *(COMMITTED, REFUSED, COMMITTED)
    ]
    assert violations(scene.store.path) == []


def test_a_finished_instance_is_moved_by_no_change(scene: Scene) -> None:
    """Terminal is terminal: the trigger holds even against the right epoch and seq."""
    done = stores.plain(scene.at[0], "done", status="done")
    assert scene.commit(done) == [COMMITTED]

    again = scene.at[0]._replace(seq=3, state="done")

    assert scene.commit(stores.plain(again, "s1")) == [REFUSED]
    assert stores.row(scene.store)["state"] == "done"


def test_a_batch_lands_with_its_cursor_and_rejects(scene: Scene) -> None:
    """Rows of three tables, one transaction."""
    rejects = Rejects(2, 1, b"\1" * 32, None, b"r", {"/x: type": 2})
    change, attachment = stores.batched(scene.at[0], scene.worker, stores.batch(0, rejects=rejects))

    assert scene.commit(change, attached={0: attachment}) == [COMMITTED]

    stay = stores.stay_of(scene.at[0])
    assert stores.count_batches(scene.store.connection, 1, stay) == 1
    assert scene.store.connection.execute("SELECT * FROM rejected").fetchall() == [
        ("a", "s0", 1, 0, 2, "/x: type", 2, None, 1)
    ]
    assert stores.row(scene.store)["batches"] == 1


def test_a_fenced_batch_leaves_no_row_of_any_table(scene: Scene) -> None:
    """The one beside it in the group keeps its own."""
    stores.stolen(scene.store, "a")
    first, one = stores.batched(scene.at[0], scene.worker, stores.batch(0))
    second, two = stores.batched(scene.at[1], scene.worker, stores.batch(0))

    assert scene.commit(first, second, attached={0: one, 1: two}) == [FENCED, COMMITTED]

    assert scene.store.connection.execute("SELECT instance FROM batch").fetchall() == [(2,)]


def test_a_batch_number_is_used_once(scene: Scene) -> None:
    """A second batch 0 in one stay would be rows in two places."""
    change, attachment = stores.batched(scene.at[0], scene.worker, stores.batch(0))
    assert scene.commit(change, attached={0: attachment}) == [COMMITTED]

    again = change._replace(seq=3)

    assert scene.commit(again, attached={0: attachment}) == [REFUSED]
    assert stores.row(scene.store)["seq"] == 3


def test_a_plan_is_fixed_on_entering_and_ticked_off_once(scene: Scene) -> None:
    """What is loaded is a row of the plan; a second answer does not change the first."""
    at = scene.at[0]
    change, attachment = stores.batched(at, scene.worker, stores.batch(0))
    scene.commit(change, attached={0: attachment})
    source, stay = stores.stay_of(at), Stay(1, "loading", 1)
    enter = stores.detailed(at._replace(seq=3), "loading", worker=scene.worker.n)
    scene.commit(enter, attached={0: Attachment(stay, "loading", plan=Plan(stay, source))})
    (planned,) = staged.load_plan(scene.store.connection, 1, stay)
    assert (planned.number, planned.source, planned.loaded) == (0, source, None)

    for seq, records in ((4, 1), (5, 0)):
        done = stores.detailed(
            at._replace(seq=seq, state="loading"), "loading", kind="batch", worker=scene.worker.n
        )
        loaded = Attachment(stay, "loading", loaded=Loaded(0, records, None))
        assert scene.commit(done, attached={0: loaded}) == [COMMITTED]

    (planned,) = staged.load_plan(scene.store.connection, 1, stay)
    assert planned.loaded == 1
    assert violations(scene.store.path) == []


def test_a_policy_is_written_once_and_before_it_is_named(scene: Scene) -> None:
    """A change that names an unknown policy is refused by the foreign key."""
    a, b, _ = scene.at
    committer = Committer(scene.store)
    named = stores.plain(a, "s1")._replace(policy="p1")

    assert committer.commit([named], {}, policies={}) == [REFUSED]
    assert committer.commit([named], {}, policies={"p1": "{}"}) == [COMMITTED]
    again = stores.plain(b, "s1")._replace(policy="p1")
    assert committer.commit([again], {}, policies={"p1": "{}"}) == [COMMITTED]
    assert stores.count(scene.store, "policy") == 1


def test_a_policy_in_a_group_that_was_rolled_back_is_written_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rollback took is not remembered as known."""
    committer = Committer(scene.store)
    named = stores.plain(scene.at[0], "s1")._replace(policy="p1")
    monkeypatch.setattr(scene.store, "_commit", refused(sqlite3.SQLITE_BUSY, scene.store))
    with pytest.raises(Busy):
        committer.commit([named], {}, policies={"p1": "{}"})
    monkeypatch.undo()

    assert committer.commit([named], {}, policies={"p1": "{}"}) == [COMMITTED]


# ---- what failures do -----------------------------------------------------------------


class Faulty:
    """The connection, but for one statement, which fails as SQLite would."""

    def __init__(self, connection: sqlite3.Connection, statement: str, code: int) -> None:
        self._connection = connection
        self._statement = statement
        self._code = code

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever is passed on)
        return getattr(self._connection, name)

    def execute(self, sql: str, *args: Any) -> Any:  # noqa: ANN401  (whatever is passed on)
        """Fail if it is the statement; COMMIT has landed by then, as in F1."""
        if sql.lstrip().startswith(self._statement):
            if sql == "COMMIT" and self._code & 0xFF == sqlite3.SQLITE_IOERR:
                self._connection.execute(sql)
            error = sqlite3.OperationalError("made up")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(sql, *args)


def refused(code: int, store: Store) -> Callable[[], None]:
    """Return a `_commit` whose COMMIT fails by `code`."""

    def commit() -> None:
        healthy = store.connection
        store.connection = Faulty(healthy, "COMMIT", code)
        try:
            Store._commit(store)
        finally:
            store.connection = healthy

    return commit


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
    ],
)
def test_a_commit_that_fails_is_in_doubt_and_nothing_comes_after_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """F1: it may have landed. Nobody is told yes or no, and this process writes no more."""
    a, b, _ = scene.at
    with monkeypatch.context() as patched:
        patched.setattr(scene.store, "_commit", refused(code, scene.store))
        with pytest.raises(StoreInDoubt, match="failed"):
            scene.commit(stores.plain(a, "s1"))

    assert scene.store.in_doubt
    with pytest.raises(StoreInDoubt, match="earlier COMMIT"):
        scene.commit(stores.plain(b, "s1"))
    scene.store.close()
    fresh = open_store(scene.store.path, create=False, clock=ManualClock())
    landed = code & 0xFF == sqlite3.SQLITE_IOERR
    assert stores.row(fresh)["state"] == ("s1" if landed else "s0")
    assert stores.row(fresh, "b")["state"] == "s0"
    assert violations(fresh.path) == []

    # Closing would let SQLite sync and checkpoint once more, which may lie.
    scene.store.close()
    assert scene.store.connection.execute("SELECT 1").fetchone() == (1,)


def test_a_commit_that_is_busy_is_undone_and_may_be_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is still open then, so this is no doubt."""
    change = stores.plain(scene.at[0], "s1")
    with monkeypatch.context() as patched:
        patched.setattr(scene.store, "_commit", refused(sqlite3.SQLITE_BUSY, scene.store))
        with pytest.raises(Busy):
            scene.commit(change)

    assert not scene.store.in_doubt
    assert scene.commit(change) == [COMMITTED]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_IOERR_READ, StoreUnusable),
        (sqlite3.SQLITE_CORRUPT, StoreUnusable),
        (sqlite3.SQLITE_NOTADB, StoreUnusable),
        (sqlite3.SQLITE_READONLY, StoreUnusable),
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_BUSY, Busy),
    ],
)
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO journal"])
def test_an_error_before_commit_applies_nothing_and_is_named(
    scene: Scene, statement: str, code: int, kind: type[Exception]
) -> None:
    """Whatever it is, the whole group is as it was, and a later one may land."""
    healthy = scene.store.connection
    scene.store.connection = Faulty(healthy, statement, code)
    changes = [stores.detailed(at, "s1", worker=scene.worker.n) for at in scene.at]
    with pytest.raises(kind):
        scene.commit(*changes)
    scene.store.connection = healthy

    assert not healthy.in_transaction
    assert stores.count(scene.store, "journal") == 6
    assert scene.commit(*changes) == [COMMITTED] * 3


def fill(store: Store) -> None:
    """Leave no page to grow by."""
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_refuses_the_whole_group_and_reading_goes_on(scene: Scene) -> None:
    """R9: no state advances; once there is room, the same changes land."""
    picture = bytes(500_000)
    changes = [stores.detailed(at, "s1", worker=scene.worker.n, picture=picture) for at in scene.at]
    fill(scene.store)

    with pytest.raises(StoreFull, match="bytes are free"):
        scene.commit(*changes)

    assert [stores.row(scene.store, each)["seq"] for each in "abc"] == [2, 2, 2]
    assert not scene.store.connection.in_transaction
    scene.store.connection.execute("PRAGMA max_page_count = 1073741823")
    assert scene.commit(*changes) == [COMMITTED] * 3
    assert violations(scene.store.path) == []


def test_a_member_that_fills_the_disk_ends_the_group_at_once(scene: Scene) -> None:
    """
    F3: FULL inside a member's savepoint ends the whole transaction.

    Had the group gone on, the last member's rows would have landed alone, in autocommit.
    """
    stores.stolen(scene.store, "a")  # so that the group goes member by member
    big = stores.detailed(scene.at[1], "s1", worker=scene.worker.n, picture=bytes(500_000))
    fill(scene.store)

    with pytest.raises(StoreFull):
        scene.commit(stores.plain(scene.at[0], "s1"), big, stores.plain(scene.at[2], "s1"))

    assert [stores.row(scene.store, each)["state"] for each in "abc"] == ["s0"] * 3
    assert stores.count(scene.store, "journal") == 7
    assert violations(scene.store.path) == []


def test_a_store_that_was_replaced_takes_nothing_more(scene: Scene, tmp_path: Path) -> None:
    """F5: what is committed to an unlinked file is seen by nobody."""
    change = stores.plain(scene.at[0], "s1")
    hidden = tmp_path / "hidden.db"
    scene.store.path.rename(hidden)
    with pytest.raises(StoreUnusable, match="removed or replaced"):
        scene.commit(change)
    scene.store.path.write_bytes(b"another file")
    with pytest.raises(StoreUnusable, match="removed or replaced"):
        scene.commit(change)

    hidden.rename(scene.store.path)
    assert scene.commit(change) == [COMMITTED]
