"""
A lock on the stage: files that are staged for an instance that is yet to be made.

    filling     hold off sweeps of the whole stage while the block stages files and names them
    sweeping    hold off those who fill it, if there are none

Whoever drives an instance stages under a row that is there; a sweep knows it by that row. The
files of a copy come before its row, and for so long nobody could tell them from what a crash
has left behind. The lock is `flock` on the folder itself: it goes with its process.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Final

from statepipe.clock import Clock
from statepipe.errors import Busy, StoreUnusable
from statepipe.store.file.files import Files

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_POLL_S: Final = 0.01
_WAIT_MS: Final = 30_000


@contextmanager
def filling(stage: Path, *, clock: Clock) -> Generator[None]:
    """
    Hold off sweeps of the stage directory `stage` while the block runs.

    Raises:
        Busy: A sweep does not end.
        StoreUnusable: There can be no such directory.
    """
    try:
        Files().make_folders(stage, above=stage.parent.parent)
        descriptor = os.open(stage, _FOLDER)
    except OSError as error:
        raise _failed(stage, error) from error
    try:
        end_ms = clock.boot_ms() + _WAIT_MS
        while not _is_locked(descriptor, fcntl.LOCK_SH):
            if clock.boot_ms() >= end_ms:
                raise Busy(
                    f"the stage {stage} is being swept, for {_WAIT_MS // 1_000} s by now",
                    meaning="nothing was made or changed",
                    next_step=f"fuser -v {stage}   # which process holds it; then once more",
                )
            Event().wait(_POLL_S)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def sweeping(stage: Path) -> Generator[bool]:
    """
    Yield True if nobody fills the stage directory `stage` and nobody will, else False.

    Raises:
        StoreUnusable: It cannot be opened.
    """
    try:
        descriptor = os.open(stage, _FOLDER)
    except FileNotFoundError:
        yield False  # nothing to sweep
        return
    except OSError as error:
        raise _failed(stage, error) from error
    try:
        yield _is_locked(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int, how: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        return True
    return False


def _failed(stage: Path, error: OSError) -> StoreUnusable:
    return StoreUnusable(
        f"the stage directory {stage} fails: {error.strerror or error}",
        meaning="nothing was made or changed",
        next_step="statepipe doctor",
    )
