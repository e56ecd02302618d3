"""The WAL: restarted while work goes on, emptied when it rests, never without a bound."""

from pathlib import Path

import pytest

from statepipe.store.file import wal
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_reader
from tests.store import stores


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Open a store whose WAL may hold 64 KiB, and whose file 512 KiB; it was made before."""
    monkeypatch.setattr(wal, "WAL_FILE_BYTES_MAX", 512 * 1024)
    store = stores.opened(tmp_path)
    assert store.checkpoint_wal(above_bytes=0)  # what makes a store is larger than that
    return store


def write_kib(store: Store, kib: int) -> None:
    """Commit about so much."""
    with store.write() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS filler (data BLOB)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (kib * 1024,))


def size_of(store: Store) -> int:
    """Return the size of the WAL's file in bytes."""
    return store.path.with_name(store.path.name + "-wal").stat().st_size


def test_a_restarted_wal_is_written_over_and_not_extended(store: Store) -> None:
    """That is what makes the commits of a lone instance cheap."""
    write_kib(store, 100)
    assert store.checkpoint_wal(above_bytes=64 * 1024)
    before = size_of(store)

    write_kib(store, 20)

    assert size_of(store) == before
    assert not store.checkpoint_wal(above_bytes=64 * 1024), "it has not outgrown itself again"


def test_the_file_is_bounded_however_long_work_goes_on(store: Store) -> None:
    """A group that is larger than those before it makes the file grow, and then it is emptied."""
    store.checkpoint_wal(above_bytes=0)
    largest = 0
    for kib in range(50, 450, 20):
        write_kib(store, kib)
        store.checkpoint_wal(above_bytes=64 * 1024)
        largest = max(largest, size_of(store))

    assert largest <= wal.WAL_FILE_BYTES_MAX + 512 * 1024
    write_kib(store, 600)
    assert store.checkpoint_wal(above_bytes=64 * 1024)
    assert size_of(store) == 0


def test_a_reader_puts_a_checkpoint_off_and_is_not_waited_for_by_every_commit(
    store: Store,
) -> None:
    """It is tried again a second later; nothing is lost meanwhile."""
    reader = open_reader(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM store").fetchone()
    write_kib(store, 100)

    assert not store.checkpoint_wal(above_bytes=0)
    reader.execute("COMMIT")
    reader.close()
    assert not store.checkpoint_wal(above_bytes=0), "within the second"

    store.clock.advance(1_000)  # type: ignore[attr-defined]  # a ManualClock
    assert store.checkpoint_wal(above_bytes=0)
    assert size_of(store) == 0
