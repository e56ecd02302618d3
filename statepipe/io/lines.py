"""
The lines of a file as a reader takes them, with an exact position in bytes.

    Lines.open     a file, and the cursor to go on from; refused if the file has changed
    go_on          jump to where the cursor left off
    next(lines)    the next line as text; UnreadableError if it is not UTF-8
    accept         what was taken since the last accept is used up
    set_aside      the same, returned as a record for quarantine
    keep_first     give all but the first of the lines taken back
    cursor         plain data: where to go on

A cursor knows the part of the file that was used up:

    offset, line      bytes and lines used up
    crc32             of these bytes
    head_crc32        of the first 64 KiB of them
    size, mtime_ns    of the file when it was opened

If size and time are the same, and so is the head, resuming seeks. If not, the bytes used
up are read once more and compared: a file that was touched, copied or appended to is still
good, any other is refused.
"""

import os
import stat
import zlib
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, NoReturn, Self

from statepipe.errors import Fatal
from statepipe.io.rows import Value
from statepipe.model import Record

#: Longest line, in bytes; a file with a longer one is not a file of lines.
LINE_BYTES_MAX: Final = 16 * 1024 * 1024

#: Most bytes one record may take over several lines; a quote left open ends here.
RECORD_BYTES_MAX: Final = 256 * 1024

#: Most bytes of a line that are kept in quarantine.
ASIDE_BYTES_MAX: Final = 64 * 1024

_HEAD_BYTES: Final = 64 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class UnreadableError(ValueError):
    """The lines taken cannot be a record, with the reason."""


class _Position(NamedTuple):
    """Where a reader is: what a cursor says of it, in the same words."""

    offset: int = 0
    line: int = 0
    crc32: int = 0
    head_crc32: int = 0

    def after(self, raw: bytes, *, lines: int) -> "_Position":
        """Return the position after `lines` more lines, `raw` in all."""
        head = self.head_crc32
        if self.offset < _HEAD_BYTES:
            head = zlib.crc32(raw[: _HEAD_BYTES - self.offset], head)
        crc = zlib.crc32(raw, self.crc32)
        return _Position(self.offset + len(raw), self.line + lines, crc, head)


class Lines:
    """
    An iterator over lines that remembers which of them are used up.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        facts = os.fstat(file.fileno())
        self._size, self._mtime_ns = facts.st_size, facts.st_mtime_ns
        self._at = _Position()
        self._resume: _Position | None = None
        # Used up since the last cursor, and folded into the position when one is asked for.
        # Best of 8, CPU time, four pairs of runs on a busy machine: 4.2-4.5 us a row of text,
        # 4.8-6.5 when each line was folded alone. Typed rows showed no clear difference.
        self._used: list[bytes] = []
        self._taken: list[bytes] = []
        self._taken_bytes = 0
        self._given_back: deque[bytes] = deque()

    @classmethod
    def open(cls, path: Path, *, cursor: Value) -> Self:
        """
        Open `path` at its start; `go_on` then jumps to `cursor`, if it is not None.

        Raises:
            Fatal: If the file cannot be read, or what `cursor` says was used up of it
                is no longer what is there.
        """
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise Fatal(f"{path} is not a regular file; nothing was read")
            file = path.open("rb", buffering=_BLOCK_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Fatal(f"{path} cannot be read: {reason}") from error
        lines = cls(path, file)
        try:
            if cursor is not None:
                lines._resume = lines._check(cursor)
        except BaseException:
            file.close()
            raise
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._taken_bytes > RECORD_BYTES_MAX:
            raise UnreadableError(
                f"the record that begins here is longer than {RECORD_BYTES_MAX} bytes"
                " over its lines; is a quote left open?"
            )
        raw = self._given_back.popleft() if self._given_back else self._read()
        if not self._taken and not self._used and not self._at.offset:
            self._taken.append(raw)
            raw = raw.removeprefix(_BOM)
        else:
            self._taken.append(raw)
        self._taken_bytes += len(raw)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise UnreadableError(f"not UTF-8: {error.reason} at byte {error.start}") from error

    def go_on(self) -> None:
        """Jump to where the cursor left off; stay here if there was none."""
        if self._resume is not None:
            self._at = self._resume
            self._used.clear()
            self._given_back.clear()
            self._file.seek(self._at.offset)

    def accept(self) -> None:
        """Use up the lines taken."""
        self._used += self._taken
        self._taken.clear()
        self._taken_bytes = 0

    def set_aside(self) -> Record:
        """Use up the lines taken, and return them as a record for quarantine."""
        raw = b"".join(self._taken)
        record: Record = {"line": self._at.line + len(self._used) + 1}
        if len(raw) > ASIDE_BYTES_MAX:
            record["cut_from_bytes"] = len(raw)
        kept = raw[:ASIDE_BYTES_MAX]
        try:
            raw.decode()
        except UnicodeDecodeError:
            record["bytes"] = kept
        else:
            record["text"] = kept.decode(errors="ignore")  # a cut may part a character
        self.accept()
        return record

    def keep_first(self) -> None:
        """Give back all lines taken but the first."""
        self._given_back.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        self._taken_bytes = sum(map(len, self._taken))

    def cursor(self) -> dict[str, int]:
        """Return where to go on after the lines used up."""
        self._at = self._at.after(b"".join(self._used), lines=len(self._used))
        self._used.clear()
        return self._at._asdict() | {"size": self._size, "mtime_ns": self._mtime_ns}

    def _read(self) -> bytes:
        raw = self._file.readline(LINE_BYTES_MAX)
        if not raw:
            if os.fstat(self._file.fileno()).st_size < self._size:
                self._refuse("it was cut while it was being read")
            raise StopIteration
        if len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
            raise Fatal(
                f"{self.path} is not a file of lines: one after line"
                f" {self._at.line + len(self._used)}"
                f" is longer than {LINE_BYTES_MAX} bytes"
            )
        return raw

    def _check(self, cursor: Value) -> _Position:
        """Return the cursor's position if the file still begins with what it used up."""
        names = {*_Position._fields, "size", "mtime_ns"}
        if (
            type(cursor) is not dict
            or set(cursor) != names
            or any(type(value) is not int or value < 0 for value in cursor.values())
        ):
            self._refuse("the cursor was not made by this reader")
        at = _Position(*(cursor[name] for name in _Position._fields))
        if self._size < at.offset:
            self._refuse(f"it has {self._size} bytes, {at.offset} were read before")
        touched = (self._size, self._mtime_ns) != (cursor["size"], cursor["mtime_ns"])
        if self._crc_of(min(at.offset, _HEAD_BYTES)) != at.head_crc32 or (
            touched and self._crc_of(at.offset) != at.crc32
        ):
            self._refuse(f"its first {at.offset} bytes are not those that were read before")
        if at.offset and self._size > at.offset:
            self._file.seek(at.offset - 1)
            if self._file.read(1) != b"\n":
                self._refuse("its last line had no end when it was read, and goes on now")
        self._file.seek(0)
        return at

    def _crc_of(self, length: int) -> int:
        self._file.seek(0)
        crc = 0
        while length and (block := self._file.read(min(length, _BLOCK_BYTES))):
            crc = zlib.crc32(block, crc)
            length -= len(block)
        return crc

    def _refuse(self, reason: str) -> NoReturn:
        raise Fatal(
            f"{self.path} is not what this instance began to read: {reason};"
            " batches read before are safe. Put the file back and resume, or rewind to"
            " the state that reads it, to read it from the start"
        )
