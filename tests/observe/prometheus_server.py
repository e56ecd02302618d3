"""
A real Prometheus of the test's own, on loopback, and the exporter it scrapes.

    exporting       `statepipe metrics serve` as a process, on a free port
    scraping        a Prometheus that scrapes it, and answers queries
"""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from statepipe.clock import SystemClock

#: Nobody waits longer than this for anything, in milliseconds.
BOUND_MS = 30_000

SCRAPE_MS = 250


def free_port() -> int:
    """Return a port of the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, but not for ever."""
    clock = SystemClock()
    end_ms = clock.boot_ms() + BOUND_MS
    while not holds():
        assert clock.boot_ms() < end_ms, f"{what} never happened"
        Event().wait(0.02)


@contextmanager
def exporting(root: Path) -> Iterator[str]:
    """Serve the metrics of the project in `root`; give the address."""
    address = f"127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "statepipe", "metrics", "serve", "--listen", address]
    with subprocess.Popen(argv, cwd=root, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(f"http://{address}/healthz"), "an exporter")
            yield address
        finally:
            process.terminate()


class Prometheus:
    """A running server, and what it knows."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expr: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """Return the result of an instant query, at a moment in seconds, or now."""
        asked = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        return self._ask("query", asked)

    def value(self, expr: str, *, at: float | None = None) -> float:
        """Return the value of a query whose result is one series."""
        (found,) = self.query(expr, at=at)
        return float(found["value"][1])

    def samples(self, selector: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Return every sample of each series, in order."""
        return [
            (each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in self.query(f"{selector}[1d]")
        ]

    def scraped_after(self, at: float) -> bool:
        """Return whether a scrape that began after a moment has been stored."""
        found = self.query("timestamp(up)")
        return bool(found) and float(found[0]["value"][1]) > at

    def _ask(self, what: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        with urlopen(f"{self._url}/api/v1/{what}?{urlencode(asked)}", timeout=30) as answer:
            body = json.loads(answer.read())
        assert body["status"] == "success", body
        result: list[dict[str, Any]] = body["data"]["result"]
        return result


@contextmanager
def scraping(folder: Path, target: str) -> Iterator[Prometheus]:
    """Run a Prometheus in `folder` that scrapes `target`."""
    binary = shutil.which("prometheus")
    assert binary, "Prometheus is missing: make tools"
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {SCRAPE_MS}ms, scrape_timeout: {SCRAPE_MS}ms}}\n"
        f"scrape_configs:\n- job_name: statepipe\n  static_configs: [{{targets: ['{target}']}}]\n",
        encoding="utf-8",
    )
    address = f"127.0.0.1:{free_port()}"
    argv = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with subprocess.Popen(argv, cwd=folder) as process:
        try:
            until(lambda: _answers(f"http://{address}/-/ready"), "a Prometheus")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            ready: bool = answer.status == 200
    except (URLError, OSError):
        return False
    return ready
