"""
`make bench`: what watching costs; the large store, scrapes beside a writer, counting.

Ratios of turns in one run: the machine is shared, and its speed drifts.
"""

import statistics
from pathlib import Path
from typing import Any

import pytest

from statepipe.store.walk.committer import Committer
from tests.bench import million, report, scrape, walk
from tests.bench.test_bench import percentile

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_800)]

ROUNDS = 6
SCRAPES = 100
#: Instances that the writer drives in a turn, some seconds.
WRITTEN = 15_000


def test_scrapes_of_a_million_instances_beside_a_writer(tmp_path: Path) -> None:
    """20 machines, 5,000,000 journal rows; how long a scrape takes, and what it costs others."""
    million.build(tmp_path)
    writer = scrape.Writer(tmp_path)
    with scrape.exporting(tmp_path) as url:
        alone = [scrape.scraped(url) for _ in range(SCRAPES)]
        shares, beside = [], []
        writer.rate(WRITTEN)
        for turn in range(ROUNDS):
            rates = {}
            for scraping in (False, True) if turn % 2 else (True, False):
                scraper = scrape.Scraper(url)
                if scraping:
                    scraper.start()
                rates[scraping] = writer.rate(WRITTEN)
                if scraping:
                    scraper.stop()
                    beside += scraper.took_ms
            shares.append(rates[True] / rates[False])
    writer.close()
    took = [ms for ms, _ in alone]
    print(
        report.table(
            "### Scraping 1,000,000 instances",
            ("fact", "value"),
            [
                ("exposition", f"{alone[0][1] / 1e6:.2f} MB"),
                ("scrape alone, p50", f"{statistics.median(took):.0f} ms"),
                ("scrape alone, p99", f"{percentile(took, 0.99):.0f} ms"),
                (f"scrape beside a writer, p50 of {len(beside)}", f"{_middle(beside):.0f} ms"),
                ("scrape beside a writer, p99", f"{percentile(beside, 0.99):.0f} ms"),
                (
                    "writer while scraped four times a second",
                    (
                        f"{statistics.median(shares):.3f} of its rate alone"
                        f" ({min(shares):.3f} to {max(shares):.3f})"
                    ),
                ),
            ],
        )
    )


def test_what_counting_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same transitions with and without figures, 1,000 in flight, taking turns."""
    count = Committer._count
    shares = []
    for turn in range(ROUNDS):
        rates: dict[bool, float] = {}
        for counting in (False, True) if turn % 2 else (True, False):
            monkeypatch.setattr(Committer, "_count", count if counting else _nothing)
            walked = walk.drive(
                tmp_path / f"{turn}-{counting}", instances=1_000, states=30, executor="inline"
            )
            rates[counting] = 30_000 / walked.took_s
        shares.append(rates[True] / rates[False])
    print(
        report.table(
            "### Counting",
            ("fact", "value"),
            [
                (
                    "durable transitions a second with figures, 1,000 in flight",
                    (
                        f"{statistics.median(shares):.3f} of those without"
                        f" ({min(shares):.3f} to {max(shares):.3f})"
                    ),
                )
            ],
        )
    )


def _nothing(*_: Any, **__: Any) -> None:  # noqa: ANN401 whatever the real one takes
    """Count nothing."""


def _middle(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")
