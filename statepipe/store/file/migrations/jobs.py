"""
Part of migration 0002, schema version 2: jobs that are done elsewhere.

    job     one row a submission: its handle, and how it stands
    jobs    the same for people
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE job (
  n               INTEGER PRIMARY KEY,
  instance        INTEGER NOT NULL REFERENCES instance (n),
  generation      INTEGER NOT NULL,
  state           TEXT    NOT NULL,
  visit           INTEGER NOT NULL,
  number          INTEGER NOT NULL CHECK (number >= 0),
  handle          BLOB    NOT NULL CHECK (length(handle) <= 65536),
  can_stop        INTEGER NOT NULL CHECK (can_stop IN (0, 1)),
  submitted_at_ms INTEGER NOT NULL,
  boot_ms         INTEGER NOT NULL,
  boot_id         TEXT    NOT NULL,
  polls           INTEGER NOT NULL DEFAULT 0 CHECK (polls >= 0),
  polled_at_ms    INTEGER,
  stopping        INTEGER NOT NULL DEFAULT 0 CHECK (stopping IN (0, 1)),
  worker          INTEGER,
  over_at_ms      INTEGER,
  note            TEXT,
  UNIQUE (instance, generation, state, visit, number)
) STRICT""",
    # those that go on elsewhere, as far as we know
    "CREATE INDEX job_live ON job (instance) WHERE over_at_ms IS NULL",
    """
CREATE VIEW jobs AS
SELECT i.id, j.state, j.number,
       datetime(j.submitted_at_ms / 1000, 'unixepoch') AS submitted, j.polls,
       datetime(j.polled_at_ms / 1000, 'unixepoch') AS polled,
       datetime(j.over_at_ms / 1000, 'unixepoch') AS over, j.note
  FROM job j
  JOIN instance i ON i.n = j.instance""",
)
