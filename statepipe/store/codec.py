"""
Plain values to bytes and back: exactly, or refused at write with the path.

    encode      value -> bytes; ValueRefused names what cannot be kept, `$.rows[3].price`
    decode      bytes -> an equal value of the same types; anything else is DataError
    pack        encode without looking, for the blocks of a batch
    unpack      decode without looking, for bytes whose checksum was right

Plain: None, bool, int of any size, float (NaN and infinities bit for bit), str, bytes,
list, dict, tuple, set, date, time, datetime with offset, timedelta, Decimal, UUID.
Exact types only: a subclass would come back as its base, which is a silent change.
Dict keys may be any of these that can be hashed; dicts keep their order.

A datetime keeps its moment and its offset; the name of its time zone is not kept.
"""

import datetime as dt
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgpack

from statepipe.errors import DataError, ValueRefused
from statepipe.store.plain import DEPTH_MAX, has_offset, is_plain, refusal

#: A value in a checkpoint row; rows of data belong into batches.
VALUE_BYTES_MAX: Final = 1 << 20


def encode(value: object, *, bytes_max: int = VALUE_BYTES_MAX) -> bytes:
    """
    Return `value` as bytes that `decode` turns into an equal value of the same types.

    Args:
        value: Plain data, at most `DEPTH_MAX` containers deep.
        bytes_max: Refuse more than this many bytes.

    Raises:
        ValueRefused: If something in it is not plain, or it is too large.
    """
    try:
        packer = _idle_packers.pop()
    except IndexError:
        packer = _new_packer()
    try:
        data: bytes = packer.pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal(value, error) from error
    # What could be the head of a container, counted: a short value has too few to be
    # too deep. And where no head of a bin or ext is, nothing slipped through the C
    # packer, which takes bytearray, memoryview, ExtType and Timestamp for its own.
    heads = data.translate(None, _NO_HEADS)
    if (len(heads) > DEPTH_MAX or _BIN_OR_EXT.search(heads)) and not is_plain([value]):
        raise refusal(value)
    if len(data) > bytes_max:
        raise ValueRefused(
            f"$ takes {len(data):,} bytes, more than the {bytes_max:,} allowed here",
            meaning="nothing was written",
            next_step="yield rows as batches; keep only counts and positions as values",
        )
    if len(data) <= _KEPT_BYTES_MAX:
        _idle_packers.append(packer)
    return data


def decode(data: bytes) -> Any:  # noqa: ANN401  (plain data of any type)
    """
    Return the value that `encode` made `data` from.

    Raises:
        DataError: If `data` is damaged, cut, longer than one value, or not ours.
    """
    try:
        if len(data) > _TRUSTED_BYTES_MAX:
            _check_lengths(data)
        value = unpack(data)
        # The C unpacker makes msgpack's own Timestamp without asking our hook.
        foreign = b"\xff" in data and not is_plain([value], depth_max=_UNPACK_DEPTH_MAX)
    except (*UNPACK_ERRORS, msgpack.OutOfData) as error:
        raise _damaged(repr(error)) from error
    if foreign:
        raise _damaged("it holds a msgpack Timestamp")
    return value


def pack(value: object) -> bytes:
    """
    Return `value` packed; for values that `plain.is_plain` has passed, of any size.

    Raises:
        ValueRefused: If something in it cannot be written, such as a lone surrogate.
    """
    try:
        data: bytes = _new_packer().pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal(value, error) from error
    return data


def unpack(data: bytes | memoryview) -> Any:  # noqa: ANN401  (plain data of any type)
    """
    Return what was packed; for bytes whose digest has been checked.

    Raises:
        UNPACK_ERRORS: As the damage may be; `decode` and `records` turn them into ours.
    """
    return msgpack.unpackb(data, strict_map_key=False, ext_hook=_revivers[0])


# ---- the types msgpack does not have --------------------------------------------------


def _write_tuple(value: tuple[Any, ...]) -> bytes:
    # The C packer's own recursion starts anew in here, so the depth below must be known.
    if not is_plain([value]):
        raise TypeError("tuple")
    return _pack(list(value))


def _write_set(value: set[Any]) -> bytes:
    if not is_plain([value]):
        raise TypeError("set")
    return _pack(sorted(value, key=_pack))


def _write_datetime(value: dt.datetime) -> bytes:
    if not has_offset(value):
        raise ValueError("datetime without an offset")
    return value.isoformat().encode("ascii")


def _write_time(value: dt.time) -> bytes:
    # isoformat leaves out a zone that has no offset without a day.
    if value.tzinfo is not None and not has_offset(value):
        raise ValueError("time without a fixed offset")
    return value.isoformat().encode("ascii")


