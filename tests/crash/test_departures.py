"""
The departures machine that ships, as its users run it: an API that misbehaves, and two kills.
"""

import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import pytest

from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, until

TOKEN = "week-six-of-2013"

#: A seed whose API does each of its tricks, and few that take long.
SEED = 51


@contextmanager
def api(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Start the API; yield its address, and a list that has its last words afterwards."""
    process = subprocess.Popen(
        [sys.executable, "machines/departures_api.py", "--port", "0", "--seed", str(SEED)],
        cwd=root,
        env={**os.environ, "DEPARTURES_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    last_words: list[str] = []
    try:
        url = process.stdout.readline().strip()
        process.stdout.readline()
        yield url, last_words
    finally:
        process.send_signal(signal.SIGINT)
        last_words.append(process.communicate(timeout=30)[0])


@pytest.mark.parametrize("requests", [0, 1], ids=["seconds", "a date"])
def test_who_comes_too_early_is_told_of_the_whole_pause(requests: int) -> None:
    """In both forms; else who keeps the pause would come too early once more."""
    rough = runpy.run_path(str(ROOT / "machines" / "departures_api.py"))
    server = rough["Api"](0, token=TOKEN, seed=SEED, calm=True)
    server.requests = requests
    closed_until = server.closed_until = time.time() + 1.9  # noqa: TID251  (as the API has it)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with closing(HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)) as asking:
            asked_s = time.time()  # noqa: TID251  (as the API has it)
            asking.request("GET", "/departures", headers={"Authorization": f"Bearer {TOKEN}"})
            answer = asking.getresponse()
            text = answer.getheader("Retry-After", "")
            until_s = (
                asked_s + int(text) if text.isdigit() else parsedate_to_datetime(text).timestamp()
            )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert answer.status == HTTPStatus.TOO_MANY_REQUESTS
    assert until_s >= closed_until


def statepipe(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line in `root`."""
    with (root / "said.log").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DEPARTURES_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def batches(root: Path, state: str) -> int:
    """Return how many batches of `state` are committed."""
    if not scene.store_of(root).exists():
        return 0
    try:
        with closing(open_reader(scene.store_of(root))) as store:
            sql = "SELECT count(*) FROM journal WHERE kind = 'batch' AND source = ?"
            count: int = store.execute(sql, (state,)).fetchone()[0]
    except Exception:  # noqa: BLE001  (it is being made right now)
        return 0
    return count


def rows(root: Path, table: str) -> list[tuple[object, ...]]:
    """Return the rows of a table of the warehouse, by id."""
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        return [*warehouse.execute(f"SELECT * FROM {table} ORDER BY id")]


@pytest.mark.timeout(180)
def test_the_machine_that_reads_an_api_ends_like_the_one_that_reads_the_file(
    tmp_path: Path,
) -> None:
    """Same rows, same rejects, once each; no request within a pause that was kept."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "machines").symlink_to(ROOT / "machines")
    with api(root) as (url, last_words):
        first = statepipe(root, "run", "departures", "--id", "week", "-p", f"url={url}")
        until(lambda: batches(root, "extracting") >= 3, "three batches of pages")
        first.kill()
        first.wait()
        second = statepipe(root, "resume", "week")
        until(lambda: batches(root, "loading") >= 1, "a loaded batch")
        second.kill()
        second.wait()
        assert statepipe(root, "resume", "week").wait(60) == 0, (root / "said.log").read_text()
    assert statepipe(root, "run", "flights", "--id", "file").wait(60) == 0

    with Reader(scene.store_of(root)) as reader:
        rejects = {
            name: {str(each.record) for each in reader.rejected(name, limit=10_000)}
            for name in ("week", "file")
        }
    said = re.fullmatch(
        r"(\d+) departures in (\d+) requests: (\d+) misbehaved,"
        r" (\d+) came before their Retry-After, at most (\d+) at once\n",
        last_words[0],
    )
    assert said is not None, last_words
    served, requests, misbehaved, early, at_once = map(int, said.groups())
    assert rows(root, "departures") == rows(root, "flights")
    assert rejects["week"] == rejects["file"]
    assert len(rows(root, "departures")) + len(rejects["week"]) == served == 6_104
    assert misbehaved >= 5
    assert requests <= misbehaved + 31 + 2 * 5  # a kill costs the batch in the making: 5 pages
    assert early <= 1  # the first kill may come between the answer and its commit
    assert at_once == 1
    assert violations(scene.store_of(root)) == []
    assert not [
        file for file in root.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()
    ]
