"""
Several files as one source: in the order of their names, and known again after a crash.
"""

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Fatal
from statepipe.io.files import remote
from statepipe.io.files.text import read_csv, read_jsonl
from statepipe.io.files.trail import MARKS_MAX
from statepipe.io.rows import Value
from statepipe.model import Record
from statepipe.store.codec import encode
from tests.io.reading import read, read_with_crashes, task, write


def fill(folder: Path, **files: bytes) -> Path:
    """Write files and return their folder."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        write(folder / f"{name}.csv", data)
    return folder


def rows_of(folder: Path, *, cursor: Value = None, batch_size: int = 2) -> list[str]:
    """Return column a of what there is to read."""
    source = task(cursor=cursor, batch_size=batch_size)
    batches = read_csv(source, folder / "*.csv")
    return [record["a"] for batch in batches for record in batch.records]


def cursor_after(folder: Path, rows: int) -> Value:
    """Return the cursor after so many rows, two a batch."""
    batches = read_csv(task(), folder / "*.csv")
    for _ in range(rows // 2 - 1):
        next(batches)
    return next(batches).cursor


FILES = {
    "a": b"a\n1\n2\n3\n",
    "b": b"a\n",
    "c": b"\xef\xbb\xbfa\r\n4\r\n",
    "d": b'a\n"5\r\n6"\n7',
    "e": b"a\n8\n9\n",
}
VALUES = ["1", "2", "3", "4", "5\r\n6", "7", "8", "9"]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
@pytest.mark.parametrize("reading", [read, read_with_crashes])
def test_files_are_read_as_one_wherever_a_crash_comes(
    tmp_path: Path, batch_size: int, reading: Callable[..., Any]
) -> None:
    """Batches go on from file to file; a header alone, a BOM and CRLF are each file's own."""
    folder = fill(tmp_path / "in", **FILES)

    records, rejects = reading(
        lambda source: read_csv(source, folder / "*.csv"), batch_size=batch_size
    )

    assert [record["a"] for record in records] == VALUES
    assert rejects == []


def test_the_order_is_that_of_the_names_in_folders_too(tmp_path: Path) -> None:
    """`**` looks into folders; folders, hidden files and other names are no part of it."""
    for name in ["b/2.jsonl", "a/10.jsonl", "a/9.jsonl", "z.jsonl.gz", ".hidden/1.jsonl", "x.csv"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        line = b'{"name": "%s"}\n' % name.encode()
        write(tmp_path / name, gzip.compress(line) if name.endswith("gz") else line)
    (tmp_path / "folder.jsonl").mkdir()

    records, _ = read(lambda source: read_jsonl(source, tmp_path / "**" / "*.jsonl*"))

    names = [record["name"] for record in records]
    assert names == ["a/10.jsonl", "a/9.jsonl", "b/2.jsonl", "z.jsonl.gz"]


@pytest.mark.parametrize("pattern", ["**/**/*.jsonl", "a/**/b/**/c.jsonl"])
def test_a_file_to_which_a_glob_has_two_ways_is_read_once(tmp_path: Path, pattern: str) -> None:
    """Its rows would be loaded twice, and nobody would be told."""
    (tmp_path / "a/b/b").mkdir(parents=True)
    write(tmp_path / "a/b/b/c.jsonl", b'{"n": 1}\n')

    assert read(lambda source: read_jsonl(source, tmp_path / pattern)) == ([{"n": 1}], [])


def test_rejects_of_several_files_say_which(tmp_path: Path) -> None:
    """A line number alone would not find them again."""
    folder = fill(tmp_path / "in", a=b"a\n1\n", b=b"a\n1,2\n")

    _, rejects = read(lambda source: read_csv(source, folder / "*.csv"))

    assert rejects == [
        ({"file": "b.csv", "line": 2, "text": "1,2\n"}, "2 cells where the header has 1")
    ]


def test_columns_may_have_another_order_in_each_file(tmp_path: Path) -> None:
    """A header says which cell is which."""
    folder = fill(tmp_path / "in", a=b"a,b\n1,2\n", b=b"b,a\n4,3\n")

    records, _ = read(lambda source: read_csv(source, folder / "*.csv"))

    assert records == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"a,b", r"it has a column 'b', which .*a\.csv has not"),
        (b"b", r"it has no column 'a', which .*a\.csv has"),
        (b"", "it has no header line"),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_later_file_with_other_columns_is_refused(
    tmp_path: Path, header: bytes, reason: str, *, resumed: bool
) -> None:
    """What is before it is committed; a resume compares with the first file, too."""
    folder = fill(tmp_path / "in", a=b"a\n1\n2\n", b=b"a\n3\n4\n", c=header)
    cursor = cursor_after(folder, 4) if resumed else None

    with pytest.raises(Fatal, match=rf"c\.csv cannot be read as CSV: {reason}"):
        rows_of(folder, cursor=cursor)


