"""
Cursors of file sources: a resume seeks, and a file that changed is noticed.
"""

import os
from pathlib import Path

import pytest

from statepipe.errors import Fatal
from statepipe.io.files.text import read_csv
from statepipe.io.rows import Value
from tests.io.reading import task, write


def first_cursor(path: Path) -> Value:
    """Return the cursor after the first batch of two records."""
    cursor = next(read_csv(task(), path)).cursor
    assert cursor is not None
    return cursor


CSV = b"a\n1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\n9\n2\n3\n4\n", "not those that were read"),
        (b"b\n1\n2\n3\n4\n", "not those that were read"),
        (b"a\n1\n", "has 4 bytes, 6 were read"),
        (b"", "has 0 bytes, 6 were read"),
        (b"a\n0\n1\n2\n3\n4\n", "not those that were read"),
    ],
)
@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_changed_between_crash_and_resume_is_refused(
    tmp_path: Path, data: bytes, reason: str, *, same_time: bool
) -> None:
    """Changed, replaced or truncated, even with its old time: Fatal, and it says what to do."""
    path = write(tmp_path / "x.csv", CSV)
    times = path.stat()
    cursor = first_cursor(path)
    write(path, data)
    if same_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(Fatal, match=reason) as refusal:
        list(read_csv(task(cursor=cursor), path))

    assert "rewind" in str(refusal.value)


def test_a_file_that_was_touched_copied_or_appended_to_is_still_good(tmp_path: Path) -> None:
    """What was used up is the same, byte for byte, so going on is exact."""
    path = write(tmp_path / "x.csv", CSV)
    cursor = first_cursor(path)
    (tmp_path / "copy.csv").write_bytes(CSV + b"5\n")
    (tmp_path / "copy.csv").replace(path)

    batches = list(read_csv(task(cursor=cursor), path))

    assert [record["a"] for batch in batches for record in batch.records] == ["3", "4", "5"]


def test_a_last_line_without_end_that_goes_on_is_refused(tmp_path: Path) -> None:
    """The line was committed as it was; its continuation is not a line of its own."""
    path = write(tmp_path / "x.csv", b"a\n1\n2")
    cursor = first_cursor(path)
    write(path, b"a\n1\n234\n5\n")

    with pytest.raises(Fatal, match="goes on now"):
        list(read_csv(task(cursor=cursor), path))


def test_resuming_seeks_instead_of_reading_again(tmp_path: Path) -> None:
    """A damaged middle that was used up, beyond the head, with the old time is not reread."""
    body = b"".join(b"%07d\n" % n for n in range(40_000))
    path = write(tmp_path / "x.csv", b"a\n" + body)
    times = path.stat()
    batch = next(read_csv(task(batch_size=30_000), path))
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"X")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    rest = list(read_csv(task(batch_size=30_000, cursor=batch.cursor), path))

    assert rest[0].records[0] == {"a": "0030000"}


def test_a_change_beyond_the_head_is_noticed_by_the_files_time(tmp_path: Path) -> None:
    """Same size, same head, another time: what was used up is compared to its last byte."""
    path = write(tmp_path / "x.csv", b"a\n" + b"".join(b"%07d\n" % n for n in range(40_000)))
    times = path.stat()
    batch = next(read_csv(task(batch_size=30_000), path))
    with path.open("r+b") as file:
        file.seek(batch.cursor["at"]["offset"] - 2)
        file.write(b"X")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))

    with pytest.raises(Fatal, match="not those that were read"):
        list(read_csv(task(cursor=batch.cursor), path))


def test_a_file_cut_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """The end of a file that just shrank is not its end."""
    path = write(tmp_path / "x.csv", b"a\n" + (b"x" * 999 + b"\n") * 3_000)
    batches = read_csv(task(), path)
    next(batches)
    os.truncate(path, 100)

    with pytest.raises(Fatal, match="cut while"):
        list(batches)


@pytest.mark.parametrize("cursor", [0, [], {}, {"offset": 1}, "x"], ids=repr)
def test_a_foreign_cursor_is_refused(tmp_path: Path, cursor: object) -> None:
    """A cursor of another source would seek to nowhere."""
    path = write(tmp_path / "x.csv", CSV)

    with pytest.raises(Fatal, match="cursor"):
        list(read_csv(task(cursor=cursor), path))
