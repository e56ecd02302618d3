"""
Sources that read files of lines: CSV and JSON Lines, from where the last commit left off.

    read_csv      records by a header line; quoted newlines, BOM and CRLF are understood
    read_jsonl    one JSON object a line

Both are generators for a source task: `yield from read_csv(task, path)`. Every record
of the files is either in a batch or rejected with its reason, so clean + rejected is
what the files hold: for JSON Lines their lines, for CSV their records (a quoted newline
does not end one) without the headers. A blank line is a rejected record too.

A rejected record is `{"line": …, "text": …}`, or `"bytes"` where the text is not UTF-8, with
`"file"` where there are several. What cannot be read as a whole (no file, no header, changed in
the meantime) is `Fatal`: no retry mends it.
"""

import csv
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from statepipe.batch import Batch
from statepipe.errors import Fatal
from statepipe.io.blocks import Columns, Gathered
from statepipe.io.files.found import Opened
from statepipe.io.files.lines import Lines, UnreadableError
from statepipe.io.files.meaning import Convert, Meaning
from statepipe.io.files.places import find
from statepipe.io.files.quick import Quick
from statepipe.io.files.walk import Walk
from statepipe.io.jsontext import MalformedError, parse_object
from statepipe.model import Record, Task

#: What a reader makes of a file: records, one or many, and rejected ones with their reasons.
_Items = Iterator[Record | Columns | tuple[Record, str]]

#: Smallest file, in bytes, that is worth the import of pyarrow.
_BULK_BYTES_MIN: Final = 8 * 1024 * 1024

#: Returns how many records the batch in the making has room for.
_Room = Callable[[], int]