def test_files_that_come_behind_are_read(tmp_path: Path) -> None:
    """Also when all was read; what sorts behind the file that was being read is new."""
    folder = fill(tmp_path / "in", **FILES)
    early, late = cursor_after(folder, 2), cursor_after(folder, 8)
    fill(folder, b1=b"a\n3.5\n", f=b"a\n10\n")
    (folder / "c.csv").unlink()

    assert rows_of(folder, cursor=early) == ["3", "3.5", "5\r\n6", "7", "8", "9", "10"]
    fill(folder, c=FILES["c"])
    (folder / "b1.csv").unlink()
    os.utime(folder / "c.csv", ns=(0, 0))  # it was read: another time makes another file of it
    with pytest.raises(Fatal, match=r"c\.csv has changed since it was read"):
        rows_of(folder, cursor=late)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"a": b"a\n1\n2\n3\n3\n"}, "a.csv has changed since it was read"),
        ({"b": b"a\n0\n"}, "b.csv has changed since it was read"),
        ({"b1": b"a\n0\n"}, "b1.csv is new, and sorts before d.csv, which was being read"),
        ({"0": b"a\n0\n"}, "0.csv is new, and sorts before d.csv"),
        ({"c1": b"a\n0\n"}, "c1.csv is new, and sorts before d.csv"),
        ({"b": None}, "1 of the 3 files before d.csv are gone"),
        ({"a": None, "c": None}, "2 of the 3 files before d.csv are gone"),
        ({"d": None}, "d.csv, which was being read, is gone"),
        ({"b": None, "b1": b"a\n"}, "b1.csv has changed since it was read"),
        ({"d": b"a\n5\n6\n"}, "d.csv is not what this instance began to read"),
    ],
)
def test_a_file_that_was_read_and_is_another_now_is_refused(
    tmp_path: Path, change: dict[str, bytes | None], reason: str
) -> None:
    """New, gone, or changed: it is named, and what to do is said."""
    folder = fill(tmp_path / "in", **FILES)
    cursor = cursor_after(folder, 6)
    for name, data in change.items():
        if data is None:
            (folder / f"{name}.csv").unlink()
        else:
            fill(folder, **{name: data})

    with pytest.raises(Fatal) as refusal:
        rows_of(folder, cursor=cursor)

    assert reason in str(refusal.value)
    assert "batches read before are safe" in str(refusal.value)
    assert "rewind" in str(refusal.value)


def test_a_folder_may_move(tmp_path: Path) -> None:
    """A file is known by its name behind the fixed part of the glob."""
    folder = fill(tmp_path / "in", **FILES)
    cursor = cursor_after(folder, 6)

    assert rows_of(folder.rename(tmp_path / "elsewhere"), cursor=cursor) == VALUES[6:]


def test_a_cursor_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Beyond so many files it knows only which group of them is another."""
    count = 3 * MARKS_MAX + 1
    folder = fill(tmp_path / "in", **{f"{n:04}": b"a\n%d\n" % n for n in range(count)})
    cursors = [batch.cursor for batch in read_csv(task(batch_size=1), folder / "*.csv")]
    sizes = [len(encode(cursor)) for cursor in cursors]

    assert max(sizes) < 8 * MARKS_MAX + 300
    for n in range(0, count, 50):
        assert rows_of(folder, cursor=cursors[n]) == [str(m) for m in range(n + 1, count)]
    os.utime(folder / "0200.csv", ns=(0, 0))
    with pytest.raises(Fatal, match=r"one of 0200\.csv … 0203\.csv has changed"):
        rows_of(folder, cursor=cursors[-1])
    assert rows_of(folder, cursor=cursors[199])[:2] == ["200", "201"]


@pytest.mark.parametrize(
    "before",
    [
        0,
        {},
        {"files": 1},
        {"files": 0, "every": 1, "marks": b"", "now": bytes(8)},
        {"files": 1, "every": 1, "marks": b"", "now": bytes(8)},
        {"files": 1, "every": 0, "marks": b"", "now": bytes(8)},
    ],
    ids=repr,
)
def test_a_cursor_with_a_foreign_trail_is_refused(tmp_path: Path, before: Value) -> None:
    """It would pass over files that nobody has read."""
    folder = fill(tmp_path / "in", **FILES)
    cursor = {**cursor_after(folder, 6), "before": before}

    with pytest.raises(Fatal, match="not made by this reader"):
        rows_of(folder, cursor=cursor)


def test_a_glob_that_matches_nothing_is_fatal(tmp_path: Path) -> None:
    """No file is not an empty file: most likely the path is wrong."""
    with pytest.raises(Fatal, match=r"no file matches .*\*\.csv; nothing was read"):
        rows_of(tmp_path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("in/a.csv", "in/a.csv cannot be read: No such file or directory; it is relative to"),
        ("in/*.csv", "in cannot be read: No such file or directory; it is relative to"),
        ("*.csv", "no file matches *.csv; it is relative to"),
    ],
)
def test_a_relative_path_that_is_not_there_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    """From another folder of the project it is another file."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Fatal) as refusal:
        next(read_csv(task(), path))
    with pytest.raises(Fatal) as whole:
        next(read_csv(task(), tmp_path / path))

    assert f"{said} {tmp_path}, where statepipe was started" in str(refusal.value)
    assert "was started" not in str(whole.value)


