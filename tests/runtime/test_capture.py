"""The lines of one attempt: made of bytes in any pieces, bounded, redacted, counted."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.observe import redact
from statepipe.runtime.output import capture as capturing
from statepipe.runtime.output.capture import Capture, Outbox
from statepipe.said import Line, Parcel, Stored
from statepipe.testing import ManualClock

WHOSE = (7, 2, 1, "extracting", 3)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let no test hide anything from another."""
    redact.forget()
    yield
    redact.forget()


def said(
    pieces: Sequence[bytes], *, source: str = "stdout", ends: bool = True, times: int = 1
) -> Parcel:
    """Return what is to be stored after these pieces were fed."""
    outbox = Outbox(ManualClock())
    capture = Capture(outbox, WHOSE)
    for piece in pieces:
        for _ in range(times):
            capture.feed(source, piece)
    if ends:
        capture.end()
    taken = outbox.take()
    return taken[0][1] if taken else Parcel(*WHOSE, [], [], 0, 0, Stored())


def texts(lines: Sequence[Line]) -> list[str]:
    """Return what lines say."""
    return [line.text for line in lines]


def test_a_line_knows_when_and_where_it_was_printed_and_whose_it_is() -> None:
    """These are the columns of its row."""
    clock = ManualClock()
    outbox = Outbox(clock)
    capture = Capture(outbox, WHOSE)

    capture.feed("stderr", b"one\n")
    clock.advance(5)
    capture.log("warning", "two\nlines")

    ((whose, parcel),) = outbox.take()
    at_ms = clock.now_ms()
    assert whose is capture
    assert parcel[:5] == WHOSE
    assert parcel.first == [
        Line(at_ms - 5, "stderr", None, "one"),
        Line(at_ms, "log", "warning", "two\nlines"),
    ]
    assert outbox.take() == []


@given(
    text=st.lists(st.sampled_from([b"a", b"bc", "Ünd".encode(), b"\n", b"\r\n", b""]), max_size=60),
    cuts=st.sets(st.integers(0, 120), max_size=10),
)
def test_lines_are_the_same_in_whatever_pieces_they_come(text: list[bytes], cuts: set[int]) -> None:
    """A pipe gives what it has, in the middle of a line or of a character."""
    data = b"".join(text)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(places)]

    whole = data.decode().replace("\r\n", "\n").split("\n")
    assert texts(said(pieces).first) == [*whole[:-1], *filter(None, whole[-1:])]


def test_a_line_waits_for_its_break_or_for_the_end() -> None:
    """Half a line is no line; but what a process said last is not lost."""
    outbox = Outbox(ManualClock())
    capture = Capture(outbox, WHOSE)

    capture.feed("stdout", b"whole\nhalf")
    assert texts(outbox.take()[0][1].first) == ["whole"]

    capture.end()
    assert texts(outbox.take()[0][1].first) == ["half"]

    capture.feed("stdout", b"a zombie speaks\n")
    capture.log("info", "and logs")
    assert outbox.take() == []


def test_of_much_the_first_and_the_last_lines_are_kept() -> None:
    """How it began and how it ended; what lies between is counted."""
    parcel = said([b"".join(b"line %d\n" % n for n in range(2_000))])

    assert texts(parcel.first) == [f"line {n}" for n in range(500)]
    assert texts(parcel.last) == [f"line {n}" for n in range(1_500, 2_000)]
    assert parcel.skipped_lines == 1_000


@given(sizes=st.lists(st.integers(1, 9_000), max_size=12))
def test_a_flood_is_cut_in_the_same_way_in_whatever_pieces_it_comes(sizes: list[int]) -> None:
    """Large pieces are not even split into their lines; that must not be seen."""
    data = b"".join(b"line %d\n" % n for n in range(2_000))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])

    whole, parts = said([data]), said(pieces)

    assert texts(parts.first) == texts(whole.first)
    assert texts(parts.last) == texts(whole.last)
    assert parts.skipped_lines == whole.skipped_lines


def test_few_lines_may_be_much_too() -> None:
    """Bytes are bounded as well, at both ends."""
    parcel = said([b"x" * 3_000 + b"\n"], times=300)

    kept = [*parcel.first, *parcel.last]
    assert sum(len(line.text) for line in parcel.first) <= capturing.BYTES_MAX
    assert sum(len(line.text) for line in parcel.last) <= capturing.BYTES_MAX
    assert len(kept) + parcel.skipped_lines == 300
    assert len(kept) > 80


def test_a_long_line_is_cut_and_says_so() -> None:
    """A task that prints a document prints one row."""
    (line,) = said([b"y" * 1_000], times=100, ends=True).first

    assert line.text == "y" * 4_000 + "… (96,000 more)"


def test_of_a_progress_bar_the_last_state_is_kept() -> None:
    """As on a terminal, what follows a carriage return writes over what was there."""
    bar = b"".join(b"\r%3d%% %s" % (n, b"#" * 500) for n in range(101))

    (line,) = said([bar, b"\n"]).first

    assert line.text.startswith("100% ###")
    assert len(line.text) == 505


def test_what_is_no_unicode_is_shown_as_bytes() -> None:
    """The store holds text; a task may print anything."""
    parcel = said([b"\xff\xfe ok\n", b"nul \0 there\n", b"\xc3"])

    assert texts(parcel.first) == ["\\xff\\xfe ok", "nul \\x00 there", "\\xc3"]


@pytest.mark.parametrize("at", range(1, 14))
def test_a_secret_in_two_pieces_is_replaced(at: int) -> None:
    """The pipe does not care where it ends."""
    redact.hide("hunter2hunter2")
    secret = b"hunter2hunter2"

    parcel = said([b"it is " + secret[:at], secret[at:] + b", really\n"])

    assert texts(parcel.first) == ["it is ***, really"]


def test_a_secret_at_the_cut_of_a_line_is_replaced() -> None:
    """No part of it is left in what is shown."""
    redact.hide("hunter2hunter2")

    (line,) = said([b"z" * 3_995 + b"hunter2hunter2" + b"z" * 9_000 + b"\n"]).first

    assert "hunter" not in line.text
    assert line.text.startswith("z" * 3_995 + "***")


def test_something_is_due_when_it_has_waited_a_second() -> None:
    """Whoever follows the output of a long attempt sees it about then."""
    clock = ManualClock()
    outbox = Outbox(clock)
    assert not outbox.is_due

    Capture(outbox, WHOSE).feed("stdout", b"one\n")
    assert not outbox.is_due
    clock.advance(999)
    assert not outbox.is_due
    clock.advance(1)

    assert outbox.is_due
    outbox.take()
    assert not outbox.is_due


def test_what_is_too_much_for_one_commit_waits_for_the_next() -> None:
    """A hundred tasks that print without end must not hold up the moves of others."""
    clock = ManualClock()
    outbox = Outbox(clock)
    for n in range(5):
        flood = b"".join(b"%d: line %d\n" % (n, line) for line in range(600))
        Capture(outbox, (n, 1, 1, "extracting", 1)).feed("stdout", flood)
    assert not outbox.is_due
    clock.advance(1_000)

    taken: list[list[int]] = []
    while outbox.is_due:
        taken.append([parcel.instance for _, parcel in outbox.take()])

    assert taken == [[0, 1], [2, 3], [4]]


def test_a_line_that_is_printed_in_pieces_is_one_line() -> None:
    """`print` writes each of its arguments by itself, and some write each character."""
    outbox = Outbox(ManualClock())
    capture = Capture(outbox, WHOSE)

    for character in "x" * 3_000:
        capture.write("stdout", character)
    capture.write("stderr", "in between\n")
    for piece in ("one", " ", "line", "\n", "two\nthree", " and", " \ud800 half"):
        capture.write("stdout", piece)
    capture.end()

    first = outbox.take()[0][1].first
    assert [line.text for line in first if line.source == "stdout"] == [
        "x" * 3_000 + "one line",
        "two",
        "three and \\ud800 half",
    ]
    assert [line.text for line in first if line.source == "stderr"] == ["in between"]


def test_what_was_left_out_is_counted_from_one_time_to_the_next() -> None:
    """What was stored in between does not count as left out by the capture."""
    outbox = Outbox(ManualClock())
    capture = Capture(outbox, WHOSE)

    capture.feed("stdout", b"".join(b"line %d\n" % n for n in range(600)))
    ((_, first),) = outbox.take()
    capture.feed("stdout", b"".join(b"line %d\n" % n for n in range(600, 1_200)))
    ((_, second),) = outbox.take()

    assert (len(first.first), len(first.last), first.skipped_lines) == (500, 100, 0)
    assert (len(second.first), len(second.last), second.skipped_lines) == (0, 500, 100)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    raw=st.binary(max_size=60)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.integers(), st.sampled_from(["info", "loud", "\ud800"]), st.text()).map(
        lambda fact: json.dumps(fact).encode()
    )
)
def test_whatever_comes_through_the_log_pipe_can_be_stored(raw: bytes) -> None:
    """A task can write into it what it likes; it must not take the loop down."""
    parcel = said([raw, b"\n"], source="log")

    for line in parcel.first:
        line.text.encode("utf-8")
        assert 0 < line.at_ms < 1 << 63
        assert line.level in (None, "info")
