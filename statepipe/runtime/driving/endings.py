"""
How an attempt ended, and what a guard may ask about it.

    Ended       the event, and what it leaves
    Failure     why it did not end well
    Facts       what guards see of it
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from statepipe.drift import Drift
from statepipe.runtime.driving.drive import Drive
from statepipe.store.codec import decode


class Failure(NamedTuple):
    """Why an attempt did not end well; `names` are class names, most derived first."""

    names: tuple[str, ...]
    message: str
    retry_after_ms: int | None = None


class Ended(NamedTuple):
    """
    How an attempt ended.

    Attributes:
        event: What it raises: "ok", "error", "timeout" or the author's own.
        value: Its result, encoded by the codec, or None.
        produced: True if its batches are the next state's input.
        records: How many records it handled.
        rejected: How many of them went to quarantine.
        failure: Why it failed, None if it did not.
        note: Why it raised that event, for people; None if there is nothing to say.
        drifts: What halted it, if that was a source whose records changed their shape.
        job: "submitted" or "later" if it began a job elsewhere, or found it still going on.
    """

    event: str
    value: bytes | None
    produced: bool
    records: int | None
    rejected: int | None
    failure: Failure | None
    note: str | None = None
    drifts: tuple[Drift, ...] = ()
    job: str | None = None

    @property
    def is_plain(self) -> bool:
        """True if it leaves nothing to remember but that it ended."""
        return (
            self.value is None
            and self.records is None
            and self.failure is None
            and self.note is None
            and not self.produced
        )


class Facts(Mapping[str, Any]):
    """What a guard may ask about; worked out only if it asks."""

    def __init__(self, drive: Drive, ended: Ended) -> None:
        self._drive = drive
        self._ended = ended

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  (facts are of any type)
        drive, ended = self._drive, self._ended
        match name:
            case "result":
                return None if ended.value is None else decode(ended.value)
            case "params":
                return drive.params
            case "visits":
                return drive.picture.visits
            case "attempt":
                return drive.attempt + 1
            case "records":
                return ended.records or 0
            case "rejected":
                return ended.rejected or 0
            case _:
                raise KeyError(name)

    def __iter__(self) -> Any:  # noqa: ANN401  (an iterator of names)
        return iter(("result", "params", "visits", "attempt", "records", "rejected"))

    def __len__(self) -> int:
        return 6
