"""
What is printed, and how: people's tables on a terminal, plain lines elsewhere, or JSON.

    Table       heads and rows, all text
    Output      the answer to standard output, everything else to standard error
    escape      text from a store, harmless to a terminal
    moment, age     points in time for people
    shown_id        an id as a shell takes it
    silence         nothing more goes to a stream that nobody reads
    broken          the same, and an error if that loses the answer

A reader that goes away (`statepipe run flights | head -1`) stops the lines, not the command,
and so does a full disk; an answer that is lost with it is an error, once all is done.
rich is loaded only for a terminal, which costs 60 ms that a script need not pay.
"""

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from statepipe.cli.shared.addressing import Address, addressed, addressed_lines
from statepipe.errors import Unwritten
from statepipe.io.plainjson import jsonable
from statepipe.units import format_duration

#: Closer than this a moment is now.
_NOW_MS: Final = 1_000

#: Between two columns.
_GAP: Final = 2

#: Colours of words on a terminal, as rich names them.
STYLES: Final = {
    "done": "green",
    "failed": "bold red",
    "stalled": "bold red",
    "cancelled": "yellow",
    "paused": "yellow",
    "failing": "bold red",
    "unattended": "bold red",
    "waiting": "yellow",
    "running": "cyan",
    "error": "bold red",
    "unusable": "bold red",
    "warning": "yellow",
    "ok": "green",
}


#: The standard streams of this process that were found to have no reader, or no room.
_silenced: Final[set[str]] = set()


class Table(NamedTuple):
    """Heads and rows, all of it text, not yet escaped."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    spare: Sequence[str] = ()  # heads of columns that a narrow page leaves out, the first first

    def fitted(self, width: int) -> "Table":
        """Return the table with as many of its spare columns left out as `width` asks for."""
        heads = list(self.heads)
        widths = [max(map(len, column)) for column in zip(heads, *self.rows, strict=True)]
        left = list(range(len(heads)))
        for head in self.spare:
            if sum(widths[at] + _GAP for at in left) - _GAP > width:
                left.remove(heads.index(head))
        rows = [[row[at] for at in left] for row in self.rows]
        return Table([heads[at] for at in left], rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """
    Where a command prints.

    Attributes:
        form: "table", "json" or "jsonl".
        quiet: True to drop what is not the answer.
        color: False for no colours, even on a terminal.
        address: The options that say which store was meant; what to type next has them.
    """

    form: str
    quiet: bool = False
    color: bool = True
    address: Address = ()

    @property
    def is_json(self) -> bool:
        """True if only JSON may go to standard output."""
        return self.form != "table"

    @property
    def is_terminal(self) -> bool:
        """True if people read the answer on a terminal."""
        return not self.is_json and sys.stdout.isatty()

    @property
    def is_read(self) -> bool:
        """False once whoever read the answer has gone: then what follows it may end."""
        return "stdout" not in _silenced

    def rows(
        self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, cells: Sequence[str]
    ) -> None:
        """
        Print a list: a table of `cells`, or every key of each row as JSON.

        Args:
            columns: The heads of the table.
            rows: What is listed; values of `cells` are text where people read them.
            cells: The keys of the columns.
        """
        if self.is_json:
            self.values([{k: v for k, v in row.items() if not k.startswith("_")} for row in rows])
            return
        self.table(Table(columns, [[str(row[cell]) for cell in cells] for row in rows]))

    def table(self, table: Table) -> None:
        """Print a table for people."""
        rows = [[escape(cell) for cell in row] for row in table.rows]
        if self.is_terminal:
            self._rich_table(table._replace(rows=rows))
        else:
            self._plain_table(table.heads, rows)

    def values(self, values: Sequence[Any]) -> None:
        """Print a list as JSON: one array, or one line each."""
        if self.form == "jsonl":
            self.lines(values)
        else:
            self.raw(_json(list(values), indent=2))

    def lines(self, values: Iterable[Any]) -> None:
        """Print each value as one line of JSON, as long as somebody reads them."""
        for value in values:
            if not self.is_read:
                return
            self.raw(_json(value))

    def stream(self, values: Iterable[Any]) -> None:
        """Print as `values` does, one at a time as they come, as long as somebody reads them."""
        if self.form == "jsonl":
            self.lines(values)
            return
        before = None
        for value in values:
            if not self.is_read:
                return
            self.raw("[" if before is None else f"{before},")
            before = "  " + _json(value, indent=2).replace("\n", "\n  ")
        self.raw("[]" if before is None else f"{before}\n]")

    def value(self, value: Any) -> None:  # noqa: ANN401  (plain data)
        """Print one thing as JSON."""
        self.raw(_json(value, indent=2 if self.form == "json" else None))

    def say(self, text: str) -> None:
        """Print a line for people: part of the answer, or beside it if that is JSON."""
        if self.is_json:
            self.note(text)
        else:
            self.raw(escape(addressed_lines(text, self.address), lines=True))

    def addressed(self, command: str) -> str:
        """Return a command as it is typed to reach the store that this answer is about."""
        return addressed(command, self.address)

    def would(self, what: str) -> None:
        """Print what a command would do; nothing was changed."""
        if self.is_json:
            self.value({"would": what})
        else:
            self.say(f"would {what}; nothing was changed")

    def note(self, text: str) -> None:
        """Print a line beside the answer, unless quiet; if nobody can read it, none is missed."""
        if self.quiet:
            return
        try:
            text = addressed_lines(text, self.address)
            sys.stderr.write(escape(text, lines=True) + "\n")
        except OSError:
            silence("stderr")

    def paint(self, word: str) -> str:
        """Return `word` in its colour if this is a terminal; only for words of our own."""
        style = STYLES.get(word)
        if style is None or not (self.is_terminal and self.color):
            return word
        code = {"green": 32, "red": 31, "yellow": 33, "cyan": 36}[style.split()[-1]]
        return f"\x1b[{'1;' if style.startswith('bold') else ''}{code}m{word}\x1b[0m"

    def raw(self, text: str) -> None:
        """
        Print a line that is escaped already.

        Raises:
            Unwritten: It has no room there, for example, as in all that is part of the answer.
        """
        try:
            sys.stdout.write(text + "\n")
        except OSError as error:
            broken("stdout", error)

    def tell(self, text: str) -> None:
        """Print a line for people now; if it cannot be written that is said once, in a note."""
        try:
            self.say(text)
            self.flush()
        except Unwritten as error:
            self.note(f"{error.message}; the run goes on")

    def flush(self) -> None:
        """Let what was printed be seen now. Raises as `raw`."""
        try:
            sys.stdout.flush()
        except OSError as error:
            broken("stdout", error)

    def _plain_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.raw("  ".join(cells).rstrip())

    def _rich_table(self, table: Table) -> None:
        from rich.console import Console  # noqa: PLC0415  (60 ms, for terminals only)

        console = Console(no_color=not self.color, highlight=False)
        try:
            console.print(rich_table(table.fitted(console.width)))
        except OSError as error:
            broken("stdout", error)


def rich_table(table: Table) -> Any:  # noqa: ANN401  (rich's own type)
    """Return a table, already escaped, as rich draws it, words of our own in their colours."""
    from rich.table import Table as RichTable  # noqa: PLC0415  (60 ms, for terminals only)
    from rich.text import Text  # noqa: PLC0415  (as above)

    drawn = RichTable(box=None, pad_edge=False, header_style="bold")
    for head in table.heads:
        drawn.add_column(head, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return drawn


def escape(text: str, *, lines: bool = False) -> str:
    r"""
    Return `text` with everything a terminal might obey written as `\x1b`.

    Args:
        text: What came from a store, a machine file or an exception.
        lines: Keep line breaks and tabs.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or (lines and each in "\n\t") else _escaped(each)
        for each in text
    )


