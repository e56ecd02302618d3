"""
One claimed instance in this process: a copy of its row, and the attempt under way.

The copy is replaced only after a commit was acknowledged (`committed`), never
before: on any failure it is thrown away and the row is read again.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Literal, cast

from statepipe.model import Change, Checkpoint, Stay
from statepipe.runtime.picture import Picture
from statepipe.runtime.program import UNKNOWN, Part, Program
from statepipe.store.codec import decode

Wish = Literal["cancel", "kill", "pause", "stop"]


class Drive:
    """
    One instance that this process has the right to move.

    Attributes:
        program: The machine it is an instance of.
        part: What runs in the state it is in; `UNKNOWN` if its machine does not have that.
        wish: What somebody asked of it and has not been honoured yet.
        leaves: Why this process lets it go, for the journal; None if it does not, or because of
            its queue.
        failed_state: The state it was cancelled in, while its `on_cancel` runs; else None.
        future: The attempt under way, None between attempts.
        ends_boot_ms: When the machine's deadline passes, None if it has none.
        attempt_id: Rises with each attempt, so that what a dead one says is not taken
            for what its successor says.
        began_boot_ms: When the attempt began, by the boot clock.
        heard_boot_ms: When it was last heard of.
        calls: How many calls of it have begun and not ended.
        pending: True while a change of it waits for its commit.
        places: The rows of `slot` that the attempt under way holds.
        waited_ms: How long it has waited for resources, as far as no change has said it.
        due_at_ms: When its timer was to ring, by the wall clock that armed it, if it was
            claimed because it rang and has not moved since; else None.
        job_ends_boot_ms: When the job that its attempt polls has had its time; None if it
            polls none.
        polls: How often that job was polled before.
    """

    __slots__ = (
        "attempt",
        "attempt_id",
        "batches",
        "began_boot_ms",
        "calls",
        "created_at_ms",
        "due_at_ms",
        "ends_boot_ms",
        "entered_at_ms",
        "epoch",
        "failed_state",
        "future",
        "generation",
        "heard_boot_ms",
        "id",
        "job_ends_boot_ms",
        "leaves",
        "lost",
        "n",
        "params",
        "part",
        "pending",
        "picture",
        "picture_bytes",
        "places",
        "polls",
        "priority",
        "program",
        "seq",
        "state",
        "waited_ms",
        "wish",
    )

    def __init__(self, checkpoint: Checkpoint, program: Program) -> None:
        self.program = program
        self.params: Mapping[str, Any] = decode(checkpoint.params)
        self.wish: Wish | None = None
        self.leaves: str | None = None
        self.future: Future[Mapping[str, Any]] | None = None
        self.ends_boot_ms: int | None = None
        self.attempt_id = 0
        self.began_boot_ms = 0
        self.heard_boot_ms = 0
        self.calls = 0
        self.pending = False
        self.places: tuple[int, ...] = ()
        self.waited_ms = 0
        self.due_at_ms = checkpoint.due_at_ms
        self.job_ends_boot_ms: int | None = None
        self.polls = 0
        self.refresh(checkpoint)

    def refresh(self, checkpoint: Checkpoint) -> None:
        """Copy the row as it was just read."""
        self.n = checkpoint.n
        self.id = checkpoint.id
        self.priority = checkpoint.priority
        self.created_at_ms = checkpoint.created_at_ms
        self.epoch = checkpoint.epoch
        self.seq = checkpoint.seq
        self.generation = checkpoint.generation
        self._enter(checkpoint.state)
        self.attempt = checkpoint.attempt
        self.lost = checkpoint.lost
        self.batches = checkpoint.batches
        self.entered_at_ms = checkpoint.entered_at_ms
        self.picture_bytes = checkpoint.picture
        self.picture = Picture.read(checkpoint.picture)
        self.failed_state = checkpoint.failed_state
        if checkpoint.request is not None:  # also if we only wanted to stop: it was promised
            self.wish = cast(Wish, checkpoint.request)
        elif self.wish == "pause":  # taken back, with its parent
            self.wish = None

    def committed(self, change: Change) -> None:
        """Take over what `change` made of the row; its commit was acknowledged."""
        self.seq += 1
        self.due_at_ms = None
        self._enter(change.state)
        detail = change.detail
        if detail is None:
            self.attempt = self.lost = self.batches = 0
            self.entered_at_ms = change.at_ms
            return
        self.attempt = detail.attempt
        self.lost = detail.lost
        self.batches = detail.batches
        self.failed_state = detail.failed_state
        self.entered_at_ms = detail.entered_at_ms
        if detail.waited_ms is not None:
            self.waited_ms = 0
        if detail.picture is not self.picture_bytes:
            self.picture_bytes = detail.picture
            self.picture = Picture.read(detail.picture)

    @property
    def must_end(self) -> bool:
        """True if somebody asked for its end: what its attempt still brings is not wanted."""
        return self.wish in ("cancel", "kill")

    @property
    def stay(self) -> Stay:
        """The stay it is in."""
        return Stay(self.generation, self.state, self.picture.visit(self.state))

    def _enter(self, state: str) -> None:
        self.state = state
        part = self.program.parts.get(state)
        if part is None and self.program.table.final_kind(state) is None:
            part = UNKNOWN
        if part is not None:  # in a final state nothing runs, and the drive ends
            self.part: Part = part
