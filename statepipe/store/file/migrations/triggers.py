"""
Part of migration 0002, schema version 2: what starts instances by itself.

    machine_trigger     one row a trigger of a machine that was ever seen: where it goes on
    occasion            one row for each thing that a trigger started an instance for, refused,
                        or skipped
    trigger_journal     what was done to triggers, and what they passed over
    triggers            how triggers stand, for people
    occasions           what they started, for people
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE machine_trigger (
  n            INTEGER PRIMARY KEY,
  machine      TEXT    NOT NULL,
  name         TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  kind         TEXT    NOT NULL CHECK (kind IN ('schedule', 'event', 'file', 'after')),
  listens      TEXT    NOT NULL,
  position     TEXT    NOT NULL,
  paused_at_ms INTEGER,
  series       INTEGER NOT NULL CHECK (series >= 0),
  UNIQUE (machine, name)
) STRICT""",
    """
CREATE TABLE occasion (
  n             INTEGER PRIMARY KEY,
  trigger       INTEGER NOT NULL REFERENCES machine_trigger (n),
  series        INTEGER NOT NULL CHECK (series >= 0),
  key           TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 1000),
  decided_at_ms INTEGER NOT NULL,
  instance      TEXT    CHECK (length(instance) BETWEEN 1 AND 200),
  refusal       TEXT,
  skipped       TEXT,
  UNIQUE (trigger, series, key),
  CHECK ((instance IS NOT NULL) + (refusal IS NOT NULL) + (skipped IS NOT NULL) = 1)
) STRICT""",
    # what an instance was started for; no two occasions share one
    "CREATE UNIQUE INDEX occasion_instance ON occasion (instance) WHERE instance IS NOT NULL",
    # the newest of a trigger
    "CREATE INDEX occasion_trigger ON occasion (trigger, n)",
    """
CREATE TABLE trigger_journal (
  n       INTEGER PRIMARY KEY,
  trigger INTEGER NOT NULL REFERENCES machine_trigger (n),
  at_ms   INTEGER NOT NULL,
  kind    TEXT    NOT NULL
          CHECK (kind IN ('seen', 'changed', 'passed', 'pause', 'unpause', 'backfill', 'error')),
  count   INTEGER CHECK (count >= 0),
  note    TEXT NOT NULL
) STRICT""",
    "CREATE INDEX trigger_journal_trigger ON trigger_journal (trigger, n)",
    # what was emitted since a trigger looked last
    "CREATE INDEX emitted_event ON emitted (event, n)",
    """
CREATE VIEW triggers AS
SELECT t.machine, t.name, t.kind, t.listens,
       datetime(t.paused_at_ms / 1000, 'unixepoch') AS paused,
       (SELECT count(instance) FROM occasion o WHERE o.trigger = t.n) AS started,
       (SELECT count(refusal)  FROM occasion o WHERE o.trigger = t.n) AS refused,
       (SELECT count(skipped)  FROM occasion o WHERE o.trigger = t.n) AS skipped,
       (SELECT coalesce(sum(count), 0) FROM trigger_journal j
         WHERE j.trigger = t.n AND j.kind = 'passed') AS passed_over
  FROM machine_trigger t""",
    """
CREATE VIEW occasions AS
SELECT t.machine, t.name, o.key, o.instance, o.refusal, o.skipped,
       datetime(o.decided_at_ms / 1000, 'unixepoch') AS decided
  FROM occasion o
  JOIN machine_trigger t ON t.n = o.trigger""",
)
