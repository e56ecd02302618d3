"""
Who is told of what was committed: after the commit, never before.

    Observers.changed     a change of this loop's own
    Observers.journaled   whatever else has a row in the journal: a claim, a resume, a rewind
    Observers.asked       what a person asked of an instance
    Observers.fenced      an instance is another process's now, which is in no journal of ours
"""

from collections.abc import Callable

from statepipe.model import Change, Status
from statepipe.runtime.driving import attempt as attempts
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.group import Entry
from statepipe.runtime.driving.inbox import Finished, Question
from statepipe.said import Fact
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup

Observer = Callable[[Drive, Change], None]
Log = Callable[[Fact], None]


class Observers:
    """
    Those who asked to be told.

    Args:
        observe: Told of each change.
        log: Told of everything, as a `Fact`.
    """

    def __init__(self, *, observe: Observer | None = None, log: Log | None = None) -> None:
        self._observe = observe
        self._log = log

    def changed(self, entry: Entry, *, attempt: int) -> None:
        """Tell of a committed change; `attempt` was under way, counted from 1."""
        drive, change = entry.drive, entry.change
        if self._log is not None:
            self._log(_fact(drive, change, entry.message, attempt=attempt))
        if self._observe is not None:
            self._observe(drive, change)

    def journaled(self, store: Store, n: int, seq: int) -> None:
        """Tell of the row that instance number `n` has in the journal under `seq`."""
        if self._log is not None:
            with store.translating():
                fact = lookup.journaled(store.connection, n, seq)
            if fact is not None:  # else we slept, and it is pruned
                self._log(fact)

    def asked(self, store: Store, instance_id: str, *, kind: str) -> None:
        """Tell of the wish that was just written down: a "request", a "cancel" or a "pause"."""
        if self._log is not None:
            with store.translating():
                n = lookup.find_instance(store.connection, instance_id).n
                seq = lookup.newest_seq(store.connection, n, kind=kind)
            self.journaled(store, n, seq)

    def fenced(self, drive: Drive, *, at_ms: int) -> None:
        """Tell that another process drives the instance now."""
        if self._log is not None:
            self._log(
                Fact(
                    kind="fenced",
                    event="fenced",
                    at_ms=at_ms,
                    machine=drive.program.name,
                    instance=drive.id,
                    source=drive.state,
                    target=drive.state,
                    status=Status.READY,
                    seq=drive.seq,
                    epoch=drive.epoch,
                    generation=drive.generation,
                )
            )


def _fact(
    drive: Drive, change: Change, message: Question | Finished | None, *, attempt: int
) -> Fact:
    """Return a committed change as a fact: what its row in the journal says, and the traceback."""
    fact = Fact(
        kind="move",
        event=change.event,
        at_ms=change.at_ms,
        machine=change.machine,
        instance=drive.id,
        source=change.source,
        target=change.state,
        status=change.status,
        seq=change.seq + 1,
        epoch=change.epoch,
        generation=drive.generation,
        attempt=attempt,
        took_ms=change.took_ms,
    )
    detail = change.detail
    if detail is None:
        return fact
    traceback = None
    if detail.error_class is not None and isinstance(message, Finished):
        traceback = attempts.traceback_of(message.future)
    return fact._replace(
        kind=detail.kind,
        attempt=detail.tried,
        records=detail.records,
        bytes=detail.bytes,
        rejected=detail.rejected,
        wake_at_ms=detail.wake_at_ms,
        error_class=detail.error_class,
        error=detail.error,
        traceback=traceback,
        note=detail.note,
    )
