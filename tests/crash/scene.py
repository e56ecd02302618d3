"""
The scene of a crash: a folder with the shop's machine, and what must be true of it.

    set_up            the folder before anything ran
    drive             run the shop's instance, or go on with it, in this process
    damage            what is broken right after a process died: [] if nothing is
    outcome           everything that must be equal however often a run was killed
    redone            how many batches were worked on more than once
"""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import StagedDataDamaged, StoreUnusable
from statepipe.model import Change, Rejects, Staged, Status
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.store.stage.records import decode_records
from statepipe.store.stage.rows import files_of
from statepipe.testing import violations

INSTANCE: Final = "shop-1"

MACHINES: Final = Path(__file__).parent / "machines"

_SETTINGS: Final = """\
[policies.default]
executor = "inline"
max_attempts = 2
interval = "1ms"

[env.process.policies.default]
executor = "process"

[env.parallel.policies.default]
executor = "process"
parallel = 3
"""

_SALES: Final = """
CREATE TABLE sales (id INTEGER, quantity INTEGER CHECK (quantity <> 77), price REAL, note TEXT,
                    text TEXT, digest BLOB, gift INTEGER, ordered_at TEXT, amount TEXT) STRICT
"""

_BATCHES: Final = """
SELECT number, records, bytes, sha256, format, file, body, cursor, read FROM batch
"""

_REJECTS: Final = """
SELECT state, visit, number, records, bytes, sha256, file, body, reasons
  FROM reject
 ORDER BY state, visit, number
"""

Env = Literal["process", "parallel"] | None

#: Calls of one attempt that work at once: what a kill may cost, in batches.
PARALLEL: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What a run leaves behind, without what may differ: times, epochs, ids of the store.

    Attributes:
        rests: Status and state of the instance.
        tables: Each table's rows, sorted, every value with its type.
        ledger: The destination's rows of the ledger.
        plan: The plan, with what was loaded of each batch.
        quarantine: Every rejected record with its reason.
        moves: The moves of the journal, in order; not those of attempts that failed.
        batches: What the journal says of batches, in order.
    """

    rests: tuple[str, str]
    tables: dict[str, list[str]]
    ledger: list[tuple[Any, ...]]
    plan: list[tuple[Any, ...]]
    quarantine: list[tuple[Any, ...]]
    moves: list[tuple[str, ...]]
    batches: list[tuple[Any, ...]]


@dataclass(slots=True)
class Watch:
    """Writes down, in `acks.log`, every change that the engine calls committed."""

    root: Path
    changes: list[Change] = field(default_factory=list)

    def __call__(self, drive: Drive, change: Change) -> None:
        """Be told of a change."""
        self.changes.append(change)
        log = os.open(self.root / "acks.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, f"{drive.epoch} {drive.seq}\n".encode())
        os.close(log)


def set_up(root: Path) -> Path:
    """Make `root` the folder of a shop; return it."""
    shutil.copytree(MACHINES, root / "machines", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "statepipe.toml").write_text(_SETTINGS, encoding="utf-8")
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        warehouse.execute(_SALES)
    return root


def drive(root: Path, *, env: Env = None) -> dict[str, str]:
    """
    Run the shop's instance to its end in this process; return its status.

    Args:
        root: A folder made by `set_up`.
        env: "process" lets tasks run in a worker process, "parallel" in several at once.

    Raises:
        StatepipeError: As `Engine.run`.
    """
    with make_engine(root, env=env) as engine:
        return walk(engine)


def make_engine(root: Path, *, env: Env = None) -> Engine:
    """Open the engine of `root`; what it commits is watched."""
    config = load_config(start=root, environ={}, env=env)
    pools = Pools(processes=PARALLEL if env == "parallel" else 1)
    return Engine(config, pools=pools, observe=Watch(root), rng=random.Random(1))


def walk(engine: Engine) -> dict[str, str]:
    """Create the instance unless it is there, and drive it to its end, as a worker would."""
    engine.create("shop", instance_id=INSTANCE, if_exists="attach")
    return engine.run([INSTANCE])


def stage_of(root: Path, store: sqlite3.Connection) -> Stage:
    """Return the store's stage."""
    (store_id,) = store.execute("SELECT store_id FROM store").fetchone()
    return Stage(stage_directory(store_of(root), store_id=store_id))


def store_of(root: Path) -> Path:
    """Return the store's path."""
    return root / "checkpoints" / "statepipe.db"


def rests(root: Path) -> str | None:
    """Return the instance's status; None if there is no instance yet, or no store."""
    try:
        with closing(open_reader(store_of(root))) as store:
            row = store.execute("SELECT status FROM instance").fetchone()
    except (StoreUnusable, sqlite3.OperationalError):
        return None
    return None if row is None else str(row[0])


def damage(root: Path) -> list[str]:
    """Return what a killed process has broken; [] if nothing, or if nothing was there yet."""
    try:
        found = violations(store_of(root))
    except (StoreUnusable, sqlite3.OperationalError):
        if (root / "acks.log").exists():
            raise
        return []  # it died while it made the store
    with closing(open_reader(store_of(root))) as store:
        found += _lost(root, store)
        found += _unreadable(root, store)
    return found


def outcome(root: Path) -> Outcome:
    """Return what the run left."""
    with closing(open_reader(store_of(root))) as store:
        return Outcome(
            rests=store.execute("SELECT status, state FROM instance").fetchone(),
            tables=_tables(root),
            ledger=_ledger(root),
            plan=store.execute(
                "SELECT state, visit, number, records, sha256, loaded FROM plan ORDER BY 1, 2, 3"
            ).fetchall(),
            quarantine=_quarantine(root, store),
            moves=store.execute(
                "SELECT event, source, target FROM journal"
                " WHERE kind = 'move' AND event <> 'error' ORDER BY seq"
            ).fetchall(),
            batches=store.execute(
                "SELECT source, event, note, records, bytes, rejected FROM journal"
                " WHERE kind = 'batch' ORDER BY seq"
            ).fetchall(),
        )


