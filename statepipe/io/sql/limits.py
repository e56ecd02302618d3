"""
How long a database may take.

    SqlLimits    of a statement, of a lock, of a transaction that reads
"""

from dataclasses import dataclass

from statepipe.io.limits import refuse_below_one


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlLimits:
    """
    Limits of one read.

    Attributes:
        statement_ms: Milliseconds of one statement, kept by PostgreSQL; elsewhere the
            state's `timeout` is the only limit.
        lock_ms: Milliseconds of waiting for somebody else's lock, in PostgreSQL and SQLite.
        snapshot_ms: Milliseconds, from the first row on, after which a transaction ends and
            another one reads on: for as long the server keeps what others delete. SQLite
            gets a transaction for each batch.

    Raises:
        DefinitionError: If one of them is below 1.
    """

    statement_ms: int = 300_000
    lock_ms: int = 30_000
    snapshot_ms: int = 60_000

    def __post_init__(self) -> None:
        """Refuse limits that no database could keep."""
        refuse_below_one(self)