def _write_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _write_timedelta(value: dt.timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _read_tuple(data: bytes, depth: int) -> tuple[Any, ...]:
    return tuple(_read_list(data, depth))


def _read_set(data: bytes, depth: int) -> set[Any]:
    items = _read_list(data, depth)
    value = set(items)
    if len(value) != len(items):
        raise ValueError("a set holds an element twice")
    return value


def _read_list(data: bytes, depth: int) -> list[Any]:
    if depth + 1 >= len(_revivers):
        raise ValueError(f"nested more than {DEPTH_MAX} deep")
    if len(data) > _TRUSTED_BYTES_MAX:
        _check_lengths(data)
    items = msgpack.unpackb(data, strict_map_key=False, ext_hook=_revivers[depth + 1])
    if type(items) is not list:
        raise ValueError("a tuple or set is not a list inside")
    return items


def _read_datetime(data: bytes, _depth: int) -> dt.datetime:
    value = dt.datetime.fromisoformat(data.decode("ascii"))
    if value.tzinfo is None:
        raise ValueError("a datetime has no offset")
    return value


def _read_date(data: bytes, _depth: int) -> dt.date:
    return dt.date.fromisoformat(data.decode("ascii"))


def _read_time(data: bytes, _depth: int) -> dt.time:
    return dt.time.fromisoformat(data.decode("ascii"))


def _read_timedelta(data: bytes, _depth: int) -> dt.timedelta:
    days, seconds, microseconds = _TIMEDELTA.unpack(data)
    return dt.timedelta(days, seconds, microseconds)


def _read_decimal(data: bytes, _depth: int) -> Decimal:
    text = data.decode("ascii")
    value = Decimal(text)
    # Where the context does not trap it, Decimal("garbage") is a NaN.
    if str(value) != text:
        raise ValueError("a decimal is not written as one")
    return value


def _read_uuid(data: bytes, _depth: int) -> UUID:
    return UUID(bytes=data)


def _read_int(data: bytes, _depth: int) -> int:
    return int.from_bytes(data, "big", signed=True)


def _extend(value: object) -> msgpack.ExtType:
    """Write what the C packer hands back: our own types, and what must be refused."""
    code, write = _WRITERS.get(type(value), (0, None))
    if write is None:
        raise TypeError(type(value).__qualname__)
    return msgpack.ExtType(code, write(value))


def _revive(depth: int, code: int, data: bytes) -> object:
    reader = _READERS.get(code)
    if reader is None:
        raise ValueError(f"extension type {code} is not ours")
    return reader(data, depth)


def _pack(value: object) -> bytes:
    data: bytes = msgpack.packb(value, strict_types=True, default=_extend, buf_size=256)
    return data


def _new_packer() -> msgpack.Packer:
    return msgpack.Packer(strict_types=True, default=_extend)


def _check_lengths(data: bytes) -> None:
    # An array header may claim more items than there are bytes left, and the
    # C unpacker makes the list before it looks: 1,000 nested headers, gigabytes.
    # skip() walks the same structure and makes nothing.
    unpacker = msgpack.Unpacker(max_buffer_size=len(data), strict_map_key=False)
    unpacker.feed(data)
    unpacker.skip()


def _damaged(why: str) -> DataError:
    return DataError(
        f"a stored value cannot be read: {why}",
        meaning="the bytes are damaged or were not written by statepipe; nothing was changed",
        next_step="statepipe doctor",
    )


_TIMEDELTA: Final = struct.Struct(">iII")
_BIN_OR_EXT: Final = re.compile(rb"[\xc4-\xc9\xd4-\xd8]")
_HEADS: Final = (*range(0x80, 0xA0), *range(0xC4, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0))
_NO_HEADS: Final = bytes(set(range(256)).difference(_HEADS))
_KEPT_BYTES_MAX: Final = 1 << 16  # a packer keeps the largest buffer it ever needed
_TRUSTED_BYTES_MAX: Final = 1 << 12
_UNPACK_DEPTH_MAX: Final = 1 << 17  # 1,024 by the C unpacker, times the nested extensions
#: What damaged bytes may raise in msgpack, in our readers and in the types they make.
UNPACK_ERRORS: Final = (
    ValueError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
)

# The numbers are in every store ever written: never change or reuse one.
_WRITERS: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    tuple: (1, _write_tuple),
    set: (2, _write_set),
    dt.datetime: (3, _write_datetime),
    dt.date: (4, lambda value: value.isoformat().encode("ascii")),
    dt.time: (5, _write_time),
    dt.timedelta: (6, _write_timedelta),
    Decimal: (7, lambda value: str(value).encode("ascii")),
    UUID: (8, lambda value: value.bytes),
    int: (9, _write_int),
}
_READERS: Final[dict[int, Callable[[bytes, int], object]]] = {
    1: _read_tuple,
    2: _read_set,
    3: _read_datetime,
    4: _read_date,
    5: _read_time,
    6: _read_timedelta,
    7: _read_decimal,
    8: _read_uuid,
    9: _read_int,
}
# One reviver for each depth, so that nested extensions count without shared state.
_revivers: Final = tuple(partial(_revive, depth) for depth in range(DEPTH_MAX + 1))
# Making a packer costs more than packing; each call takes one out and puts it back.
_idle_packers: Final[list[msgpack.Packer]] = []
