"""
Part of migration 0002, schema version 2: the shapes of sources, and how they drifted.

    shape       what was last accepted of a source, one row each
    drift       what was found, one row a column, with the journal row that says so
    drifts      the same for people
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE shape (
  machine TEXT    NOT NULL,
  state   TEXT    NOT NULL,
  body    TEXT    NOT NULL,
  at_ms   INTEGER NOT NULL,
  PRIMARY KEY (machine, state)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE drift (
  n           INTEGER PRIMARY KEY,
  instance    INTEGER NOT NULL REFERENCES instance (n),
  seq         INTEGER NOT NULL CHECK (seq >= 1),
  at_ms       INTEGER NOT NULL,
  state       TEXT    NOT NULL,
  kind        TEXT    NOT NULL CHECK (kind IN ('added', 'removed', 'retyped', 'nulls')),
  column_name TEXT    NOT NULL,
  was         TEXT    NOT NULL,
  now         TEXT    NOT NULL,
  action      TEXT    NOT NULL CHECK (action IN ('warn', 'quarantine', 'halt'))
) STRICT""",
    # what drifted in one instance, and pruning it
    "CREATE INDEX drift_instance ON drift (instance, seq)",
    """
CREATE VIEW drifts AS
SELECT i.id, d.machine, r.state, r.kind, r.column_name, r.was, r.now, r.action, r.seq,
       datetime(r.at_ms / 1000, 'unixepoch') AS at
  FROM drift r
  JOIN instance i ON i.n = r.instance
  JOIN definition d ON d.n = i.definition""",
)
