"""A warehouse in a schema of its own of a real PostgreSQL server."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, cast

import psycopg
from psycopg import errors
from psycopg.sql import Composable, Composed
from psycopg.types.json import set_json_loads

from statepipe.io.declared import Declared
from statepipe.io.postgres.connection import Connect, open_connection
from statepipe.io.postgres.destination import PostgresDestination
from statepipe.io.rows import Value
from statepipe.io.values import adapt, write_json
from tests.io.postgres.server import Cluster
from tests.io.warehouse import Faults

_schemas = itertools.count(1)

#: JSON numbers are decimal; 1e16 and 10000000000000000 are the same one.
_json = partial(json.loads, parse_float=Decimal, parse_int=Decimal)


class PostgresWarehouse:
    """An empty schema, the only one of its search path."""

    kind = "postgres"
    upserts = True
    stride = 1

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.schema = f"w{next(_schemas)}"
        self._made: list[PostgresDestination] = []
        self.owner = cluster.owner(options=f"-csearch_path={self.schema}")
        self.owner.execute(f"CREATE SCHEMA {self.schema}")
        set_json_loads(_json, self.owner)

    def url(self, *, port: int = 0) -> str:
        """Return the address of the schema, the password written into it."""
        return self.cluster.url(port=port, options=f"-csearch_path={self.schema}")

    def destination(
        self,
        *,
        table: str = "t",
        key: tuple[str, ...] = (),
        replace: bool = False,
        declared: Declared | None = None,
        faults: Faults | None = None,
    ) -> PostgresDestination:
        """Return a destination that does not wait long for anybody."""
        connect = faulty(faults) if faults else None
        made = PostgresDestination(
            self.cluster.socket(options=f"-csearch_path={self.schema}"),
            name="the warehouse",
            table=table,
            key=key,
            replace=replace,
            declared=declared,
            busy_ms=50,
            connect=connect,
        )
        self._made.append(made)
        return made

    def query(self, sql: str) -> list[Any]:
        """Return what another process reads."""
        return self.owner.execute(sql).fetchall()

    def script(self, sql: str) -> None:
        """Run statements as the owner of the schema would."""
        self.owner.execute(sql or "SELECT 1")

    def clear(self) -> None:
        """Drop the table and the ledger."""
        for table in ("t", "_statepipe_epoch", "_statepipe_ledger"):
            self.script(f"DROP TABLE IF EXISTS {table}")

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        sql = f"SELECT tablename FROM pg_tables WHERE schemaname = '{self.schema}'"
        return {name for (name,) in self.query(sql)}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the table in a transaction of somebody else."""
        self.owner.execute("BEGIN; LOCK TABLE t")
        yield
        self.owner.execute("ROLLBACK")

    def failure(self) -> Exception:
        """Return an I/O error."""
        return errors.IoError("could not read block 7")

    def lost(self) -> Exception:
        """Return what libpq says of a connection that is gone."""
        return errors.OperationalError("server closed the connection unexpectedly")

    def refusing_triggers(self) -> str:
        """Return one trigger that does both."""
        return """
        CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.name = 'no' THEN RAISE EXCEPTION 'said no'; END IF;
          IF NEW.name = 'hush' THEN RETURN NULL; END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER judge BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION judge();
        """

    def is_same(self, stored: Value, value: Value) -> bool:
        """Return True if it is equal, or the text or the JSON that is documented."""
        if type(value) in {float, Decimal} and math.isnan(value):
            return math.isnan(stored)
        if type(value) is float and type(stored) is Decimal:
            return float(stored) == value
        if type(stored) is type(value) and stored == value:
            return True
        if type(stored) is float or type(stored) is Decimal:
            return type(value) in {int, Decimal} and bool(stored == value)
        if type(stored) is str:
            return stored == adapt(value) or stored == write_json(value)
        return bool(stored == _json(write_json(value)))

    def close(self) -> None:
        """Close all connections."""
        for made in self._made:
            made.close()
        self.owner.close()


def faulty(faults: Faults) -> Connect:
    """Return what opens connections that fail as `faults` says."""

    def connect(asked: Mapping[str, Any]) -> psycopg.Connection:
        real = open_connection(asked)
        faults.opened.append(real)
        return cast("psycopg.Connection", _FaultyConnection(real, faults))

    return connect


class _FaultyConnection:
    def __init__(self, real: psycopg.Connection, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Value:
        return getattr(self._real, name)

    def execute(self, sql: Any, parameters: Sequence[Any] | None = None) -> psycopg.Cursor[Any]:  # noqa: ANN401  (psycopg's own)
        text = sql.as_string(None) if isinstance(sql, Composable) else sql
        try:
            cursor: psycopg.Cursor[Any] = self._faults.run(
                text, lambda: self._real.execute(sql, parameters)
            )
        except errors.OperationalError:
            if text == "COMMIT":
                self._real.close()  # that is what lost means
            raise
        return cursor

    def cursor(self) -> "_FaultyCursor":
        return _FaultyCursor(self._real.cursor(), self._faults)


class _FaultyCursor:
    def __init__(self, real: psycopg.Cursor[Any], faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Value:
        return getattr(self._real, name)

    @contextmanager
    def copy(self, sql: Composed) -> Iterator[psycopg.Copy]:
        with self._real.copy(sql) as copy:
            yield copy
            self._faults.run("the last row", lambda: None)
        self._faults.run(sql.as_string(None), lambda: None)