def test_a_name_may_look_like_a_glob(tmp_path: Path) -> None:
    """A file that is there is meant, not the pattern."""
    path = write(tmp_path / "x[1].jsonl", b'{"n": 1}\n')
    write(tmp_path / "x1.jsonl", b'{"n": 2}\n')

    assert read(lambda source: read_jsonl(source, path)) == ([{"n": 1}], [])
    assert read(lambda source: read_jsonl(source, f"file://{path}")) == ([{"n": 1}], [])


def test_a_name_that_is_no_unicode_is_read_and_kept(tmp_path: Path) -> None:
    """A cursor must be able to hold it."""
    folder = os.fsencode(tmp_path)
    for n in range(3):
        with open(folder + b"/x\xff%d.jsonl" % n, "wb") as file:  # noqa: PTH123  (no Path of bytes)
            file.write(b'{"n": %d}\n' % n * 2)

    records, _ = read_with_crashes(lambda source: read_jsonl(source, tmp_path / "*.jsonl"))

    assert [record["n"] for record in records] == [0, 0, 1, 1, 2, 2]


def test_what_may_not_be_read_is_fatal() -> None:
    """A file, and a folder that a glob looks into: to pass over it would be less data."""
    # Not in tmp_path: nobody but its owner may look into the folders above it.
    folder = fill(Path(tempfile.mkdtemp()), **FILES)
    folder.chmod(0o755)
    fill(folder / "locked", x=b"a\n10\n").chmod(0)
    (folder / "e.csv").chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        for path in ["e.csv", "*.csv", "**/a.csv", "*/*.csv"]:
            with pytest.raises(Fatal, match=r"(e\.csv|locked) cannot be read: Permission denied"):
                list(read_csv(task(), folder / path))
    finally:
        os.seteuid(was)
        (folder / "locked").chmod(0o755)
        shutil.rmtree(folder)


def test_local_paths_take_no_storage_options(tmp_path: Path) -> None:
    """They would be ignored, and somebody meant something by them."""
    with pytest.raises(Fatal, match="local path"):
        list(read_csv(task(), tmp_path / "x.csv", storage_options={"key": "env:KEY"}))


@pytest.fixture
def memory() -> Any:  # noqa: ANN401  (fsspec has no types)
    """Return fsspec's files in memory, none yet."""
    import fsspec  # noqa: PLC0415  (imported where it is there)

    place = fsspec.filesystem("memory")
    place.rm("/", recursive=True)
    return place


def test_files_of_any_place_that_fsspec_knows_are_read(memory: Any) -> None:  # noqa: ANN401  (whatever is passed on)
    """Here those in memory: packed or not, with a crash after each batch."""
    expected: list[Record] = []
    for n in range(4):
        rows = [{"n": n * 10 + m} for m in range(3)]
        lines = b"".join(b'{"n": %d}\n' % row["n"] for row in rows)
        memory.pipe(
            f"/in/{n}.jsonl{'.gz' if n % 2 else ''}", gzip.compress(lines) if n % 2 else lines
        )
        expected += rows

    url = "memory://in/*.jsonl*"
    assert read(lambda source: read_jsonl(source, url)) == (expected, [])
    assert read_with_crashes(lambda source: read_jsonl(source, url)) == (expected, [])
    assert read(lambda source: read_jsonl(source, "memory://in/0.jsonl"))[0] == expected[:3]


def test_a_file_of_another_place_that_changed_is_refused(memory: Any) -> None:  # noqa: ANN401  (whatever is passed on)
    """Its looks say that it was written, and its bytes that it is another."""
    memory.pipe("/in/0.jsonl", b'{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    cursor = next(read_jsonl(task(), "memory://in/0.jsonl")).cursor
    memory.pipe("/in/0.jsonl", b'{"n": 1}\n{"n": 4}\n{"n": 3}\n')

    with pytest.raises(Fatal, match=r"memory://.*0\.jsonl is not what this instance began to read"):
        list(read_jsonl(task(cursor=cursor), "memory://in/0.jsonl"))


def test_a_mistake_of_ours_is_not_told_as_one_of_the_place(
    memory: Any,  # noqa: ANN401  (whatever is passed on)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a place's library raises has a meaning; what we raise about its answers has none."""
    memory.pipe("/in/0.jsonl", b'{"n": 1}\n')

    def break_down(*_: object, **__: object) -> Any:  # noqa: ANN401  (whatever is passed on)
        raise KeyError("whatever")

    for whose, kind, said in [
        ((remote, "matching"), LookupError, "^'whatever'$"),
        ((remote, "_looks"), LookupError, "^'whatever'$"),
        ((type(memory), "ls"), Fatal, "KeyError: 'whatever'"),
        ((type(memory), "open"), Fatal, "KeyError: 'whatever'"),
    ]:
        with monkeypatch.context() as broken:
            broken.setattr(*whose, break_down)
            with pytest.raises(kind, match=said):
                list(read_jsonl(task(), "memory://in/*.jsonl"))
