"""
Compressed files: read as what is in them, and never less when they are cut or damaged.
"""

import bz2
import gzip
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from statepipe.errors import DataError, Fatal
from statepipe.io.files.text import read_csv, read_jsonl
from tests.io.reading import read, read_with_crashes, task, write

PACKS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}
ROWS = [{"n": str(n), "t": f"text {n * 7919 % 1009}"} for n in range(40)]
CSV = b"n,t\n" + b"".join(f"{row['n']},{row['t']}\n".encode() for row in ROWS)

packs = pytest.mark.parametrize("end", PACKS)


@packs
@pytest.mark.parametrize("reading", [read, read_with_crashes])
def test_a_packed_file_is_read_as_what_is_in_it(
    tmp_path: Path, end: str, reading: Callable[..., Any]
) -> None:
    """By the ending of its name, however often it is resumed."""
    path = write(tmp_path / f"x.csv.{end}", PACKS[end](CSV))

    assert reading(lambda source: read_csv(source, path)) == (ROWS, [])


@packs
@pytest.mark.parametrize("between", [b"", b"\0" * 8])
def test_members_one_after_the_other_are_one_file(tmp_path: Path, end: str, between: bytes) -> None:
    """As `cat a.gz b.gz` and parallel packers make them; padding is no member."""
    parts = [CSV[:50], CSV[50:51], b"", CSV[51:]]
    data = between.join(PACKS[end](part) for part in parts) + between
    path = write(tmp_path / f"x.csv.{end}", data)

    assert read(lambda source: read_csv(source, path)) == (ROWS, [])


@packs
def test_a_packed_file_cut_anywhere_is_an_error(tmp_path: Path, end: str) -> None:
    """Most zstd libraries read a cut file as a short one; here no cut is taken for the end."""
    data = PACKS[end](CSV)

    for length in range(len(data)):
        path = write(tmp_path / f"x.csv.{end}", data[:length])
        with pytest.raises(Fatal, match=r"cannot be read to its end: it is (cut|damaged)"):
            list(read_csv(task(batch_size=100), path))


@packs
def test_garbage_behind_a_packed_file_is_an_error(tmp_path: Path, end: str) -> None:
    """It may have been data: bz2 and xz of the standard library leave it out in silence."""
    path = write(tmp_path / f"x.csv.{end}", PACKS[end](CSV) + b"more data")

    with pytest.raises(Fatal, match=r"x\.csv.* it is damaged"):
        list(read_csv(task(batch_size=100), path))


@pytest.mark.parametrize("end", ["gz", "bz2", "xz"])
def test_a_bit_that_fell_over_is_an_error(tmp_path: Path, end: str) -> None:
    """The sums of the format are compared (those of zstd are optional)."""
    data = bytearray(PACKS[end](CSV))
    data[len(data) // 2] ^= 1
    path = write(tmp_path / f"x.csv.{end}", bytes(data))

    with pytest.raises(Fatal, match="it is damaged"):
        list(read_csv(task(batch_size=100), path))


def test_compression_is_what_the_caller_says(tmp_path: Path) -> None:
    """A name may lie, or say nothing."""
    odd = write(tmp_path / "x", gzip.compress(b'{"n": 1}\n'))
    lying = write(tmp_path / "y.gz", b'{"n": 2}\n')

    assert read(lambda source: read_jsonl(source, odd, compression="gzip")) == ([{"n": 1}], [])
    assert read(lambda source: read_jsonl(source, lying, compression=None)) == ([{"n": 2}], [])
    with pytest.raises(Fatal, match="there is no compression 'zip'"):
        list(read_jsonl(task(), odd, compression="zip"))


def test_more_than_a_block_is_unpacked_in_blocks(tmp_path: Path) -> None:
    """A record may lie across what is unpacked at one time, and a resume may begin there."""
    lines = b"".join(b'{"n": %d, "t": "%s"}\n' % (n, b"x" * 5000) for n in range(1000))
    path = write(tmp_path / "x.jsonl.gz", gzip.compress(lines, 1))

    whole, _ = read(lambda source: read_jsonl(source, path), batch_size=1000)
    resumed, _ = read_with_crashes(lambda source: read_jsonl(source, path), batch_size=300)

    assert [record["n"] for record in whole] == list(range(1000))
    assert resumed == whole


@packs
def test_a_packed_file_that_is_packed_anew_is_still_good(tmp_path: Path, end: str) -> None:
    """What counts is what was in it; one that has gone on at its end is good as well."""
    path = write(tmp_path / f"x.csv.{end}", PACKS[end](CSV))
    cursor = next(read_csv(task(), path)).cursor
    write(path, PACKS[end](CSV[:30]) + PACKS[end](CSV[30:] + b"40,new\n"))

    rest = [record for batch in read_csv(task(cursor=cursor), path) for record in batch.records]

    assert rest == [*ROWS[2:], {"n": "40", "t": "new"}]


@packs
@pytest.mark.parametrize("other", [CSV.replace(b"text 0", b"TEXT 0"), CSV[:12], b"", CSV[4:]])
def test_a_packed_file_with_something_else_in_it_is_refused(
    tmp_path: Path, end: str, other: bytes
) -> None:
    """Even with its old time."""
    path = write(tmp_path / f"x.csv.{end}", PACKS[end](CSV))
    times = path.stat()
    cursor = next(read_csv(task(), path)).cursor
    write(path, PACKS[end](other))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(Fatal, match="not those that were read") as refusal:
        list(read_csv(task(cursor=cursor), path))

    assert "rewind" in str(refusal.value)


def test_a_packed_file_cut_before_the_resume_is_an_error(tmp_path: Path) -> None:
    """Where the cursor was is then behind its end, or not the same is before it."""
    data = gzip.compress(os.urandom(200_000).hex().encode() + b"\n" + CSV)
    path = write(tmp_path / "x.csv.gz", gzip.compress(CSV) + data)
    cursor = next(read_jsonl(task(batch_size=45), path)).cursor
    write(path, data[: len(data) // 2])

    with pytest.raises(Fatal, match="not those that were read before"):
        list(read_jsonl(task(cursor=cursor), path))
    write(path, gzip.compress(CSV)[:60])
    with pytest.raises(Fatal, match="cannot be read to its end"):
        list(read_jsonl(task(cursor=cursor), path))


def test_passing_over_what_was_read_is_a_sign_of_life(tmp_path: Path) -> None:
    """Otherwise a resume in a large file would be killed for being silent."""
    path = write(tmp_path / "x.jsonl.gz", gzip.compress(b'{"t": "%s"}\n' % (b"x" * 9000) * 600))
    cursor = next(read_jsonl(task(batch_size=599), path)).cursor
    source = task(cursor=cursor)
    beats: list[None] = []
    source._beat = lambda: beats.append(None)

    assert len(list(read_jsonl(source, path))) == 1
    assert len(beats) >= 5


def test_without_its_library_zstd_is_refused_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra below Python 3.14."""
    path = write(tmp_path / "x.csv.zst", zstd.compress(CSV))
    monkeypatch.setitem(sys.modules, "backports", None)

    with pytest.raises(DataError, match="cannot read or write zstd") as refusal:
        list(read_csv(task(), path))

    assert "statepipe[zstd]" in refusal.value.next_step
