"""
Make the golden store of the current schema: `python -m tests.golden.make`.

A golden store is a small one in mid-run, kept for ever once its schema is released; the
tests resume a copy of it. It holds one instance of each kind of rest:

    done        loaded
    failed      broke while transforming, one batch having been committed
    paused      in the middle of extracting
    loading     half loaded, in its second round, its driver killed with SIGKILL

Time, ids and names are owned, so that two runs differ in nothing but the moment that
sqlite-utils notes for itself.
"""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from os import getpid, kill
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.model import Change
from statepipe.observe import redact
from statepipe.runtime.driving.drive import Drive
from statepipe.store.file.files import Files
from statepipe.store.file.opening import open_store
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock

GOLDEN = Path(__file__).parents[2] / "checkpoints" / "golden"
FOLDER = GOLDEN / f"v{SCHEMA_VERSION}"

#: So small that some of the little batches become files.
INLINE_BYTES_MAX = 180

MONDAY_MS = 1_762_153_200_000  # 2025-11-03T07:00:00Z


def main() -> None:
    """Make it anew, from the machine that is kept beside it."""
    for leftover in ("statepipe.db", "warehouse.db"):
        for path in FOLDER.glob(f"{leftover}*"):
            path.unlink()
    shutil.rmtree(FOLDER / "stage", ignore_errors=True)
    rest(ManualClock(now_ms=MONDAY_MS))
    killed = subprocess.run([sys.executable, "-m", "tests.golden.make", "killed"], check=False)
    if killed.returncode != -signal.SIGKILL:
        sys.exit(f"the driver was to be killed, and ended with {killed.returncode}")
    # Empties the WAL, as the next command on the store would.
    open_store(
        FOLDER / "statepipe.db", create=False, clock=ManualClock(now_ms=MONDAY_MS + 600_000)
    ).close()
    for leftover in ("-guard", "-shm", "-wal"):
        (FOLDER / f"statepipe.db{leftover}").unlink(missing_ok=True)


def rest(clock: ManualClock) -> None:
    """Make the instances that are driven until they rest."""

    def pause(drive: Drive, change: Change) -> None:
        if drive.id == "paused" and change.event == "staged" and drive.batches == 1:
            engine.pause("paused", reason="month end")

    with engine_of(clock, seed=1, observe=pause) as engine:
        for name, params in (("done", {}), ("failed", {"broken": True}), ("paused", {})):
            engine.create("orders", instance_id=name, params=params)
            engine.run([name])


def be_killed(clock: ManualClock) -> None:
    """Drive one instance, and end this process by SIGKILL once a batch is loaded."""

    def die(_drive: Drive, change: Change) -> None:
        if change.event == "loaded":
            kill(getpid(), signal.SIGKILL)

    with engine_of(clock, seed=2, observe=die) as engine:
        engine.create("orders", instance_id="loading", params={"twice": True})
        engine.run(["loading"])


def engine_of(clock: ManualClock, *, seed: int, observe: Callable[[Drive, Change], None]) -> Engine:
    """Return an engine of which nothing depends on this machine or this moment."""
    rng = random.Random(seed)
    who = Identity(host="golden", pid=seed, pid_started=seed, pid_space="golden")

    def observed(drive: Drive, change: Change) -> None:
        clock.advance(250)
        observe(drive, change)

    def uuid() -> UUID:
        return UUID(int=rng.getrandbits(128))

    def token(_files: Files) -> str:
        return f"{rng.getrandbits(64):016x}"

    # For the rest of the process: it makes this store and nothing else.
    owned = ExitStack()
    owned.enter_context(patch.object(Identity, "of_this_process", return_value=who))
    owned.enter_context(patch("statepipe.store.walk.workers.uuid4", uuid))
    owned.enter_context(patch("statepipe.store.file.opening.uuid4", uuid))
    owned.enter_context(patch("statepipe.store.file.files.Files.token", token))
    owned.enter_context(patch("statepipe.runtime.parts.INLINE_BYTES_MAX", INLINE_BYTES_MAX))
    # Tracebacks are kept in the store, and a clone lies somewhere else.
    redact.hide(str(GOLDEN.parents[1]))
    config = load_config(start=FOLDER, environ={})
    return Engine(config, clock=clock, rng=rng, observe=observed)


if __name__ == "__main__":
    if sys.argv[1:] == ["killed"]:
        be_killed(ManualClock(now_ms=MONDAY_MS + 300_000, boot_ms=1_300_000))
    else:
        main()
