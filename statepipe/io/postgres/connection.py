"""
A connection to PostgreSQL: where to, with which secret, and what its errors mean for a load.

    parameters        an address as psycopg's parameters; a password is put in by reference
    open_connection   a connection that notices a dead network
    connect_by        the same or another's, its failure told without its parameters
    refusal           an error of the server as an error of ours
    is_about_rows     did the server refuse what is in a row, or something else?

No error of libpq's is passed on while connecting: what it raises carries the parameters,
password included, and what it says of an address that it cannot parse quotes it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from statepipe.errors import Busy, DataError, DefinitionError, StatepipeError, Unreachable
from statepipe.io import secrets
from statepipe.io.fitting import TOO_MANY_COLUMNS
from statepipe.io.postgres.patience import PATIENCE, is_refusal
from statepipe.observe import redact

_NOTHING: Final = "nothing of this batch was loaded"

Connect = Callable[[Mapping[str, Any]], psycopg.Connection]


def parameters(address: str, *, name: str) -> dict[str, Any]:
    """
    Return what `psycopg.connect` takes for `address`, its secret resolved.

    Args:
        address: A postgresql:// URL; its password may be a reference.
        name: What the machine calls it, for errors.

    Raises:
        DefinitionError: If it is no such URL, or the reference leads nowhere.
    """
    try:
        asked = dict(conninfo_to_dict(address))
    except psycopg.ProgrammingError:
        asked = {}
    if not asked:
        raise DefinitionError(
            f"{name} is no address of a PostgreSQL database",
            meaning="nothing was loaded",
            next_step="write postgresql://host:5432/database?user=…&password=env:NAME;"
            " percent-encode what is special in a URL",
        )
    password = str(asked.get("password") or "")
    if secrets.is_reference(password):
        password = asked["password"] = secrets.resolve(password)
    redact.hide(password)
    return {**PATIENCE, **asked, "client_encoding": "UTF8"}


def open_connection(asked: Mapping[str, Any]) -> psycopg.Connection:
    """Connect; transactions are begun and ended by statements, nothing is prepared."""
    # Statements that are prepared behind our back do not survive a pooler between us.
    return psycopg.connect(**asked, autocommit=True, prepare_threshold=None)


def connect_by(connect: Connect, asked: Mapping[str, Any], *, name: str) -> psycopg.Connection:
    """
    Return the connection that `connect` makes.

    Raises:
        DataError: If the server refuses us: user, password, database, access.
        Unreachable: If there is no server, or it takes nobody in now.
    """
    try:
        return connect(asked)
    except psycopg.Error as error:
        said = " ".join(str(error).split()).removeprefix("connection failed: ")
    # Raised out here, so that the library's error and its parameters are not kept with it.
    if is_refusal(said):
        raise DataError(
            f"cannot load into {name}: {said}",
            meaning="nothing was loaded by this attempt",
            next_step="correct user, password or database in `to`, or the server's"
            " pg_hba.conf; then resume",
        )
    raise Unreachable(
        f"{name} cannot be reached: {said}",
        meaning="whether a batch landed that was under way, the ledger says when it is back",
        next_step="see to the server, then resume",
    )


def is_about_rows(error: psycopg.Error) -> bool:
    """Return True if what is in a row was refused, so that others may pass."""
    if isinstance(error, errors.InvalidBinaryRepresentation | errors.BadCopyFileFormat):
        return False  # we would have sent something wrong
    state = error.sqlstate or ""
    if not state:
        return isinstance(error, psycopg.DataError)  # refused before it was sent
    return state[:2] in {"22", "23", "54"} or state in {"21000", "P0001"}


def refusal(error: psycopg.Error, *, name: str, busy_ms: int) -> StatepipeError:
    """Return what a failing statement means; nothing of the batch is there."""
    state = error.sqlstate or ""
    said = error.diag.message_primary or " ".join(str(error).split())
    if state in {"55P03", "40P01", "40001"}:
        return Busy(
            f"{name} was locked by somebody else for {busy_ms} ms: {said}",
            meaning=_NOTHING,
            next_step="end the other transaction (see pg_stat_activity), then resume",
        )
    is_lost = not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if is_lost or (state[:2] in {"08", "57"} and state != "57014"):
        return Unreachable(
            f"the connection to {name} was lost: {said}",
            meaning=_NOTHING,
            next_step="see to the server, then resume",
        )
    reason, next_step = said, "see to the database, then resume"
    if state == "53100":
        reason, next_step = f"its disk is full ({said})", "free some space, then resume"
    elif state == "54011":
        next_step = TOO_MANY_COLUMNS
    elif state == "42501":
        next_step = (
            "GRANT what is missing: SELECT, INSERT and UPDATE on the table and on"
            " _statepipe_epoch and _statepipe_ledger, USAGE on the sequence of a column, or"
            " CREATE on the schema; then resume"
        )
    elif state == "25006":
        next_step = "name the primary in `to` (target_session_attrs=read-write), then resume"
    elif state == "57014":
        next_step = "raise the role's statement_timeout, then resume"
    return DataError(f"cannot load into {name}: {reason}", meaning=_NOTHING, next_step=next_step)
