"""
A database that is read: where it is, with which secret, and what its errors mean.

    Database          one connection, made by the first statement; read only
    Database.begin    a transaction whose values and waits do not depend on anybody's settings
    Database.meaning  an error of the library as an error of ours

SQLite is opened by the library that the rest of the process uses, because two of them on one
file lose locks; and a file that is not there is not made. No error of the library's is passed
on: it quotes the statement with its values, and where it connects, all it was told.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.pool import NullPool

from statepipe.errors import Busy, DataError, DefinitionError, Fatal, Unreachable
from statepipe.io import secrets
from statepipe.io.postgres.patience import PATIENCE, is_refusal
from statepipe.io.relative import whence
from statepipe.io.sql.limits import SqlLimits
from statepipe.io.sql.records import Unreadable
from statepipe.observe import redact
from statepipe.sqlite import sqlite3

#: A server ends a transaction of ours that has been idle for so long, in milliseconds: its
#: process is stopped, and what the server keeps for it piles up.
_IDLE_MS: Final = 600_000

#: Values come out the same whatever the role or the server is set to, and none is rounded.
_POSTGRES: Final = text("""
SELECT set_config('transaction_read_only', 'on', true),
       set_config('TimeZone', 'UTC', true),
       set_config('DateStyle', 'ISO', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('extra_float_digits', '1', true),
       set_config('statement_timeout', :statement_ms, true),
       set_config('lock_timeout', :lock_ms, true),
       set_config('idle_in_transaction_session_timeout', :idle_ms, true)
""")

#: SQLite's primary result codes: busy, locked, and a lock that could not be got in the end.
_LOCKED: Final = frozenset({5, 6, 15})

_MEANING: Final = "batches read before are safe"


class Database:
    """
    One database, read only.

    Args:
        url: Its address as SQLAlchemy takes it; its password, or all of it, by reference.
        limits: How long it may take.

    Raises:
        Fatal: If it is no address, or a reference leads nowhere.
        DataError: If the library for such a database is not installed.
    """

    def __init__(self, url: str, *, limits: SqlLimits) -> None:
        address, self.name = _address(url)
        self.is_file = address.get_backend_name() == "sqlite"
        self._is_postgres = address.get_backend_name() == "postgresql"
        self._limits = limits
        self._engine = self._made(address)
        self._connection: Connection | None = None

    def begin(self) -> Connection:
        """Begin a transaction, or go on with the one that was begun, and return its connection."""
        if self._connection is None:
            self._connection = self._connect()
            if self._engine.driver == "psycopg":
                from statepipe.io.postgres.unreadable import refuse_misread  # noqa: PLC0415  (needs psycopg)

                refuse_misread(self._connection.connection.dbapi_connection)
        if not self._connection.in_transaction():
            self._connection.begin()
            if self.is_file:
                # Its driver begins none to read: each statement would see a file of its own.
                self._connection.exec_driver_sql("BEGIN")
            if self._is_postgres:
                limits = {
                    "statement_ms": self._limits.statement_ms,
                    "lock_ms": self._limits.lock_ms,
                    "idle_ms": _IDLE_MS,
                }
                given = {name: str(value) for name, value in limits.items()}
                self._connection.execute(_POSTGRES, given)
        return self._connection

    def end(self) -> None:
        """End the transaction; the connection stays."""
        if self._connection is not None:
            self._connection.rollback()

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):  # it may be gone
                connection.close()
        self._engine.dispose()

    def spell_out(self) -> bool:
        """From now on, give what Python has no value for as an Unreadable; False if we cannot."""
        if self._connection is None or self._engine.driver != "psycopg":
            return False
        from statepipe.io.postgres.unreadable import spell_out  # noqa: PLC0415  (needs psycopg)

        spell_out(self._connection.connection.dbapi_connection, Unreadable)
        return True

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what the library's errors inside mean, without them."""
        try:
            yield
        except SQLAlchemyError as error:
            meaning = self.meaning(error)
        else:
            return
        raise meaning

    def meaning(self, error: SQLAlchemyError) -> Exception:
        """Return what an error of a statement means."""
        cause = getattr(error, "orig", None) or error
        # PostgreSQL's message alone: around it, the library quotes the statement.
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
        said = primary or " ".join(str(cause).split())
        state = str(getattr(cause, "sqlstate", None) or "")
        code = getattr(cause, "sqlite_errorcode", None)
        if state in {"55P03", "40P01", "40001"} or (code is not None and code & 0xFF in _LOCKED):
            return Busy(
                f"{self.name} was locked by somebody else: {said}",
                meaning=_MEANING,
                next_step="end the other transaction, then resume",
            )
        if state == "57014":
            return TimeoutError(
                f"{self.name} ended a statement: {said}; SqlLimits(statement_ms=…) is what"
                f" it may take, now {self._limits.statement_ms} ms"
            )
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        is_its_trouble = state[:2] in {"08", "53", "57", "58"} or state == "25P03"
        # Another database's errors are not known well enough to give up for good.
        is_unknown = isinstance(error, OperationalError | InterfaceError) and not (
            self.is_file or self._is_postgres
        )
        if is_lost or is_its_trouble or is_unknown:
            return Unreachable(
                f"the connection to {self.name} was lost: {said}",
                meaning=_MEANING,
                next_step="see to the server, then resume",
            )
        if not isinstance(error, StatementError):
            said = f"{type(error).__name__}: {said}"
        return Fatal(f"{self.name} cannot be read: {said}; {_MEANING}")

    def _made(self, address: URL) -> Engine:
        asked: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True}
        if self.is_file:
            path = Path(address.database or "")
            asked |= {"module": sqlite3, "creator": lambda: self._open_file(path)}
        elif self._is_postgres:
            if "+" not in address.drivername:
                address = address.set(drivername="postgresql+psycopg")
            if address.get_driver_name() == "psycopg":
                asked["json_deserializer"] = _read_json
                # Statements that are prepared behind our back do not survive a pooler.
                told = {"client_encoding": "UTF8", "prepare_threshold": None}
                asked["connect_args"] = {**PATIENCE, **told, **_said(address)}
        try:
            return create_engine(address, **asked)
        except NoSuchModuleError:
            problem: Exception = Fatal(
                f"SQLAlchemy knows no database {address.drivername!r}; nothing was read"
            )
        except ImportError as error:
            # The name of a module need not be that of the package that has it.
            remedy = (
                'pip install "statepipe[postgres]"'
                if self._is_postgres
                else f"install the package that has {error.name}; it may be called otherwise:"
                " https://docs.sqlalchemy.org/dialects/ names the drivers"
            )
            problem = DataError(
                f"{self.name} needs {error.name}, which is not installed",
                meaning="nothing was read",
                next_step=remedy,
            )
        raise problem

    def _connect(self) -> Connection:
        try:
            return self._engine.connect()
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            said = " ".join(str(cause).split()).removeprefix("connection failed: ")
            meaning = self.meaning(error)
        # Raised out here, so that the library's error and its parameters are not kept with it.
        if self._is_postgres and not is_refusal(said):
            raise Unreachable(
                f"{self.name} cannot be reached: {said}",
                meaning=_MEANING,
                next_step="see to the server, then resume",
            )
        if self._is_postgres:
            raise Fatal(
                f"{self.name} refuses us: {said}; {_MEANING}. Correct user, password or database"
                " in the url, or the server's pg_hba.conf"
            )
        raise meaning

    def _open_file(self, path: Path) -> Any:  # noqa: ANN401  (a connection of whichever library)
        if not path.is_file():
            raise Fatal(f"{self.name} cannot be read: there is no such file{whence(path)}")
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        # Whoever closes a generator may be another thread than the one that read.
        return sqlite3.connect(
            uri, uri=True, timeout=self._limits.lock_ms / 1_000, check_same_thread=False
        )


