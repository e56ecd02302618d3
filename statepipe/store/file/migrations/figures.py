"""
Migration 0002, schema version 2: everything that is watched.

    counter, duration, latest   figures, written in the transaction of what they count
    output                      what attempts printed and logged
    notice                      notifications on their way out
    watermark                   how far each machine has loaded
    pruned, pruning             ids that are gone for good, and those that are about to
    store.highest_pruned        so that numbers are gone for good as well

The journal learns what the figures are worked out from, so that they can be checked: how
long a state was stayed in, how long an instance waited for its claim, how it ended, what an
error counts as, how many records a batch was made from.

In each table of figures `pruned` holds what the rows of the journal that were pruned had
said; without them a figure is what the journal says plus what was pruned.
"""

from typing import Final

_JOURNAL: Final = (
    "ALTER TABLE journal ADD COLUMN stayed_ms INTEGER CHECK (stayed_ms >= 0)",
    "ALTER TABLE journal ADD COLUMN waited_ms INTEGER CHECK (waited_ms >= 0)",
    (
        "ALTER TABLE journal ADD COLUMN ended TEXT"
        " CHECK (ended IS NULL OR ended IN ('done', 'failed', 'cancelled'))"
    ),
    "ALTER TABLE journal ADD COLUMN error_kind TEXT",
    "ALTER TABLE journal ADD COLUMN read INTEGER CHECK (read >= 0)",
)

# What version 1 did not write down is worked out from what it did: a stay began with the
# last row that brought the instance to the state, and the definition knows which states end it.
_BACKFILL: Final = (
    "DROP TRIGGER journal_is_append_only",
    """
UPDATE journal
   SET stayed_ms = max(0, at_ms - coalesce((
         SELECT e.at_ms
           FROM journal e
          WHERE e.instance = journal.instance
            AND e.seq < journal.seq
            AND (e.kind IN ('create', 'move', 'rewind')
                 OR (e.kind = 'resume' AND e.source <> e.target))
          ORDER BY e.seq DESC
          LIMIT 1), at_ms))
 WHERE kind = 'move'""",
    """
UPDATE journal
   SET ended = CASE kind WHEN 'cancel' THEN 'cancelled' ELSE (
         SELECT CASE json_extract(d.body, '$.states."' || journal.target || '".final')
                WHEN 'success' THEN 'done'
                WHEN 'failure' THEN 'failed'
                END
           FROM instance i
           JOIN definition d ON d.n = i.definition
          WHERE i.n = journal.instance) END
 WHERE kind IN ('move', 'cancel')""",
    "UPDATE journal SET error_kind = 'other' WHERE error_class IS NOT NULL",
    """
CREATE TRIGGER journal_is_append_only
BEFORE UPDATE ON journal
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END""",
)

_FIGURES: Final = (
    (
        "ALTER TABLE transition_count ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0"
        " CHECK (pruned BETWEEN 0 AND taken)"
    ),
    """
CREATE TABLE counter (
  metric  TEXT    NOT NULL,
  machine TEXT    NOT NULL,
  state   TEXT    NOT NULL,
  label   TEXT    NOT NULL,
  value   INTEGER NOT NULL CHECK (value >= 0),
  pruned  INTEGER NOT NULL DEFAULT 0 CHECK (pruned BETWEEN 0 AND value),
  PRIMARY KEY (metric, machine, state, label)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE duration (
  metric        TEXT    NOT NULL,
  machine       TEXT    NOT NULL,
  state         TEXT    NOT NULL,
  label         TEXT    NOT NULL,
  le_us         INTEGER NOT NULL CHECK (le_us >= -1),
  n             INTEGER NOT NULL CHECK (n >= 1),
  sum_us        INTEGER NOT NULL CHECK (sum_us >= 0),
  last_us       INTEGER NOT NULL CHECK (last_us >= 0),
  last_at_ms    INTEGER NOT NULL,
  last_instance INTEGER,
  pruned_n      INTEGER NOT NULL DEFAULT 0 CHECK (pruned_n BETWEEN 0 AND n),
  pruned_sum_us INTEGER NOT NULL DEFAULT 0 CHECK (pruned_sum_us BETWEEN 0 AND sum_us),
  PRIMARY KEY (metric, machine, state, label, le_us)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE latest (
  metric  TEXT    NOT NULL CHECK (metric IN ('success', 'completion')),
  machine TEXT    NOT NULL,
  at_ms   INTEGER NOT NULL,
  PRIMARY KEY (metric, machine)
) STRICT, WITHOUT ROWID""",
)

