"""A store of an older schema: kept as it was, then raised; nothing of it is lost."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import Busy, StoreUnusable
from statepipe.sqlite import sqlite3
from statepipe.store.file.files import Files
from statepipe.store.file.opening import open_reader, open_store
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.store.walk.workers import Identity
from statepipe.testing import violations

GOLDEN = Path(__file__).parents[2] / "checkpoints" / "golden"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of schema version 1."""
    return Path(shutil.copy(GOLDEN / "v1" / "statepipe.db", tmp_path / "statepipe.db"))


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        rows: list[tuple[object, ...]] = connection.execute(sql).fetchall()
    return rows


def _raise(path: Path) -> None:
    open_store(path, create=False, clock=SystemClock()).close()


def test_an_older_store_is_raised_when_it_is_opened_for_writing(old: Path) -> None:
    """Its figures are worked out from its journal, so that they begin with the truth."""
    journal = _rows(old, "SELECT instance, seq, kind, event, source, target FROM journal")

    _raise(old)

    assert _rows(old, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert _rows(old, "SELECT instance, seq, kind, event, source, target FROM journal") == journal
    assert violations(old) == []
    sql = "SELECT label, value FROM counter WHERE metric = 'finished' ORDER BY label"
    assert _rows(old, sql) == [("done", 1), ("failed", 1)]
    sql = "SELECT sum_us / 1000 FROM duration WHERE metric = 'instance' AND label = 'done'"
    (finished,) = _rows(old, "SELECT finished_at_ms - created_at_ms FROM instance WHERE id='done'")
    assert _rows(old, sql) == [finished]
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        sqlite3.connect(old).execute("UPDATE journal SET note = 'x'")


def test_what_it_was_is_kept_beside_it(old: Path) -> None:
    """For its owner only, whole, and of the older version."""
    before = _rows(old, "SELECT * FROM instance")

    _raise(old)

    copy = old.with_name("statepipe.db.v1")
    assert _rows(copy, "PRAGMA user_version") == [(1,)]
    assert _rows(copy, "SELECT * FROM instance") == before
    assert _rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in old.parent.iterdir() if "v1" in path.name) == [copy.name]


def _begin_to_drive(path: Path) -> None:
    """Let this process be one of the older release that drives the store."""
    me, clock = Identity.of_this_process(), SystemClock()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE worker SET pid = ?, pid_started = ?, pid_space = ?, boot_id = ?,"
            " deadline_boot_ms = ?, stopped_at_ms = NULL, beat = beat + 1",
            (me.pid, me.pid_started, me.pid_space, clock.boot_id, clock.boot_ms() + 60_000),
        )


def test_a_copy_of_what_another_process_has_raised_meanwhile_is_not_kept(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the place of the one that is a way back."""
    create = Files.create

    def late(files: Files, name: str, *, at: int) -> int:
        monkeypatch.setattr(Files, "create", create)
        _raise(old)
        return create(files, name, at=at)

    monkeypatch.setattr(Files, "create", late)
    before = _rows(old, "SELECT * FROM instance")

    _raise(old)

    assert _rows(old, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    copy = old.with_name("statepipe.db.v1")
    assert _rows(copy, "PRAGMA user_version") == [(1,)]
    assert _rows(copy, "SELECT * FROM instance") == before
    assert [path.name for path in old.parent.glob("statepipe.db.*")] == [copy.name]


def test_a_process_of_the_older_release_that_begins_meanwhile_is_not_cut_off(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began after it was looked for, while the copy was made."""
    rename = Files.rename

    def late(files: Files, before: str, after: str, *, at: int) -> None:
        rename(files, before, after, at=at)
        _begin_to_drive(old)

    monkeypatch.setattr(Files, "rename", late)

    with pytest.raises(Busy, match="with an older release"):
        _raise(old)

    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(1,)]


def test_a_live_process_of_the_older_release_is_not_cut_off(old: Path) -> None:
    """It would go on writing rows that count nothing."""
    _begin_to_drive(old)

    with pytest.raises(Busy, match="with an older release"):
        _raise(old)

    assert _rows(old, "PRAGMA user_version") == [(1,)]
    assert not old.with_name("statepipe.db.v1").exists()


def test_who_only_looks_is_told_how_to_raise_it(old: Path) -> None:
    """A reader changes nothing, so it cannot do it itself."""
    with pytest.raises(StoreUnusable, match="has store version 1") as refusal:
        open_reader(old)

    assert refusal.value.next_step.startswith("statepipe migrate")


def test_a_copy_that_cannot_be_made_changes_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the copy there is no way back, so there is no way forward."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("statepipe.store.file.files.Files.fsync", full)

    with pytest.raises(StoreUnusable, match="No space"):
        _raise(old)

    assert _rows(old, "PRAGMA user_version") == [(1,)]
    assert [path.name for path in old.parent.iterdir() if "v1" in path.name] == []
