"""
How long we wait for a PostgreSQL server, and whether it is worth coming back.

    PATIENCE      parameters of libpq: a peer that is gone is noticed within half a minute
    is_refusal    did the server refuse us for good, or only now?

No library here: whoever connects to PostgreSQL by another one asks the same.
"""

from typing import Final

#: Seconds, and milliseconds for the last.
PATIENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

#: A server that says one of these to a newcomer may take it in later.
_LATER: Final = ("starting up", "shutting down", "recovery", "too many", "reserved for")


def is_refusal(said: str) -> bool:
    """Return True if `said`, why connecting failed, is about user, password, database, access."""
    return "FATAL" in said and not any(word in said for word in _LATER)