def _address(url: str) -> tuple[URL, str]:
    """Return the address with its secret, and what it is called without one."""
    try:
        is_secret = secrets.is_reference(url)
        address = _parsed(secrets.resolve(url) if is_secret else url)
        if address is None:
            problem = f"{url if is_secret else 'the url'} is no address of a database"
        elif address.get_backend_name() == "sqlite" and address.database in {None, "", ":memory:"}:
            problem = "the url names no file; write sqlite:////absolute/name.db"
        else:
            return _with_secret(address, allowed=is_secret), url if is_secret else _name_of(address)
    except DefinitionError as error:
        problem = f"{error.message}: {error.next_step}"
    raise Fatal(f"{problem}; nothing was read")


def _parsed(url: str) -> URL | None:
    try:
        return make_url(url)
    except (SQLAlchemyError, ValueError):
        return None  # the error quotes it


def _with_secret(address: URL, *, allowed: bool) -> URL:
    """Return `address` with its password, which is a reference unless one is `allowed`."""
    query = dict(address.query)
    password = str(address.password or query.pop("password", None) or "")
    if not password:
        return address
    if secrets.is_reference(password):
        password = secrets.resolve(password)
    elif not allowed:
        raise DefinitionError(
            "the url has a password in it",
            meaning="nothing was read",
            next_step="write ?password=env:NAME at its end, or the whole address as a reference",
        )
    redact.hide(password)
    return address.set(password=password, query=query)


def _name_of(address: URL) -> str:
    return address.set(password=None, query={}).render_as_string()


def _said(address: URL) -> dict[str, Any]:
    return {name: value for name, value in address.query.items() if name in PATIENCE}


def _read_json(document: str | bytes) -> Any:  # noqa: ANN401  (any JSON)
    return json.loads(document, parse_float=_number)


def _number(written: str) -> float | Decimal:
    """Return a number of a JSON document; a Decimal if a float would be another number."""
    exact, near = Decimal(written), float(written)
    return near if Decimal(repr(near)) == exact else exact
