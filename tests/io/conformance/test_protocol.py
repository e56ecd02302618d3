"""
The exactly-once promise of every destination (R3, R4): step 4 of docs/reliability.md.

No window of the protocol is left out: connections die or fail at the n-th statement.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import pytest

from statepipe.errors import Busy, DataError, Fenced, LedgerMismatch
from statepipe.io.destinations import Landed, LedgerRow
from tests.io.warehouse import ROWS, Crash, Faults, Warehouse, batch

Result = TypeVar("Result")

STAY: dict[str, Any] = {
    "store_id": "store-1",
    "instance": "i-1",
    "generation": 1,
    "state": "loading",
    "visit": 1,
}


@pytest.mark.parametrize(
    ("after", "key", "table"),
    [
        (False, (), ""),
        (True, (), "CREATE TABLE t (id INTEGER, name TEXT CHECK (name <> 'b'))"),
        (False, ("id",), "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'b'))"),
    ],
    ids=["before, a new table", "after, append", "before, upsert"],
)
def test_a_load_killed_at_any_statement_lands_once(
    warehouse: Warehouse, *, after: bool, key: tuple[str, ...], table: str
) -> None:
    """
    Kill it before and after its 1st statement, its 2nd, and so on; then load again.

    The tables that are there refuse a row, so the way to the refused row is cut everywhere too.
    """
    if table and not warehouse.upserts:
        pytest.skip("a file has no constraints")
    expected = [(1, "a"), (3, "c")] if table else [(1, "a"), (2, "b"), (3, "c")]
    for at in itertools.count(len(key), warehouse.stride):
        warehouse.script(table)
        faults = Faults(at=at, after=after, error=Crash())
        killed = warehouse.destination(key=key, faults=faults)
        try:
            first = killed.load(batch())
        except Crash:
            faults.die()
        else:
            break

        with closing(warehouse.destination(key=key)) as target:
            again = target.load(batch())

        assert (again.records, len(again.rejects)) == (len(expected), 3 - len(expected))
        assert warehouse.query("SELECT * FROM t ORDER BY id") == expected
        assert warehouse.query("SELECT records, rejected FROM _statepipe_ledger") == [
            (len(expected), 3 - len(expected))
        ]
        warehouse.clear()
    assert "COMMIT" in faults.statements
    assert at < len(faults.statements) + warehouse.stride, "the kills left statements out"
    assert first.records == len(expected)


@pytest.mark.parametrize("landed", [False, True], ids=["did not land", "landed"])
def test_an_error_at_commit_is_settled_by_the_ledger(warehouse: Warehouse, *, landed: bool) -> None:
    """COMMIT fails and tells neither yes nor no; both truths end with the rows there once."""
    probe = Faults(error=Crash())
    warehouse.destination(table="probe", faults=probe).load(batch())
    at = probe.statements.index("COMMIT")
    warehouse.clear()
    faults = Faults(at=at, after=landed, error=warehouse.lost())

    answer = warehouse.destination(faults=faults).load(batch())

    assert answer == Landed(3, [], already=landed)
    assert len(faults.opened) == 2, "a commit in doubt was retried on the same connection"
    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


def test_a_commit_that_stays_in_doubt_ends_with_a_clear_error(warehouse: Warehouse) -> None:
    """The number of tries is bounded; the error says what COMMIT said, and who will know."""
    lost = warehouse.lost()

    class NoCommit(Faults):
        def run(self, sql: str, call: Callable[[], Result]) -> Result:
            if sql == "COMMIT":
                raise lost
            return super().run(sql, call)

    faults = NoCommit(error=Crash())

    with pytest.raises(DataError) as refusal:
        warehouse.destination(faults=faults).load(batch())

    assert refusal.value.message.endswith(f" in 5 tries: {lost}")
    assert refusal.value.__cause__ is lost
    assert "the ledger will" in refusal.value.meaning
    assert len(faults.opened) == 5
    assert warehouse.destination().load(batch()) == Landed(3, [], already=False)


def test_an_error_in_a_statement_loads_nothing(warehouse: Warehouse) -> None:
    """An I/O error before COMMIT rolls the batch back, and the same object works again."""
    probe = Faults(error=Crash())
    warehouse.destination(faults=probe).load(batch())
    warehouse.clear()
    for at in range(probe.statements.index("COMMIT")):
        target = warehouse.destination(faults=Faults(at=at, error=warehouse.failure()))

        with closing(target), pytest.raises(DataError, match=str(warehouse.failure())):
            target.load(batch())

        assert warehouse.tables() == set()
        with closing(target):
            assert target.load(batch()) == Landed(3, [], already=False)
        warehouse.clear()


def test_a_batch_that_is_there_is_not_loaded_again(warehouse: Warehouse) -> None:
    """The second call writes nothing and gives the first one's answer."""
    target = warehouse.destination()

    assert target.load(batch()) == Landed(3, [], already=False)
    assert target.load(batch()) == Landed(3, [], already=True)
    assert warehouse.destination().load(batch()) == Landed(3, [], already=True)
    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize("change", [{"digest": b"e" * 32}, {"records": ROWS[:2]}])
