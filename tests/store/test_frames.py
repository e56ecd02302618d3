"""A cut, a flipped bit, a lost or exchanged block: always noticed, never read past (R5, R8)."""

import random
import struct
import zlib

import pytest

from statepipe.errors import StagedDataDamaged, ValueRefused
from statepipe.store.stage import frames
from statepipe.store.stage.frames import Block, read_frames, write_frames

SMALL = [Block(2, b"first block"), Block(0, b""), Block(3, b"compressible " * 20)]


def test_blocks_come_back_as_they_were() -> None:
    """None, one and many, empty, compressible and not."""
    noise = random.Random(3).randbytes(100_000)
    for blocks in ([], [Block(1, b"x")], SMALL, [Block(9, noise), Block(1, b"a" * 1_000_000)]):
        assert list(read_frames(write_frames(blocks))) == blocks


def test_compressible_blocks_get_smaller_and_noise_not_larger() -> None:
    """A block that zlib would blow up is kept as it is."""
    noise = random.Random(3).randbytes(100_000)

    assert len(write_frames([Block(1, b"a" * 100_000)])) < 1_000
    assert len(write_frames([Block(1, noise)])) < 100_100


def test_every_cut_is_noticed() -> None:
    """At each byte: inside a head, inside a payload, and exactly between two frames."""
    data = write_frames(SMALL)

    for length in range(len(data)):
        with pytest.raises(StagedDataDamaged):
            list(read_frames(data[:length]))


def test_every_flipped_bit_is_noticed() -> None:
    """In the magic, lengths, counts, checksums, payloads and the end frame."""
    data = write_frames(SMALL)

    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StagedDataDamaged):
            list(read_frames(bytes(flipped)))


def test_what_follows_the_end_is_noticed() -> None:
    """Two files in one, or a file with rubbish after it, is not the file we wrote."""
    data = write_frames(SMALL)

    for more in (b"\x00", data, data[8:]):
        with pytest.raises(StagedDataDamaged, match="end"):
            list(read_frames(data + more))


def test_lost_repeated_and_exchanged_blocks_are_noticed() -> None:
    """Each block by itself is whole; only the chained checksum can tell."""
    equal = [Block(1, letter * 50) for letter in (b"a", b"b", b"c")]
    data = write_frames(equal)
    size = (len(data) - 8 - 17) // 3
    head, a, b, c, end = (
        data[:8],
        *(data[8 + size * number : 8 + size * (number + 1)] for number in range(3)),
        data[8 + size * 3 :],
    )
    assert list(read_frames(head + a + b + c + end)) == equal

    for parts in ((a, b), (a, c), (b, a, c), (a, b, b, c), (c,), ()):
        with pytest.raises(StagedDataDamaged):
            list(read_frames(head + b"".join(parts) + end))


def test_a_long_block_is_compressed_if_samples_of_it_shrink_well() -> None:
    """Codes shrink to little more than half, which is not worth the time; both come back."""
    codes = bytes(random.Random(1).choices(range(20), k=200_000))
    values = codes.hex().encode() + b"-" * 200_000

    assert len(zlib.compress(codes)) < 0.7 * len(codes)
    assert len(write_frames([Block(1, codes)])) > len(codes)
    assert len(write_frames([Block(1, values)])) < 0.6 * len(values)
    blocks = [Block(1, codes), Block(2, values)]
    assert list(read_frames(write_frames(blocks))) == blocks


def test_a_compressed_bomb_is_not_unpacked() -> None:
    """A frame forged with right checksums gives at most the length it states."""
    bomb = zlib.compress(b"\x00" * 50_000_000)
    crc = zlib.crc32(b"SPBATCH1")
    for stated in (0, 10, 50_000_001, 2**32 - 1):
        facts = struct.pack(">BIII", 1, 1, stated, len(bomb))
        forged = struct.pack(">I", zlib.crc32(bomb, zlib.crc32(facts, crc))) + facts + bomb

        with pytest.raises(StagedDataDamaged, match="not as long as it says"):
            list(read_frames(b"SPBATCH1" + forged))


def test_other_files_are_not_ours() -> None:
    """An empty file, text, zlib, an older magic."""
    for data in (b"", b"hello", zlib.compress(b"x"), b"SPBATCH0" + write_frames([])[8:]):
        with pytest.raises(StagedDataDamaged, match="not begin"):
            list(read_frames(data))


def test_a_block_that_is_too_large_is_refused_at_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read back is not written."""
    monkeypatch.setattr(frames, "BLOCK_BYTES_MAX", 10)

    with pytest.raises(ValueRefused, match="11 bytes, more than the 10"):
        write_frames([Block(2, b"x" * 11)])