def read_csv(
    task: Task,
    path: str | Path,
    *,
    types: Mapping[str, Convert] | None = None,
    nulls: Collection[str] = (),
    delimiter: str = ",",
    compression: str | None = "infer",
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[Batch]:
    """
    Yield the records of CSV files in batches of `task.batch_size`, from `task.cursor` on.

    Args:
        task: The source's task; malformed records go to `task.reject`.
        path: A path, a URL that fsspec knows, or a glob of either. The files, UTF-8, are read
            in the order of their names. The first line of each is its header; all have the
            same columns, in any order.
        types: What turns the text of a column into its value; text stays text without one.
            A ValueError rejects the record. `int`, `float` and `bool` are strict:
            no blanks, no underscores, and a bool is true or false (or 1 or 0).
        nulls: Cells that mean None, for example ("NA",).
        delimiter: The character between two cells; no quote and no end of a line.
        compression: "gzip", "bz2", "xz", "zstd", None, or by the ending of each name.
        storage_options: What fsspec is told of a URL's place; secrets by reference
            ("env:NAME" or "file:/PATH").

    Raises:
        Fatal: If a file cannot be read, has no usable header, or is no longer the one
            that the cursor belongs to, or `delimiter` can be none.
        ConnectionError: If a file's place cannot be reached, or fails.
        DataError: If fsspec, or a library for the place or the compression, is not installed.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise Fatal(
            f"read_csv: delimiter is {delimiter[:80]!r}, and cells are parted by one character that"
            ' is no quote and no end of a line: delimiter=";"; nothing was read'
        )
    walk = Walk(path, find(path, storage_options), task.cursor)
    layout = _Layout(types or {}, frozenset(nulls), delimiter)
    if walk.passed is not None:
        with _lines(task, walk.passed.open(), compression) as lines:
            layout.read_header(lines)
    yield from _batches(task, walk, compression, layout.records)


def read_jsonl(
    task: Task,
    path: str | Path,
    *,
    decimals: bool = False,
    compression: str | None = "infer",
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[Batch]:
    """
    Yield the objects of JSON Lines files in batches of `task.batch_size`, from `task.cursor` on.

    Rejected are lines that are not JSON or not an object, and what Python would take
    silently: NaN and infinities, a key twice in one object, half a surrogate pair. Not rejected
    is a number with a point that has more digits than a float holds (15 to 17): without
    `decimals` it becomes the nearest float. Integers are exact at any size.

    Args:
        task: The source's task; malformed lines go to `task.reject`.
        path: The files, UTF-8, one object a line; as for `read_csv`.
        decimals: Numbers with a point become Decimal, every digit kept, instead of float.
        compression: As for `read_csv`.
        storage_options: As for `read_csv`.

    Raises:
        Fatal: If a file cannot be read, or is no longer the one that the cursor belongs to.
        ConnectionError: If a file's place cannot be reached, or fails.
        DataError: If fsspec, or a library for the place or the compression, is not installed.
    """
    walk = Walk(path, find(path, storage_options), task.cursor)
    yield from _batches(task, walk, compression, partial(_json_records, decimals=decimals))


def _batches(
    task: Task, walk: Walk, compression: str | None, records_of: Callable[[Lines, _Room], _Items]
) -> Iterator[Batch]:
    """Cut what a reader yields into batches; rejects count, so a bad file stays bounded."""
    clean = Gathered()
    handled = 0

    def room() -> int:
        return max(1, task.batch_size - handled)

    for opened, at in walk.files():
        with _lines(task, opened, compression, at) as lines:
            for item in records_of(lines, room):
                if isinstance(item, tuple):
                    record, reason = item
                    task.reject({"file": opened.name, **record} if walk.is_glob else record, reason)
                    handled += 1
                else:
                    handled += clean.add(item)
                if handled >= task.batch_size:
                    yield clean.batch(cursor=walk.cursor(lines.cursor()))
                    handled = 0
    if handled:
        yield clean.batch(cursor=walk.cursor(lines.cursor()))


def _lines(task: Task, opened: Opened, compression: str | None, at: Any = None) -> Lines:  # noqa: ANN401  (plain data)
    return Lines(opened, compression=compression, cursor=at, beat=task.heartbeat)


class _Layout:
    """How the cells of CSV files become records; its columns are those of the first file."""

    def __init__(self, types: Mapping[str, Convert], nulls: frozenset[str], delimiter: str) -> None:
        self._types = types
        self._nulls = nulls
        self._delimiter = delimiter
        self._first: tuple[str, list[str]] | None = None

    def read_header(self, lines: Lines) -> list[str]:
        """
        Return the names of the columns, from the start of the file even when resuming.

        Raises:
            Fatal: If it has none, or not those of the first file.
        """
        try:
            header = next(csv.reader(lines, delimiter=self._delimiter, strict=True), None)
        except (UnreadableError, csv.Error) as error:
            _refuse(lines, f"its header cannot be read: {error}")
        lines.accept()
        if not header:
            _refuse(lines, "it has no header line")
        if "" in header:
            _refuse(lines, f"column {header.index('') + 1} of its header has no name")
        if twice := [name for name in header if header.count(name) > 1]:
            _refuse(lines, f"two columns of its header are called {twice[0]!r}")
        if self._first is None:
            self._first = lines.shown, header
        first, columns = self._first
        if missing := [name for name in columns if name not in header]:
            _refuse(lines, f"it has no column {missing[0]!r}, which {first} has")
        if more := [name for name in header if name not in columns]:
            _refuse(lines, f"it has a column {more[0]!r}, which {first} has not")
        return header

    def records(self, lines: Lines, room: _Room) -> _Items:
        """Return what is behind the header, or behind where the cursor left off."""
        header = self.read_header(lines)
        lines.go_on()
        if unknown := [name for name in self._types if name not in header]:
            _refuse(lines, f"it has no column {unknown[0]!r} (types names it)")
        converts = {name: _STRICT.get(convert, convert) for name, convert in self._types.items()}
        meanings = [Meaning(converts.get(name), self._nulls) for name in header]
        read_page = _page_reader(lines, header, meanings, self._delimiter)
        careful = _csv_records(lines, header, converts, self._nulls, self._delimiter)
        while True:
            while page := read_page(room()):
                yield page
            one = next(careful, None)
            if one is None:
                return
            yield one


def _page_reader(
    lines: Lines, header: list[str], meanings: list[Meaning], delimiter: str
) -> Callable[[int], Columns | None]:
    """Return what reads the next lines as a page where nothing in them needs care."""
    quick = Quick(lines, header, meanings, delimiter=delimiter)
    if lines.size < _BULK_BYTES_MIN or len(delimiter.encode()) > 1:
        return quick.read_page
    try:
        from statepipe.io.files.bulk import Bulk  # noqa: PLC0415  (optional, and 70 ms of import)
    except ImportError:
        return quick.read_page
    return Bulk(lines, header, meanings, delimiter=delimiter, quick=quick).read_page


def _csv_records(
    lines: Lines,
    header: list[str],
    converts: Mapping[str, Convert],
    nulls: frozenset[str],
    delimiter: str,
) -> Iterator[Record | tuple[Record, str]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = len(header)
    while True:
        try:
            cells = next(reader)
            if len(cells) != width:
                _complain_of_width(cells, width)
            record: Record = dict(zip(header, cells, strict=True))
            if not nulls.isdisjoint(cells):
                record = {k: None if v in nulls else v for k, v in record.items()}
            _convert(record, converts)
        except StopIteration:
            return
        except (csv.Error, UnreadableError) as error:
            # The quote that is wrong may have swallowed good records: only the first
            # line is to blame for sure. Go on with the line after it.
            lines.keep_first()
            yield lines.set_aside(), str(error)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        except MalformedError as error:
            yield lines.set_aside(), str(error)
        else:
            lines.accept()
            yield record


def _complain_of_width(cells: list[str], width: int) -> NoReturn:
    if not cells:
        raise MalformedError("the line is blank")
    raise MalformedError(f"{len(cells)} cells where the header has {width}")


def _convert(record: Record, converts: Mapping[str, Convert]) -> None:
    for name, convert in converts.items():
        text = record[name]
        if text is None:
            continue
        try:
            record[name] = convert(text)
        except (ValueError, ArithmeticError) as error:
            what = getattr(convert, "__name__", "value").strip("_")
            raise MalformedError(f"{name}: {text[:80]!a} is not of type {what}") from error


def _json_records(lines: Lines, _room: _Room, *, decimals: bool) -> _Items:
    lines.go_on()
    while True:
        try:
            text = next(lines)
            record = parse_object(text, decimals=decimals)
        except StopIteration:
            return
        except (UnreadableError, MalformedError) as error:
            yield lines.set_aside(), str(error)
        else:
            lines.accept()
            yield record


def _strict_int(text: str) -> int:
    if text.isdigit() and text.isascii():
        return int(text)
    if "_" in text or not text.isascii() or text != text.strip():
        raise ValueError(text)
    return int(text)


def _strict_float(text: str) -> float:
    if "_" in text or not text.isascii() or text != text.strip():
        raise ValueError(text)
    return float(text)


def _strict_bool(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


_strict_int.__name__, _strict_float.__name__, _strict_bool.__name__ = "int", "float", "bool"

_STRICT: dict[Convert, Convert] = {int: _strict_int, float: _strict_float, bool: _strict_bool}


def _refuse(lines: Lines, reason: str) -> NoReturn:
    raise Fatal(f"{lines.shown} cannot be read as CSV: {reason}")
