"""
The changes on their way to the store, until they share one commit.

    Entry       one change, and the message of an attempt that waits for it
    Group       collects entries, says when it is time, and commits them, and with them
                what attempts have said meanwhile
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from statepipe.clock import Clock
from statepipe.model import Attachment, Change
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.family import OTHERS_WORK, leaving
from statepipe.runtime.driving.inbox import Finished, Question
from statepipe.runtime.driving.permits import Permits
from statepipe.runtime.output.capture import Outbox
from statepipe.store.file.connection import Store
from statepipe.store.lookups.output import Output
from statepipe.store.walk.committer import Committer, Verdict

#: Changes in one commit, at most.
GROUP_MAX: Final = 1_024
#: How long a change may wait for others to share its commit, in milliseconds.
GROUP_WAIT_MS: Final = 20

#: How long a group waits for one more attempt of those that began with its members.
LINGER_MS: Final = 1


@dataclass(slots=True)
class Entry:
    """
    A change on its way to the store.

    Attributes:
        message: What it answers, if anything.
        instead: True if it is there because the store refused another one.
        refusal: What refused it; None until the store has.
    """

    drive: Drive
    change: Change
    message: Question | Finished | None
    instead: bool = False
    refusal: Exception | None = None


class Group:
    """
    Changes that will share a commit; at most one an instance.

    Args:
        store: The open store.
        outbox: What attempts say; if nothing else is committed, it gets a commit of its own.
        permits: What attempts give back when they end, likewise.

    Attributes:
        policies: Bodies (JSON) by digest of every policy a change may name.
    """

    def __init__(self, store: Store, outbox: Outbox, permits: Permits) -> None:
        self._outbox = outbox
        self._permits = permits
        self._clock: Clock = store.clock
        self._committer = Committer(store)
        self.policies: dict[str, str] = {}
        self._entries: list[Entry] = []
        self._attached: dict[int, Attachment] = {}
        self._since_ms = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry, attachment: Attachment | None) -> None:
        """Let a change wait for the next commit."""
        assert not entry.drive.pending, "one change an instance: the second is decided after"
        entry.drive.pending = True
        if entry.drive.part.work in OTHERS_WORK:
            attachment = leaving(entry.drive, entry.change, attachment)
        if not self._entries:
            self._since_ms = self._clock.boot_ms()
        if attachment is not None:
            self._attached[len(self._entries)] = attachment
        self._entries.append(entry)

    @property
    def is_due(self) -> bool:
        """True if the group is full, or its oldest member has waited long enough."""
        if not self._entries:
            return False
        return (
            len(self._entries) >= GROUP_MAX
            or self._clock.boot_ms() - self._since_ms >= GROUP_WAIT_MS
        )

    def commit(self) -> list[tuple[Entry, Verdict]]:
        """
        Commit what has come together; return each entry with what became of it.

        Raises:
            Busy, StoreUnusable: As `Committer.commit`; nobody may be told anything.
        """
        entries, attached = self._entries, self._attached
        if not entries:
            if self._outbox.is_due or self._permits.leaves is not None:
                self.commit_output()
            return []
        verdicts = self._commit([entry.change for entry in entries], attached)
        self._entries, self._attached = [], {}
        for index, entry in enumerate(entries):
            entry.drive.pending = False
            entry.refusal = self._committer.refusals.get(index)
        return list(zip(entries, verdicts, strict=True))

    def commit_output(self) -> None:
        """Commit what attempts have said, or a good part of it, and have given back."""
        self._commit([], {})

    def _commit(self, changes: list[Change], attached: Mapping[int, Attachment]) -> list[Verdict]:
        said = self._outbox.take()
        output = Output([parcel for _, parcel in said]) if said else None
        end = self._permits.leaves
        besides = [each for each in (output, end) if each is not None]
        verdicts = self._committer.commit(
            changes, attached, policies=self.policies, besides=besides
        )
        if end is not None:
            self._permits.left(end)
        if output is not None:
            for (capture, _), stored in zip(said, output.stored, strict=True):
                capture.was_stored(stored)
        return verdicts
