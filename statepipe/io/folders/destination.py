"""
A destination of files: one table of one folder, for the protocol of `io.exactly_once`.

    FolderDestination.load      one batch, one file
        write                   under a name that nobody lists, fsynced, before anything is locked
        BEGIN                   of the ledger, a SQLite file beside the tables: one loader at a time
        rename                  of what others have committed and not shown, if files have columns
        the fence, the ledger   `io.ledger`
        COMMIT                  from here on the batch is loaded
        rename                  from here on readers see it; whoever comes next does it if we died
        unlink                  what killed attempts have written of the batch
    FolderDestination.publish   the link of a table that is replaced leads to the new folder
    FolderDestination.ledger    what the destination has, for reconciling with the plan

The name of a file is the identity of its batch, so a file is there once however often it is
put there, and readers need no more than the names: `*.parquet`, `*.jsonl`. A row of the ledger
counts only if its file is there.
"""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn

from statepipe.errors import DataError, DefinitionError, is_full
from statepipe.io import drafts, exactly_once, ledger
from statepipe.io.exactly_once import ChangedError
from statepipe.io.fitting import Fitted
from statepipe.io.folders.files import Files
from statepipe.io.folders.formats import Format, Written
from statepipe.io.folders.versions import Versions
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.rows import Records
from statepipe.io.sqlite.connection import Connect
from statepipe.io.sqlite.destination import BUSY_MS, SqliteDestination
from statepipe.io.table import check_table_name

#: A version's name has the table's folder above it, a file's its own parts.
_NAME_BYTES_MAX: Final = 200

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")

#: The name of a batch's file but for its suffix: generation, visit, number, and whose it is.
_FILE: Final = re.compile(
    r"[A-Za-z0-9_-]*\.g([0-9]{1,18})\.[A-Za-z0-9_-]*\.v([0-9]{1,18})\.n([0-9]{1,18})"
    r"\.([0-9a-f]{16})"
)


