"""
A real Prometheus watches instances run and workers die: what it saw is what happened (R17).

Workers are killed with SIGKILL at random moments, at least thirty times, while it scrapes.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.house.repository import ROOT
from tests.observe.prometheus_server import Prometheus, exporting, scraping, until
from tests.observe.queries import queries

KILLS = 30

#: Nobody waits longer than this for a process, in seconds.
BOUND_S = 120
INSTANCES = 80

CONFIG = """\
store = "statepipe.db"

[policies.default]
executor = "thread"
max_attempts = 3
interval = "10ms"
jitter = "none"
errors = ["ConnectionError"]

[resources.shop-api]
slots = 4

[notify.pager]
command = ["true"]
on = ["failed"]
"""

MACHINE = """\
machine   = "shop"
version   = 1
extract   = { run = "shop_:extract", watermark = "at", drift = "warn", uses = ["shop-api"] }
transform = "shop_:transform"
load      = { to = "sqlite:///warehouse.db", table = "orders", key = ["id"] }

[params]
n = "int"
"""

FUNCTIONS = '''\
"""Orders; some break once, some for ever."""

from statepipe import Batch


def extract(task):
    """Three batches of two; one of them is rejected."""
    for number in range(task.cursor or 0, 3):
        if number == 1:
            task.reject({"id": -1}, "no such order")
        first = task.params["n"] * 10 + number * 2
        at = "2013-02-04T05:00:00+00:00"
        rows = [{"id": first, "at": at}, {"id": first + 1, "at": at}]
        yield Batch(rows, cursor=number + 1)


def transform(task, batch):
    """Every seventh breaks for ever, every fifth at first."""
    n = task.params["n"]
    if n % 7 == 0:
        raise ValueError("for ever")
    if n % 5 == 0 and task.attempt == 1:
        raise ConnectionError("at first")
    return batch
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "machines" / "shop.toml").write_text(MACHINE, encoding="utf-8")
    (tmp_path / "machines" / "shop_.py").write_text(FUNCTIONS, encoding="utf-8")
    return tmp_path


def _engine(root: Path) -> Engine:
    return Engine(load_config(start=root, environ={}))


def _statepipe(root: Path, *argv: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "statepipe", *argv],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _count(root: Path, sql: str) -> int:
    with closing(open_reader(root / "statepipe.db")) as connection:
        count: int = connection.execute(sql).fetchone()[0]
    return count


def _run_and_be_killed(root: Path, seed: int) -> None:
    argv = [sys.executable, "-m", "tests.observe.killing", str(root), str(seed), str(KILLS)]
    subprocess.run(argv, cwd=ROOT, check=True, timeout=BOUND_S)
    assert _statepipe(root, "resume", "--failed", "--yes").wait(BOUND_S) == 1, "some never mend"


@pytest.fixture
def watched(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that saw it all: instances that ran, workers that were killed."""
    with _engine(root) as engine:
        assert engine.left_alone() == {}, "the store is there, and knows its machine"
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 shown if the test fails
    with (
        exporting(root) as target,
        scraping(tmp_path_factory.mktemp("prometheus"), target) as prometheus,
    ):
        until(lambda: prometheus.scraped_after(0), "a first scrape")
        with _engine(root) as engine:
            for n in range(1, INSTANCES + 1):
                engine.create("shop", params={"n": n})
        _run_and_be_killed(root, seed)
        ended = time.time()  # noqa: TID251 by the clock of the server that is asked
        until(lambda: prometheus.scraped_after(ended), "a last scrape")
        yield prometheus


def _counted(root: Path, sql: str) -> dict[tuple[str, ...], float]:
    with closing(open_reader(root / "statepipe.db")) as connection:
        return {tuple(row[:-1]): float(row[-1]) for row in connection.execute(sql)}


