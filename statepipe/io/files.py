"""
Sources that read a file: CSV and JSON Lines, from where the last commit left off.

    read_csv      records by a header line; quoted newlines, BOM and CRLF are understood
    read_jsonl    one JSON object a line

Both are generators for a source task: `yield from read_csv(task, path)`. Every record
of the file is either in a batch or rejected with its reason, so clean + rejected is
what the file holds: for JSON Lines its lines, for CSV its records (a quoted newline
does not end one) without the header. A blank line is a rejected record too.

A rejected record is `{"line": …, "text": …}`, or `"bytes"` where the text is not UTF-8.
What cannot be read as a whole (no file, no header, changed in the meantime) is `Fatal`:
no retry mends it.
"""

import csv
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from statepipe.errors import Fatal
from statepipe.io.jsontext import MalformedError, parse_object
from statepipe.io.lines import Lines, UnreadableError
from statepipe.model import Batch, Record, Task

Convert = Callable[[str], Any]


def read_csv(
    task: Task,
    path: str | Path,
    *,
    types: Mapping[str, Convert] | None = None,
    nulls: Collection[str] = (),
    delimiter: str = ",",
) -> Iterator[Batch]:
    """
    Yield the records of a CSV file in batches of `task.batch_size`, from `task.cursor` on.

    Args:
        task: The source's task; malformed records go to `task.reject`.
        path: The file, UTF-8, its first line the header.
        types: What turns the text of a column into its value; text stays text without one.
            A ValueError rejects the record. `int`, `float` and `bool` are strict:
            no blanks, no underscores, and a bool is true or false (or 1 or 0).
        nulls: Cells that mean None, for example ("NA",).
        delimiter: The character between two cells.

    Raises:
        Fatal: If the file cannot be read, has no usable header, or is no longer the one
            that the cursor belongs to.
    """
    with Lines.open(Path(path), cursor=task.cursor) as lines:
        header = _read_header(lines, delimiter)
        lines.go_on()
        converts = _converts(header, types or {}, Path(path))
        yield from _batches(task, lines, _csv_records(lines, header, converts, nulls, delimiter))


def read_jsonl(task: Task, path: str | Path) -> Iterator[Batch]:
    """
    Yield the objects of a JSON Lines file in batches of `task.batch_size`, from `task.cursor` on.

    Rejected are lines that are not JSON or not an object, and what Python would take
    silently: NaN and infinities, a key twice in one object, half a surrogate pair.

    Args:
        task: The source's task; malformed lines go to `task.reject`.
        path: The file, UTF-8, one object a line.

    Raises:
        Fatal: If the file cannot be read, or is no longer the one that the cursor belongs to.
    """
    with Lines.open(Path(path), cursor=task.cursor) as lines:
        lines.go_on()
        yield from _batches(task, lines, _json_records(lines))


def _batches(
    task: Task, lines: Lines, records: Iterator[Record | tuple[Record, str]]
) -> Iterator[Batch]:
    """Cut what a reader yields into batches; rejects count, so a bad file stays bounded."""
    clean: list[Record] = []
    handled = 0
    for item in records:
        if type(item) is tuple:
            task.reject(*item)
        else:
            clean.append(item)  # type: ignore[arg-type]  # what is not a tuple is a record
        handled += 1
        if handled >= task.batch_size:
            yield Batch(clean, cursor=lines.cursor())
            clean, handled = [], 0
    if handled:
        yield Batch(clean, cursor=lines.cursor())


def _read_header(lines: Lines, delimiter: str) -> list[str]:
    """Return the column names, from the start of the file even when resuming."""
    try:
        header = next(csv.reader(lines, delimiter=delimiter, strict=True), None)
    except (UnreadableError, csv.Error) as error:
        _refuse(lines.path, f"its header cannot be read: {error}")
    lines.accept()
    if not header:
        _refuse(lines.path, "it has no header line")
    if "" in header:
        _refuse(lines.path, f"column {header.index('') + 1} of its header has no name")
    if twice := [name for name in header if header.count(name) > 1]:
        _refuse(lines.path, f"two columns of its header are called {twice[0]!r}")
    return header


def _converts(
    header: list[str], types: Mapping[str, Convert], path: Path
) -> list[tuple[str, Convert]]:
    if unknown := [name for name in types if name not in header]:
        _refuse(path, f"it has no column {unknown[0]!r} (types names it)")
    return [(name, _STRICT.get(convert, convert)) for name, convert in types.items()]


def _csv_records(
    lines: Lines,
    header: list[str],
    converts: list[tuple[str, Convert]],
    nulls: Collection[str],
    delimiter: str,
) -> Iterator[Record | tuple[Record, str]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = len(header)
    null_cells = frozenset(nulls)
    while True:
        try:
            cells = next(reader)
            if len(cells) != width:
                _complain_of_width(cells, width)
            record: Record = dict(zip(header, cells, strict=True))
            if not null_cells.isdisjoint(cells):
                record = {k: None if v in null_cells else v for k, v in record.items()}
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


def _convert(record: Record, converts: list[tuple[str, Convert]]) -> None:
    for name, convert in converts:
        text = record[name]
        if text is None:
            continue
        try:
            record[name] = convert(text)
        except (ValueError, ArithmeticError) as error:
            what = getattr(convert, "__name__", "value").strip("_")
            raise MalformedError(f"{name}: {text[:80]!a} is not of type {what}") from error


def _json_records(lines: Lines) -> Iterator[Record | tuple[Record, str]]:
    while True:
        try:
            text = next(lines)
            record = parse_object(text)
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


def _refuse(path: Path, reason: str) -> NoReturn:
    raise Fatal(f"{path} cannot be read as CSV: {reason}")
