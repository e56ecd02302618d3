"""
Incremental sources: which column says how far a machine has loaded.

    Incremental     the column, and how far to look back
"""

from dataclasses import dataclass
from typing import Any

from statepipe.machine.names import check_text
from statepipe.policy import DURATION_MS_MAX
from statepipe.tables import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Incremental:
    """
    The watermark of a source.

    Attributes:
        column: The column of its records whose highest value, once loaded, is the watermark:
            a number, text, a date or a datetime, the same type in every record.
        lookback_ms: How far before the watermark the next instance starts, for records that
            come late; of a date or datetime, in milliseconds.
        lookback: The same of a number, in its own unit. At most one of the two is given.
    """

    column: str
    lookback_ms: int | None = None
    lookback: int | float | None = None

    def __post_init__(self) -> None:
        """Refuse a column without a name and a lookback that is none, or two."""
        check_text("column", self.column)
        if self.lookback_ms is not None and self.lookback is not None:
            raise refusal(
                "lookback is given in time and in units", next_step='lookback = "2h", or 100'
            )
        if self.lookback_ms is not None and not 0 <= self.lookback_ms <= DURATION_MS_MAX:
            raise refusal(
                f"lookback is {self.lookback_ms} ms, outside 0..365 days",
                next_step='lookback = "2h"',
            )
        if self.lookback is not None and (
            type(self.lookback) not in {int, float} or not 0 <= self.lookback < float("inf")
        ):
            raise refusal(
                f"lookback is {self.lookback!r}, neither a duration nor a number from 0",
                next_step='lookback = "2h", or lookback = 100',
            )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for calls."""
        return {
            "column": self.column,
            "lookback_ms": self.lookback_ms,
            "lookback": self.lookback,
        }
