"""
The one module that chooses the SQLite library.

`pysqlite3` (the `sqlite` extra) carries a SQLite without the WAL-reset bug and
wins if it can be imported; sqlite-utils makes the same choice by itself. Two
SQLite libraries on one file in one process drop each other's POSIX locks and
lose acknowledged commits (F4 of docs/reliability.md), so nothing else may import either.
"""

from typing import Final

try:
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:
    import sqlite3

__all__ = ["APPLICATION_ID", "WAL_RESET_FIXED", "sqlite3"]

#: The application_id of a checkpoint store, by which nobody takes it for a warehouse: "stpi".
APPLICATION_ID: Final = 0x73747069

#: True if this SQLite cannot lose commits when two connections checkpoint at once
#: (fixed in 3.51.3, and in the 3.50.7 and 3.44.6 branches; F11).
WAL_RESET_FIXED: bool = (
    sqlite3.sqlite_version_info >= (3, 51, 3)
    or (3, 50, 7) <= sqlite3.sqlite_version_info < (3, 51, 0)
    or (3, 44, 6) <= sqlite3.sqlite_version_info < (3, 45, 0)
)
