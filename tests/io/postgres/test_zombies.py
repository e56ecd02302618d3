"""
A process that stops in the middle of its transaction, and whoever takes over (R3, R15).
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import Busy, Fenced
from statepipe.io.declared import Declared, Field
from statepipe.io.destinations import Landed
from statepipe.io.postgres.destination import BUSY_MS, PostgresDestination
from tests.crash.processes import BOUND_MS
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import ROWS, Crash, Faults, batch

Result = TypeVar("Result")


@pytest.fixture
def warehouse(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return an empty schema."""
    made = PostgresWarehouse(cluster)
    yield made
    made.close()


class Stopping(Faults):
    """Stops at a statement that begins with `at`, as SIGSTOP would, until it may go on."""

    def __init__(self, at: str) -> None:
        super().__init__(error=Crash())
        self.stopped = threading.Event()
        self.may_go_on = threading.Event()
        self._before = at

    def run(self, sql: str, call: Callable[[], Result]) -> Result:
        """Do one statement, or wait before it."""
        if sql.startswith(self._before) and not self.stopped.is_set():
            self.stopped.set()
            assert self.may_go_on.wait(BOUND_MS / 1000)
        return super().run(sql, call)


@pytest.mark.parametrize("at", ["SAVEPOINT", "the last row", "COPY", "INSERT INTO", "COMMIT"])
def test_whoever_takes_over_ends_the_session_of_a_sleeper_and_loads(
    warehouse: PostgresWarehouse, at: str
) -> None:
    """
    A sleeper holds the fence row, in COPY even for ever: no timeout of the server's looks there.

    When it wakes up, it is fenced, and what it had written is gone.
    """
    with closing(warehouse.destination(key=("id",))) as first:
        first.load(batch(number=7, epoch=3))
    sleeper = Stopping(at)
    asleep = warehouse.destination(key=("id",), faults=sleeper)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(asleep.load, batch(number=8, epoch=4))
        assert sleeper.stopped.wait(BOUND_MS / 1000)

        began_ms = SystemClock().boot_ms()
        address = warehouse.url()
        with closing(PostgresDestination(address, name="w", table="t", key=("id",))) as successor:
            took_over = successor.load(
                batch([row | {"name": "successor's"} for row in ROWS], number=8, epoch=5)
            )
        assert SystemClock().boot_ms() - began_ms < BUSY_MS, "it waited for the sleeper"

        sleeper.may_go_on.set()
        with pytest.raises(Fenced, match="has epoch 4, the destination has seen 5"):
            late.result()
    assert took_over == Landed(3, [], already=False)
    assert warehouse.query("SELECT name, count(*) FROM t GROUP BY name") == [("successor's", 3)]
    assert warehouse.query("SELECT batch, epoch FROM _statepipe_ledger ORDER BY batch") == [
        (7, 3),
        (8, 5),
    ]


def test_a_session_of_our_own_that_was_lost_is_ended_when_it_is_in_the_way(
    warehouse: PostgresWarehouse,
) -> None:
    """The network took our connection, and the server has not noticed: same epoch, same batch."""
    with closing(warehouse.destination()) as first:
        first.load(batch(epoch=4))
    lost = Stopping("COMMIT")
    with ThreadPoolExecutor(1) as pool:
        half_dead = warehouse.destination(faults=lost)
        late = pool.submit(half_dead.load, batch(number=1, epoch=4))
        assert lost.stopped.wait(BOUND_MS / 1000)

        again = warehouse.destination().load(batch(number=1, epoch=4))

        lost.may_go_on.set()
        assert {again.already, late.result().already} == {False, True}
    assert warehouse.query("SELECT count(*) FROM t") == [(6,)]