#: Each counter, its labels, and what the journal says of it: worked out here once more.
JOURNAL = {
    "statepipe_transitions_total": (
        ("source", "target", "event"),
        (
            "SELECT source, target, event, count(*) FROM journal WHERE kind IN ('create', 'move')"
            " OR (kind = 'resume' AND source <> target) GROUP BY 1, 2, 3"
        ),
    ),
    "statepipe_state_attempts_total": (
        ("state", "outcome"),
        (
            "SELECT source, CASE WHEN kind = 'claim' THEN 'lost' WHEN event = 'error' THEN 'error'"
            " ELSE 'ok' END, count(*) FROM journal"
            " WHERE took_ms IS NOT NULL OR event = 'takeover' GROUP BY 1, 2"
        ),
    ),
    "statepipe_records_total": (
        ("state", "direction"),
        (
            "SELECT source, 'out', sum(records) FROM journal WHERE kind = 'batch' GROUP BY 1"
            " UNION SELECT source, 'in', sum(read) FROM journal WHERE kind = 'batch' GROUP BY 1"
            " UNION SELECT source, 'rejected', sum(rejected) FROM journal WHERE kind = 'batch'"
            " GROUP BY 1 HAVING sum(rejected) > 0"
        ),
    ),
    "statepipe_instances_finished_total": (
        ("result",),
        (
            "SELECT target, count(*) FROM journal WHERE target IN ('done', 'failed')"
            " AND kind = 'move' GROUP BY 1"
        ),
    ),
    "statepipe_resumes_total": (
        ("cause",),
        (
            "SELECT CASE kind WHEN 'claim' THEN 'crash' ELSE 'manual' END, count(*) FROM journal"
            " WHERE event = 'takeover' OR kind = 'resume' GROUP BY 1"
        ),
    ),
    "statepipe_state_duration_seconds_count": (
        ("state", "outcome"),
        "SELECT source, event, count(*) FROM journal WHERE kind = 'move' GROUP BY 1, 2",
    ),
}


@pytest.mark.timeout(180)
def test_what_prometheus_saw_is_what_happened(root: Path, watched: Prometheus) -> None:
    """Raw counters, `increase()` and every sample in between; and each panel of each board."""
    assert violations(root / "statepipe.db") == []
    last = watched.value("timestamp(up)")
    for name, (labels, sql) in JOURNAL.items():
        said = _counted(root, sql)
        raw = _values(watched.query(name, at=last), labels)
        risen = _values(watched.query(f"increase({name}[1d])", at=last), labels)

        assert {key: value for key, value in raw.items() if value} == said, name
        # Exact at the moment of the last sample: a series that begins at 0 is not extrapolated.
        assert {key: round(value, 6) for key, value in risen.items() if value} == said, name
    _no_counter_ever_fell(watched)
    _every_panel_has_data(watched, at=last)


def _values(found: list[dict[str, Any]], labels: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    return {
        tuple(each["metric"].get(label, "") for label in labels): float(each["value"][1])
        for each in found
    }


_COUNTERS = '{__name__=~"statepipe_.+(_total|_count|_sum|_bucket)"}'


def _no_counter_ever_fell(prometheus: Prometheus) -> None:
    fell = [
        (series, before, after)
        for series, samples in prometheus.samples(_COUNTERS)
        for (_, before), (_, after) in pairwise(samples)
        if after < before and "exporter" not in series["__name__"]
    ]
    assert fell == []


def _every_panel_has_data(prometheus: Prometheus, *, at: float) -> None:
    """Ask what Grafana would; a query without data must be one that waits for a metric."""
    empty = [
        f"{query.board}: {query.panel} ({query.ref}): {query.expr}"
        for query in queries(rate_interval="1m", range_="1h")
        if not prometheus.query(query.expr, at=at)
    ]
    assert empty == []


@pytest.mark.timeout(180)
def test_runs_too_short_to_be_scraped_are_counted(root: Path, tmp_path: Path) -> None:
    """Fifty processes came and went before anybody looked."""
    (root / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    running: list[subprocess.Popen[bytes]] = []
    for n in range(1, 51):
        while len(running) >= 2:
            assert running.pop(0).wait(60) in (0, 1)
        running.append(_statepipe(root, "run", "shop", "-p", f"n={n}"))
    assert all(each.wait(60) in (0, 1) for each in running)

    with exporting(root) as target, scraping(tmp_path, target) as prometheus:
        until(lambda: prometheus.scraped_after(0), "a scrape")
        finished = prometheus.value("sum(statepipe_instances_finished_total)")
        created = prometheus.value('sum(statepipe_transitions_total{event="create"})')

    assert (finished, created) == (50, 50)
