"""
What a task takes and gives between two commits.

    Batch    records, and where the source goes on after them
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Records handled between two commits.

    Attributes:
        records: A list of dicts, or any table that speaks the Arrow PyCapsule
            stream interface (`__arrow_c_stream__`).
        cursor: Plain data: where the source goes on after this batch. Only
            sources set it; None means the batch count is the only position.
    """

    records: Any
    cursor: Any = None
    #: What `records` are made of if somebody asks for them; None once they are made.
    _lying: Any = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def deferred(cls, records: Sequence[dict[str, Any]], *, cursor: Any) -> Self:  # noqa: ANN401  (plain data)
        """Return a batch of `records`, which become a list of dicts when that is asked for."""
        batch = cls.__new__(cls)
        object.__setattr__(batch, "cursor", cursor)
        object.__setattr__(batch, "_lying", records)
        return batch

    @property
    def untouched(self) -> Any:  # noqa: ANN401  (as `records`)
        """The records as they lie, if nobody can have changed them; else `records`."""
        return self.records if self._lying is None else self._lying


def _make_records(batch: Batch, name: str) -> Any:  # noqa: ANN401  (a list of dicts)
    """Make the records of a deferred batch; Python asks here only for what a batch has not."""
    if name != "records":
        raise AttributeError(name, name=name, obj=batch)
    records = list(batch._lying)  # noqa: SLF001  (a method but for its place)
    object.__setattr__(batch, "records", records)
    object.__setattr__(batch, "_lying", None)
    return records


Batch.__getattr__ = _make_records  # type: ignore[attr-defined]  # else any misspelt name would pass