def test_another_batch_under_the_same_number_stops_the_load(
    warehouse: Warehouse, change: dict[str, Any]
) -> None:
    """A plan recomputed behind our back is noticed, and nothing is written."""
    target = warehouse.destination()
    target.load(batch())

    with pytest.raises(LedgerMismatch, match="batch 0 of instance 'i-1'"):
        target.load(batch(**change))

    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


def test_a_zombie_is_fenced_and_its_successor_is_not(warehouse: Warehouse) -> None:
    """Two drivers with epochs 4 and 5: once 5 was here, 4 can do nothing."""
    zombie, successor = warehouse.destination(), warehouse.destination()
    zombie.load(batch(number=0, epoch=4))
    successor.load(batch(ROWS, number=1, epoch=5))

    with pytest.raises(Fenced, match="has epoch 4, the destination has seen 5") as refusal:
        zombie.load(batch(number=2, epoch=4))
    # Nobody can tell it from a store that was restored: there is no successor then.
    assert "or nobody did, and a backup of the store was restored" in refusal.value.meaning
    assert "statepipe resume i-1, again until its epoch is past 5" in refusal.value.next_step
    with pytest.raises(Fenced):
        zombie.load(batch(number=1, epoch=4))
    successor.load(batch(number=2, epoch=5))

    assert warehouse.query("SELECT batch, epoch FROM _statepipe_ledger ORDER BY batch") == [
        (0, 4),
        (1, 5),
        (2, 5),
    ]
    assert warehouse.query("SELECT count(*) FROM t") == [(9,)]


def test_a_zombie_of_a_pair_that_never_loaded_is_fenced_too(warehouse: Warehouse) -> None:
    """Neither driver knew the database; the second to come has the lower epoch."""
    warehouse.destination().load(batch(number=1, epoch=2))

    with pytest.raises(Fenced):
        warehouse.destination().load(batch(number=0, epoch=1))

    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


def test_a_zombie_of_another_instance_is_not_fenced(warehouse: Warehouse) -> None:
    """Epochs are an instance's own: a young instance is not behind an old one."""
    warehouse.destination().load(batch(epoch=9))

    assert warehouse.destination().load(batch(instance="i-2", epoch=1)).records == 3


def test_two_tables_of_one_database_have_their_own_ledgers(warehouse: Warehouse) -> None:
    """Two loading tasks may share a warehouse."""
    one, two = warehouse.destination(table="one"), warehouse.destination(table="two")

    assert one.load(batch(digest=b"1")) == two.load(batch(digest=b"2"))


def test_the_verdict_on_a_loaded_batch_does_not_change_with_the_table(
    database: Warehouse,
) -> None:
    """
    What constraints refuse depends on the table, and the table goes on changing.

    The checkpoint may not have seen the first answer; the second must be the same,
    or clean + rejected would no longer be what was read.
    """
    database.script("CREATE TABLE t (id INTEGER, name TEXT UNIQUE)")
    target = database.destination()
    database.script("INSERT INTO t VALUES (0, 'b')")
    first = target.load(batch())

    database.script("DELETE FROM t; ALTER TABLE t RENAME COLUMN name TO nom")
    again = target.load(batch())

    assert [entry["record"] for entry in first.rejects] == [{"id": 2, "name": "b"}]
    assert again == first._replace(already=True)


