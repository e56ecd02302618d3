"""
The HTTP destination: the records of a batch, POSTed to one address.

    HttpDestination.load    one batch, in as few requests as its size allows
    key_of                  what a request is known by, however often it is made

A receiver has no ledger of ours. So that it can tell a repetition, each request carries an
`Idempotency-Key`, as draft-ietf-httpapi-idempotency-key-header-07 describes it: a string,
one for one payload, the same when it is sent again. It is made of what names the batch,
generation and digest included, and of the records in the request: a rewound load has other
keys, other records never come under a key that was used. A receiver that honours it
takes every request exactly once. From any other, one whose answer was lost is taken again.

A batch counts once every request of it was answered with a 2xx, to the last byte. If one is
not, the batch is sent again from its beginning, under the same keys.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from statepipe.effects import Auth
from statepipe.errors import BadAnswer, DataError, Fatal, Unreachable
from statepipe.io import ledger
from statepipe.io.fitting import UnstorableError, Why, check_key, refuse_unkeyed, split
from statepipe.io.loads import Landed, LoadBatch
from statepipe.io.rejects import pointer
from statepipe.io.rest.http import Connection
from statepipe.io.rest.limits import HttpLimits
from statepipe.io.rows import Records, Value
from statepipe.io.values import write_json

#: Most bytes of one body, unless a single record is larger. Another number would cut batches
#: that are under way into other requests, under other keys.
BODY_BYTES_MAX: Final = 1024 * 1024

_KEYS: Final = UUID("e21b3c1c-54d5-4ed5-a2b6-5f8d3c2f1a77")

_TYPES: Final = {
    "array": "application/json",
    "lines": "application/x-ndjson",
    "record": "application/json",
}

_AGAIN: Final = "the batch does not count; what was taken of it is sent again under the same keys"


class HttpDestination:
    """
    One address that takes records by POST.

    Used by one thread. Connected to by the first call that needs it.

    Args:
        address: The address, http or https.
        name: The address for errors; no secret.
        key: Columns of the key: a record without a whole one is not sent. What the receiver
            makes of a key that it knows is its own affair; it gets all records in order.
        body: What one body is: a JSON "array", JSON "lines", or one "record".
        auth: Credentials, by reference.
        limits: Timeouts, and the largest answer.
    """

    #: Several processes may send; each waits for its turn.
    is_shared: Final = True

    def __init__(
        self,
        address: str,
        *,
        name: str,
        key: tuple[str, ...] = (),
        body: str = "array",
        auth: Auth = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self.key = key
        self.name = name
        self._address = address
        self._body = body or "array"
        self._auth = auth
        self._limits = limits or HttpLimits()
        self._connection: Connection | None = None

    def load(self, batch: LoadBatch) -> Landed:
        """
        Send `batch`, all of it; see `Destination.load`.

        Raises:
            Throttled, BadAnswer, TimeoutError, Unreachable: If it may be taken later.
            DataError: If sending it again cannot mend it: the address, a credential, or the
                receiver's answer says so.
        """
        texts, rejects = _fit(batch.records, key=self.key)
        if batch.number == 0:
            refuse_unkeyed(batch.records, self.key, is_any_fit=bool(texts))
        batch.turn()
        for request in _requests(texts, body=self._body):
            batch.beat()
            headers = {
                "Content-Type": _TYPES[self._body],
                # A string of RFC 8941; of these characters, quotes make one.
                "Idempotency-Key": f'"{key_of(batch, first=request.first, last=request.last)}"',
            }
            with self._understood():
                said = self._open(batch).post(request.body, headers=headers)
            if said and self._body == "record":
                rejects[request.first] = ("refused", "", said)
            elif said:
                self._refused(batch, request, said)
        loaded = ledger.count_records(batch.records) - len(rejects)
        return Landed(loaded, ledger.entries_of(batch.records, rejects), already=False)

    def publish(self, batch: LoadBatch) -> None:
        """Do nothing: what was sent is where it is."""

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> None:
        """Return None: nobody can be asked, so the checkpoint alone knows what was taken."""

    def close(self) -> None:
        """Let go of the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self, batch: LoadBatch) -> Connection:
        if self._connection is None:
            self._connection = Connection(
                self._address,
                auth=self._auth,
                headers={},
                limits=self._limits,
                stop=batch.beat,
                name=None if self.name == self._address else self.name,
            )
        return self._connection

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Add to an error what it means for the data, and what to do."""
        try:
            yield
        except Fatal as error:
            raise DataError(
                f"cannot load: {error}",
                meaning=_AGAIN,
                next_step="correct `to` or `auth` of the load, or what they lead to; then resume",
            ) from None
        except BadAnswer:
            raise
        except ConnectionError as error:
            raise Unreachable(
                str(error), meaning=_AGAIN, next_step="see to the receiver, then resume"
            ) from None

    def _refused(self, batch: LoadBatch, request: "_Request", said: str) -> None:
        raise DataError(
            f"{self.name} refused records {request.first} to {request.last} of batch"
            f" {batch.number}: {said}",
            meaning=_AGAIN,
            next_step='make the receiver take them, or reject them before; body = "record" has'
            " each judged alone, in a new instance; then resume",
        )


def key_of(batch: LoadBatch, *, first: int, last: int) -> UUID:
    """
    Return the key of the request with the records of `batch` at positions `first` to `last`.

    It is the same for every attempt, driver and epoch, and another one for another store,
    generation, visit, batch, or digest.
    """
    facts = [
        batch.store_id,
        batch.instance,
        batch.generation,
        batch.state,
        batch.visit,
        batch.number,
        batch.digest.hex(),
        first,
        last,
    ]
    return uuid5(_KEYS, json.dumps(facts))


class _Request(NamedTuple):
    """The positions of its first and last record, and its body."""

    first: int
    last: int
    body: bytes


def _requests(texts: Mapping[int, bytes], *, body: str) -> Iterator[_Request]:
    """Cut a batch; the same records are always cut the same way."""
    opening, between, closing = {
        "array": (b"[", b",", b"]"),
        "lines": (b"", b"\n", b"\n"),
        "record": (b"", b"", b""),
    }[body]
    most = 0 if body == "record" else BODY_BYTES_MAX
    positions: list[int] = []
    size = 0
    for position, text in texts.items():
        if positions and size + len(text) > most:
            yield _joined(positions, texts, opening, between, closing)
            positions, size = [], 0
        positions.append(position)
        size += len(text) + len(between)
    if positions:
        yield _joined(positions, texts, opening, between, closing)


def _joined(positions: Sequence[int], texts: Mapping[int, bytes], *around: bytes) -> _Request:
    opening, between, closing = around
    joined = between.join(texts[position] for position in positions)
    return _Request(positions[0], positions[-1], opening + joined + closing)


def _fit(records: Records, *, key: Sequence[str]) -> tuple[dict[int, bytes], dict[int, Why]]:
    """Return each record to send as JSON by position, and why the others are not, by theirs."""
    rejects: dict[int, Why] = {}
    texts: dict[int, bytes] = {}
    for run in split(records, rejects):
        check_key(run, run.columns, key, rejects)
        for position, row in zip(run.positions, zip(*run.columns, strict=True), strict=True):
            if position in rejects:
                continue
            record = dict(zip(run.fields, row, strict=True))
            try:
                texts[position] = write_json(record).encode()
            except UnstorableError as problem:
                rejects[position] = _why(record, problem)
    return texts, rejects


def _why(record: Mapping[str, Value], problem: UnstorableError) -> Why:
    """Return the verdict on a record that cannot be JSON, with the field that is to blame."""
    for name, value in record.items():
        try:
            write_json(value)
        except UnstorableError as error:
            return error.rule, pointer([name]), str(error)
    return problem.rule, "", str(problem)
