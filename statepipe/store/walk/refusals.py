"""
What refuses one change of a group, and lets the others be committed.

    REFUSALS            what may be about one change alone
    raise_if_of_all     raise what is not
"""

from typing import Final

from statepipe.errors import Busy, StatepipeError, StoreUnusable
from statepipe.sqlite import sqlite3

#: A constraint, a value that SQLite cannot have, what our own statements refuse. A full disk, a
#: lock and a damaged file raise none of these.
REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,  # text that is no Unicode
    StatepipeError,
)


def raise_if_of_all(error: Exception, connection: sqlite3.Connection) -> None:
    """Raise what is about the store, or has ended the transaction, and not about one change."""
    if isinstance(error, (StoreUnusable, Busy)) or not connection.in_transaction:
        raise error
