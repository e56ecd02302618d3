"""Opening: only what is sound, ours and of this version; and what an open store insists on."""

import errno
import os
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from statepipe.errors import Busy, StatepipeError, StoreUnusable
from statepipe.sqlite import APPLICATION_ID, sqlite3
from statepipe.store.file import opening, place, schema
from statepipe.store.file.connection import BUSY_MS
from statepipe.store.file.opening import open_reader, open_store
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.testing import ManualClock, violations
from tests.store import stores

CLOCK = ManualClock()


def refusal(path: Path, *, create: bool = True) -> StatepipeError:
    """Return what both ways to open `path` are refused with; it must be the same kind."""
    with pytest.raises(StatepipeError) as told:
        open_store(path, create=create, clock=CLOCK)
    with pytest.raises(type(told.value)):
        open_reader(path)
    return told.value


def test_a_missing_store_is_made_only_on_request(tmp_path: Path) -> None:
    """F6: `ls` in the wrong folder must not leave an empty store there."""
    path = tmp_path / "deep" / "down" / "statepipe.db"

    assert refusal(path, create=False).exit_code == 4
    assert not path.parent.exists()

    open_store(path, create=True, clock=CLOCK).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert violations(path) == []


def test_the_files_beside_a_store_are_its_owners_alone(tmp_path: Path) -> None:
    """R13: they hold the same data."""
    store = stores.opened(tmp_path)
    stores.created(store, "a")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert set(modes) >= {"statepipe.db", "statepipe.db-wal", "statepipe.db-shm"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"SQLite format 3\0" + b"garbage" * 1_000,
        bytes(4_096),
        b"id,name\n" * 10_000,
        b"\x1f\x8b\x08" + bytes(100),
    ],
    ids=["words", "a header alone", "zeros", "a CSV", "an archive"],
)
@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_store_is_named_and_left_alone(
    tmp_path: Path,
    content: bytes,
    create: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """R8: not one byte changes, and no -wal appears beside it."""
    path = tmp_path / "statepipe.db"
    path.write_bytes(content)

    error = refusal(path, create=create)

    assert isinstance(error, StoreUnusable)
    assert str(path) in error.message
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["statepipe.db"]


def test_an_empty_file_is_a_store_only_for_whoever_may_create(tmp_path: Path) -> None:
    """F6: SQLite takes it for a good empty database."""
    path = tmp_path / "statepipe.db"
    path.touch()

    assert "empty" in refusal(path, create=False).message
    assert path.stat().st_size == 0
    stores.opened(tmp_path)
    assert path.stat().st_size > 0


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "device", "dangling link", "loop"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    """Opening a FIFO would wait for ever."""
    path = tmp_path / "statepipe.db"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
        case "device":
            path.symlink_to("/dev/null")
        case "dangling link":
            path.symlink_to(tmp_path / "nowhere")
        case "loop":
            path.symlink_to(path)

    assert refusal(path, create=False).exit_code == 4


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """Even an empty one with a table, and even for `run`."""
    path = tmp_path / "statepipe.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE precious (x)")
        other.commit()
    content = path.read_bytes()

    assert "no statepipe store" in refusal(path).message
    assert path.read_bytes() == content


def test_a_store_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    """It says which version it has, and what to type."""
    stores.opened(tmp_path).close()
    path = tmp_path / "statepipe.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        newer.execute("PRAGMA journal_mode = delete")
    content = path.read_bytes()

    error = refusal(path)

    assert f"version {SCHEMA_VERSION + 1}" in error.message
    assert "upgrade" in error.next_step
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """WAL needs memory that all openers share."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path}/net {kind} rw 0 0\n", encoding="utf-8")
    stores.opened(tmp_path / "net").close()
    stores.opened(tmp_path / "network").close()
    monkeypatch.setattr(place, "Path", lambda _: mounts)

    assert kind in refusal(tmp_path / "net" / "statepipe.db").message
    stores.opened(tmp_path / "network").close()


def test_a_store_that_may_not_be_written_is_refused_to_writers_only(nobody: Path) -> None:
    """`ls` works on it; nothing claims to have committed."""
    store = stores.opened(nobody)
    stores.created(store, "a")
    store.close()
    store.path.chmod(0o400)

    with pytest.raises(StoreUnusable, match="may not be written"):
        open_store(store.path, create=True, clock=CLOCK)

    with closing(open_reader(store.path)) as reader:
        assert reader.execute("SELECT id FROM instance").fetchall() == [("a",)]


def test_a_folder_that_may_not_be_written_is_named(nobody: Path) -> None:
    """Neither a new store nor the -wal of an old one can be made there."""
    stores.opened(nobody).close()
    nobody.chmod(0o500)

    with pytest.raises(StoreUnusable, match="cannot be made"):
        open_store(nobody / "new.db", create=True, clock=CLOCK)
    with pytest.raises(StoreUnusable):
        open_store(nobody / "statepipe.db", create=False, clock=CLOCK)


def test_a_folder_that_may_not_be_searched_is_named(nobody: Path) -> None:
    """Not taken for a missing store, which `run` would make."""
    stores.opened(nobody).close()
    nobody.chmod(0o000)

    assert "Permission denied" in refusal(nobody / "statepipe.db").message


# ---- an open store --------------------------------------------------------------------


def test_every_pragma_is_set_and_read_back(tmp_path: Path) -> None:
    """Step 0d."""
    store = stores.opened(tmp_path)

    now = {
        name: store.connection.execute(f"PRAGMA {name}").fetchone()
        for name in ("application_id", "user_version", *opening._PRAGMAS, "busy_timeout")
    }

    assert now.pop("mmap_size") in (None, (0,))
    assert now == {
        "application_id": (APPLICATION_ID,),
        "user_version": (SCHEMA_VERSION,),
        "journal_mode": ("wal",),
        "synchronous": (2,),
        "foreign_keys": (1,),
        "wal_autocheckpoint": (0,),
        "trusted_schema": (0,),
        "cell_size_check": (1,),
        "busy_timeout": (BUSY_MS,),
    }


def test_a_pragma_that_does_not_take_refuses_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without WAL would otherwise pass unnoticed."""
    stores.opened(tmp_path).close()
    monkeypatch.setitem(opening._PRAGMAS, "journal_mode", "truncate ")

    with pytest.raises(StoreUnusable, match="does not accept journal_mode"):
        open_store(tmp_path / "statepipe.db", create=False, clock=CLOCK)


