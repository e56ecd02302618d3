"""
Engines that are broken on purpose: each breaks one rule of the commit protocol.

A crash test that does not notice one of them proves nothing. Called in a process that lives
for one run, they replace the function that keeps the rule.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from statepipe.io import ledger
from statepipe.runtime.driving.group import Entry, Group
from statepipe.store.file.files import Files
from statepipe.store.stage.directory import Stage
from statepipe.store.walk import committer
from statepipe.store.walk.committer import Verdict


def no_ledger() -> None:
    """The destination does not look whether it has the batch already."""
    entered_again = ledger._ENTER.replace("DO NOTHING", "DO UPDATE SET epoch = excluded.epoch")
    _replace(ledger, "_ENTER", entered_again)
    _replace(ledger, "find", lambda *_args, **_kwargs: None)


def early_ack() -> None:
    """What was not committed is acknowledged; the commit comes with the next group's."""
    real = Group.commit
    told: list[Entry] = []

    def commit(group: Group) -> list[tuple[Entry, Verdict]]:
        if told or not group:
            news = real(group)[len(told) :]
            told.clear()
            return news
        told.extend(group._entries)
        for entry in told:
            entry.drive.pending = False
        return [(entry, Verdict.COMMITTED) for entry in told]

    _replace(Group, "commit", commit)


def row_before_file() -> None:
    """A staged file is written after the row that names it, by the next one."""
    waiting: list[tuple[Any, ...]] = []
    real = Stage._write

    def write(stage: Stage, at: int, name: str, payload: bytes) -> None:
        del at
        for earlier in waiting:
            _write_late(real, stage, *earlier)
        waiting.clear()
        folder = next(iter(stage._durable))
        waiting.append((folder, name, payload))

    def read(stage: Stage, name: str, bytes_expected: int) -> bytes:
        for earlier in waiting:
            _write_late(real, stage, *earlier)
        waiting.clear()
        return real_read(stage, name, bytes_expected)

    real_read = Stage._read_file
    _replace(Stage, "_write", write)
    _replace(Stage, "_read_file", read)


def no_file_sync() -> None:
    """Staged files and their folders are not fsynced: only a power cut would show."""
    _replace(Files, "fsync", lambda _files, _descriptor: None)


def no_fence() -> None:
    """Neither the store nor the destination asks whose epoch a write has."""
    for name in ("_JOURNAL_MOVE", "_MOVE", "_FINISH", "_JOURNAL", "_KEEP", "_RELEASE"):
        sql = getattr(committer, name)
        for fence in ("AND epoch = ?2 AND seq = ?3", "AND epoch = :epoch AND seq = :seq"):
            sql = sql.replace(fence, "")
        sql = sql.replace("= ?3 + 1", "= seq + 1 + 0 * ?3").replace("= :seq + 1", "= seq + 1")
        _replace(committer, name, sql)
    _replace(ledger, "fence", lambda *_args, **_kwargs: None)


def _replace(owner: object, name: str, what: object) -> None:
    setattr(owner, name, what)


def _write_late(
    write: Callable[..., None], stage: Stage, folder: str, name: str, payload: bytes
) -> None:
    at = stage._files.open_folder(folder, at=Path(stage.directory))
    write(stage, at, name, payload)
    stage._files.close(at)


ALL: Final[dict[str, Callable[[], None]]] = {
    "no-ledger": no_ledger,
    "early-ack": early_ack,
    "row-before-file": row_before_file,
    "no-file-sync": no_file_sync,
    "no-fence": no_fence,
}
