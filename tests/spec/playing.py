"""
Playing many schedules of a state machine of Hypothesis, so that any run can be played again.

    PARTS       into so many tests a run is cut, for pytest's processes share tests
    played      play some schedules; the seed is told if one of them fails
    dying       the end of a process around one of its commits
    with_empty_store    a folder to play in
"""

import atexit
import os
import random
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.testing import ManualClock

PARTS: Final = 8

#: Another one each time, and what is drawn follows from it alone.
SEED: Final = int(os.environ.get("STATEPIPE_SEED", random.SystemRandom().getrandbits(32)))

#: What may happen around a commit.
HOWS: Final = ("before", "after", "in doubt, landed", "in doubt, lost")


STORE: Final = Path("checkpoints") / "statepipe.db"


class Died(BaseException):
    """The process ended here."""


def played(machine: type[RuleBasedStateMachine], *, schedules: int, steps: int, nth: int) -> None:
    """Play part `nth` of a run: so many schedules of so many steps at most."""
    sys.stdout.write(f"STATEPIPE_SEED={SEED}\n")  # pytest shows it if the test fails
    again = seed(SEED + nth)(type(machine.__name__, (machine,), {"__module__": __name__}))
    chosen = settings(
        max_examples=schedules,
        stateful_step_count=steps,
        database=None,  # what was kept of other runs would come first
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(again, settings=chosen)


def dying(store: Store, *, nth: int, how: str) -> None:
    """Raise Died or StoreInDoubt around the `nth` commit from now on, the last one."""
    left = nth
    commit = store._commit

    def last_words() -> None:
        nonlocal left
        left -= 1
        if left > 0:
            commit()
        elif how == "before":
            store._roll_back()
            raise Died
        elif how == "after":
            commit()
            raise Died
        else:
            _doubtful_commit(store, landed=how == "in doubt, landed")

    store._commit = last_words  # type: ignore[method-assign]  # a test owns it


def with_empty_store() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with an empty store in it."""
    # In memory where there is room: no power fails here, and fsync would cost most of the time.
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    shutil.copytree(_made(), folder.name, dirs_exist_ok=True)
    return folder


@cache
def _made() -> Path:
    """Return what is copied: to make a store takes longer than to play on one."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    open_store(folder / STORE, create=True, clock=ManualClock()).close()
    return folder


def _doubtful_commit(store: Store, *, landed: bool) -> None:
    """Let COMMIT fail by an I/O error, which says nothing about whether it landed."""
    connection = store.connection
    connection.execute("COMMIT" if landed else "ROLLBACK")
    store.connection = _BrokenDisk()
    try:
        Store._commit(store)
    finally:
        store.connection = connection


class _BrokenDisk:
    in_transaction = False

    def execute(self, sql: str) -> NoReturn:
        error = sqlite3.OperationalError(f"disk I/O error in {sql}")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error
