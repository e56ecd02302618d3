"""
Contracts: the shape records must have when they cross a boundary, as JSON Schema.

    Contract.load     read and compile a schema file
    Contract.judge    part the records that keep it from those that do not

JSON has fewer types than a record. The schema judges a *view* of such values;
the record itself goes on unchanged:

    bool, int, float, str, None     as they are; 1.0 is an "integer", as JSON Schema says
    Decimal                         a number
    datetime, date, time            ISO 8601 text, so `"format": "date-time"` works
    timedelta                       seconds, a number
    UUID                            text
    bytes                           base64 text
    tuple, set                      an array (a set in the order of its text)
    NaN, infinity                   always rejected, rule "finite": no JSON number is that
    dict keys other than str        always rejected, rule "keys"
    anything else                   always rejected, rule "type"

An Arrow table, and a staged batch, is judged by columns where the schema allows it (`provable`,
`columnar`, `distinct`): a row that is proved clean never becomes a dict. All other rows do, and
are judged as dicts are, so all ways agree in every verdict and every word.

A rejected record has one entry: its first error by path, with the messages of
all its errors joined. The `description` of the part of the schema that was
broken is added in brackets, so a contract can say in its own words what it wants.

A schema is one file. References to other files or addresses are refused,
because the digest would not cover them and a check would need the network.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import UUID

from statepipe.errors import DefinitionError
from statepipe.io.blocks import Blocks, Columns
from statepipe.io.distinct import IsValid, Prover
from statepipe.io.provable import plans_of
from statepipe.io.rejects import RejectEntry, TooFine, pointer, rejected
from statepipe.io.rows import Records, Value, check_column_names, is_table, iter_rows, keep
from statepipe.model import Record

#: Errors read of one record; the rest add nothing a reader needs.
ERRORS_MAX = 20

_EXACT = frozenset({str, int, bool, type(None)})
_EXACT_OR_FLOAT = _EXACT | {float}


@dataclass(frozen=True, slots=True)
class Judged:
    """
    What a contract made of a batch.

    Attributes:
        clean: The records that keep it, in their order; an Arrow table if one came in.
        rejects: One entry per rejected record (see `statepipe.io.rejects`).
    """

    clean: Records
    rejects: list[RejectEntry]


class _NotJsonError(Exception):
    """A value no view can be made of: its path, the rule it breaks, and why."""

    def __init__(self, path: tuple[str | int, ...], rule: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.rule = rule


class Contract:
    """
    A compiled JSON Schema.

    Attributes:
        path: The file it came from.
        digest: sha256 of the file's bytes, hex.
        schema: The schema, as JSON has it.
    """

    def __init__(self, path: Path, *, digest: str, schema: Value, validator: Value) -> None:
        self.path = path
        self.digest = digest
        self.schema = schema
        self._validator = validator
        self._plans = plans_of(schema)
        self._prover = Prover(self._plans, self._checker) if self._plans else None

    @classmethod
    def load(cls, path: Path) -> "Contract":
        """
        Read and compile the schema at `path`.

        Raises:
            DefinitionError: If the file cannot be read, is not JSON, or is not a
                valid JSON Schema; the message names the file and the reason.
        """
        try:
            data = path.read_bytes()
            schema = json.loads(data.decode("utf-8-sig"))
        except OSError as error:
            _refuse(path, f"cannot be read: {error.strerror or error}")
        except (ValueError, RecursionError) as error:
            _refuse(path, f"is not JSON: {error}")
        try:
            validator = _compiled(schema)
        except ValueError as error:
            _refuse(path, f"is not a valid JSON Schema: {getattr(error, 'message', error)}")
        return cls(
            path, digest=hashlib.sha256(data).hexdigest(), schema=schema, validator=validator
        )

    def judge(self, records: Records) -> Judged:
        """
        Part `records` (a list of dicts, an Arrow table, or Blocks) by this contract.

        A table or blocks are filtered, so what is clean stays columnar. `len(clean) +
        len(rejects)` is always the number of records.

        Raises:
            DataError: If two columns of a table have one name.
        """
        places: Sequence[int] = range(len(records))
        doubtful = records
        if is_table(records):
            places = self._unproved(records)
            if not places:
                return Judged(records, [])
            doubtful = records.take(list(places)) if len(places) < len(records) else records
        elif isinstance(records, Blocks):
            places = self._unproved_of(records)
            if len(places) < len(records):
                wanted = [False] * len(records)
                for place in places:
                    wanted[place] = True
                doubtful = records.kept(wanted)
        rejects: list[RejectEntry] = []
        first = 0
        for part in iter_rows(doubtful):
            rejects.extend(self._rejects(part, places[first : first + len(part)]))
            first += len(part)
        if not rejects:
            return Judged(records, rejects)
        wanted = [True] * len(records)
        for entry in rejects:
            wanted[entry["position"]] = False
        return Judged(keep(records, wanted), rejects)

    def _unproved(self, table: Records) -> Sequence[int]:
        from statepipe.io.columnar import unproved  # noqa: PLC0415  (pyarrow, only for tables)

        check_column_names(table)
        return unproved(self._plans, table)

    def _unproved_of(self, blocks: Blocks) -> Sequence[int]:
        if self._prover is None:
            return range(len(blocks))
        places: list[int] = []
        first = 0
        for part in blocks.parts:
            doubtful: Sequence[int] = range(len(part))
            if isinstance(part, Columns):
                doubtful = self._prover.unproved(part)
            places.extend(first + place for place in doubtful)
            first += len(part)
        return places

    def _checker(self, schema: Value) -> IsValid:
        if schema is True:
            return lambda _value: True
        draft = {"$schema": self.schema["$schema"]} if "$schema" in self.schema else {}
        validator = _compiled({**draft, **schema} if isinstance(schema, dict) else {"not": {}})
        return cast("IsValid", validator.is_valid)

    def _rejects(
        self, records: Sequence[Record], positions: Iterable[int]
    ) -> Iterator[RejectEntry]:
        is_valid = self._validator.is_valid
        for position, record in zip(positions, records, strict=True):
            # Most records need no view and are judged by the library alone. It takes
            # NaN for null and refuses what is not JSON, so those go the long way.
            if type(record) is dict:
                types = set(map(type, record.values()))
                if types <= _EXACT or (
                    types <= _EXACT_OR_FLOAT
                    and all(math.isfinite(v) for v in record.values() if type(v) is float)
                ):
                    if not is_valid(record):
                        yield self._entry(record, record, position)
                    continue
            try:
                seen = _view(record, ())
            except _NotJsonError as problem:
                yield rejected(
                    record,
                    position=position,
                    rule=problem.rule,
                    path=pointer(problem.path),
                    message=str(problem),
                )
                continue
            if not is_valid(seen):
                yield self._entry(record, seen, position)

    def _entry(self, record: Record, seen: Value, position: int) -> RejectEntry:
        try:
            errors = list(islice(self._validator.iter_errors(seen), ERRORS_MAX))
        except UnicodeEncodeError:
            return rejected(
                record,
                position=position,
                rule="unicode",
                path="",
                message="holds half a surrogate pair",
            )
        errors.sort(key=lambda error: [str(part) for part in error.instance_path])
        return rejected(
            record,
            position=position,
            rule=errors[0].kind.name,
            path=pointer(errors[0].instance_path),
            message="; ".join(self._say(error, several=len(errors) > 1) for error in errors),
        )

    def _say(self, error: Value, *, several: bool) -> str:
        """Return the error's message, with the schema's own words for what it wants."""
        where = pointer(error.instance_path)
        told = f"{where}: {error.message}" if several and where else str(error.message)
        part: Any = self.schema
        for step in list(error.schema_path)[:-1]:
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                return told
        # The root's description is about all records, not about what broke.
        wanted = (
            part.get("description") if part is not self.schema and isinstance(part, dict) else None
        )
        return f"{told} ({wanted})" if isinstance(wanted, str) else told


def _view(value: Value, path: tuple[str | int, ...]) -> Value:
    """Return `value` as JSON Schema can see it (the table at the top of this module)."""
    kind = type(value)
    if kind in _EXACT:
        return value
    if kind is float or kind is Decimal:
        # A Decimal is asked itself: as a float 1E+400 would be infinite and sNaN an error.
        if not (math.isfinite(value) if kind is float else value.is_finite()):
            raise _NotJsonError(path, "finite", f"{value} is not a JSON number")
        return value
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise _NotJsonError(path, "keys", f"the key {key!r} is not text")
        return {key: _view(item, (*path, key)) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_view(item, (*path, i)) for i, item in enumerate(value)]
    if kind is set:
        return sorted((_view(item, path) for item in value), key=str)
    if kind in _TEXT:
        return _TEXT[kind](value)
    why = value.why() if kind is TooFine else f"a contract cannot see a {kind.__qualname__}"
    raise _NotJsonError(path, "type", why)


_TEXT: dict[type, Any] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    UUID: str,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
}


def _compiled(schema: Value) -> Value:
    import jsonschema_rs  # noqa: PLC0415  # 30 ms that `inspect` need not pay

    return jsonschema_rs.validator_for(
        schema,
        # Formats are checked, and a misspelt one is an error rather than no check.
        validate_formats=True,
        ignore_unknown_formats=False,
        retriever=_no_reference,
    )


def _no_reference(address: str) -> NoReturn:
    raise ValueError(f"a contract is one file and may not refer to {address}")


def _refuse(path: Path, reason: str) -> NoReturn:
    raise DefinitionError(
        f"contract {path} {reason}",
        meaning="no record was judged and nothing was changed",
        next_step=f"mend {path}, then statepipe check",
    )