def differences(got: Outcome, expected: Outcome) -> list[str]:
    """Return in which parts two outcomes differ, in few words."""
    return [
        f"{name} differs: {str(ours)[:300]} instead of {str(theirs)[:300]}"
        for name in Outcome.__slots__
        if (ours := getattr(got, name)) != (theirs := getattr(expected, name))
    ]


def unplanned(root: Path) -> list[str]:
    """Return where the ledger and the plan, batch by batch, are not the same."""
    with closing(open_reader(store_of(root))) as store:
        plan = store.execute(
            "SELECT state, visit, number, sha256, records, loaded FROM plan ORDER BY 1, 2, 3"
        ).fetchall()
    ledger = [
        (state, visit, batch, digest, records + rejected, records)
        for state, visit, _, batch, records, rejected, digest, _ in _ledger(root)
    ]
    return [] if plan == ledger else [f"ledger {ledger} is not the plan {plan}"]


def leftovers(root: Path) -> list[str]:
    """Return the staged files that no row names."""
    with closing(open_reader(store_of(root))) as store:
        named = files_of(store, 1)
        names = stage_of(root, store).names(instance_key=INSTANCE)
        return [name for name in names if name not in named]


def redone(root: Path) -> Counter[str]:
    """Return which batches the author's functions were called for again, and how often."""
    log = root / "calls.log"
    calls = Counter(log.read_text("utf-8").splitlines() if log.exists() else [])
    return Counter({call: times - 1 for call, times in calls.items() if times > 1})


def _lost(root: Path, store: sqlite3.Connection) -> Iterator[str]:
    """Every change that was called committed has its journal row, under its epoch."""
    log = root / "acks.log"
    there = {tuple(row) for row in store.execute("SELECT epoch, seq FROM journal")}
    for line in log.read_text("utf-8").splitlines() if log.exists() else []:
        epoch, seq = map(int, line.split())
        if (epoch, seq) not in there:
            yield f"acknowledged and lost: epoch {epoch}, seq {seq}"


def _unreadable(root: Path, store: sqlite3.Connection) -> Iterator[str]:
    stage = stage_of(root, store)
    rows: list[Staged | Rejects] = [
        Staged._make((*row, None, None)) for row in store.execute(_BATCHES)
    ]
    rows += [_rejects_of(row) for row in store.execute(_REJECTS)]
    for row in rows:
        try:
            stage.read(row)
        except StagedDataDamaged as error:
            yield error.message


def _rejects_of(row: tuple[Any, ...]) -> Rejects:
    _, _, _, *facts, reasons = row
    return Rejects._make((*facts, json.loads(reasons), None))


def _quarantine(root: Path, store: sqlite3.Connection) -> list[tuple[Any, ...]]:
    stage = stage_of(root, store)
    return [
        (*row[:4], row[-1], decode_records("msgpack", stage.read(_rejects_of(row))))
        for row in store.execute(_REJECTS)
    ]


def _tables(root: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        return {
            table: sorted(map(repr, warehouse.execute(f"SELECT * FROM {table}")))
            for (table,) in warehouse.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%'"
                " ESCAPE '\\' ORDER BY name"
            ).fetchall()
        }


def _ledger(root: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        rows: list[tuple[Any, ...]] = warehouse.execute(
            "SELECT state, visit, table_name, batch, records, rejected, digest, rejects"
            " FROM _statepipe_ledger ORDER BY 1, 2, 4"
        ).fetchall()
    return rows


def unreleased(root: Path) -> list[str]:
    """Return what a process that was asked to stop still holds, or did not write down."""
    with closing(open_reader(store_of(root))) as store:
        status, worker, kind = store.execute(
            "SELECT i.status, i.worker, j.kind FROM instance i"
            "  JOIN journal j ON j.instance = i.n AND j.seq = i.seq"
        ).fetchone()
        running = store.execute("SELECT n FROM worker WHERE stopped_at_ms IS NULL").fetchall()
    found = [] if (status, worker) == (Status.READY, None) else [f"held: {status}, {worker}"]
    found += [f"worker {n} did not say that it ended" for (n,) in running]
    # "create": it was stopped before it had taken the instance.
    return found if kind in ("interrupt", "create") else [*found, f"the last entry is {kind}"]


def journal(root: Path) -> list[tuple[Any, ...]]:
    """Return the journal as it is, epochs and all."""
    with closing(open_reader(store_of(root))) as store:
        rows: list[tuple[Any, ...]] = store.execute(
            "SELECT seq, epoch, kind, event, source, target, note FROM journal ORDER BY seq"
        ).fetchall()
    return rows


def workers(root: Path) -> int:
    """Return how many workers have registered and not said that they ended."""
    with closing(open_reader(store_of(root))) as store:
        count: int = store.execute(
            "SELECT count(*) FROM worker WHERE stopped_at_ms IS NULL"
        ).fetchone()[0]
    return count


def retries(root: Path) -> list[str]:
    """Return why attempts were tried again, by the class of their error."""
    with closing(open_reader(store_of(root))) as store:
        rows = store.execute("SELECT error_class FROM journal WHERE kind = 'retry' ORDER BY seq")
        return [str(name) for (name,) in rows]


def go_on(root: Path) -> str:
    """Go on, in this process, with whatever a run left, failed or not; return the status."""
    with make_engine(root) as engine:
        engine.create("shop", instance_id=INSTANCE, if_exists="attach")
        is_done = rests(root) == Status.DONE
        return Status.DONE if is_done else engine.resume([INSTANCE])[INSTANCE]