def test_a_deferred_constraint_refuses_the_batch_and_is_not_in_doubt(database: Warehouse) -> None:
    """COMMIT says no; that is an answer."""
    if database.kind == "duckdb":
        pytest.skip("it has no deferred constraints")
    database.script("""
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE t (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED, name TEXT);
    """)
    faults = Faults(error=Crash())

    with pytest.raises(DataError, match=r"(?i)foreign key"):
        database.destination(faults=faults).load(batch())

    assert faults.statements.count("COMMIT") == 1
    assert database.query("SELECT count(*) FROM t") == [(0,)]


def test_a_locked_destination_is_busy_after_a_bounded_wait(warehouse: Warehouse) -> None:
    """Somebody holds the lock; nothing is written, and it works once they are done."""
    target = warehouse.destination()
    target.load(batch())

    with warehouse.locked(), pytest.raises(Busy):
        target.load(batch(number=1))

    assert target.load(batch(number=1)) == Landed(3, [], already=False)


def test_the_ledger_lists_one_stay_by_batch(warehouse: Warehouse) -> None:
    """What reconciliation compares with the plan; a database without ledger has loaded nothing."""
    target = warehouse.destination()

    assert target.ledger(**STAY) == []
    target.load(batch(number=1, digest=b"1"))
    target.load(batch([{"id": 1, "name": "x"}, {"id": 2**63, "name": ""}], digest=b"0", epoch=2))
    target.load(batch(generation=2, epoch=2))

    expected = [LedgerRow(0, 1, 1, b"0", 2), LedgerRow(1, 3, 0, b"1", 1)]
    assert target.ledger(**STAY) == expected
    assert warehouse.destination().ledger(**STAY) == expected
    assert warehouse.destination(table="other").ledger(**STAY) == []


def test_a_destination_that_lost_its_tail_is_loaded_again(database: Warehouse) -> None:
    """A restored backup lacks rows and ledger rows alike; the ledger says so, and takes them."""
    target = database.destination()
    target.load(batch(number=0))
    target.load(batch(number=1))
    database.script("DELETE FROM t; DELETE FROM _statepipe_ledger WHERE batch = 1")
    database.script("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")

    assert [row.number for row in target.ledger(**STAY) or []] == [0]
    assert target.load(batch(number=1)) == Landed(3, [], already=False)
    assert database.query("SELECT count(*) FROM t") == [(6,)]


def test_a_ledger_that_was_dropped_is_made_again(database: Warehouse) -> None:
    """Whoever empties a warehouse may take our tables along, while we are connected."""
    target = database.destination()
    target.load(batch())
    database.script("DROP TABLE t; DROP TABLE _statepipe_epoch; DROP TABLE _statepipe_ledger")

    assert target.ledger(**STAY) == []
    assert target.load(batch()) == Landed(3, [], already=False)
    assert database.query("SELECT count(*) FROM t") == [(3,)]


def test_an_empty_batch_has_a_ledger_row_and_makes_no_table(warehouse: Warehouse) -> None:
    """A mapped batch of which nothing was left is loaded like any other."""
    target = warehouse.destination()

    assert target.load(batch([])) == Landed(0, [], already=False)
    assert target.load(batch([])) == Landed(0, [], already=True)
    assert "t" not in warehouse.tables()


def test_loaders_at_the_same_time_lose_and_double_nothing(warehouse: Warehouse) -> None:
    """Each batch is offered by two threads at once, into a database that nobody has used yet."""

    def offer(number: int) -> list[Landed]:
        rows = [{"id": number * 10 + i, "name": "x"} for i in range(10)]
        target = warehouse.destination()
        landed: list[Landed] = []
        while not landed:
            try:
                landed.append(target.load(batch(rows, number=number, digest=b"%d" % number)))
            except Busy:
                continue
        return landed

    numbers = list(range(6)) * 2
    with ThreadPoolExecutor(4) as pool:
        landed = [answer for answers in pool.map(offer, numbers) for answer in answers]

    assert sum(not answer.already for answer in landed) == 6
    assert warehouse.query("SELECT count(*), count(DISTINCT id) FROM t") == [(60, 60)]
    assert warehouse.query("SELECT count(*) FROM _statepipe_ledger") == [(6,)]
