"""
The figures once more, the slow way: from the journal, which has every move.

    differences     what the figures say otherwise than the journal; nothing, ever
    fill            figures for a store that had none
    fold_pruned     what a prune takes from the journal, into the `pruned` columns

What was pruned from the journal is taken from the `pruned` columns. Some metrics are of
no instance's making and stand in no journal: writes that were fenced off, what a group
commit held, how long commits and their lock took, what became of notices, and of triggers'
occasions.
"""

from typing import Final, NamedTuple

from statepipe.figures import ABOVE, BOUNDS_US
from statepipe.sqlite import sqlite3

#: Metrics that are not in the journal.
NOT_JOURNALED: Final = ("fenced", "changes", "lock_wait_us", "commit", "notices", "occasions")

_OUTCOME: Final = "CASE WHEN j.event IN ('error', 'timeout') THEN j.event ELSE 'ok' END"

_JOURNAL: Final = """
  FROM journal j
  JOIN instance i ON i.n = j.instance
  JOIN definition d ON d.n = i.definition
"""

_TRANSITIONS: Final = f"""
SELECT d.machine, j.source, j.event, j.target, count(*) AS value {_JOURNAL}
 WHERE (j.kind IN ('create', 'move', 'rewind', 'cancel')
        OR (j.kind = 'resume' AND j.source <> j.target)){{only}}
 GROUP BY 1, 2, 3, 4
"""

# metric, state, label, value, which rows
_COUNTS: Final = (
    (
        "attempts",
        "j.source",
        _OUTCOME,
        "1",
        "j.kind IN ('move', 'retry', 'pause') AND j.took_ms IS NOT NULL",
    ),
    ("attempts", "j.source", "'lost'", "1", "j.kind = 'claim' AND j.event = 'takeover'"),
    (
        "exhausted",
        "j.source",
        "''",
        "1",
        "j.kind = 'move' AND j.event IN ('error', 'timeout') AND j.attempt > 1",
    ),
    ("errors", "j.source", "j.error_kind", "1", "j.error_kind IS NOT NULL"),
    ("records", "j.source", "'in'", "j.read", "j.kind = 'batch'"),
    ("records", "j.source", "'out'", "j.records", "j.kind = 'batch'"),
    ("records", "j.source", "'rejected'", "j.rejected", "j.kind = 'batch'"),
    ("records", "j.target", "'replayed'", "j.records", "j.event = 'replay' AND j.kind = 'create'"),
    ("bytes", "j.source", "'out'", "j.bytes", "j.kind = 'batch'"),
    ("resumes", "''", "'crash'", "1", "j.kind = 'claim' AND j.event = 'takeover'"),
    (
        "resumes",
        "''",
        "CASE j.event WHEN 'adopt' THEN 'migration' ELSE 'manual' END",
        "1",
        "j.kind = 'resume'",
    ),
    ("waited_ms", "j.source", "''", "j.waited_ms", "j.kind <> 'claim'"),
    ("finished", "''", "j.ended", "1", "j.ended IS NOT NULL"),
)

# A journal row may tell of several, so they stand in tables of their own.
_DRIFTS: Final = """
SELECT 'drift', d.machine, j.state, j.kind, count(*)
  FROM drift j
  JOIN instance i ON i.n = j.instance
  JOIN definition d ON d.n = i.definition
 WHERE true{only}
 GROUP BY 2, 3, 4
"""

_SKIPS: Final = """
SELECT 'skipped', d.machine, j.state, '', count(*)
  FROM skipped j
  JOIN instance i ON i.n = j.instance
  JOIN definition d ON d.n = i.definition
 WHERE true{only}
 GROUP BY 2, 3
"""

# metric, state, label, milliseconds, which rows
_DURATIONS: Final = (
    ("state", "j.source", _OUTCOME, "j.stayed_ms", "j.kind = 'move'"),
    ("instance", "''", "j.ended", "max(0, j.at_ms - i.created_at_ms)", "j.ended IS NOT NULL"),
    ("queue", "''", "''", "j.waited_ms", "j.kind = 'claim' AND j.waited_ms IS NOT NULL"),
)

_LATEST: Final = f"""
SELECT 'completion', d.machine, max(j.at_ms) {_JOURNAL} WHERE j.ended IS NOT NULL GROUP BY 2
UNION ALL
SELECT 'success', d.machine, max(j.at_ms) {_JOURNAL} WHERE j.ended = 'done' GROUP BY 2
"""


def _counts_sql() -> str:
    parts = [
        f"SELECT '{metric}' AS metric, d.machine AS machine, {state} AS state, {label} AS label,"
        f" sum({value}) AS value {_JOURNAL} WHERE {where}{{only}} GROUP BY 2, 3, 4"
        for metric, state, label, value, where in _COUNTS
    ]
    return f"SELECT * FROM ({_UNION.join([*parts, _DRIFTS, _SKIPS])}) WHERE value > 0"  # noqa: S608 our own names


