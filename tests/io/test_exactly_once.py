"""
The exactly-once promise of the SQLite destination (R3, R4).

No window of the protocol is left out: connections die or fail at the n-th statement.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy, DataError, Fenced, LedgerMismatch
from statepipe.io.destinations import Landed, LedgerRow
from statepipe.io.sqlite import SqliteDestination, open_connection
from statepipe.sqlite import sqlite3
from tests.io.warehouse import ROWS, Crash, Faulty, batch, destination, query, script


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "table", ["", "CREATE TABLE t (id INTEGER, name TEXT CHECK (name <> 'b'))"]
)
def test_a_load_killed_at_any_statement_lands_once(
    tmp_path: Path, *, after: bool, table: str
) -> None:
    """
    Kill it before and after its 1st statement, its 2nd, and so on; then load again.

    The second table refuses a row, so the row-by-row path is cut everywhere too.
    """
    expected = [(1, "a"), (3, "c")] if table else [(1, "a"), (2, "b"), (3, "c")]
    for at in itertools.count():
        path = tmp_path / f"{at}.db"
        script(path, table)
        faulty = Faulty(at=at, after=after, error=Crash())
        try:
            first = destination(path, connect=faulty).load(batch())
        except Crash:
            faulty.die()
        else:
            faulty.die()
            break

        again = destination(path).load(batch())

        assert (again.records, len(again.rejects)) == (len(expected), 3 - len(expected))
        assert query(path, "SELECT * FROM t ORDER BY id") == expected
        assert query(path, "SELECT records, rejected FROM _statepipe_ledger") == [
            (len(expected), 3 - len(expected))
        ]
    assert faulty.statements[-1] == "COMMIT"
    assert at == len(faulty.statements), "the kills left statements out"
    assert first.records == len(expected)


@pytest.mark.parametrize("landed", [False, True], ids=["did not land", "landed"])
def test_an_error_at_commit_is_settled_by_the_ledger(tmp_path: Path, *, landed: bool) -> None:
    """COMMIT fails and tells neither yes nor no; both truths end with the rows there once."""
    probe = Faulty(error=Crash())
    destination(tmp_path / "probe.db", connect=probe).load(batch())
    at = probe.statements.index("COMMIT")
    faulty = Faulty(at=at, after=landed, error=sqlite3.OperationalError("disk I/O error"))

    answer = destination(tmp_path / "w.db", connect=faulty).load(batch())

    assert answer == Landed(3, [], already=landed)
    assert len(faulty.opened) == 2, "a commit in doubt was retried on the same connection"
    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]
    probe.die()
    faulty.die()


def test_a_commit_that_stays_in_doubt_ends_with_a_clear_error(tmp_path: Path) -> None:
    """The number of tries is bounded, and the error says who will know."""

    class NoCommit(Faulty):
        def run(self, sql: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
            if sql == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return super().run(sql, call)

    faulty = NoCommit(error=Crash())

    with pytest.raises(DataError) as refusal:
        destination(tmp_path / "w.db", connect=faulty).load(batch())

    assert "the ledger will" in refusal.value.meaning
    assert len(faulty.opened) == 5
    assert destination(tmp_path / "w.db").load(batch()) == Landed(3, [], already=False)


def test_an_error_in_a_statement_loads_nothing(tmp_path: Path) -> None:
    """An I/O error before COMMIT rolls the batch back, and the same object works again."""
    probe = Faulty(error=Crash())
    destination(tmp_path / "probe.db", connect=probe).load(batch())
    for at in range(probe.statements.index("COMMIT")):
        path = tmp_path / f"{at}.db"
        faulty = Faulty(at=at, error=sqlite3.OperationalError("disk I/O error"))
        target = destination(path, connect=faulty)

        with pytest.raises(DataError, match="disk I/O error"):
            target.load(batch())

        assert query(path, "SELECT name FROM sqlite_master") == []
        assert target.load(batch()) == Landed(3, [], already=False)
        target.close()
    probe.die()


def test_a_batch_that_is_there_is_not_loaded_again(tmp_path: Path) -> None:
    """The second call writes nothing and gives the first one's answer."""
    target = destination(tmp_path / "w.db")

    assert target.load(batch()) == Landed(3, [], already=False)
    assert target.load(batch()) == Landed(3, [], already=True)
    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize("change", [{"digest": b"e" * 32}, {"records": ROWS[:2]}])
