"""
The records of a batch to bytes and back: dicts as msgpack columns, tables as Arrow.

    encode_records    list of dicts, or a table -> Encoded (format, payload, records)
    decode_records    format, payload -> list of dicts, or a pyarrow.Table
    decode_blocks     the same, but Blocks of columns instead of dicts

    msgpack payload = frames of blocks
    block           = [keys, [column, ...]]    where all its records have the same keys
                    | [nil, [record, ...]]     where they have not
    column          = [value, ...]
                    | {"values": [value, ...], "codes": bin}    a code for each record: one
                          byte, or two, the lower one first, for more than 256 values

Columns, because names are then written once: on flight records half the time to
read and two thirds of the bytes to compress less. What comes back is what went
in: the same types, the same order of keys, record for record.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

from statepipe.errors import StagedDataDamaged, ValueRefused
from statepipe.io import arrow
from statepipe.io.blocks import Blocks, Columns, Part, rows_of, turned
from statepipe.io.coded import Coded, different
from statepipe.io.rows import is_table
from statepipe.store import codec
from statepipe.store.plain import LEAVES, is_plain, refusal
from statepipe.store.stage.frames import Block, read_frames, write_frames

Format = Literal["msgpack", "arrow"]

#: Records in one block: enough for the columns to pay, few enough to be small.
_BLOCK_RECORDS: Final = 4_096


class Encoded(NamedTuple):
    """A batch as bytes, ready to be staged."""

    format: Format
    payload: bytes
    records: int


def encode_records(records: Any) -> Encoded:  # noqa: ANN401  (dicts or any library's table)
    """
    Return `records` as bytes.

    Args:
        records: A list of dicts with str keys and plain values, a table that speaks the
            Arrow stream interface, which is never turned into dicts, or Blocks.

    Raises:
        ValueRefused: If a record is not a dict, a key not a str, a value not plain;
            the path begins with the record's number, `$[3].price`.
        DataError: If it is a table and pyarrow is not installed.
    """
    if is_table(records):
        ipc = arrow.to_ipc(records)
        return Encoded("arrow", ipc.payload, ipc.rows)
    if isinstance(records, Blocks):
        blocks = chain.from_iterable(map(_blocks_of, records.parts, records.starts))
        return Encoded("msgpack", write_frames(blocks), len(records))
    if not isinstance(records, list):
        raise _refused("$", f"is a {type(records).__qualname__}, not a list of dicts or a table")
    return Encoded("msgpack", write_frames(_blocks(records)), len(records))


def decode_records(format: Format, payload: bytes) -> Any:  # noqa: A002, ANN401  (its column's name)
    """
    Return what `encode_records` was given: a list of dicts, or a pyarrow.Table.

    Raises:
        StagedDataDamaged: If `payload` is not what was written.
        DataError: If it is a table and pyarrow is not installed.
    """
    decoded = decode_blocks(format, payload)
    if not isinstance(decoded, Blocks):
        return decoded
    return list(chain.from_iterable(map(rows_of, decoded.parts)))


def decode_blocks(format: Format, payload: bytes) -> Any:  # noqa: A002, ANN401  (its column's name)
    """
    Return what `encode_records` was given as Blocks, or as a pyarrow.Table if it was one.

    Raises:
        StagedDataDamaged, DataError: As `decode_records`.
    """
    if format == "arrow":
        return arrow.from_ipc(payload)
    if format != "msgpack":
        raise _damaged(f"its format is {format!r}, which this version does not know")
    return Blocks(list(map(_part_of, read_frames(payload))))


def _blocks_of(part: Part, start: int) -> Iterator[Block]:
    if not isinstance(part, Columns):
        yield from _blocks(part, start)
        return
    if all(is_plain(different(column)) for column in part.values):
        try:
            block = [list(part.fields), list(map(_packable, part.values))]
            yield Block(len(part), codec.pack(block))
        except ValueRefused as error:
            raise _first_refusal(part.rows(), start) from error
    else:
        raise _first_refusal(part.rows(), start)


def _blocks(records: list[Any], start: int = 0) -> Iterator[Block]:
    for at in range(0, len(records), _BLOCK_RECORDS):
        part = records[at : at + _BLOCK_RECORDS]
        yield Block(len(part), _pack_block(part, start + at))


def _pack_block(records: list[Any], start: int) -> bytes:
    if set(map(type, records)) != {dict}:
        raise _first_refusal(records, start)
    shapes = set(map(tuple, records))
    keys = list(shapes.pop())
    block: list[Any]
    if keys and not shapes:
        columns = turned(map(dict.values, records), width=len(keys))
        plain = {str}.issuperset(map(type, keys)) and all(map(is_plain, columns))
        block = [keys, columns]
    else:
        plain = {str}.issuperset(map(type, chain.from_iterable(records))) and is_plain(records)
        block = [None, records]
    if not plain:
        raise _first_refusal(records, start)
    try:
        return codec.pack(block)
    except ValueRefused as error:  # its path leads through columns, which the author has not
        raise _first_refusal(records, start) from error


def _first_refusal(records: list[Any], start: int) -> ValueRefused:
    """Return the error of the first bad record of a block known to have one."""
    for number, record in enumerate(records, start):
        root = f"$[{number}]"
        if type(record) is not dict:
            return _refused(root, f"is a {type(record).__qualname__}, not a dict")
        for key in record:
            if type(key) is not str:
                return _refused(root, f"has a key of type {type(key).__qualname__}, not str")
        try:
            codec.encode(record, bytes_max=1 << 40)
        except ValueRefused as error:
            return refusal(record, error, root=root)
    return _refused(f"$[{start}]", "begins a block of records that are too large together")


def _part_of(block: Block) -> Part:
    try:
        keys, content = codec.unpack(block.payload)
        part: Part = content if keys is None else _columns(keys, content)
    except codec.UNPACK_ERRORS as error:
        raise _damaged(f"a block cannot be read ({error!r})") from error
    if (keys is None and type(part) is not list) or len(part) != block.records:
        raise _damaged("a block has not as many records as it says")
    return part


def _packable(column: Sequence[Any]) -> Any:  # noqa: ANN401  (what msgpack takes)
    if not isinstance(column, Coded):
        return column if isinstance(column, list) else list(column)
    return {"values": column.values, "codes": column.code_bytes()}


def _columns(keys: list[str], content: list[Any]) -> Columns:
    columns = [column if type(column) is list else _coded(**column) for column in content]
    if len(keys) != len(columns) or len(set(map(len, columns))) != 1:
        raise ValueError("its columns are not of one length")
    if not {str}.issuperset(map(type, keys)):
        raise ValueError("a field has no name")
    return Columns(tuple(keys), columns)


def _coded(*, values: list[Any], codes: bytes) -> Coded:
    if not LEAVES.issuperset(map(type, values)):
        raise ValueError("records would share what can be changed")
    return Coded.from_bytes(values, codes)


def _refused(path: str, why: str) -> ValueRefused:
    return ValueRefused(
        f"{path} {why}",
        meaning="the batch was not staged",
        next_step="yield Batch(records) with a list of dicts with str keys, or a table",
    )


def _damaged(why: str) -> StagedDataDamaged:
    return StagedDataDamaged(
        f"a staged batch is damaged: {why}",
        meaning="it was not used; nothing was changed",
        next_step="statepipe doctor; then statepipe rewind ID --to an earlier state",
    )
