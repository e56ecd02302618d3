"""
Commits in doubt: the wire is cut, or the server's process killed, at COMMIT (R4).

Neither side knows then what the other knows. The next connection asks the ledger.
"""

import os
import random
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest

from statepipe.errors import DataError, Unreachable
from statepipe.io import ledger
from statepipe.io.destinations import Landed
from statepipe.io.postgres.destination import PostgresDestination
from tests.crash.processes import soaking
from tests.io.postgres.proxy import Cut, Proxy, cutting
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import batch

#: Rows of a batch.
ROWS = 20

SEED = int(os.environ.get("STATEPIPE_SEED", "0"))


@pytest.fixture
def warehouse(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return an empty schema."""
    made = PostgresWarehouse(cluster)
    yield made
    made.close()


def through(
    proxy: Proxy, warehouse: PostgresWarehouse, *, key: tuple[str, ...] = ("id",)
) -> PostgresDestination:
    """Return a destination on the other end of the wire."""
    address = warehouse.url(port=proxy.port)
    return PostgresDestination(address, name="the other end", table="t", key=key, busy_ms=5_000)


def rows_of(number: int) -> list[dict[str, Any]]:
    """Return the records of batch `number`."""
    return [{"id": number * ROWS + i, "batch": number} for i in range(ROWS)]


def offer(number: int, target: PostgresDestination) -> Landed:
    """Load batch `number`, as often as it takes."""
    for _ in range(50):
        try:
            return target.load(batch(rows_of(number), number=number, digest=b"%d" % number))
        except (DataError, Unreachable):
            target.close()  # and the policy would try again
    pytest.fail(f"batch {number} never lands")


def kill_sessions(warehouse: PostgresWarehouse) -> None:
    """Kill every process that serves a destination."""
    # Where no session is left to ask for it, this COMMIT is spared.
    with suppress(psycopg.OperationalError), closing(warehouse.cluster.owner()) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'statepipe %'"
        )


@pytest.mark.parametrize(
    ("cut", "is_there"),
    [(Cut.BEFORE, False), (Cut.AFTER, True)],
    ids=["never arrived", "answer lost"],
)
def test_a_commit_without_an_answer_is_settled_by_the_ledger(
    warehouse: PostgresWarehouse, cut: Cut, *, is_there: bool
) -> None:
    """The next connection finds the batch there, or loads it; either way it is there once."""
    with cutting(warehouse.cluster.port, iter([cut])) as proxy:
        with closing(through(proxy, warehouse, key=())) as target:
            landed = target.load(batch(rows_of(0)))

        assert landed == Landed(ROWS, [], already=is_there)
        assert (proxy.commits, proxy.cuts) == (1 if is_there else 2, 1)
    assert warehouse.query("SELECT count(*) FROM t") == [(ROWS,)]


def load_under_cuts(warehouse: PostgresWarehouse, *, seed: int, cuts: int) -> int:
    """
    Append batches until `cuts` commits were in doubt; return how many had landed nonetheless.

    Appended, because an upsert would hide what was loaded twice.
    """
    rng = random.Random(seed)
    kinds = [Cut.NO, Cut.BEFORE, Cut.AT_ONCE, Cut.AFTER, Cut.KILL]
    endless = (rng.choice(kinds) for _ in iter(int, 1))
    landed: list[Landed] = []
    kill = lambda: kill_sessions(warehouse)  # noqa: E731  (one line says it)
    with (
        cutting(warehouse.cluster.port, endless, kill=kill) as proxy,
        closing(through(proxy, warehouse, key=())) as target,
    ):
        while proxy.cuts < cuts:
            landed.append(offer(len(landed), target))

    count = len(landed) * ROWS
    assert warehouse.query("SELECT count(*), count(DISTINCT id), sum(id) FROM t") == [
        (count, count, count * (count - 1) // 2)
    ], f"STATEPIPE_SEED={seed}"
    assert warehouse.query("SELECT count(*), sum(records) FROM _statepipe_ledger") == [
        (len(landed), count)
    ]
    return sum(answer.already for answer in landed)


def test_two_hundred_commits_in_doubt_lose_and_double_nothing(
    warehouse: PostgresWarehouse,
) -> None:
    """Cut before, while and after the server commits, and its process killed meanwhile."""
    already = load_under_cuts(warehouse, seed=SEED, cuts=200)

    assert already > 20, "hardly any of the commits in doubt had landed"


def test_the_check_notices_a_destination_without_a_ledger(
    warehouse: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows would be doubled: a check that does not see that proves nothing."""
    key = "(store, instance, generation, state, visit, table_name, batch)"
    again = ledger._ENTER.replace("DO NOTHING", f"{key} DO UPDATE SET epoch = excluded.epoch")
    monkeypatch.setattr(ledger, "_ENTER", again)
    monkeypatch.setattr(ledger, "find", lambda *_args, **_kwargs: None)

    with pytest.raises(AssertionError):
        load_under_cuts(warehouse, seed=SEED, cuts=30)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_commits_in_doubt_for_minutes(cluster: Cluster) -> None:
    """The same, from another seed each time."""
    for round_ in soaking():
        with closing(PostgresWarehouse(cluster)) as warehouse:
            load_under_cuts(warehouse, seed=SEED + round_, cuts=1_000)