def test_a_reader_can_change_nothing(tmp_path: Path) -> None:
    """Whatever SQL it is given."""
    stores.created(stores.opened(tmp_path), "a")

    with closing(open_reader(tmp_path / "statepipe.db")) as reader:
        for sql in ("DELETE FROM plan", "PRAGMA user_version = 9", "CREATE TABLE x (y)"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute(sql)


def test_a_transaction_that_upgrades_is_refused_whatever_the_timeout(tmp_path: Path) -> None:
    """Why every BEGIN here is IMMEDIATE."""
    first, second = stores.opened(tmp_path), stores.opened(tmp_path)
    first.connection.execute("BEGIN")
    first.connection.execute("SELECT count(*) FROM instance").fetchone()
    stores.created(second, "a")

    with pytest.raises(sqlite3.OperationalError, match="locked") as told:
        first.connection.execute("DELETE FROM policy")

    assert told.value.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
    first.connection.execute("ROLLBACK")


def test_a_lock_that_is_never_given_up_ends_in_busy(tmp_path: Path) -> None:
    """F7: a bounded wait, then a clear refusal."""
    first, second = stores.opened(tmp_path), stores.opened(tmp_path)
    second.connection.execute("PRAGMA busy_timeout = 20")
    first.connection.execute("BEGIN IMMEDIATE")

    with pytest.raises(Busy, match="stayed locked"):
        stores.created(second, "a")

    first.connection.execute("ROLLBACK")
    stores.created(second, "a")


def test_what_breaks_inside_a_transaction_takes_all_of_it_back(tmp_path: Path) -> None:
    """Also a KeyboardInterrupt, and what is no error of SQLite."""
    store = stores.opened(tmp_path)

    for error in (KeyboardInterrupt, ValueError):
        with suppress(error), store.write() as connection:
            connection.execute("INSERT INTO policy VALUES ('x', '{}')")
            raise error

    assert stores.count(store, "policy") == 0
    assert not store.connection.in_transaction


_OPEN_FIRST = """
import sys
from pathlib import Path
from statepipe.clock import SystemClock
from statepipe.store.file.opening import open_store
for line in sys.stdin:
    store = open_store(Path(line.strip()), create=True, clock=SystemClock())
    print(store.store_id, flush=True)
    store.close()
"""


def test_six_processes_that_open_first_at_once_make_one_store(tmp_path: Path) -> None:
    """One schema, one store id, no "database is locked"; again and again, as it is a race."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN_FIRST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for number in range(20):
        path = tmp_path / str(number) / "statepipe.db"
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"{path}\n")
            child.stdin.flush()
        ids = {child.stdout.readline() for child in children if child.stdout is not None}
        assert len(ids) == 1, [child.communicate(timeout=30)[1] for child in children]
    assert violations(path) == []

    said = [child.communicate(timeout=30) for child in children]
    assert {child.returncode for child in children} == {0}, said


def test_a_store_at_rest_can_be_read_where_no_file_can_be_made(tmp_path: Path) -> None:
    """A full or a read-only disk: SQLite wants a -shm file even to read, and cannot have it."""
    store = stores.opened(tmp_path)
    stores.created(store, "a")
    store.close()
    shm = store.path.with_name(store.path.name + "-shm")
    shm.mkdir()  # what stands there cannot be opened as a file

    reader = open_reader(store.path)

    assert reader.execute("SELECT id FROM instance").fetchall() == [("a",)]
    reader.close()


def test_a_store_that_another_process_is_making_is_no_foreign_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it writes between two looks at the file: they see one moment of it."""
    path = tmp_path / "statepipe.db"
    with closing(sqlite3.connect(path)) as made:  # as far as the other one has come
        made.execute("PRAGMA journal_mode = WAL")
    version_of = schema.version_of

    def meanwhile(connection: sqlite3.Connection) -> int:
        monkeypatch.setattr(opening, "version_of", version_of)
        open_store(path, create=True, clock=CLOCK).close()
        return version_of(connection)

    monkeypatch.setattr(opening, "version_of", meanwhile)
    open_store(path, create=True, clock=CLOCK).close()

    assert violations(path) == []


def test_a_store_that_cannot_be_opened_for_want_of_descriptors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever needed one: it is an error of ours, and says so."""

    def exhausted() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/proc/self/timens_offsets")

    monkeypatch.setattr(opening, "SystemClock", exhausted)

    with pytest.raises(StoreUnusable, match="Too many open files"):
        open_store(tmp_path / "statepipe.db", create=True, clock=CLOCK)
