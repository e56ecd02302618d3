"""
How long things took, week by week: read from the journal row by row, exactly.

    weeks       one week after the other, the oldest first
    Week        its durations, by machine and state
    Took        what happened in one state of one machine in that week

Each piece of the journal is read in a transaction of its own, so that no snapshot is held
for long: what is written meanwhile comes later, since the journal is append-only. What is
kept is one week: 8 bytes for each attempt or state that ended well in it.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from statepipe.errors import NotFound
from statepipe.store.questions import moments
from statepipe.store.reading import Reader
from statepipe.suggest import did_you_mean

#: What is measured: a stay in a state, from entering it to leaving it, or one attempt.
Measure = Literal["stay", "attempt"]

#: The name under which whole instances are kept, from creation to end. No state is called so.
WHOLE: Final = ""

WEEK_MS: Final = 7 * 86_400_000

#: 1970-01-01 was a Thursday; weeks begin on Monday.
_MONDAY_MS: Final = 4 * 86_400_000

#: Rows read in one transaction: some 50 ms.
_ROWS: Final = 50_000

_MOVES = """
SELECT i.definition, j.source, j.at_ms, j.kind, j.event, j.{took}, j.ended, i.created_at_ms
  FROM journal j
  JOIN instance i ON i.n = j.instance
 WHERE j.n >= :first AND j.n < :end
   AND j.at_ms >= :from_ms AND j.at_ms < :until_ms
   AND (j.kind IN ('move', 'retry') OR j.kind = 'pause' AND j.attempt IS NOT NULL)
"""

_COLUMNS: Final[Mapping[Measure, str]] = {"stay": "stayed_ms", "attempt": "took_ms"}


@dataclass(slots=True)
class Took:
    """
    What ended in one state of one machine, or as a whole, in one week.

    Attributes:
        well: How long what ended well took, in milliseconds, in the order it ended.
        badly: How many ended with an error or a timeout.
        retried: How many attempts were followed by another.
    """

    well: "array[int]" = field(default_factory=lambda: array("q"))
    badly: int = 0
    retried: int = 0


class Week(NamedTuple):
    """What ended in the week that began at `monday_ms` (UTC), by machine and state."""

    monday_ms: int
    took: Mapping[tuple[str, str], Took]


def monday_of(at_ms: int) -> int:
    """Return when the week of a moment began: Monday, midnight, UTC."""
    return at_ms - (at_ms - _MONDAY_MS) % WEEK_MS


def weeks(
    reader: Reader, *, since_ms: int, machine: str | None = None, measure: Measure = "stay"
) -> Iterator[Week]:
    """
    Return every week from that of `since_ms` until now, one by one, empty ones as well.

    It begins with the week of the first row of the journal, if that is later; with this one, if
    that row is of a time to come, because a clock was set back since.

    Costs about 1.5 us for each row of the journal in that time.

    Args:
        reader: Of the store.
        since_ms: A moment in the first week (UTC).
        machine: Only of this one; None for all.
        measure: What is measured.

    Raises:
        NotFound: No instance ever began with a machine of that name.
    """
    if machine is not None:
        _refuse_unknown(reader, machine)
    with reader.moment() as connection:
        begun_ms = moments.begin(connection)
    now_ms = reader.clock.now_ms()
    since_ms = max(since_ms, now_ms if begun_ms is None else min(begun_ms, now_ms))
    return (
        Week(monday_ms, _took(reader, monday_ms, now_ms=now_ms, machine=machine, measure=measure))
        for monday_ms in range(monday_of(since_ms), now_ms + 1, WEEK_MS)
    )


def _refuse_unknown(reader: Reader, machine: str) -> None:
    with reader.moment() as connection:
        names = {name for (name,) in connection.execute("SELECT machine FROM definition")}
    if machine not in names:
        raise NotFound(
            f"there is no machine {machine!r} in this store{did_you_mean(machine, names)}",
            meaning="nothing was changed",
            next_step="statepipe ls --all   # shows what ran; --store names another store",
        )


def _took(
    reader: Reader, from_ms: int, *, now_ms: int, machine: str | None, measure: Measure
) -> dict[tuple[str, str], Took]:
    until_ms = from_ms + WEEK_MS
    with reader.moment() as connection:
        first = moments.row_at(connection, from_ms - moments.SLACK_MS)
        # Rows of a time to come, from before a clock was set back, may lie in front of this
        # week's: looking for its end among them would find it too early.
        end = (
            moments.end(connection)
            if until_ms > now_ms
            else moments.row_at(connection, until_ms + moments.SLACK_MS)
        )
        names = dict(connection.execute("SELECT n, machine FROM definition").fetchall())
    wanted = {n: name for n, name in names.items() if machine in (None, name)}
    sql = _MOVES.format(took=_COLUMNS[measure])
    took: dict[tuple[str, str], Took] = {}
    for piece in range(first, end, _ROWS):
        facts = {
            "first": piece,
            "end": min(piece + _ROWS, end),
            "from_ms": from_ms,
            "until_ms": until_ms,
        }
        with reader.moment() as connection:
            rows = connection.execute(sql, facts).fetchall()
        _add(took, rows, wanted, whole=measure == "stay")
    return took


def _add(
    took: dict[tuple[str, str], Took],
    rows: list[tuple[int, str, int, str, str, int | None, str | None, int]],
    machines: Mapping[int, str],
    *,
    whole: bool,
) -> None:
    for definition, state, at_ms, kind, event, took_ms, ended, created_at_ms in rows:
        name = machines.get(definition)
        if name is None:
            continue
        there = _of(took, name, state)
        if kind != "move":
            there.retried += 1
        elif event in ("error", "timeout"):
            there.badly += 1
        elif took_ms is not None:
            there.well.append(took_ms)
        if ended is None or not whole:
            continue
        life = _of(took, name, WHOLE)
        if ended == "done":
            life.well.append(max(0, at_ms - created_at_ms))
        else:
            life.badly += 1


def _of(took: dict[tuple[str, str], Took], machine: str, state: str) -> Took:
    found = took.get((machine, state))
    if found is None:
        found = took[machine, state] = Took()
    return found
