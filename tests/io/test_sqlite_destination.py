"""
The exactly-once promise of the SQLite destination (reliability.md, R4 and step 4).

Real SQLite on a temporary path. `Faulty` opens it through a connection that dies
or fails at the n-th statement, so that no window of the protocol is left out.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from statepipe.errors import Busy, DataError, DefinitionError, Fenced, LedgerMismatch
from statepipe.io.destinations import Landed, LedgerRow, LoadBatch, open_destination
from statepipe.io.rows import Records, Value
from statepipe.io.sqlite import Connect, SqliteDestination, open_connection
from statepipe.sqlite import sqlite3

ROWS = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]


class Crash(BaseException):
    """The process dies here; nothing after it runs."""


class Faulty:
    """Opens the file through connections that share one count of statements."""

    def __init__(self, *, at: int = -1, after: bool = False, error: BaseException) -> None:
        self.at = at
        self.after = after
        self.error = error
        self.statements: list[str] = []
        self.opened: list[sqlite3.Connection] = []

    def __call__(self, path: Path, busy_ms: int) -> sqlite3.Connection:
        """Open `path` for the destination."""
        real = open_connection(path, busy_ms)
        self.opened.append(real)
        return cast("sqlite3.Connection", _FaultyConnection(real, self))

    def run(self, sql: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Do one statement, or fail instead of it or right after it."""
        number = len(self.statements)
        self.statements.append(sql)
        if number == self.at and not self.after:
            raise self.error
        result = call()
        if number == self.at:
            result.close()  # or the traceback would keep its lock
            raise self.error
        return result

    def die(self) -> None:
        """Close what the dead process had open, as the kernel does: uncommitted work is gone."""
        for connection in self.opened:
            connection.close()


class _FaultyConnection:
    def __init__(self, real: sqlite3.Connection, faulty: Faulty) -> None:
        self._real = real
        self._faulty = faulty

    def __getattr__(self, name: str) -> Value:
        return getattr(self._real, name)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._faulty.run(sql, lambda: self._real.execute(sql, parameters))

    def executemany(self, sql: str, rows: Sequence[Any]) -> sqlite3.Cursor:
        return self._faulty.run(sql, lambda: self._real.executemany(sql, rows))


def batch(records: Records = None, **identity: Value) -> LoadBatch:
    """Return a batch with a full identity, changed where `identity` says so."""
    facts: dict[str, Any] = {
        "store_id": "store-1",
        "instance": "i-1",
        "generation": 1,
        "state": "loading",
        "visit": 1,
        "number": 0,
        "epoch": 1,
        "digest": b"d" * 32,
        "records": ROWS if records is None else records,
    }
    return LoadBatch(**facts | identity)


def destination(
    path: Path, *, key: tuple[str, ...] = (), connect: Connect | None = None
) -> SqliteDestination:
    """Return a destination that does not wait long for anybody."""
    return SqliteDestination(path, table="t", key=key, busy_ms=50, connect=connect)


def query(path: Path, sql: str) -> list[Any]:
    """Return what a new process would read."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.execute(sql).fetchall())
    finally:
        connection.close()


def script(path: Path, sql: str) -> None:
    """Run `sql` as the owner of the file would."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(sql)
    finally:
        connection.close()


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
    assert at > 10, "the kills never reached the commit"
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


def test_a_key_upserts_and_the_last_of_a_batch_wins(tmp_path: Path) -> None:
    """Rows with a known key are replaced; both records of one key count as loaded."""
    target = destination(tmp_path / "w.db", key=("id",))
    target.load(batch())

    answer = target.load(batch([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}], number=1))

    assert answer == Landed(2, [], already=False)
    assert query(tmp_path / "w.db", "SELECT * FROM t") == [(1, "y"), (2, "b"), (3, "c")]


def test_a_field_a_record_lacks_keeps_what_the_table_has(tmp_path: Path) -> None:
    """Absent is not null: an upsert leaves the column alone, an insert takes its default."""
    script(tmp_path / "w.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT DEFAULT 'z')")
    target = destination(tmp_path / "w.db", key=("id",))
    target.load(batch([{"id": 1, "a": "a", "b": "b"}]))

    target.load(batch([{"id": 1, "a": None}, {"b": "q", "id": 2}, {"id": 3}], number=1))

    assert query(tmp_path / "w.db", "SELECT * FROM t") == [
        (1, None, "b"),
        (2, None, "q"),
        (3, None, "z"),
    ]