_WATCHED: Final = (
    "ALTER TABLE worker ADD COLUMN slots INTEGER NOT NULL DEFAULT 0 CHECK (slots >= 0)",
    """
CREATE TABLE output (
  n          INTEGER PRIMARY KEY,
  instance   INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  attempt    INTEGER NOT NULL CHECK (attempt >= 1),
  epoch      INTEGER NOT NULL,
  at_ms      INTEGER NOT NULL,
  source     TEXT    NOT NULL CHECK (source IN ('log', 'stdout', 'stderr', 'note')),
  level      TEXT    NOT NULL,
  text       TEXT    NOT NULL
) STRICT""",
    """
CREATE TABLE notice (
  n          INTEGER PRIMARY KEY,
  key        TEXT    NOT NULL UNIQUE,
  event      TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  machine    TEXT    NOT NULL,
  instance   TEXT,
  body       TEXT    NOT NULL,
  at_ms      INTEGER NOT NULL,
  tries      INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  next_at_ms INTEGER NOT NULL,
  done_at_ms INTEGER,
  outcome    TEXT    CHECK (outcome IN ('sent', 'dropped', 'given up')),
  error      TEXT,
  CHECK ((outcome IS NULL) = (done_at_ms IS NULL))
) STRICT""",
    """
CREATE TABLE watermark (
  n        INTEGER PRIMARY KEY,
  machine  TEXT    NOT NULL,
  state    TEXT    NOT NULL,
  value    BLOB    NOT NULL,
  at_ms    INTEGER NOT NULL,
  instance TEXT,
  reason   TEXT,
  CHECK ((instance IS NULL) = (reason IS NOT NULL))
) STRICT""",
    # where the next instance starts
    "CREATE INDEX watermark_of ON watermark (machine, state, n)",
    # logs: what an instance printed, in order
    "CREATE INDEX output_instance ON output (instance, n)",
    # sending: what is due for a target, oldest first
    "CREATE INDEX notice_due ON notice (target, next_at_ms) WHERE done_at_ms IS NULL",
    # limits of targets: what was sent lately; and what is too old to be kept
    "CREATE INDEX notice_done ON notice (done_at_ms) WHERE done_at_ms IS NOT NULL",
    # metrics: the oldest that has not ended, by definition
    "CREATE INDEX instance_unfinished ON instance (definition) WHERE finished_at_ms IS NULL",
)

# An instance goes, with all of its rows, only in a transaction that says so and that adds
# what its journal said to the `pruned` columns.
_PRUNING: Final = (
    """
CREATE TABLE pruned (
  id    TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE pruning (
  instance INTEGER PRIMARY KEY
) STRICT""",
    (
        "ALTER TABLE store ADD COLUMN highest_pruned INTEGER NOT NULL DEFAULT 0"
        " CHECK (highest_pruned >= 0)"
    ),
    "DROP TRIGGER instance_is_kept",
    "DROP TRIGGER journal_is_kept",
    """
CREATE TRIGGER instance_is_kept
BEFORE DELETE ON instance
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE instance = OLD.n) OR OLD.finished_at_ms IS NULL
BEGIN
  SELECT RAISE(ABORT, 'an instance is deleted only by prune, after its end');
END""",
    """
CREATE TRIGGER journal_is_kept
BEFORE DELETE ON journal
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE instance = OLD.instance)
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only; only prune deletes from it');
END""",
)

STATEMENTS: Final = (*_JOURNAL, *_BACKFILL, *_FIGURES, *_WATCHED, *_PRUNING)
