"""
What one attempt says, line by line, until the loop has stored it.

    Capture.feed    bytes of one of its streams, as they come, from any thread
    Capture.write   the same as text, piece by piece
    Capture.log     a log record
    Capture.end     nothing more comes
    Outbox          which captures have something; `take` gives it to the loop

Everything is bounded: a line, the first lines of an attempt and its last ones, each by
number and by bytes. What is between is counted and forgotten. Lines are made of bytes,
redacted and cut only when they are taken: of a task that prints without end, few ever are.
"""

import threading
from collections import deque
from typing import Final, NamedTuple

from statepipe.clock import Clock
from statepipe.observe import redact
from statepipe.runtime.output import records
from statepipe.said import Line, Parcel, Stored

#: How long a line may wait until it is stored, if nothing else is committed meanwhile.
STORE_WITHIN_MS: Final = 1_000

#: What is kept of the beginning of an attempt's output, and as much again of its end.
LINES_MAX: Final = 500
BYTES_MAX: Final = 128 * 1024
LINE_CHARS_MAX: Final = 4_000
#: How much of a line is held: enough to find a secret that begins before its cut.
_HELD_BYTES_MAX: Final = {"stdout": 16_384, "stderr": 16_384, "log": 65_536}
#: And how much of it is shown. A traceback was cut before, by whoever made it.
_SHOWN_CHARS_MAX: Final = {"stdout": LINE_CHARS_MAX, "stderr": LINE_CHARS_MAX, "log": 20_000}

#: What one commit stores, about; it must not hold up the moves of others.
LINES_PER_COMMIT_MAX: Final = 1_000

_SLICE: Final = 1 << 18
_LOCKS: Final = 16
#: A line that is printed in pieces is put together before anything else is done with it.
_PIECES_MAX: Final = 256
_PIECE_CHARS: Final = 1_024


#: Instance (number), epoch, generation, state, attempt.
Whose = tuple[int, int, int, str, int]


class Held(NamedTuple):
    """A line as it came. A record of a worker process is still JSON, and has no level yet."""

    at_ms: int
    source: str
    level: str | None
    raw: bytes
    cut_bytes: int


class Capture:
    """
    The output of one attempt.

    Args:
        outbox: Who is told that there is something to store.
        whose: Which attempt, as its rows name it.
    """

    def __init__(self, outbox: "Outbox", whose: Whose) -> None:
        self._outbox = outbox
        self._whose = whose

    # Class attributes stand for what most attempts never need: they say nothing.
    _stored = Stored()
    _ended = False
    _waits = False
    _pieces: dict[str, list[str]] | None = None
    _rests: dict[str, tuple[bytes, int]] | None = None
    _first: list[Held]
    _last: deque[Held]
    _first_lines = LINES_MAX
    _first_bytes = BYTES_MAX
    _last_bytes = 0
    _skipped_lines = 0
    _skipped_bytes = 0

    def feed(self, source: str, data: bytes) -> None:
        """Take what came out of "stdout", "stderr" or, as `PipeHandler` writes it, "log"."""
        if self._ended or not data:
            return
        at_ms = self._outbox.clock.now_ms()
        for start in range(0, len(data), _SLICE):
            with self._lock:  # not for all of it: the loop must not wait for long
                self._feed(source, data[start : start + _SLICE], at_ms)

    def write(self, source: str, text: str) -> None:
        """Take what was printed to "stdout" or "stderr"; `print` calls this for every piece."""
        if self._ended:
            return
        with self._lock:
            if self._pieces is None:
                self._pieces = {"stdout": [], "stderr": []}
            pieces = self._pieces[source]
            pieces.append(text)
            if "\n" not in text and len(text) < _PIECE_CHARS and len(pieces) < _PIECES_MAX:
                return
            joined = "".join(pieces)
            pieces.clear()
        self.feed(source, joined.encode("utf-8", "backslashreplace"))

    def log(self, level: str, text: str, at_ms: int | None = None) -> None:
        """Take a log record, or a traceback."""
        if self._ended:
            return
        raw = text.encode("utf-8", "backslashreplace")
        at_ms = self._outbox.clock.now_ms() if at_ms is None else at_ms
        with self._lock:
            self._hold(Held(at_ms, "log", level, raw, 0))

    def end(self, traceback: str | None = None) -> None:
        """Take what lacks its line break, and why the attempt failed; nothing after it."""
        if self._ended:
            return
        if self._pieces is not None:
            for source, pieces in self._pieces.items():
                self.feed(source, "".join(pieces).encode("utf-8", "backslashreplace"))
        if self._rests is not None:
            at_ms = self._outbox.clock.now_ms()
            with self._lock:
                for source, (rest, cut) in self._rests.items():
                    if rest:
                        self._hold(Held(at_ms, source, None, rest, cut))
                self._rests = None
        if traceback is not None:
            self.log("error", traceback)
        self._ended = True

    def parcel(self) -> Parcel:
        """Return what has come since the last time, ready to be stored."""
        with self._lock:
            first, last = self._first, self._last
            skipped = (self._skipped_lines, self._skipped_bytes)
            self._begin()
        return Parcel(
            *self._whose, [*map(_line, first)], [*map(_line, last)], *skipped, self._stored
        )

    @property
    def lines(self) -> int:
        """How many lines wait to be stored."""
        return len(self._first) + len(self._last)

    def was_stored(self, stored: Stored | None) -> None:
        """Remember what the store has; nothing more comes if it refuses a fenced attempt."""
        if stored is None:
            self._ended = True
        else:
            self._stored = stored

    @property
    def _lock(self) -> threading.RLock:
        # One of a few: a lock of its own would cost each attempt more than the rest of this.
        return self._outbox.locks[self._whose[0] % _LOCKS]

    def _feed(self, source: str, data: bytes, at_ms: int) -> None:
        if self._rests is None:
            self._rests = {}
        rest, cut = self._rests.get(source, (b"", 0))
        bytes_max = _HELD_BYTES_MAX[source]
        most = LINES_MAX if self._first_lines <= 0 else -1
        pieces = data.rsplit(b"\n", most)
        if most > 0 and (breaks := pieces[0].count(b"\n")):
            # Of this flood only the end can be among the last lines: the rest is not even split.
            self._wait()
            self._skipped_lines += breaks
            head, _, pieces[0] = pieces[0].rpartition(b"\n")
            self._skipped_bytes += len(rest) + cut + len(head)
            rest, cut = b"", 0
        for piece in pieces[:-1]:
            rest, cut = _joined(rest, cut, piece, bytes_max=bytes_max)
            self._hold(Held(at_ms, source, None, rest, cut))
            rest, cut = b"", 0
        self._rests[source] = _joined(rest, cut, pieces[-1], bytes_max=bytes_max)

    def _hold(self, held: Held) -> None:
        self._wait()
        size = len(held.raw)
        if self._first_lines > 0 and self._first_bytes >= size:
            self._first_lines -= 1
            self._first_bytes -= size
            self._first.append(held)
            return
        self._first_lines = 0  # nothing after one of the last is one of the first
        self._last.append(held)
        self._last_bytes += size
        while len(self._last) > LINES_MAX or self._last_bytes > BYTES_MAX:
            gone = self._last.popleft()
            self._last_bytes -= len(gone.raw)
            self._skipped_lines += 1
            self._skipped_bytes += len(gone.raw) + gone.cut_bytes

    def _wait(self) -> None:
        """Be among those that have something to store."""
        if not self._waits:
            self._begin()
            self._waits = True
            self._outbox.waiting.append(self)

    def _begin(self) -> None:
        self._waits = False
        self._first, self._last = [], deque()
        self._last_bytes = self._skipped_lines = self._skipped_bytes = 0


