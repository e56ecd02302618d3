"""
Processes that are killed while they read the rough API, and what must be true when they are done.

    set_up      a folder with the machine, and a warehouse
    disturb     start processes, kill them at random moments, until so many are dead and all is done
    problems    everything that is not as if nobody had been killed: [] if nothing is

In a pause that the API asked for nobody may come, except for one reason: the process that
was told of it was killed before it could write it down. Then the store has no row of it.
"""

import itertools
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from statepipe.clock import SystemClock
from statepipe.io.jsontext import text_of
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, until
from tests.crash.rough.api import DIRTY, ITEMS, PAGE, TOKEN, WAYS, RoughApi, clean, early
from tests.io.web import Web

_MACHINES: Final = Path(__file__).parent / "machines"

#: So many of the four ways may read at once, whoever reads them.
_SLOTS: Final = 3

_SETTINGS: Final = f"""\
[resources.rough-api]
slots = {_SLOTS}

[policies.default]
executor = "thread"

[env.process.policies.default]
executor = "process"
"""

#: ANY keeps every value as the type it came as.
_ROWS: Final = """
CREATE TABLE rows (way TEXT, id ANY, name ANY, amount ANY, serial ANY, flag ANY, tags ANY,
                   channel ANY, PRIMARY KEY (way, id)) STRICT
"""

_DRIVERS: Final = """
SELECT DISTINCT w.pid FROM instance AS i JOIN worker AS w ON w.n = i.worker
"""

_RETRIES: Final = """
SELECT i.id, j.at_ms
  FROM journal AS j JOIN instance AS i ON i.n = j.instance
 WHERE j.kind = 'retry' AND j.error_class = 'Throttled'
"""

_EXTRACTED: Final = """
SELECT i.id, sum(j.records), sum(j.rejected)
  FROM journal AS j JOIN instance AS i ON i.n = j.instance
 WHERE j.kind = 'batch' AND j.source = 'extracting'
 GROUP BY i.id
"""

#: How long a task may live on when its driver was killed; typically it is milliseconds.
_ORPHAN_S: Final = 1.0

#: How long a request may be on its way.
_LATE_S: Final = 0.5

#: Pages in the batch that a killed process may have been making.
_PAGES_A_KILL: Final = 2


def set_up(root: Path) -> Path:
    """Make `root` the folder of a project; return it."""
    (root / "machines").mkdir(parents=True)
    for file in _MACHINES.rglob("*.*"):
        if "__pycache__" not in file.parts:
            target = root / "machines" / file.relative_to(_MACHINES)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    (root / "statepipe.toml").write_text(_SETTINGS, encoding="utf-8")
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        warehouse.execute(_ROWS)
    return root