def test_a_new_table_is_strict_and_typed_by_its_first_batch(tmp_path: Path) -> None:
    """One type gives a typed column, several give ANY, and the key cannot be null."""
    first = [
        {"id": "k", "i": 1, "r": 1.5, "t": "x", "b": b"y", "mixed": 1, "none": None},
        {"id": "l", "i": None, "r": 2.5, "t": "", "b": b"", "mixed": "2", "none": None},
    ]
    destination(tmp_path / "w.db", key=("id",)).load(batch(first))

    assert query(
        tmp_path / "w.db", 'SELECT name, type, "notnull", pk FROM pragma_table_info("t")'
    ) == [
        ("id", "TEXT", 1, 1),
        ("i", "INTEGER", 0, 0),
        ("r", "REAL", 0, 0),
        ("t", "TEXT", 0, 0),
        ("b", "BLOB", 0, 0),
        ("mixed", "ANY", 0, 0),
        ("none", "ANY", 0, 0),
    ]
    assert query(tmp_path / "w.db", "SELECT strict FROM pragma_table_list('t')") == [(1,)]
    assert query(tmp_path / "w.db", "SELECT mixed FROM t") == [(1,), ("2",)]


def test_names_of_any_characters_are_safe(tmp_path: Path) -> None:
    """Quotes, spaces and keywords are names like any other; nothing is run by them."""
    name = 'select "x"; DROP TABLE t; --'
    target = SqliteDestination(tmp_path / "w.db", table=name, key=('k"',))

    target.load(batch([{'k"': 1, "order": 2, "é ü": 3}]))

    assert query(tmp_path / "w.db", f'SELECT * FROM "{name.replace(chr(34), chr(34) * 2)}"') == [
        (1, 2, 3)
    ]


@pytest.mark.parametrize("name", ["", "a\0b", "sqlite_x", "_statepipe_ledger", "x" * 256, "\ud800"])
def test_names_no_table_can_have_are_refused(tmp_path: Path, name: str) -> None:
    """The machine is wrong, and says so before a file is made."""
    with pytest.raises(DefinitionError):
        SqliteDestination(tmp_path / "w.db", table=name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_column_stops_the_whole_batch(tmp_path: Path) -> None:
    """Nothing of the batch is loaded, and the error says how to add the column."""
    target = destination(tmp_path / "w.db")
    target.load(batch())

    with pytest.raises(DataError, match=r"no column 'nmae'; did you mean \"name\"") as refusal:
        target.load(batch([{"id": 9}, {"id": 10, "nmae": "x"}], number=1))

    assert 'ADD COLUMN "nmae"' in refusal.value.next_step
    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]
    assert query(tmp_path / "w.db", "SELECT count(*) FROM _statepipe_ledger") == [(1,)]


