"""
What a destination is asked and what it answers.

    LoadBatch     one planned batch, with the identity its ledger row is kept under
    Landed        what the destination has of it now
    LedgerRow     one row of the ledger, for reconciling it with the plan
    Destination   where records are loaded; one implementation per scheme
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from statepipe.io.rejects import RejectEntry
from statepipe.io.rows import Records


def at_once() -> None:
    """Wait for nobody, tell nobody: the batch is the only one that is loaded now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBatch:
    """
    One batch of a committed plan.

    Attributes:
        store_id: Id of the checkpoint store; two stores may load into one destination.
        instance: Id of the instance.
        generation: From 1; rises at each rewind, so a rewound load is a new load.
        state: Name of the loading state.
        visit: From 1.
        number: Number of the batch in the plan, from 0.
        epoch: The right to drive the instance that this load is done under, from 1.
        digest: sha256 of the staged batch, as planned.
        records: Its records: a list of dicts, or a columnar table.
        appends: True if records are added whatever is there, so that who loads them twice has
            them twice.
        begun: True if others of the same stay were loaded before it, so that the ledger must be
            there; a ledger that is gone is not made anew.
        turn: Returns when all batches before it are loaded. Call it before anything is
            locked or written: what later batches say of a row must win.
        beat: Says that the load is alive. Call it between the parts of a long one; it raises
            TaskCancelled if the load was asked to stop.
    """

    store_id: str
    instance: str
    generation: int
    state: str
    visit: int
    number: int
    epoch: int
    digest: bytes
    records: Records
    appends: bool = False
    begun: bool = False
    turn: Callable[[], None] = field(default=at_once, compare=False)
    beat: Callable[[], None] = field(default=at_once, compare=False)


class Landed(NamedTuple):
    """
    What the destination has of one batch, committed there.

    `records + len(rejects)` is the number of records in the batch. Asking again
    gives the same answer, whatever happened to the table in between.
    """

    records: int
    rejects: list[RejectEntry]
    already: bool  # an earlier attempt had loaded it; nothing was written now


class LedgerRow(NamedTuple):
    """What the ledger has of one batch."""

    number: int
    records: int
    rejected: int
    digest: bytes
    epoch: int


class Destination(Protocol):
    """
    Where records are loaded; each batch exactly once if there is a ledger, else at least once.

    Attributes:
        is_shared: True if several processes may have it open at once, so that one can get
            a batch ready while another one loads.
    """

    @property
    def is_shared(self) -> bool:
        """True if several processes may have it open at once."""

    def load(self, batch: LoadBatch) -> Landed:
        """
        Load `batch` unless the ledger has it, rows and ledger row in one transaction.

        Raises:
            Fenced: If the destination has seen a higher epoch of this instance.
            LedgerMismatch: If the ledger has another batch under this identity; or if it
                appends, and the same stay has appended already, before a rewind; or if the
                ledger is gone and `batch.begun`.
            Busy: If somebody else kept the destination locked for too long.
            Unreachable: If its server is down, or was lost on the way.
            DataError: If the batch cannot be loaded as a whole; nothing of it was.
        """

    def publish(self, batch: LoadBatch) -> None:
        """
        Put all that was loaded in the place of what the table had, exactly once.

        Does nothing but in the mode `replace`. Readers see what was, and then what is.

        Args:
            batch: Without records, numbered behind the last one; its digest stands for all.

        Raises:
            LedgerMismatch: If what was loaded is not there any more.
            DataError: If it cannot be put there; the table has what it had.
            Fenced, Busy, Unreachable: As `load`.
        """

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> list[LedgerRow] | None:
        """Return the ledger's rows of one stay for this table, by batch number; None without."""

    def close(self) -> None:
        """Let go of the destination; a later call opens it again."""
