"""
Part of migration 0002, schema version 2: what instances are sent while they wait, or before.

    signal      one row an event that somebody sent to an instance
    emitted     one row an event and key that somebody emitted to whoever waits for it
    awaiting    who rests for which event and key
    waited      who waits for one, or has waited, of whom nobody is to be told too late
    late_event  one row an event that came after the wait for it had ended, if it is not kept for
                the next; of one that was emitted, a row an instance that it came too late for
    callback    one row a stay whose token was used: for which signal
    signals     what instances were sent, for people
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE signal (
  n          INTEGER PRIMARY KEY,
  instance   INTEGER NOT NULL REFERENCES instance (n),
  seq        INTEGER NOT NULL,
  event      TEXT    NOT NULL CHECK (length(event) BETWEEN 1 AND 64),
  params     BLOB    NOT NULL CHECK (length(params) <= 65536),
  reason     TEXT,
  sent_at_ms INTEGER NOT NULL,
  taken_seq  INTEGER CHECK (taken_seq > seq),
  UNIQUE (instance, seq)
) STRICT""",
    # what an instance has not taken yet
    "CREATE INDEX signal_kept ON signal (instance, n) WHERE taken_seq IS NULL",
    """
CREATE TABLE emitted (
  n             INTEGER PRIMARY KEY,
  event         TEXT    NOT NULL CHECK (length(event) BETWEEN 1 AND 64),
  key           TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 1000),
  params        BLOB    NOT NULL CHECK (length(params) <= 65536),
  reason        TEXT,
  emitted_at_ms INTEGER NOT NULL,
  repeats       INTEGER NOT NULL DEFAULT 0 CHECK (repeats >= 0),
  UNIQUE (event, key)
) STRICT""",
    """
CREATE TABLE awaiting (
  event    TEXT    NOT NULL,
  key      TEXT    NOT NULL,
  instance INTEGER NOT NULL REFERENCES instance (n),
  PRIMARY KEY (event, key, instance)
) STRICT, WITHOUT ROWID""",
    # what an instance rests for, when it moves on
    "CREATE INDEX awaiting_instance ON awaiting (instance)",
    """
CREATE TABLE waited (
  event      TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  instance   INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  states     TEXT    NOT NULL CHECK (substr(states, 1, 1) = '['),
  late       TEXT    NOT NULL CHECK (late IN ('quarantine', 'drop')),
  PRIMARY KEY (event, key, instance)
) STRICT, WITHOUT ROWID""",
    # what an instance has waited for, when it waits once more
    "CREATE INDEX waited_instance ON waited (instance)",
    """
CREATE TABLE late_event (
  n          INTEGER PRIMARY KEY,
  instance   INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  event      TEXT    NOT NULL CHECK (length(event) BETWEEN 1 AND 64),
  key        TEXT    CHECK (length(key) BETWEEN 1 AND 1000),
  params     BLOB    CHECK (length(params) <= 65536),
  reason     TEXT,
  sent_at_ms INTEGER NOT NULL,
  became     TEXT    NOT NULL CHECK (became IN ('quarantine', 'drop'))
) STRICT""",
    "CREATE INDEX late_event_instance ON late_event (instance)",
    # what was emitted and is not for an instance, when it waits once more; it is told once
    """
CREATE UNIQUE INDEX late_event_emitted ON late_event (instance, event, key)
 WHERE key IS NOT NULL""",
    """
CREATE TABLE callback (
  instance   INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  visit      INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  repeats    INTEGER NOT NULL DEFAULT 0 CHECK (repeats >= 0),
  PRIMARY KEY (instance, generation, state, visit)
) STRICT, WITHOUT ROWID""",
    """
CREATE VIEW late_events AS
SELECT i.id, l.event, l.key, l.reason, datetime(l.sent_at_ms / 1000, 'unixepoch') AS sent,
       l.became
  FROM late_event l
  JOIN instance i ON i.n = l.instance""",
    """
CREATE VIEW signals AS
SELECT i.id, s.event, s.reason, datetime(s.sent_at_ms / 1000, 'unixepoch') AS sent, s.taken_seq
  FROM signal s
  JOIN instance i ON i.n = s.instance""",
)