def test_a_column_added_meanwhile_is_seen(tmp_path: Path) -> None:
    """Somebody's ALTER TABLE between two batches, or in the middle of one, is taken in."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    script(tmp_path / "w.db", "ALTER TABLE t ADD COLUMN extra ANY")

    target.load(batch([{"id": 4, "name": "d", "extra": 1.5}], number=1))

    assert query(tmp_path / "w.db", "SELECT * FROM t WHERE id = 4") == [(4, "d", 1.5)]


def test_a_table_made_by_somebody_else_in_between_is_judged_again(tmp_path: Path) -> None:
    """The values were fitted to a new table; then another loader made it first."""
    path = tmp_path / "w.db"

    class Rival(Faulty):
        def run(self, sql: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" and sql not in self.statements:
                script(path, "CREATE TABLE t (id TEXT, name TEXT) STRICT")
            return super().run(sql, call)

    answer = destination(path, connect=Rival(error=Crash())).load(batch([{"id": 1}, {"id": "1"}]))

    assert [entry["record"] for entry in answer.rejects] == [{"id": 1}]
    assert query(path, "SELECT id FROM t") == [("1",)]


def test_rows_a_constraint_refuses_are_rejected_alone(tmp_path: Path) -> None:
    """NOT NULL, CHECK, UNIQUE, foreign keys and triggers cost their own row only."""
    script(
        tmp_path / "w.db",
        """
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        INSERT INTO parent VALUES (1);
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER CHECK (n < 10),
          u TEXT UNIQUE ON CONFLICT REPLACE, p INTEGER REFERENCES parent
        );
        CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.name = 'no'
        BEGIN SELECT RAISE(ABORT, 'said no'); END;
        CREATE TRIGGER hush BEFORE INSERT ON t WHEN NEW.name = 'hush'
        BEGIN SELECT RAISE(IGNORE); END;
        """,
    )
    good = {"id": 1, "name": "ok", "n": 1, "u": "u1", "p": 1}
    records = [
        good,
        good | {"id": 2, "name": None, "u": "u2"},
        good | {"id": 3, "n": 10, "u": "u3"},
        good | {"id": 4},
        good | {"id": 5, "p": 7, "u": "u5"},
        good | {"id": 6, "name": "no", "u": "u6"},
        good | {"id": 7, "name": "hush", "u": "u7"},
        good | {"id": 8, "u": "u8"},
    ]
    target = destination(tmp_path / "w.db", key=("id",))

    answer = target.load(batch(records))

    assert [(e["position"], e["rule"], e["path"]) for e in answer.rejects] == [
        (1, "notnull", "/name"),
        (2, "check", ""),
        (3, "unique", "/u"),
        (4, "foreignkey", ""),
        (5, "trigger", ""),
        (6, "trigger", ""),
    ]
    assert query(tmp_path / "w.db", "SELECT id FROM t") == [(1,), (8,)]
    assert answer.records + len(answer.rejects) == len(records)
    assert target.load(batch(records)) == answer._replace(already=True)


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


def test_a_missing_or_null_key_is_rejected(tmp_path: Path) -> None:
    """SQLite takes two NULLs for two keys, so a repeated load would add a row."""
    answer = destination(tmp_path / "w.db", key=("id",)).load(
        batch([{"id": 1, "n": 1}, {"id": None, "n": 2}, {"n": 3}, {}])
    )

    assert [(e["rule"], e["path"]) for e in answer.rejects] == [
        ("key", "/id"),
        ("key", "/id"),
        ("empty", ""),
    ]


def test_a_key_without_a_unique_index_is_refused_by_name(tmp_path: Path) -> None:
    """The error says which index to make."""
    script(tmp_path / "w.db", "CREATE TABLE t (id INTEGER, name TEXT)")

    with pytest.raises(DataError, match="no unique index on id") as refusal:
        destination(tmp_path / "w.db", key=("id",)).load(batch())

    assert "CREATE UNIQUE INDEX" in refusal.value.next_step


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


def test_a_columnar_table_is_loaded_and_its_rejects_have_records(tmp_path: Path) -> None:
    """Arrow goes in by slices; what cannot be stored comes back as a dict."""
    table = pa.table({"id": [1, 2, 3], "x": [1.5, float("nan"), None]})

    answer = destination(tmp_path / "w.db").load(batch(table))

    assert query(tmp_path / "w.db", "SELECT * FROM t") == [(1, 1.5), (3, None)]
    assert [(e["record"]["id"], e["rule"], e["position"]) for e in answer.rejects] == [
        (2, "nan", 1)
    ]
    assert len(destination(tmp_path / "w.db").load(batch(table)).rejects) == 1


def test_an_empty_batch_has_a_ledger_row_and_makes_no_table(tmp_path: Path) -> None:
    """A mapped batch of which nothing was left is loaded like any other."""
    target = destination(tmp_path / "w.db")

    assert target.load(batch([])) == Landed(0, [], already=False)
    assert target.load(batch([])) == Landed(0, [], already=True)
    assert query(tmp_path / "w.db", "SELECT 1 FROM sqlite_master WHERE name = 't'") == []


def test_files_that_are_no_database_are_named_and_left_alone(tmp_path: Path) -> None:
    """Garbage, a folder, a missing folder: the error names the path, nothing changes."""
    (tmp_path / "garbage.db").write_bytes(b"not a database, and longer than one header" * 100)
    (tmp_path / "folder.db").mkdir()

    for path, reason in [
        (tmp_path / "garbage.db", "not a database"),
        (tmp_path / "folder.db", "not a regular file"),
        (tmp_path / "absent" / "w.db", "does not exist"),
    ]:
        with pytest.raises(DataError, match=reason) as refusal:
            destination(path).load(batch())
        assert str(path) in str(refusal.value)
    assert (tmp_path / "garbage.db").read_bytes().startswith(b"not a database")


def test_addresses_name_a_file_beside_the_machine_or_anywhere(tmp_path: Path) -> None:
    """Three slashes are relative, four absolute; nothing is made by opening."""
    relative = open_destination("sqlite:///w%20x.db", base_dir=tmp_path, table="t")
    absolute = open_destination(f"sqlite:///{tmp_path}/a.db", base_dir=Path("/nowhere"), table="t")

    assert isinstance(relative, SqliteDestination)
    assert isinstance(absolute, SqliteDestination)
    assert (relative.path, absolute.path) == (tmp_path / "w x.db", tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "to",
    ["postgresql://x/y", "w.db", "sqlite://w.db", "sqlite:///", "sqlite:///:memory:", "sqlit:///x"],
)
def test_addresses_nobody_speaks_are_refused(tmp_path: Path, to: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(DefinitionError) as refusal:
        open_destination(to, base_dir=tmp_path, table="t")
    assert "sqlite:///warehouse.db" in refusal.value.next_step
