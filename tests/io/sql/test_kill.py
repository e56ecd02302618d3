"""
A database that is written to is read by processes and sessions that are killed (R1, R4).

The seed decides when what is killed; STATEPIPE_SEED sets it.
"""

import os
import random
import signal
import subprocess
import sys
from contextlib import closing, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.errors import StatepipeError
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash.processes import BOUND_MS, soaking, until
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.sql.reading import url_of
from tests.io.warehouse import Warehouse

SEED = int(os.environ.get("STATEPIPE_SEED", "0"))

#: Rows that are there when the read begins, with even numbers.
ROWS: Final = 500

_FILES: Final = {
    "statepipe.toml": """\
[policies.default]
max_attempts = 100
interval = "1ms"
executor = "thread"
""",
    "machines/copy.toml": """\
machine = "copy"
version = 1

extract = { run = "copying:extract", batch_size = 10 }
load    = { to = "sqlite:///copy.db", table = "t", key = ["part", "n"] }
""",
    "machines/copying.py": '''\
"""A table, copied."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from statepipe import Batch, SqlLimits, Task, read_sql


def extract(task: Task) -> Iterator[Batch]:
    """Read it, as far as it may; the time of a transaction is over again and again."""
    url = os.environ["SOURCE"]
    limits = SqlLimits(snapshot_ms=20)
    reading = read_sql(task, url, table="t", key=["part", "n"], limits=limits)
    first, pause = int(task.idempotency_key.rpartition(":")[2]), threading.Event()
    for number, batch in enumerate(reading, first):
        while number >= int(Path("gate").read_text() or 0):
            pause.wait(0.002)
        yield batch
''',
}

_TABLE: Final = """
CREATE TABLE t (part TEXT, n INTEGER, square BIGINT, PRIMARY KEY (part, n));
INSERT INTO t
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 2 FROM numbers WHERE n < {last})
  SELECT CASE WHEN n % 10 < 4 THEN 'a' ELSE 'B' END, n, n * n FROM numbers;
"""


class Copy:
    """A project that copies the table of a warehouse, and whoever writes to it meanwhile."""

    def __init__(self, root: Path, source: Warehouse, *, seed: int) -> None:
        self.root = root
        self.source = source
        self.rng = random.Random(seed)
        self.added = 0
        for name, text in _FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        source.script(_TABLE.format(last=2 * ROWS - 2))

    def run(self, *, kills: int) -> None:
        """Run the instance to its end, and kill `kills` times while it reads."""
        argv = ["run", "copy", "--id", "one"]
        points = sorted(self.rng.sample(range(1, ROWS // 10), kills))
        self._open_gate(points[0])
        process = self._start(*argv)
        for point, following in pairwise([*points, 10 * ROWS]):
            until(partial(self._has_read, point), "batches")
            self._write()
            self._open_gate(following)
            if self._kill(process):
                process.communicate(timeout=BOUND_MS / 1000)
                process = self._start("resume", "one")
        out, err = process.communicate(timeout=BOUND_MS / 1000)
        assert process.returncode == 0, out + err

    def problems(self) -> list[Any]:
        """Return what is wrong with the copy, and with the store."""
        with closing(sqlite3.connect(self.root / "copy.db")) as copy:
            found = copy.execute("SELECT part, n, square FROM t").fetchall()
        there = set(self.source.query("SELECT part, n, square FROM t"))
        old = {row for row in there if row[1] % 2 == 0}
        wrong = [*(old - set(found)), *(set(found) - there)]
        wrong += [] if len(set(found)) == len(found) else ["doubled"]
        return wrong + violations(self.root / "checkpoints" / "statepipe.db")

    def _start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *argv],
            cwd=self.root,
            env={**os.environ, "SOURCE": url_of(self.source)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _batches(self) -> int | None:
        path = self.root / "checkpoints" / "statepipe.db"
        with suppress(StatepipeError), closing(open_reader(path)) as store:
            for (batches,) in store.execute("SELECT batches FROM instance"):
                return int(batches)
        return None

    def _has_read(self, batches: int) -> bool:
        return (self._batches() or 0) >= batches

    def _open_gate(self, batches: int) -> None:
        whole = self.root / "gate.new"
        whole.write_text(str(batches), encoding="utf-8")
        whole.rename(self.root / "gate")

    def _write(self) -> None:
        """Insert rows with odd numbers, here and there."""
        for _ in range(3):
            self.added += 1
            n, part = 2 * self.added + 1, self.rng.choice("aB")
            self.source.script(f"INSERT INTO t VALUES ('{part}', {n}, {n * n})")

    def _kill(self, process: subprocess.Popen[str]) -> bool:
        """Kill the process, or the sessions that read; return True if it was the process."""
        if isinstance(self.source, PostgresWarehouse) and self.rng.random() < 0.5:
            self.source.owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return False
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        return True


@pytest.mark.timeout(180)
def test_a_table_that_is_written_to_is_copied_by_whoever_is_left(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    """Each row that was there is in the copy once, and of the others none that never was."""
    copy = Copy(tmp_path / "project", warehouse, seed=SEED)

    copy.run(kills=4)

    assert copy.problems() == [], f"STATEPIPE_SEED={SEED}"
    assert copy.added == 12


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_table_is_copied_for_as_long_as_it_takes(tmp_path: Path, warehouse: Warehouse) -> None:
    """The same with other seeds, for STATEPIPE_SOAK_SECONDS."""
    for nth in soaking():
        warehouse.script("DROP TABLE IF EXISTS t")
        copy = Copy(tmp_path / str(nth), warehouse, seed=SEED + nth)
        copy.run(kills=12)
        assert copy.problems() == [], f"STATEPIPE_SEED={SEED + nth}"