class FolderDestination:
    """
    One table of one folder.

    Used by one thread. What is missing of the folder is made by the first load, but not
    its parent.

    Args:
        root: The folder of all tables.
        format: What a batch is in a file.
        table: The table, a folder in `root`.
        key: Must be none: what is in a file is not replaced row by row.
        replace: Load into a folder of its own, which `publish` puts in the place of what
            there was.
        busy_ms: Longest wait for another loader, in milliseconds.
        connect: Opens the ledger; a test may hand in one that fails.
        files: The operations on files; a test may own them.

    Raises:
        DefinitionError: If `table` cannot be a folder's name, or there is a key.
    """

    def __init__(
        self,
        root: Path,
        *,
        format: Format,  # noqa: A002  (the word for it)
        table: str,
        key: tuple[str, ...] = (),
        replace: bool = False,
        busy_ms: int = BUSY_MS,
        connect: Connect | None = None,
        files: Files | None = None,
    ) -> None:
        _check_table(table)
        if key:
            raise DefinitionError(
                f"files cannot be upserted into by {', '.join(key)!a}",
                meaning="nothing was loaded",
                next_step='remove key, to append, or write mode = "replace"; or load into a'
                " database",
            )
        self.root = root
        self.table = table
        self._format = format
        self._replace = replace
        self._files = files or Files()
        self._versions = Versions(root, table, files=self._files)
        self._ledger = SqliteDestination(
            root / "_statepipe" / "ledger.db", table=table, busy_ms=busy_ms, connect=connect
        )
        self._folder = root / table  # that is written: the draft's, if there is to be one
        self._was_there = False
        self._columns: Any = None
        self._temporary = ""  # what the name of a file of this batch begins with at first
        self._written: Path | None = None  # not committed yet
        self._pending: tuple[Path, Path] | None = None  # committed, and how it is called then

    @property
    def is_shared(self) -> bool:
        """True: files are written side by side, and whoever comes second waits for the ledger."""
        return True

    def load(self, batch: LoadBatch) -> Landed:
        """Load `batch` unless the ledger has it; see `Destination.load`."""
        with self._told():
            return exactly_once.load(self, batch)

    def publish(self, batch: LoadBatch) -> None:
        """Put the new folder in place, if there is to be one; see `Destination.publish`."""
        with self._told():
            if self._replace:
                exactly_once.publish(self, batch)

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> list[LedgerRow]:
        """Return the ledger's rows of one stay for this table whose files are there."""
        if not self._ledger.path.exists():
            return []
        stay: dict[str, Any] = {
            "store_id": store_id,
            "instance": instance,
            "generation": generation,
            "state": state,
            "visit": visit,
        }
        facts = {"number": 0, "epoch": 1, "digest": b"", "records": []}
        some = LoadBatch(**stay, **facts)  # type: ignore[arg-type]  # they are its own
        folder = self._folder_of(some)
        rows = self._ledger.ledger(**stay)
        if self._replace and not folder.is_dir():
            return rows  # it was replaced in its turn
        base = _base(some)
        return [
            row
            for row in rows
            if not row.records or (folder / self._name(base, row.number)).is_file()
        ]

    def close(self) -> None:
        """Let go of the ledger; the next call opens it again."""
        self._pending = None
        with suppress(OSError):
            self._drop_written()
        self._ledger.close()

    @property
    def name(self) -> str:
        """The folder, for errors."""
        return str(self.root)

    def look(self, batch: LoadBatch) -> None:
        """Make the folders of all tables, and bring what an earlier attempt has left to its end."""
        if not self.root.parent.is_dir():
            self._fail(f"its parent {self.root.parent} does not exist", "make it, then resume")
        ledger.refuse_missing(self._ledger.path, batch, table=self.table, name=self.name)
        self._files.make_folder(self.root)
        self._files.make_folder(self._ledger.path.parent)
        self._folder = self._folder_of(batch)
        if self._replace and self._versions.is_foreign():
            self._fail(
                f"{self._versions.link} was not made by a load that replaces, so nothing can"
                " take its place in one step",
                "move it away, then resume",
            )
        self._columns = self._format.columns(self._folder)
        self._temporary = f"{self._name(_base(batch), batch.number)}."
        if self.has_ledger():
            self._go_on(batch)

    def has_ledger(self) -> bool:
        """Return True if the folder has a ledger."""
        return self._ledger.has_ledger()

    def create_ledger(self) -> None:
        """Make the ledger's tables if they are not there."""
        self._ledger.create_ledger()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401  (a cursor)
        """Run a statement on the ledger."""
        return self._ledger.execute(sql, parameters)

    def fit(self, records: Records) -> Fitted[Any]:
        """Write what fits into a file that is not one of the table yet."""
        written: Written = self._format.fit(records, self._columns)
        if written.records:
            path = self._ledger.path.with_name(f"{self._temporary}{self._files.token()}.tmp")
            self._drop_written()
            self._written = path
            self._files.write(path, written.write)
        return Fitted([], written.rejects, {})

    def begin(self, batch: LoadBatch) -> None:  # noqa: ARG002  (a lock needs no name here)
        """Lock the ledger; the table must have the columns that it had."""
        self.execute("BEGIN IMMEDIATE")
        if self._format.has_columns and self.has_ledger():
            self._show_committed()
        if self._format.columns(self._folder) != self._columns:
            raise ChangedError
        self._was_there = self._folder.is_dir()  # another process may have made it since `look`

    def put(self, batch: LoadBatch, fitted: Fitted[Any]) -> None:  # noqa: ARG002  (it is written)
        """Move the file beside its last name, where readers do not see it yet."""
        if self._replace and not self._was_there:
            drafts.refuse_lost(self.execute, batch, table=self.table)
            self._versions.drop_drafts(prefix=drafts.prefix_of(batch, self.table))
        if self._written is None:
            return
        if self._replace:
            self._versions.make(self._folder.name)
        else:
            self._files.make_folder(self._folder)
        pending, final = self._names(batch)
        self._files.rename(self._written, pending)
        self._written, self._pending = None, (pending, final)

    def swap(self, batch: LoadBatch) -> None:
        """Let the table's name lead to what was loaded; if nothing was, to an empty folder."""
        if not self._was_there:
            drafts.refuse_lost(self.execute, batch, table=self.table)
            self._versions.make(self._folder.name)
        self._versions.publish(self._folder.name)

    def commit(self) -> None:
        """Commit, and only then let readers see the file."""
        self._ledger.commit()
        if self._pending is not None:
            (pending, final), self._pending = self._pending, None
            self._show(pending, final)
            self._drop_left()

    def rollback(self) -> None:
        """End the transaction if there is one, and forget what was written."""
        self._pending = None
        self._ledger.rollback()
        with suppress(OSError):
            self._drop_written()

    def forget(self) -> None:
        """Do nothing: all is looked at each time."""

    def _drop_left(self) -> None:
        """Remove what other attempts have written of the batch, which is loaded by now."""
        for left in self._ledger.path.parent.glob(f"{self._temporary}*.tmp"):
            with suppress(OSError):  # it takes room and nothing else
                self._files.unlink(left)

    def _go_on(self, batch: LoadBatch) -> None:
        """Show the file of a batch that the ledger has; without one it is loaded again."""
        there = ledger.find(self.execute, batch, table=self.table)
        pending, final = self._names(batch)
        if there is None or not there.records:
            return
        if not final.is_file() and pending.is_file():
            self._show(pending, final)
        if final.is_file():  # asked again: another loader may show it at any moment
            self._files.sync(final.parent)  # whoever renamed it may have died before that
            self._drop_left()
        elif self._folder.is_dir() or not self._replace:  # otherwise all of the draft is lost
            ledger.drop(self.execute, batch, table=self.table)

    def _show_committed(self) -> None:
        """
        Show the files of all batches that the ledger has.

        Whoever has committed one may be dead, or slow. Its columns are those of the table, and
        nobody would know of them before its instance is resumed.
        """
        for pending in sorted(self._folder.glob(f".*{self._format.suffix}.pending")):
            final = pending.with_name(pending.name[1:].removesuffix(".pending"))
            named = _FILE.fullmatch(final.name.removesuffix(self._format.suffix))
            if named is None:
                continue
            *numbers, own = named.groups()
            whose = ledger.whose(self.execute, *map(int, numbers), table=self.table)
            if any(own == _own(*each) for each in whose):
                self._show(pending, final)

    def _show(self, pending: Path, final: Path) -> None:
        with suppress(FileNotFoundError):  # another process of the same batch was first
            self._files.rename(pending, final)
        self._files.sync(final.parent)

    def _folder_of(self, batch: LoadBatch) -> Path:
        if self._replace:
            return self._versions.folder(drafts.name_of(batch, self.table))
        return self.root / self.table

    def _names(self, batch: LoadBatch) -> tuple[Path, Path]:
        name = self._name(_base(batch), batch.number)
        return self._folder / f".{name}.pending", self._folder / name

    def _name(self, base: tuple[str, str], number: int) -> str:
        return f"{base[0]}.n{number:06d}.{base[1]}{self._format.suffix}"

    def _drop_written(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            self._files.unlink(written)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise what errors of the disk and of the ledger mean."""
        try:
            with self._ledger.told():
                yield
        except OSError as error:
            self.close()
            reason, next_step = f"{error}", "see to the folder, then resume"
            if is_full(error):
                reason, next_step = "its disk is full", "free some space, then resume"
            elif error.errno == errno.EXDEV:
                reason = f"{self.root / self.table} is on another file system than its ledger"
                next_step = "name a folder in `to` that is on the table's own; then resume"
            elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                next_step = "let this user write there, then resume"
            self._fail(reason, next_step, cause=error)

    def _fail(self, reason: str, next_step: str, cause: Exception | None = None) -> NoReturn:
        raise DataError(
            f"cannot load into {self.root}: {reason}",
            meaning="this batch is not there, or will be with the next attempt; never half",
            next_step=next_step,
        ) from cause


def _base(batch: LoadBatch) -> tuple[str, str]:
    """Return what the files of one stay are called: for people, and for being one's own."""
    said = [_UNSAFE.sub("_", part)[:60] for part in (batch.instance, batch.state)]
    own = _own(batch.store_id, batch.instance, batch.state)
    return f"{said[0]}.g{batch.generation}.{said[1]}.v{batch.visit}", own


def _own(store_id: str, instance: str, state: str) -> str:
    return sha256(f"{store_id}/{instance}/{state}".encode()).hexdigest()[:16]


def _check_table(table: str) -> None:
    check_table_name(table)
    if "/" in table or table.startswith((".", "_")) or len(table.encode()) > _NAME_BYTES_MAX:
        raise DefinitionError(
            f"the table name {table[:80]!a} cannot name a folder",
            meaning="nothing was loaded",
            next_step=f"choose a name without /, not beginning with . or _, of at most"
            f" {_NAME_BYTES_MAX} bytes",
        )