def _durations_sql() -> str:
    parts = []
    for metric, state, label, ms, where in _DURATIONS:
        bounds = " ".join(f"WHEN {ms} * 1000 <= {le} THEN {le}" for le in BOUNDS_US[metric])
        # The last two are those of the row that max() finds: SQLite's bare columns.
        parts.append(
            f"SELECT '{metric}' AS metric, d.machine AS machine, {state} AS state,"
            f" {label} AS label, CASE {bounds} ELSE {ABOVE} END AS le_us, count(*) AS n,"
            f" sum({ms}) * 1000 AS sum_us, {ms} * 1000 AS last_us, max(j.n) AS last_n,"
            f" j.at_ms AS last_at_ms, j.instance AS last_instance {_JOURNAL}"
            f" WHERE {where}{{only}} GROUP BY 2, 3, 4, 5"
        )
    return _UNION.join(parts)


_UNION: Final = "\nUNION ALL\n"
_COUNTED: Final = _counts_sql()
_TIMED: Final = _durations_sql()

_FILL: Final = (
    f"INSERT INTO counter (metric, machine, state, label, value) {_COUNTED}",
    f"""
INSERT INTO duration (metric, machine, state, label, le_us, n, sum_us, last_us, last_at_ms,
                      last_instance)
SELECT metric, machine, state, label, le_us, n, sum_us, last_us, last_at_ms, last_instance
  FROM ({_TIMED})
""",  # noqa: S608 our own names
    f"INSERT INTO latest (metric, machine, at_ms) {_LATEST}",
)


_ONLY_PRUNED: Final = " AND j.instance IN (SELECT instance FROM pruning)"

# Each row is there already, or the figures were not what the journal said.
_FOLD: Final = (
    f"""
INSERT INTO transition_count (machine, source, event, target, taken)
SELECT * FROM ({_TRANSITIONS}) WHERE true
    ON CONFLICT DO UPDATE SET pruned = pruned + excluded.taken
""",  # noqa: S608 our own names
    f"""
INSERT INTO counter (metric, machine, state, label, value) {_COUNTED}
    ON CONFLICT DO UPDATE SET pruned = pruned + excluded.value
""",
    f"""
INSERT INTO duration (metric, machine, state, label, le_us, n, sum_us, last_us, last_at_ms)
SELECT metric, machine, state, label, le_us, n, sum_us, last_us, last_at_ms
  FROM ({_TIMED})
 WHERE true
    ON CONFLICT DO UPDATE
   SET pruned_n      = pruned_n + excluded.n,
       pruned_sum_us = pruned_sum_us + excluded.sum_us
""",  # noqa: S608 our own names
)


class Difference(NamedTuple):
    """One figure that is not what the journal says; None where one of them has no such row."""

    figure: str
    stored: int | None
    recounted: int | None


def differences(connection: sqlite3.Connection) -> list[Difference]:
    """
    Compare every figure with the journal; return what differs, [] if nothing does.

    Reads the whole journal, some seconds for a million rows; the caller holds one snapshot.
    """
    found = [
        *_compare(
            connection,
            "SELECT machine, source, event, target, taken - pruned FROM transition_count",
            _TRANSITIONS.format(only=""),
            table="transition",
        ),
        *_compare(
            connection,
            "SELECT metric, machine, state, label, value - pruned FROM counter"  # noqa: S608 our own names
            f" WHERE metric NOT IN {NOT_JOURNALED}",
            _COUNTED.format(only=""),
            table="counter",
        ),
    ]
    for column in ("n", "sum_us"):
        found += _compare(
            connection,
            f"SELECT metric, machine, state, label, le_us, {column} - pruned_{column}"  # noqa: S608 our own names
            f" FROM duration WHERE metric NOT IN {NOT_JOURNALED}",
            f"SELECT metric, machine, state, label, le_us, {column}"  # noqa: S608 our own names
            f" FROM ({_TIMED.format(only='')})",
            table=f"duration.{column}",
        )
    return found


def _compare(
    connection: sqlite3.Connection, stored_sql: str, journal_sql: str, *, table: str
) -> list[Difference]:
    stored = {row[:-1]: row[-1] for row in connection.execute(stored_sql) if row[-1]}
    recounted = {row[:-1]: row[-1] for row in connection.execute(journal_sql) if row[-1]}
    return [
        Difference(f"{table} {' '.join(map(str, key))}", stored.get(key), recounted.get(key))
        for key in sorted({*stored, *recounted}, key=str)
        if stored.get(key) != recounted.get(key)
    ]


def fill(connection: sqlite3.Connection) -> None:
    """Work the figures out for a store that kept none, inside the caller's transaction."""
    for sql in _FILL:
        connection.execute(sql.format(only=""))


def fold_pruned(connection: sqlite3.Connection) -> None:
    """
    Add to the `pruned` columns what the journal says of the instances in `pruning`.

    Inside the transaction that deletes them, before it does.
    """
    for sql in _FOLD:
        connection.execute(sql.format(only=_ONLY_PRUNED))
