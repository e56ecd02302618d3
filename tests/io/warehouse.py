"""
What tests of destinations share: batches, faults, and what each kind of database can be asked.

    batch       what the engine would ask
    Faults      dies or fails at the n-th statement; Crash is how a process dies
    Warehouse   one database of one kind, as its owner and other processes see it
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeVar

from statepipe.io.declared import Declared
from statepipe.io.destinations import Destination, LoadBatch
from statepipe.io.rows import Records, Value

ROWS: Final = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]

Result = TypeVar("Result")


class Crash(BaseException):
    """The process dies here; nothing after it runs."""


class Faults:
    """
    Makes connections fail that share one count of statements.

    Args:
        at: Which statement fails, from 0; -1 for none.
        after: True if it fails when it is done, False if instead.
        error: What is raised.
    """

    def __init__(self, *, at: int = -1, after: bool = False, error: BaseException) -> None:
        self.at = at
        self.after = after
        self.error = error
        self.statements: list[str] = []
        self.opened: list[Any] = []

    def run(self, sql: str, call: Callable[[], Result]) -> Result:
        """Do one statement, or fail instead of it or right after it."""
        number = len(self.statements)
        self.statements.append(sql.strip())
        if number == self.at and not self.after:
            raise self.error
        try:
            result = call()
        except Exception:
            # A statement that fails by itself is a place to die after, like any other.
            if number == self.at:
                raise self.error from None
            raise
        if number == self.at:
            if hasattr(result, "close"):
                result.close()  # or the traceback would keep a cursor's lock
            raise self.error
        return result

    def die(self) -> None:
        """Close what the dead process had open, as the kernel does: uncommitted work is gone."""
        for connection in self.opened:
            connection.close()


class Warehouse(Protocol):
    """
    A destination of one kind, empty at first.

    SQL that is given to it is of the kind that all of them take.

    Attributes:
        upserts: True if it is a database: its tables have keys and constraints.
        stride: From one statement at which tests kill to the next; a soak takes them all.
    """

    upserts: bool
    stride: int

    @property
    def kind(self) -> str:
        """What it is: "sqlite", "postgres", "duckdb", "parquet", "jsonl"."""

    def destination(
        self,
        *,
        table: str = "t",
        key: tuple[str, ...] = (),
        replace: bool = False,
        declared: Declared | None = None,
        faults: Faults | None = None,
    ) -> Destination:
        """Return a destination that does not wait long for anybody."""

    def query(self, sql: str) -> list[Any]:
        """Return what another process reads."""

    def script(self, sql: str) -> None:
        """Run statements as the owner of the database would."""

    def clear(self) -> None:
        """Drop the table `t` and the ledger, whichever are there."""

    def tables(self) -> set[str]:
        """Return the names of all tables."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep everybody else from writing to the table `t`."""

    def failure(self) -> Exception:
        """Return what a statement raises when the disk cannot be read."""

    def lost(self) -> Exception:
        """Return what COMMIT raises when nobody can say whether it landed."""

    def refusing_triggers(self) -> str:
        """
        Return triggers of `t` that refuse the name "no" and ignore the name "hush".

        "" if triggers cannot do that here.
        """

    def is_same(self, stored: Value, value: Value) -> bool:
        """Return True if `stored` is the documented form of `value`."""

    def close(self) -> None:
        """Close what is open."""


def batch(records: Records = None, **identity: Value) -> LoadBatch:
    """Return a batch with a full identity, changed where `identity` says so."""
    facts: dict[str, Any] = {
        "store_id": "store-1",
        "instance": "i-1",
        "generation": 1,
        "state": "loading",
        "visit": 1,
        "number": 0,
        "epoch": 1,
        "digest": b"d" * 32,
        "records": ROWS if records is None else records,
    }
    return LoadBatch(**facts | identity)


def rejects_of(landed: Any) -> Iterator[tuple[int, str, str]]:  # noqa: ANN401  (a Landed)
    """Yield position, rule and path of each reject."""
    for entry in landed.rejects:
        yield entry["position"], entry["rule"], entry["path"]