def statepipe(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line in `root`; what it says goes into a file."""
    with (root / "said.log").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "ROUGH_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


class Kill(NamedTuple):
    """From just before a process was killed until its tasks were gone, in seconds since 1970."""

    from_s: float
    to_s: float


def disturb(root: Path, web: Web, *, rng: random.Random, kills: int) -> list[Kill]:
    """
    Read the API in every way at once; return when processes were killed.

    Two workers live at a time, so that one takes over at once. Whoever drives is killed, at a
    random moment; if all is read before enough were killed, all is read again.
    """
    killed: list[Kill] = []
    lives: list[subprocess.Popen[bytes]] = []
    try:
        for again in itertools.count():
            _begin(root, web, again=again)
            while unfinished(root):
                while len(lives) < 2:
                    lives.append(
                        statepipe(root, *rng.choice([["--env", "process"], [], []]), "worker")
                    )
                if len(killed) < kills:
                    killed.append(_kill_one(root, web, lives, rng))
                else:
                    until(lambda: not unfinished(root), "the end of what nobody disturbs")
            if len(killed) >= kills:
                return killed
    finally:
        for life in lives:
            life.terminate()
        for life in lives:
            life.wait(60)
    raise AssertionError


def _begin(root: Path, web: Web, *, again: int) -> None:
    asked = [
        statepipe(
            root,
            "start",
            "rough",
            "--id",
            f"{way}-{again}",
            "-p",
            f"url={web.url}",
            "-p",
            f"way={way}",
        )
        for way in WAYS
    ]
    assert [each.wait(60) for each in asked] == [0] * len(WAYS)


def _kill_one(
    root: Path, web: Web, lives: list[subprocess.Popen[bytes]], rng: random.Random
) -> Kill:
    """
    Kill whoever drives, at a random moment; return when that was.

    The moment is so many requests and commits from now, or so long if nothing moves, which
    may be in the middle of a pause.
    """
    clock = SystemClock()
    goal = _progress(root, web) + rng.randrange(1, 24)
    ends_ms = clock.boot_ms() + rng.randrange(300, 1_500)
    until(
        lambda: _progress(root, web) >= goal or clock.boot_ms() > ends_ms or not unfinished(root),
        "a moment to kill",
    )
    threading.Event().wait(rng.uniform(0, 0.02))
    driving = drivers(root)
    victim = next((life for life in lives if life.pid in driving), rng.choice(lives))
    from_s = clock.now_ms() / 1000
    victim.kill()
    victim.wait()
    lives.remove(victim)
    return Kill(from_s, clock.now_ms() / 1000 + _ORPHAN_S)


def _progress(root: Path, web: Web) -> int:
    """Return a number that rises with each request and each commit."""
    with closing(open_reader(scene.store_of(root))) as store:
        (moves,) = store.execute("SELECT sum(seq) FROM instance").fetchone()
    return len(web.requests) + int(moves)


def unfinished(root: Path) -> list[str]:
    """Return the instances that have not ended."""
    with closing(open_reader(scene.store_of(root))) as store:
        return [
            name
            for (name,) in store.execute(
                "SELECT id FROM instance WHERE status NOT IN ('done', 'failed', 'cancelled')"
            )
        ]


def drivers(root: Path) -> set[int]:
    """Return the processes that drive something."""
    with closing(open_reader(scene.store_of(root))) as store:
        return {pid for (pid,) in store.execute(_DRIVERS)}


def problems(root: Path, api: RoughApi, web: Web, killed: list[Kill]) -> list[str]:
    """Return what is not as it must be, each thing in few words."""
    found = [
        *violations(scene.store_of(root)),
        *_wrong_rows(root),
        *_wrong_counts(root),
        *_early(root, api, web, killed),
        *_early_elsewhere(root, api, web),
        *_too_many(web),
        *_done_again(root, api, killed),
        *_secrets(root),
    ]
    return [each[:500] for each in found[:20]]


def _wrong_rows(root: Path) -> Iterator[str]:
    """The destination has exactly the clean rows, each once in each way, type for type."""
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        warehouse.row_factory = sqlite3.Row
        found = [dict(row) for row in warehouse.execute("SELECT * FROM rows")]
    for way in WAYS:
        got = Counter(_shown(row) for row in found if row["way"] == way)
        rows = clean(decimals=way in ("offset", "cursor")).values()
        expected = Counter(_shown({"way": way, "channel": None, **row}) for row in rows)
        if got != expected:
            more, less = got - expected, expected - got
            yield f"{way}: {more.total()} rows too many, {less.total()} missing: {more or less}"


def _shown(row: dict[str, Any]) -> str:
    """Return a row with its types, its columns in order."""
    return repr(sorted(row.items()))


def _wrong_counts(root: Path) -> Iterator[str]:
    """Every item that was handed out is loaded or rejected, each as often as it came."""
    rejected = Counter(text for text in ITEMS if text in DIRTY)
    with closing(open_reader(scene.store_of(root))) as store:
        extracted = {name: tuple(rest) for name, *rest in store.execute(_EXTRACTED)}
        names = [
            (name, status) for name, status in store.execute("SELECT id, status FROM instance")
        ]
    with Reader(scene.store_of(root)) as reader:
        for name, status in names:
            if status != "done":
                yield f"{name} is {status}"
                continue
            taken, refused = extracted[name]
            if taken + refused != len(ITEMS):
                yield f"{name}: {taken} + {refused} were read, {len(ITEMS)} served"
            found = Counter(_text(each.record) for each in reader.rejected(name, limit=10_000))
            if found != rejected:
                yield f"{name}: rejected {found - rejected}, not {rejected - found}"
            loaded, _ = reader.loaded_and_rejected(name)
            if loaded + found.total() != len(ITEMS):
                yield f"{name}: {loaded} loaded + {found.total()} rejected"


def _text(record: dict[str, Any]) -> str:
    """Return a rejected record as the text it was served as."""
    if "text" in record:
        return str(record["text"])
    return text_of({name: value for name, value in record.items() if name != "way"})


def _early(root: Path, api: RoughApi, web: Web, killed: list[Kill]) -> Iterator[str]:
    with closing(open_reader(scene.store_of(root))) as store:
        retries = [
            (name.partition("-")[0], at_ms / 1000) for name, at_ms in store.execute(_RETRIES)
        ]
    found = early(api, web)
    if len(found) > len(killed):
        yield f"{len(found)} requests within a pause, {len(killed)} kills"
    for grant, came_s in found:
        is_kept = any(
            way == grant.way and grant.at_s - 0.001 <= at_s <= came_s for way, at_s in retries
        )
        was_killed = any(kill.from_s <= came_s and grant.at_s <= kill.to_s for kill in killed)
        if is_kept or not was_killed:
            left_s = grant.until_s - came_s
            yield f"a request {left_s:.3f} s too early; the pause was kept: {is_kept}"


def _early_elsewhere(root: Path, api: RoughApi, web: Web) -> Iterator[str]:
    """What one was told holds for all who use the resource, once it is written down."""
    with closing(open_reader(scene.store_of(root))) as store:
        told = [(name.partition("-")[0], at_ms / 1000) for name, at_ms in store.execute(_RETRIES)]
    for grant in api.grants:
        for way, at_s in told:
            if way != grant.way or not grant.at_s - 0.001 <= at_s <= grant.until_s:
                continue
            # Who had a permit before that may be a little late with its request.
            for request in web.requests:
                if at_s + _LATE_S < request.at_s < grant.until_s:
                    left_s = grant.until_s - request.at_s
                    yield f"{request.path} {left_s:.3f} s before {grant.way} may be asked again"


def _too_many(web: Web) -> Iterator[str]:
    most = max((request.at_once for request in web.requests), default=0)
    if most > 1:
        yield f"{most} requests at once where one reads"
    most = max((request.in_all for request in web.requests), default=0)
    if most > _SLOTS:
        yield f"{most} requests at once in all, with {_SLOTS} slots"


def _done_again(root: Path, api: RoughApi, killed: list[Kill]) -> Iterator[str]:
    with closing(open_reader(scene.store_of(root))) as store:
        rounds = store.execute("SELECT count(*) FROM instance").fetchone()[0] // len(WAYS)
    needed = rounds * -(-len(ITEMS) // PAGE)
    for way in WAYS:
        good = api.good[way]
        if good > needed + _PAGES_A_KILL * len(killed):
            yield f"{way}: {good} pages were served, {needed} needed, {len(killed)} kills"


def _secrets(root: Path) -> Iterator[str]:
    for file in root.rglob("*"):
        if file.is_file() and TOKEN.encode() in file.read_bytes():
            yield f"the token is in {file.name}"