@pytest.mark.parametrize(
    "other",
    [{"instance": "i-1", "epoch": 6}, {"instance": "i-2"}, {"store_id": "store-2"}],
    ids=["its successor", "another instance", "another store"],
)
def test_nobody_else_s_session_is_ended(
    warehouse: PostgresWarehouse, other: dict[str, Any]
) -> None:
    """Whoever is no predecessor of ours may take its time; we say that we are waiting."""
    warehouse.script("CREATE TABLE t (id int PRIMARY KEY, name text)")
    with closing(warehouse.destination(key=("id",))) as first:
        first.load(batch(instance="the first"))
    slow = Stopping("COMMIT")
    with ThreadPoolExecutor(1) as pool:
        at_work = warehouse.destination(key=("id",), faults=slow)
        theirs = pool.submit(at_work.load, batch(**other))
        assert slow.stopped.wait(BOUND_MS / 1000)

        with pytest.raises(Busy):
            warehouse.destination(key=("id",)).load(batch(epoch=5))

        slow.may_go_on.set()
        assert theirs.result() == Landed(3, [], already=False)


@pytest.mark.parametrize("index", ["(id)", "(id) INCLUDE (name)"])
def test_whoever_has_the_table_to_himself_is_waited_for_within_bounds(
    warehouse: PostgresWarehouse, index: str
) -> None:
    """Also while we look whether a first batch can be upserted, before its transaction."""
    warehouse.script(f"CREATE TABLE t (id int, name text); CREATE UNIQUE INDEX ON t {index}")
    target = warehouse.destination(key=("id",))

    with warehouse.locked(), pytest.raises(Busy):
        target.load(batch())

    assert target.load(batch()) == Landed(3, [], already=False)


def test_whoever_takes_over_ends_a_sleeper_that_has_the_table_to_itself(
    warehouse: PostgresWarehouse,
) -> None:
    """It was adding a column, and its batch, which no timeout of the server's ends."""
    warehouse.script("CREATE TABLE t (id bigint PRIMARY KEY)")
    fields = (Field("id", "integer", required=True), Field("name", "text"))
    grown = Declared("c.json", fields, adds=True)
    sleeper = Stopping("the last row")
    asleep = warehouse.destination(key=("id",), declared=grown, faults=sleeper)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(asleep.load, batch(epoch=4))
        assert sleeper.stopped.wait(BOUND_MS / 1000)

        successor = warehouse.destination(key=("id",), declared=grown)
        took_over = successor.load(batch(epoch=5))

        sleeper.may_go_on.set()
        with pytest.raises(Fenced):
            late.result()
    assert took_over == Landed(3, [], already=False)


def test_what_a_batch_needs_holds_whatever_the_role_says(warehouse: PostgresWarehouse) -> None:
    """Durable, bounded, and able to see what others committed while it waited."""
    warehouse.script("""
        CREATE TABLE t (id int, name text);
        CREATE TABLE told (setting text, value text);
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO told SELECT name, setting FROM pg_settings WHERE name IN (
            'synchronous_commit', 'lock_timeout', 'idle_in_transaction_session_timeout',
            'transaction_isolation', 'transaction_read_only');
          RETURN NULL;
        END $$;
        CREATE TRIGGER tell AFTER INSERT ON t EXECUTE FUNCTION tell();
    """)
    options = [
        f"search_path={warehouse.schema}",
        "synchronous_commit=off",
        "lock_timeout=0",
        "idle_in_transaction_session_timeout=0",
        "default_transaction_isolation=serializable",
        "default_transaction_read_only=on",
    ]
    address = warehouse.cluster.url(options=" ".join(f"-c{option}" for option in options))

    with closing(PostgresDestination(address, name="w", table="t", busy_ms=70)) as target:
        target.load(batch())

    assert dict(warehouse.query("SELECT setting, value FROM told")) == {
        "synchronous_commit": "on",
        "lock_timeout": "70",
        "idle_in_transaction_session_timeout": "60000",
        "transaction_isolation": "read committed",
        "transaction_read_only": "off",
    }


def test_a_session_that_was_ended_between_batches_is_not_missed(
    warehouse: PostgresWarehouse,
) -> None:
    """A server that restarts, or a pooler that tidies up, costs no attempt."""
    target = warehouse.destination()
    target.load(batch())
    warehouse.script(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )

    assert target.load(batch(number=1)) == Landed(3, [], already=False)
