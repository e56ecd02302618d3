"""
Part of migration 0002, schema version 2: what is shared of the world outside.

    resource    what can be used only so much, and when its next permit is due
    slot        who holds a slot of one, and who waits for it, in the order they came
    slots       the same for people
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE resource (
  name            TEXT    PRIMARY KEY,
  slots           INTEGER CHECK (slots >= 1),
  rate            TEXT,
  boot_id         TEXT    NOT NULL,
  next_boot_us    INTEGER NOT NULL CHECK (next_boot_us >= 0),
  closed_boot_us  INTEGER NOT NULL CHECK (closed_boot_us >= 0)
) STRICT, WITHOUT ROWID""",
    # AUTOINCREMENT: who comes later has the higher number, also after the last row was deleted.
    """
CREATE TABLE slot (
  n           INTEGER PRIMARY KEY AUTOINCREMENT,
  resource    TEXT    NOT NULL,
  instance    INTEGER NOT NULL REFERENCES instance (n),
  epoch       INTEGER NOT NULL,
  worker      INTEGER NOT NULL REFERENCES worker (n),
  asked_at_ms INTEGER NOT NULL,
  held_at_ms  INTEGER
) STRICT""",
    # who is before whom
    "CREATE INDEX slot_resource ON slot (resource, n)",
    # forgetting a dead worker
    "CREATE INDEX slot_worker ON slot (worker)",
    # pruning an instance
    "CREATE INDEX slot_instance ON slot (instance)",
    """
CREATE VIEW slots AS
SELECT s.resource, i.id, i.state, w.name AS worker,
       datetime(s.asked_at_ms / 1000, 'unixepoch') AS asked,
       datetime(s.held_at_ms  / 1000, 'unixepoch') AS held
  FROM slot s
  JOIN instance i ON i.n = s.instance
  JOIN worker w ON w.n = s.worker""",
)