def moment(at_ms: int | None) -> str:
    """Return a moment for people, in UTC: "2013-02-08 12:30:05Z"; "" for None."""
    if at_ms is None:
        return ""
    return dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def age(at_ms: int, *, now_ms: int) -> str:
    """Return how long ago a moment was, or how far ahead: "just now", "4.2s ago", "in 3m 0s"."""
    distance_ms = now_ms - at_ms
    if abs(distance_ms) < _NOW_MS:
        return "just now"
    if distance_ms < 0:
        return f"in {format_duration(-distance_ms)}"
    return f"{format_duration(distance_ms)} ago"


def shown_id(name: str) -> str:
    """Return an id as a shell takes it."""
    plain = all(each.isalnum() or each in "-_.:@+,/" for each in name)
    return name if plain else "'" + name.replace("'", "'\\''") + "'"


def first_line(text: str | None, *, chars_max: int = 70) -> str:
    """Return the beginning of an error text, as much as a table can show."""
    line, _, more = (text or "").strip().partition("\n")
    if more and line.endswith(":"):  # it announces what is not shown here
        line += " …"
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def silence(name: Literal["stdout", "stderr"]) -> None:
    """Let nothing more go to this stream: it cannot be written to, and the exit flushes it."""
    _silenced.add(name)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, getattr(sys, name).fileno())
    os.close(nowhere)


def broken(name: Literal["stdout", "stderr"], error: OSError) -> None:
    """
    Silence a stream that could not be written to.

    Raises:
        Unwritten: The answer should have gone there, and it is not its reader who has gone.
    """
    silence(name)
    if name == "stdout" and not isinstance(error, BrokenPipeError):
        raise Unwritten(
            f"standard output cannot be written to: {error.strerror}",
            meaning="what the command changed is changed; its answer is cut off",
            next_step="df -h   # make room, or write it elsewhere",
        ) from error


def open_closed_streams() -> None:
    """
    Let each standard stream lead nowhere that was closed when the process began (`>&-`).

    Python has None for it then; and the next file that is opened would be it, a store for
    example, and have written into it what children and libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)  # noqa: FBT003  (it takes no name for it)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", errors="surrogatepass").decode("ascii")


def _json(value: Any, *, indent: int | None = None) -> str:  # noqa: ANN401  (plain data)
    # ASCII only: JSON leaves the terminal's C1 control characters as they are.
    return json.dumps(jsonable(value), indent=indent, ensure_ascii=True)
