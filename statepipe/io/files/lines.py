"""
The lines of a file as a reader takes them, with an exact position in bytes.

    Lines          an open file, and the cursor to go on from; refused if the file has changed
    go_on          jump to where the cursor left off
    next(lines)    the next line as text; UnreadableError if it is not UTF-8
    accept         what was taken since the last accept is used up
    set_aside      the same, returned as a record for quarantine
    keep_first     give all but the first of the lines taken back
    take_block     many lines at once
    give_back      give a block back, to be taken line by line; put_back: in any way
    cursor         plain data: where to go on

A cursor knows the part of the file that was used up:

    offset, line      bytes and lines used up
    crc32             of these bytes
    head_crc32        of the first 64 KiB of them
    size, stamp       of the file when it was opened

If size and stamp are the same, and so is the head, resuming seeks. If not, or if the place of
the file has no stamps or rough ones, the bytes used up are read once more and compared: a file
that was touched, copied or appended to is still good, any other is refused.

Of a compressed file, offset and sums are those of what is in it, and to seek is to unpack what
stands before, without looking at it.
"""

import zlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, NoReturn, Self

from statepipe.errors import Fatal
from statepipe.io.changed import changed
from statepipe.io.files.found import BLOCK_BYTES, Opened
from statepipe.io.files.unpacking import DamagedError, kind_of, unpacked
from statepipe.io.rows import Value
from statepipe.model import Record

#: Longest line, in bytes; a file with a longer one is not a file of lines.
LINE_BYTES_MAX: Final = 16 * 1024 * 1024

#: Most bytes one record may take over several lines; a quote left open ends here.
RECORD_BYTES_MAX: Final = 256 * 1024

#: Most bytes of a line that are kept in quarantine.
ASIDE_BYTES_MAX: Final = 64 * 1024