def test_another_batch_under_the_same_number_stops_the_load(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """A plan recomputed behind our back is noticed, and nothing is written."""
    target = destination(tmp_path / "w.db")
    target.load(batch())

    with pytest.raises(LedgerMismatch, match="batch 0 of instance 'i-1'"):
        target.load(batch(**change))

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]


def test_a_zombie_is_fenced_and_its_successor_is_not(tmp_path: Path) -> None:
    """Two drivers with epochs 4 and 5: once 5 was here, 4 can do nothing."""
    zombie, successor = destination(tmp_path / "w.db"), destination(tmp_path / "w.db")
    zombie.load(batch(number=0, epoch=4))
    successor.load(batch(ROWS, number=1, epoch=5))

    with pytest.raises(Fenced, match="has epoch 4, the destination has seen 5"):
        zombie.load(batch(number=2, epoch=4))
    with pytest.raises(Fenced):
        zombie.load(batch(number=1, epoch=4))
    successor.load(batch(number=2, epoch=5))

    assert query(tmp_path / "w.db", "SELECT batch, epoch FROM _statepipe_ledger") == [
        (0, 4),
        (1, 5),
        (2, 5),
    ]


def test_a_zombie_of_a_pair_that_never_loaded_is_fenced_too(tmp_path: Path) -> None:
    """Neither driver knew the file; the second to come has the lower epoch."""
    destination(tmp_path / "w.db").load(batch(number=1, epoch=2))

    with pytest.raises(Fenced):
        destination(tmp_path / "w.db").load(batch(number=0, epoch=1))

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize(
    "other",
    [
        {"store_id": "store-2"},
        {"instance": "i-2"},
        {"generation": 2},
        {"state": "loading-2"},
        {"visit": 2},
        {"number": 1},
    ],
    ids=str,
)
def test_every_part_of_the_identity_counts(tmp_path: Path, other: dict[str, Any]) -> None:
    """Batches that differ in one part of their identity are two batches."""
    target = destination(tmp_path / "w.db")
    target.load(batch(digest=b"1"))

    assert target.load(batch(digest=b"2", **other)) == Landed(3, [], already=False)
    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(6,)]


def test_two_tables_of_one_file_have_their_own_ledgers(tmp_path: Path) -> None:
    """Two loading tasks may share a warehouse."""
    one = SqliteDestination(tmp_path / "w.db", table="one")
    two = SqliteDestination(tmp_path / "w.db", table="two")

    assert one.load(batch(digest=b"1")) == two.load(batch(digest=b"2"))


def test_the_verdict_on_a_loaded_batch_does_not_change_with_the_table(tmp_path: Path) -> None:
    """
    What constraints refuse depends on the table, and the table goes on changing.

    The checkpoint may not have seen the first answer; the second must be the same,
    or clean + rejected would no longer be what was read.
    """
    script(tmp_path / "w.db", "CREATE TABLE t (id INTEGER, name TEXT UNIQUE)")
    target = destination(tmp_path / "w.db")
    script(tmp_path / "w.db", "INSERT INTO t VALUES (0, 'b')")
    first = target.load(batch())

    script(tmp_path / "w.db", "DELETE FROM t; ALTER TABLE t RENAME COLUMN name TO nom")
    again = target.load(batch())

    assert [entry["record"] for entry in first.rejects] == [{"id": 2, "name": "b"}]
    assert again == first._replace(already=True)


def test_a_trigger_that_rolls_back_loads_nothing(tmp_path: Path) -> None:
    """F3: once the transaction is gone, no later row may land alone."""
    script(
        tmp_path / "w.db",
        """
        CREATE TABLE t (id INTEGER, name TEXT);
        CREATE TRIGGER out BEFORE INSERT ON t WHEN NEW.id = 2
        BEGIN SELECT RAISE(ROLLBACK, 'all of it'); END;
        """,
    )

    with pytest.raises(DataError, match="rolled the whole transaction back"):
        destination(tmp_path / "w.db").load(batch())

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(0,)]
    assert query(tmp_path / "w.db", "SELECT name FROM sqlite_master WHERE name LIKE '_s%'") == []


def test_a_deferred_constraint_refuses_the_batch_and_is_not_in_doubt(tmp_path: Path) -> None:
    """COMMIT says no while the transaction is open; that is an answer."""
    script(
        tmp_path / "w.db",
        """
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE t (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED, name TEXT);
        """,
    )

    with pytest.raises(DataError, match="FOREIGN KEY"):
        destination(tmp_path / "w.db").load(batch())

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(0,)]


def test_a_locked_destination_is_busy_after_a_bounded_wait(tmp_path: Path) -> None:
    """Somebody holds the write lock; nothing is written, and it works once they are done."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    holder = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(Busy):
        target.load(batch(number=1))
    holder.execute("ROLLBACK")
    holder.close()

    assert target.load(batch(number=1)) == Landed(3, [], already=False)


def test_a_reader_that_never_ends_makes_commit_busy_and_nothing_lands(tmp_path: Path) -> None:
    """In a rollback journal a reader blocks COMMIT; that is a no, not a doubt."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    reader = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()

    with pytest.raises(Busy):
        target.load(batch(number=1))
    reader.close()

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]


def test_every_journal_mode_is_kept_and_made_durable(tmp_path: Path) -> None:
    """WAL needs FULL; a rollback journal needs EXTRA, or power loss undoes the last commit."""
    script(tmp_path / "wal.db", "PRAGMA journal_mode = wal; CREATE TABLE x (y)")

    for name, journal, synchronous in [("wal.db", "wal", 2), ("new.db", "delete", 3)]:
        connection = open_connection(tmp_path / name, 50)
        assert connection.execute("PRAGMA journal_mode").fetchone() == (journal,)
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        connection.close()


def test_a_replaced_file_is_noticed_before_the_next_batch(tmp_path: Path) -> None:
    """F5: a file moved away under us would go on acknowledging."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    (tmp_path / "w.db").rename(tmp_path / "moved.db")

    with pytest.raises(DataError, match="replaced or removed"):
        target.load(batch(number=1))

    assert query(tmp_path / "moved.db", "SELECT count(*) FROM t") == [(3,)]
    assert target.load(batch()) == Landed(3, [], already=False)


def test_the_ledger_lists_one_stay_by_batch(tmp_path: Path) -> None:
    """What reconciliation compares with the plan; an absent file has loaded nothing."""
    target = destination(tmp_path / "w.db")
    stay: dict[str, Any] = {"store_id": "store-1", "instance": "i-1", "generation": 1, "visit": 1}

    assert target.ledger(**stay, state="loading") == []
    target.load(batch(number=1, digest=b"1"))
    target.load(batch([{"id": 1, "name": "x"}, {"id": 2**63, "name": ""}], digest=b"0", epoch=2))
    target.load(batch(generation=2, epoch=2))

    assert target.ledger(**stay, state="loading") == [
        LedgerRow(0, 1, 1, b"0", 2),
        LedgerRow(1, 3, 0, b"1", 1),
    ]


def test_an_empty_batch_has_a_ledger_row_and_makes_no_table(tmp_path: Path) -> None:
    """A mapped batch of which nothing was left is loaded like any other."""
    target = destination(tmp_path / "w.db")

    assert target.load(batch([])) == Landed(0, [], already=False)
    assert target.load(batch([])) == Landed(0, [], already=True)
    assert query(tmp_path / "w.db", "SELECT 1 FROM sqlite_master WHERE name = 't'") == []
