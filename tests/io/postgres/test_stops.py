"""
A server that crashes and a statepipe that is killed while rows are loaded (R1, R4).
"""

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from statepipe.errors import DataError, StatepipeError, Unreachable
from statepipe.io.postgres.destination import PostgresDestination
from statepipe.testing import violations
from tests.crash.processes import soaking, until
from tests.io.postgres.server import PASSWORD, Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.project import BATCHES, ROWS, Project, kill, make
from tests.io.warehouse import batch

SEED = int(os.environ.get("STATEPIPE_SEED", "0"))


@pytest.fixture
def warehouse(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return an empty schema; the server runs when the test is over."""
    made = PostgresWarehouse(cluster)
    yield made
    made.close()
    cluster.stop()
    cluster.start()


class Loader(threading.Thread):
    """Appends batch after batch, again and again where it must, until it is told to stop."""

    def __init__(self, warehouse: PostgresWarehouse) -> None:
        super().__init__(daemon=True)
        self.landed = 0
        self.refusals: list[StatepipeError] = []
        self.is_over = threading.Event()
        self._target = PostgresDestination(
            warehouse.url(), name="the warehouse", table="t", busy_ms=5_000
        )

    def landed_more(self, count: int) -> Callable[[], bool]:
        """Return what tells whether so many more batches have landed since now."""
        goal = self.landed + count
        return lambda: self.landed >= goal

    def run(self) -> None:
        """Load."""
        with closing(self._target):
            while not self.is_over.is_set():
                first = self.landed * ROWS
                rows = [{"id": first + i} for i in range(ROWS)]
                try:
                    self._target.load(batch(rows, number=self.landed, digest=b"%d" % first))
                except StatepipeError as error:
                    self.refusals.append(error)
                    self.is_over.wait(0.01)
                else:
                    self.landed += 1


def stop_during_a_load(warehouse: PostgresWarehouse, *, seed: int, stops: int) -> None:
    """Crash the server `stops` times while batches are appended; check what is there."""
    rng, pause = random.Random(seed), threading.Event()
    loader = Loader(warehouse)
    loader.start()
    for _ in range(stops):
        until(loader.landed_more(3), "batches to land")
        pause.wait(rng.uniform(0, 0.02))
        warehouse.cluster.stop("immediate")
        warehouse.cluster.start()
    until(loader.landed_more(1), "the last batch")
    loader.is_over.set()
    loader.join()

    rows = loader.landed * ROWS
    with closing(warehouse.cluster.owner(options=f"-csearch_path={warehouse.schema}")) as owner:
        found = owner.execute("SELECT count(*), count(DISTINCT id), sum(id) FROM t").fetchone()
    assert found == (rows, rows, rows * (rows - 1) // 2), f"STATEPIPE_SEED={seed}"
    assert {type(refusal) for refusal in loader.refusals} <= {Unreachable, DataError}


def test_a_server_that_crashes_twenty_times_during_a_load_loses_and_doubles_nothing(
    warehouse: PostgresWarehouse,
) -> None:
    """`pg_ctl stop -m immediate`: nothing is written back, and the log is replayed."""
    stop_during_a_load(warehouse, seed=SEED, stops=20)


def loaded(warehouse: PostgresWarehouse) -> int:
    """Return how many batches the ledger has; 0 if the server is down."""
    with suppress(psycopg.Error), closing(warehouse.cluster.owner(connect_timeout=2)) as owner:
        sql = f"SELECT count(*) FROM {warehouse.schema}._statepipe_ledger"
        (count,) = owner.execute(sql).fetchone() or (0,)
        return int(count)
    return 0


def numbers(warehouse: PostgresWarehouse) -> Any:  # noqa: ANN401  (a row)
    """Return what tells that every number is there once."""
    with closing(warehouse.cluster.owner()) as owner:
        asked = "SELECT count(*), count(DISTINCT n), sum(n), sum(square)"
        return owner.execute(f"{asked} FROM {warehouse.schema}.numbers").fetchone()


ALL = (
    BATCHES * ROWS,
    BATCHES * ROWS,
    sum(range(BATCHES * ROWS)),
    sum(n * n for n in range(BATCHES * ROWS)),
)


def has_come(goal: int, process: subprocess.Popen[str], warehouse: PostgresWarehouse) -> bool:
    """Return True if so many batches are loaded, or never will be."""
    return process.poll() is not None or loaded(warehouse) >= goal


def break_things(project: Project, warehouse: PostgresWarehouse, *, seed: int, times: int) -> int:
    """Kill the command or crash the server while it loads, `times` times; return how often."""
    rng = random.Random(seed)
    left = times

    def disturb(process: subprocess.Popen[str]) -> None:
        nonlocal left
        while left and process.poll() is None:
            goal = loaded(warehouse) + rng.randint(1, 12)
            until(partial(has_come, goal, process, warehouse), "rows")
            left -= 1
            if rng.random() < 0.5:
                kill(process)
                return
            warehouse.cluster.stop("immediate")
            warehouse.cluster.start()

    printed = project.drive(disturb)
    assert numbers(warehouse) == ALL, f"STATEPIPE_SEED={seed}\n" + "\n".join(printed)
    assert violations(project.root / "checkpoints" / "statepipe.db") == []
    return times - left


@pytest.mark.timeout(180)
def test_a_run_whose_process_and_server_die_again_and_again_ends_exactly(
    tmp_path: Path, warehouse: PostgresWarehouse
) -> None:
    """SIGKILL of the command and crashes of the server, by turns; then what was to be is there."""
    project = make(tmp_path, warehouse=warehouse.url())

    broken = break_things(project, warehouse, seed=SEED, times=5)

    assert broken == 5


def test_the_password_is_in_no_byte_of_the_project(
    tmp_path: Path, warehouse: PostgresWarehouse
) -> None:
    """Store, stage, logs and what is printed: neither a failure nor a success writes it down."""
    project = make(tmp_path, warehouse=warehouse.url() + "x")  # a schema that is not there
    failed, said = project.call("run", "numbers", "--id", "one")
    good = Project(tmp_path, warehouse.url())
    resumed, said_then = good.call("resume", "one")
    said += said_then + good.call("history", "one", "--detailed")[1]

    assert (failed, resumed) == (1, 0)
    secrets = [PASSWORD, PASSWORD.replace(" ", "%20")]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in secrets:
        assert secret not in said
        assert not any(secret.encode() in data for data in files)
    assert numbers(warehouse) == ALL


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_crashes_for_minutes(cluster: Cluster, tmp_path: Path) -> None:
    """Both, from another seed each time."""
    for round_ in soaking():
        with closing(PostgresWarehouse(cluster)) as warehouse:
            stop_during_a_load(warehouse, seed=SEED + round_, stops=20)
        with closing(PostgresWarehouse(cluster)) as warehouse:
            project = make(tmp_path / str(round_), warehouse=warehouse.url())
            break_things(project, warehouse, seed=SEED + round_, times=20)
