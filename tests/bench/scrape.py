"""
A scrape of a large store, while somebody writes to it as fast as they can.

    exporting   `statepipe metrics serve` on it, as a process of its own
    Writer      a process that drives no-op instances in rounds, and says how fast
    scraped     one scrape: how long it took, and how large it was
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.request import urlopen

from tests.bench import million
from tests.observe.prometheus_server import free_port, until

#: Far more often than a Prometheus asks: a percentile needs many.
EVERY_S = 0.25


@contextmanager
def exporting(folder: Path) -> Iterator[str]:
    """Serve the metrics of the store in `folder`; give the URL of the exposition."""
    address = f"127.0.0.1:{free_port()}"
    store = folder / "checkpoints" / "statepipe.db"
    argv = [sys.executable, "-m", "statepipe", "metrics", "serve", "--listen", address]
    with subprocess.Popen(
        [*argv, "--store", str(store)], cwd=folder, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: _is_up(f"http://{address}/healthz"), "an exporter")
            yield f"http://{address}/metrics"
        finally:
            process.terminate()


def scraped(url: str) -> tuple[float, int]:
    """Scrape once; return milliseconds and bytes."""
    began = time.perf_counter()
    with urlopen(url, timeout=30) as answer:
        size = len(answer.read())
    return (time.perf_counter() - began) * 1_000, size


class Scraper(Thread):
    """Scrapes again and again until it is stopped; `took_ms` has each time."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.took_ms: list[float] = []
        self._url = url
        self._over = Event()

    def run(self) -> None:
        """Scrape."""
        while not self._over.wait(EVERY_S):
            self.took_ms.append(scraped(self._url)[0])

    def stop(self) -> None:
        """Scrape no more."""
        self._over.set()
        self.join()


class Writer:
    """A process that writes at full rate when asked."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.scrape", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self, instances: int) -> float:
        """Drive so many instances through their four states; return transitions a second."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(instances, file=self._process.stdin, flush=True)
        said: float = json.loads(self._process.stdout.readline())
        return said

    def close(self) -> None:
        """End it."""
        self._process.communicate("")


def _write(folder: Path) -> None:
    with million.engine(folder) as engine:
        engine.work([million.MACHINES[0]], until_idle=True)
        for line in sys.stdin:
            count = int(line)
            for _ in range(count):
                engine.create(million.MACHINES[0])
            began = time.perf_counter()
            engine.work([million.MACHINES[0]], until_idle=True)
            print(json.dumps(count * 4 / (time.perf_counter() - began)), flush=True)


def _is_up(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            up: bool = answer.status == 200
    except OSError:
        return False
    return up


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