_HEAD_BYTES: Final = 64 * 1024
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
        shown: What people call the file.
        size: Its bytes when it was opened, as they are stored.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        compression: str | None,
        cursor: Value,
        beat: Callable[[], object],
    ) -> None:
        """
        Begin at the start of `opened`; `go_on` then jumps to `cursor`, if it is not None.

        Args:
            opened: The file; it is closed with the lines.
            compression: As for `kind_of`.
            cursor: Where to go on.
            beat: Called for each block that is only passed over or compared.

        Raises:
            Fatal: If what `cursor` says was used up of it is no longer what is there, or there is
                no such compression.
            DataError: If it cannot be unpacked for want of a library.
        """
        self.shown = opened.shown
        self._beat = beat
        self._packed = opened.file
        self._file = opened.file
        self.size, self._stamp = opened.size, opened.stamp
        self._is_sure = opened.stamp is not None and not opened.is_rough
        self._at = _Position()
        self._resume: _Position | None = None
        # Used up since the last cursor, and folded into the position when one is asked for.
        # Best of 8, CPU time, four pairs of runs on a busy machine: 4.2-4.5 us a row of text,
        # 4.8-6.5 when each line was folded alone. Typed rows showed no clear difference.
        self._used: list[bytes] = []
        self._used_lines = 0
        self._taken: list[bytes] = []
        self._taken_lines = self._taken_bytes = 0
        self._ahead = b""  # whole lines that were read, those of _given_back come first
        self._given_back: deque[bytes] = deque()
        self._careful = 0  # lines that no block may take
        try:
            kind = kind_of(opened.name, compression)
            self._is_packed = kind is not None
            self._file = unpacked(opened.file, kind, beat)
            if cursor is not None:
                self._resume = self._check(cursor)
        except BaseException as error:
            self._file.close()
            if isinstance(error, DamagedError):
                raise self._damaged(error) from error
            raise

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
        if self._ahead and not self._given_back:
            self._given_back.extend(_lines_of(self._ahead))
            self._ahead = b""
        raw = self._given_back.popleft() if self._given_back else self._read()
        self._careful = max(0, self._careful - 1)
        if not self._taken and not self._used and not self._at.offset:
            self._taken.append(raw)
            raw = raw.removeprefix(_BOM)
        else:
            self._taken.append(raw)
        self._taken_lines += 1
        self._taken_bytes += len(raw)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise UnreadableError(f"not UTF-8: {error.reason} at byte {error.start}") from error

    @property
    def line(self) -> int:
        """How many lines are used up."""
        return self._at.line + self._used_lines

    def go_on(self) -> None:
        """Jump to where the cursor left off; stay here if there was none."""
        if self._resume is not None:
            self._at = self._resume
            self._used.clear()
            self._used_lines = 0
            self._given_back.clear()
            self._ahead = b""
            self._careful = 0
            try:
                self._file.seek(self._at.offset)
            except DamagedError as error:
                raise self._damaged(error) from error

    def take_block(self, limit: int, *, size: int) -> tuple[bytes, int]:
        """
        Take up to `limit` lines at once, of about `size` bytes; return them and their number.

        There are none if the file ends here, or the next line must be taken by itself: it was
        given back, or it is the first of the file, which may begin with a mark.
        """
        assert not self._taken, "a block begins where a record does"
        if self._careful or not (self._at.offset or self._used):
            return b"", 0
        if self._given_back:
            self._ahead = b"".join(self._given_back) + self._ahead
            self._given_back.clear()
        if len(self._ahead) < size and self._ahead.count(b"\n") < limit:
            self._ahead += self._read_block(size - len(self._ahead))
        end = self._ahead.find(b"\n", size) + 1 or len(self._ahead)
        block, self._ahead = self._ahead[:end], self._ahead[end:]
        if not block:
            return block, 0
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        if lines > limit:
            rest = block.split(b"\n", limit)[-1]
            block, self._ahead = block.removesuffix(rest), rest + self._ahead
            lines = limit
        self._taken, self._taken_lines = [block], lines
        return block, lines

    def give_back(self) -> None:
        """Give the block taken back, to be taken line by line."""
        lines = _lines_of(*self._taken)
        self._careful = len(lines)
        self._given_back.extend(lines)
        self._taken.clear()
        self._taken_lines = 0

    def put_back(self) -> None:
        """Give the block taken back, for smaller blocks."""
        self._ahead = self._taken.pop() + self._ahead
        self._taken_lines = 0

    def accept(self) -> None:
        """Use up the lines taken."""
        self._used += self._taken
        self._used_lines += self._taken_lines
        self._taken.clear()
        self._taken_lines = self._taken_bytes = 0

    def set_aside(self) -> Record:
        """Use up the lines taken, and return them as a record for quarantine."""
        raw = b"".join(self._taken)
        record: Record = {"line": self.line + 1}
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
        self._taken_lines = len(self._taken)
        self._taken_bytes = sum(map(len, self._taken))

    def cursor(self) -> dict[str, Value]:
        """Return where to go on after the lines used up."""
        self._at = self._at.after(b"".join(self._used), lines=self._used_lines)
        self._used.clear()
        self._used_lines = 0
        return self._at._asdict() | {"size": self.size, "stamp": self._stamp}

    def _read(self) -> bytes:
        try:
            raw = self._file.readline(LINE_BYTES_MAX)
        except DamagedError as error:
            raise self._damaged(error) from error
        if not raw:
            if self._packed.tell() < self.size:
                self._refuse("it was cut while it was being read")
            raise StopIteration
        self._refuse_endless(raw)
        return raw

    def _read_block(self, size: int) -> bytes:
        try:
            block = self._file.read(size)
            if block and not block.endswith(b"\n"):
                rest = self._file.readline(LINE_BYTES_MAX)
                self._refuse_endless(rest)
                block += rest
        except DamagedError as error:
            raise self._damaged(error) from error
        return block

    def _refuse_endless(self, line: bytes) -> None:
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            raise Fatal(
                f"{self.shown} is not a file of lines: one after line {self.line}"
                f" is longer than {LINE_BYTES_MAX} bytes"
            )

    def _check(self, cursor: Value) -> _Position:
        """Return the cursor's position if the file still begins with what it used up."""
        names = {*_Position._fields, "size", "stamp"}
        if type(cursor) is not dict or set(cursor) != names:
            self._refuse("the cursor was not made by this reader")
        at = _Position(*(cursor[name] for name in _Position._fields))
        if any(type(number) is not int or number < 0 for number in at):
            self._refuse("the cursor was not made by this reader")
        if self.size < at.offset and not self._is_packed:
            self._refuse(f"it has {self.size} bytes, {at.offset} were read before")
        looks = (self.size, self._stamp)
        is_touched = looks != (cursor["size"], cursor["stamp"]) or not self._is_sure
        if self._crc_of(min(at.offset, _HEAD_BYTES)) != at.head_crc32 or (
            is_touched and self._crc_of(at.offset) != at.crc32
        ):
            self._refuse(f"its first {at.offset} bytes are not those that were read before")
        if is_touched and at.offset:
            self._file.seek(at.offset - 1)
            last = self._file.read(2)
            if len(last) > 1 and not last.startswith(b"\n"):
                self._refuse("its last line had no end when it was read, and goes on now")
        self._file.seek(0)
        return at

    def _crc_of(self, length: int) -> int:
        self._file.seek(0)
        crc = 0
        while length and (block := self._file.read(min(length, BLOCK_BYTES))):
            crc = zlib.crc32(block, crc)
            length -= len(block)
            self._beat()
        return crc

    def _damaged(self, error: DamagedError) -> Fatal:
        return Fatal(
            f"{self.shown} cannot be read to its end: {error}; what was read of it before is safe"
            " and nothing was skipped. Put the whole file there and resume"
        )

    def _refuse(self, reason: str) -> NoReturn:
        raise changed(self.shown, reason, remedy="Put the file back and resume")


def _lines_of(block: bytes) -> list[bytes]:
    """Return the lines of `block`, which end in a line feed and nowhere else."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines
