"""What attempts say, in the store: all of it while it is little, its ends when it is much."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.model import Checkpoint
from statepipe.said import Line, Parcel, Stored
from statepipe.store.file.connection import Store
from statepipe.store.lookups import output
from statepipe.store.lookups.output import LAST_LINES_MAX, Output, Said, Wanted
from statepipe.store.walk.committer import Committer, Verdict
from tests.store import stores


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Open a store."""
    return stores.opened(tmp_path)


@pytest.fixture
def at(store: Store) -> Checkpoint:
    """Claim an instance."""
    stores.created(store, "a")
    return stores.claimed(store, stores.registered(store))[0]


def line(text: str, *, source: str = "stdout", level: str | None = None) -> Line:
    """Return a line."""
    return Line(7, source, level, text)


def parcel(
    at: Checkpoint,
    *,
    first: list[str] | None = None,
    last: list[str] | None = None,
    skipped: int = 0,
    stored: Stored | None = None,
    attempt: int = 1,
) -> Parcel:
    """Return what an attempt of the instance has said."""
    return Parcel(
        instance=at.n,
        epoch=at.epoch,
        generation=at.generation,
        state=at.state,
        attempt=attempt,
        first=[*map(line, first or [])],
        last=[*map(line, last or [])],
        skipped_lines=skipped,
        skipped_bytes=skipped * 10,
        stored=stored or Stored(),
    )


def written(store: Store, *parcels: Parcel) -> list[Stored | None]:
    """Write parcels in a transaction of their own."""
    said = Output(parcels)
    assert Committer(store).commit([], {}, policies={}, besides=[said]) == []
    return said.stored


def kept(store: Store, at: Checkpoint, wanted: Wanted | None = None) -> list[str]:
    """Return all texts that are kept of an instance."""
    rows = output.read(store.connection, at.n, wanted or Wanted(), limit=10_000)
    assert all(one.n < two.n for one, two in pairwise(rows))
    return [row.text for row in rows]


def test_a_row_says_whose_line_it_is_and_when_it_was_said(store: Store, at: Checkpoint) -> None:
    """People find it by instance, state and attempt; the epoch tells drivers apart."""
    said = parcel(at, first=["one"])._replace(attempt=3)

    written(store, said._replace(first=[*said.first, line("two", source="log", level="error")]))

    assert output.read(store.connection, at.n, Wanted(), limit=10) == [
        Said(1, 7, 1, "s0", 3, 1, "stdout", "", "one"),
        Said(2, 7, 1, "s0", 3, 1, "log", "error", "two"),
    ]


def test_it_is_written_with_the_changes_of_its_group(store: Store, at: Checkpoint) -> None:
    """One transaction, one fsync."""
    change = stores.plain(at, "s1")

    verdicts = Committer(store).commit(
        [change], {}, policies={}, besides=[Output([parcel(at, first=["one"])])]
    )

    assert verdicts == [Verdict.COMMITTED]
    assert kept(store, at) == ["one"]


def test_a_fenced_attempt_writes_nothing_whatever_becomes_of_the_others(
    store: Store, at: Checkpoint
) -> None:
    """A zombie's words are no more welcome than its moves."""
    stores.created(store, "b")
    (other,) = stores.claimed(store, stores.registered(store))
    stores.stolen(store, "a")
    said = Output([parcel(at, first=["zombie"]), parcel(other, first=["alive"])])
    changes = [stores.plain(at, "s1"), stores.plain(other, "s1")]

    verdicts = Committer(store).commit(changes, {}, policies={}, besides=[said])

    assert verdicts == [Verdict.FENCED, Verdict.COMMITTED]
    assert said.stored == [None, Stored()]
    assert (kept(store, at), kept(store, other)) == ([], ["alive"])


def test_a_change_that_must_be_decided_again_costs_no_words(store: Store, at: Checkpoint) -> None:
    """Somebody asked for a pause meanwhile; the attempt is still ours."""
    stale = stores.plain(at, "s1")._replace(seq=at.seq - 1)

    verdicts = Committer(store).commit(
        [stale], {}, policies={}, besides=[Output([parcel(at, first=["one"])])]
    )

    assert verdicts == [Verdict.STALE]
    assert kept(store, at) == ["one"]


def test_the_last_lines_go_when_newer_ones_come_and_leave_a_note_in_their_place(
    store: Store, at: Checkpoint
) -> None:
    """Whoever follows saw them; what stays is bounded."""
    (stored,) = written(store, parcel(at, first=["f"], last=["a", "b", "c"]))
    many = [f"line {number}" for number in range(LAST_LINES_MAX - 1)]

    (stored,) = written(store, parcel(at, last=many, stored=stored))

    assert kept(store, at) == ["f", "… 2 lines, about 2 bytes, are left out here", "c", *many]

    written(store, parcel(at, last=["d"], stored=stored))

    assert kept(store, at)[1:3] == ["… 3 lines, about 3 bytes, are left out here", "line 0"]
    assert kept(store, at)[-2:] == [many[-1], "d"]


def test_what_was_left_out_before_it_was_stored_is_in_the_note_as_well(
    store: Store, at: Checkpoint
) -> None:
    """A flood between two commits is never stored at all."""
    (stored,) = written(store, parcel(at, first=["f"], last=["x"], skipped=1_000))
    assert kept(store, at) == ["f", "… 1,000 lines, about 10,000 bytes, are left out here", "x"]

    written(store, parcel(at, last=["y"], skipped=5, stored=stored))

    assert kept(store, at) == ["f", "… 1,006 lines, about 10,051 bytes, are left out here", "y"]


@settings(max_examples=30)
@given(
    batches=st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 3), st.integers(1, 400)), max_size=8
    )
)
def test_however_it_comes_the_end_is_kept_and_everything_is_counted(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int, int]]
) -> None:
    """Kept and left out make what was said; the newest lines are always there."""
    store = stores.opened(tmp_path_factory.mktemp("store"))
    stores.created(store, "a")
    at = stores.claimed(store, stores.registered(store))[0]
    stored: Stored | None = Stored()
    said, lines = 0, ["first"]
    written(store, parcel(at, first=lines))

    for count, skipped, size in batches:
        new = [f"{said + n} ".ljust(size, ".") for n in range(min(count, LAST_LINES_MAX))]
        (stored,) = written(store, parcel(at, last=new, skipped=skipped, stored=stored))
        assert stored is not None
        said += len(new) + skipped
        lines += new
        kept_now = [text for text in kept(store, at) if not text.startswith("…")]
        assert kept_now[0] == "first"
        assert kept_now[1:] == lines[len(lines) - len(kept_now) + 1 :]
        assert len(kept_now) - 1 <= LAST_LINES_MAX
        assert sum(map(len, kept_now)) <= output.LAST_CHARS_MAX + len(new) * size
        assert len(kept_now) - 1 + stored.skipped_lines == said
    stores.close_all()


def test_rows_are_found_by_state_attempt_and_level(store: Store, at: Checkpoint) -> None:
    """The third attempt failed: what did it say?"""
    one = parcel(at, first=["x"], attempt=1)
    two = parcel(at, attempt=2)._replace(
        first=[
            line("debug", source="log", level="debug"),
            line("warning", source="log", level="warning"),
            line("critical", source="log", level="critical"),
            line("printed", source="stderr"),
        ]
    )
    written(store, one, two, two._replace(state="other"))

    assert kept(store, at, Wanted(attempt=1)) == ["x"]
    assert kept(store, at, Wanted(state="s0", attempt=2, level="warning")) == [
        "warning",
        "critical",
    ]
    assert len(kept(store, at, Wanted(state="other"))) == 4
    assert len(kept(store, at, Wanted(after=5))) == 4
    newest = output.read(store.connection, at.n, Wanted(), limit=2, newest=True)
    assert [(row.state, row.text) for row in newest] == [
        ("other", "critical"),
        ("other", "printed"),
    ]
