"""
Blocks of a batch in frames, so that no cut and no flipped bit goes unnoticed.

    write_frames    blocks -> bytes
    read_frames     bytes -> the same blocks, or StagedDataDamaged

    file    = magic, frame*, end frame
    frame   = crc32, kind, records, unpacked length, packed length, payload

A msgpack or zlib stream that was cut reads well to where it ends. Here the end frame
says how many blocks and records came before it, nothing may follow it, and each checksum
starts from the one before, so that frames cannot be lost, repeated or exchanged either.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from statepipe.errors import StagedDataDamaged, ValueRefused

#: Unpacked bytes of one block, at most; what a hostile frame can make us allocate.
BLOCK_BYTES_MAX: Final = 1 << 30

_MAGIC: Final = b"SPBATCH1"
_CRC: Final = struct.Struct(">I")
_FACTS: Final = struct.Struct(">BIII")  # kind, records, unpacked length, packed length
_HEAD_BYTES: Final = _CRC.size + _FACTS.size

_PLAIN: Final = 0
_ZLIB: Final = 1
_END: Final = 2  # records and unpacked length then count records and blocks of the file

# Level 1: on flight records a third of the size for 0.8 us a record; level 6
# saves a tenth more and takes more than twice as long.
_LEVEL: Final = 1
_COMPRESSED_FROM_BYTES: Final = 128

# Codes of columns shrink to little more than half, at three times what all else of a block
# costs. A sample tells them from values, which shrink to a quarter.
_SAMPLED_FROM_BYTES: Final = 1 << 16
_SAMPLE_BYTES: Final = 1 << 12
_SAMPLES: Final = 4
_WORTH_IT: Final = 0.4


class Block(NamedTuple):
    """Some records of a batch, packed."""

    records: int
    payload: bytes


def write_frames(blocks: Iterable[Block]) -> bytes:
    """
    Return `blocks` framed, each compressed if that makes it much smaller.

    Raises:
        ValueRefused: If a block is larger than `BLOCK_BYTES_MAX`.
    """
    parts = [_MAGIC]
    crc = zlib.crc32(_MAGIC)
    records = count = 0
    for block in blocks:
        if len(block.payload) > BLOCK_BYTES_MAX:
            raise ValueRefused(
                f"{block.records:,} records take {len(block.payload):,} bytes,"
                f" more than the {BLOCK_BYTES_MAX:,} a block may have",
                meaning="the batch was not staged",
                next_step="yield smaller batches: task.batch_size, or --batch-size",
            )
        kind, packed = _compress(block.payload)
        facts = _FACTS.pack(kind, block.records, len(block.payload), len(packed))
        crc = zlib.crc32(packed, zlib.crc32(facts, crc))
        parts += (_CRC.pack(crc), facts, packed)
        records += block.records
        count += 1
    facts = _FACTS.pack(_END, records, count, 0)
    parts += (_CRC.pack(zlib.crc32(facts, crc)), facts)
    return b"".join(parts)


def read_frames(data: bytes) -> Iterator[Block]:
    """
    Yield the blocks that `write_frames` was given.

    Whoever reads to the end knows that all of them came back as they were.

    Raises:
        StagedDataDamaged: If `data` is cut, changed, longer, or not framed by us.
    """
    view = memoryview(data)
    if bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise _damaged("it does not begin as a batch of ours")
    at = len(_MAGIC)
    crc = zlib.crc32(_MAGIC)
    records = count = 0
    while True:
        if at + _HEAD_BYTES > len(view):
            raise _damaged(f"it is cut off after {count} blocks")
        (stated,) = _CRC.unpack_from(view, at)
        facts = view[at + _CRC.size : at + _HEAD_BYTES]
        kind, block_records, unpacked_bytes, packed_bytes = _FACTS.unpack(facts)
        packed = view[at + _HEAD_BYTES : at + _HEAD_BYTES + packed_bytes]
        crc = zlib.crc32(packed, zlib.crc32(facts, crc))
        if crc != stated or len(packed) != packed_bytes:
            raise _damaged(f"block {count} is cut off or changed")
        at += _HEAD_BYTES + packed_bytes
        if kind == _END:
            break
        yield Block(block_records, _decompress(kind, packed, unpacked_bytes))
        records += block_records
        count += 1
    if (records, count, 0, len(view)) != (block_records, unpacked_bytes, packed_bytes, at):
        raise _damaged("its end does not agree with what came before")


def _compress(payload: bytes) -> tuple[int, bytes]:
    if len(payload) >= _COMPRESSED_FROM_BYTES and _is_worth_it(payload):
        packed = zlib.compress(payload, _LEVEL)
        if len(packed) < len(payload):
            return _ZLIB, packed
    return _PLAIN, payload


def _is_worth_it(payload: bytes) -> bool:
    """Return True if a short block, or a sample of a long one, becomes much shorter."""
    if len(payload) < _SAMPLED_FROM_BYTES:
        return True
    starts = range(0, len(payload) - _SAMPLE_BYTES, len(payload) // _SAMPLES)
    sample = b"".join([payload[start : start + _SAMPLE_BYTES] for start in starts])
    return len(zlib.compress(sample, _LEVEL)) < len(sample) * _WORTH_IT


def _decompress(kind: int, packed: memoryview, unpacked_bytes: int) -> bytes:
    if kind == _PLAIN and len(packed) == unpacked_bytes:
        return bytes(packed)
    if kind == _ZLIB and 0 < unpacked_bytes <= BLOCK_BYTES_MAX:
        stream = zlib.decompressobj()
        try:
            payload = stream.decompress(packed, unpacked_bytes)
        except zlib.error as error:
            raise _damaged(f"a block does not decompress ({error})") from error
        if len(payload) == unpacked_bytes and not stream.unconsumed_tail:
            return payload
    raise _damaged("a block is not as long as it says")


def _damaged(why: str) -> StagedDataDamaged:
    return StagedDataDamaged(
        f"a staged batch is damaged: {why}",
        meaning="it was not used; nothing was changed",
        next_step="statepipe doctor; then statepipe rewind ID --to an earlier state",
    )