class Outbox:
    """
    The captures of one loop, and which of them have something to store.

    Args:
        clock: Time.

    Attributes:
        locks: One of them is held for every change of a capture.
        waiting: Captures with something to store, in the order in which they got it.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        # Reentrant, because a collection of garbage may print from within.
        self.locks = [threading.RLock() for _ in range(_LOCKS)]
        self.waiting: deque[Capture] = deque()
        self._since_ms: int | None = None

    @property
    def is_due(self) -> bool:
        """True if something has waited long enough to be stored by a commit of its own."""
        if not self.waiting:
            return False
        now_ms = self.clock.boot_ms()
        if self._since_ms is None:
            self._since_ms = now_ms
        return now_ms - self._since_ms >= STORE_WITHIN_MS

    def take(self) -> list[tuple[Capture, Parcel]]:
        """Return what the next commit is to store, by capture; what is too much for one waits."""
        taken: list[Capture] = []
        lines = 0
        while self.waiting and lines < LINES_PER_COMMIT_MAX:
            capture = self.waiting.popleft()
            lines += capture.lines
            taken.append(capture)
        if not self.waiting:
            self._since_ms = None
        return [(capture, capture.parcel()) for capture in taken]


def _joined(rest: bytes, cut_bytes: int, piece: bytes, *, bytes_max: int) -> tuple[bytes, int]:
    """Return the line so far, and how many bytes of it are not held."""
    if cut_bytes:
        return rest, cut_bytes + len(piece)
    rest += piece
    if len(rest) <= bytes_max:
        return rest, 0
    shown = rest[rest.rfind(b"\r", 0, -1) + 1 :]  # the rest a terminal would have written over
    return shown[:bytes_max], max(0, len(shown) - bytes_max)


def _line(held: Held) -> Line:
    """Return a line as it is stored: text, without secrets, cut."""
    at_ms, source, level, raw, cut = held
    if source == "log" and level is None:
        sent_ms, level, text = records.read(raw)
        at_ms = sent_ms or at_ms
    else:
        text = raw.decode("utf-8", "backslashreplace")
    if source != "log":
        text = text.rstrip("\r").rpartition("\r")[2]
    chars_max = _SHOWN_CHARS_MAX[source]
    more = max(0, len(text) - chars_max) + cut
    shown = redact.beginning(text, chars_max=chars_max)
    # JSON can hold half a character; and SQLite's own functions end a text at NUL.
    shown = shown.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return Line(at_ms, source, level, f"{shown}… ({more:,} more)" if more else shown)
