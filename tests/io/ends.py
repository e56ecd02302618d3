"""
Destinations of every kind, as far as all of them can be asked the same.

    End           where records go: a table of a warehouse, or a receiver
    TableEnd      the table `t` of a warehouse
    HttpEnd       a receiver that honours keys
"""

from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast

import pytest

from statepipe.io.destinations import Destination
from statepipe.io.loads import LoadBatch
from statepipe.io.rest.destination import HttpDestination
from statepipe.io.rest.http import Connection
from tests.io.receiver import Receiver
from tests.io.warehouse import Faults, Warehouse
from tests.io.web import Web

Result = TypeVar("Result")


class End(Protocol):
    """Somewhere to load to, empty at first."""

    @property
    def last_step(self) -> str:
        """The last thing that a load does, as `Faults` has it."""

    @property
    def stride(self) -> int:
        """From one step at which tests kill to the next."""

    def destination(
        self, *, key: tuple[str, ...] = (), faults: Faults | None = None
    ) -> Destination:
        """Return a destination, to be closed by `close`."""

    def rows(self) -> list[tuple[Any, ...]]:
        """Return id and name of all that is there, by id."""

    def empty(self) -> None:
        """Forget all that was loaded, and that it was."""

    def close(self) -> None:
        """Close what is open."""


class TableEnd:
    """The table `t` of a warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        # A file gets its name after the COMMIT, and the name is synced.
        self.last_step = "COMMIT" if warehouse.upserts else "sync"
        self.stride = warehouse.stride

    def destination(
        self, *, key: tuple[str, ...] = (), faults: Faults | None = None
    ) -> Destination:
        """Return a destination that does not wait long for anybody."""
        if key and not self._warehouse.upserts:
            pytest.skip("files have no keys")
        return self._warehouse.destination(key=key, faults=faults)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return id and name of all rows, by id."""
        if "t" not in self._warehouse.tables():
            return []
        return self._warehouse.query("SELECT id, name FROM t ORDER BY id")

    def empty(self) -> None:
        """Drop the table and the ledger."""
        self._warehouse.clear()

    def close(self) -> None:
        """Close what is open."""
        self._warehouse.close()


class HttpEnd:
    """A receiver that honours keys, and upserts by `id` if there is one."""

    last_step: Final = "POST"
    stride: Final = 1

    def __init__(self, web: Web, receiver: Receiver) -> None:
        self._web = web
        self._receiver = receiver
        self._key = ""
        self._made: list[Destination] = []

    def destination(
        self, *, key: tuple[str, ...] = (), faults: Faults | None = None
    ) -> Destination:
        """Return a destination."""
        self._key = key[0] if key else ""
        self._made.append(_Faulty(self._web.url, faults, key=key))
        return self._made[-1]

    def rows(self) -> list[tuple[Any, ...]]:
        """Return id and name of what it has, by id."""
        rows = self._receiver.rows(key=self._key)
        return sorted((row.get("id"), row.get("name")) for row in rows)

    def empty(self) -> None:
        """Forget everything."""
        self._receiver.forget()

    def close(self) -> None:
        """Close what is open."""
        for made in self._made:
            made.close()


class _Faulty(HttpDestination):
    """Fails at requests as `faults` says."""

    def __init__(self, address: str, faults: Faults | None, *, key: tuple[str, ...]) -> None:
        super().__init__(address, name=address, key=key, body="record")
        self._faults = faults

    def _open(self, batch: LoadBatch) -> Connection:
        real = super()._open(batch)
        if self._faults is None:
            return real
        with suppress(ValueError):
            self._faults.opened.remove(real)
        self._faults.opened.append(real)
        return cast("Connection", _FaultyConnection(real, self._faults))


class _FaultyConnection:
    def __init__(self, real: Connection, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def post(self, body: bytes, **more: Any) -> str:  # noqa: ANN401  (whatever is passed on)
        return self._faults.run("POST", lambda: self._real.post(body, **more))
