"""
What a batch is in a file.

    Format      fits a batch to the table and writes what fits
    Written     what a format does with one batch
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from statepipe.io.fitting import Why
from statepipe.io.rows import Records


class Written(NamedTuple):
    """
    A batch on its way into a file.

    Attributes:
        records: How many go into it; without any there is no file.
        rejects: Why not, by position, for the rest.
        write: Writes the file's content.
    """

    records: int
    rejects: dict[int, Why]
    write: Callable[[BinaryIO], None]


class Format(Protocol):
    """How records are written, and what the files of a table say of its columns."""

    @property
    def suffix(self) -> str:
        """What the files' names end with."""

    @property
    def has_columns(self) -> bool:
        """True if all files of a table have the same columns."""

    def columns(self, folder: Path) -> Any:  # noqa: ANN401  (each format's own)
        """Return what is known of the columns of the table in `folder`, None if nothing is."""

    def fit(self, records: Records, columns: Any) -> Written:  # noqa: ANN401  (as above)
        """
        Judge `records` by `columns`.

        Raises:
            DataError: If the batch cannot be written as a whole.
        """
