"""
Migration 0001, schema version 1: instances, their journal, and staged batches.

    store             one row: who this store is
    definition        every machine definition an instance began with
    policy            every merged policy that governed an attempt
    worker            processes that drive instances, with their leases
    instance          the checkpoint: one row an instance, as last committed
    journal           every move, append-only, numbered per instance without gaps
    batch, reject     staged batches, and what was rejected while making them
    plan              what loading will load, fixed when loading is entered
    transition_count  counters, written in the transition's own transaction

Kept as it shipped: what changes, changes in a later migration.
"""

from typing import Final

# SQLite builds the list of an IN anew for each row it checks, 4 us; so the kinds that
# come by the thousand are asked for first.
_TABLES: Final = (
    """
CREATE TABLE store (
  only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
  store_id      TEXT    NOT NULL CHECK (length(store_id) = 32),
  created_at_ms INTEGER NOT NULL
) STRICT""",
    """
CREATE TABLE definition (
  n             INTEGER PRIMARY KEY,
  machine       TEXT    NOT NULL,
  version       INTEGER NOT NULL CHECK (version >= 1),
  digest        TEXT    NOT NULL,
  body          TEXT    NOT NULL,
  created_at_ms INTEGER NOT NULL,
  UNIQUE (machine, digest)
) STRICT""",
    """
CREATE TABLE policy (
  digest TEXT PRIMARY KEY,
  body   TEXT NOT NULL
) STRICT""",
    """
CREATE TABLE worker (
  n                INTEGER PRIMARY KEY,
  name             TEXT    NOT NULL UNIQUE,
  host             TEXT    NOT NULL,
  pid              INTEGER NOT NULL CHECK (pid > 0),
  pid_started      INTEGER NOT NULL,
  pid_space        TEXT    NOT NULL,
  boot_id          TEXT    NOT NULL,
  lease_ms         INTEGER NOT NULL CHECK (lease_ms > 0),
  beat             INTEGER NOT NULL DEFAULT 0 CHECK (beat >= 0),
  deadline_boot_ms INTEGER NOT NULL,
  started_at_ms    INTEGER NOT NULL,
  stopped_at_ms    INTEGER
) STRICT""",
    """
CREATE TABLE instance (
  n              INTEGER PRIMARY KEY,
  id             TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 200),
  definition     INTEGER NOT NULL REFERENCES definition (n),
  params         BLOB    NOT NULL,
  created_at_ms  INTEGER NOT NULL,
  epoch          INTEGER NOT NULL CHECK (epoch >= 0),
  seq            INTEGER NOT NULL CHECK (seq >= 1),
  generation     INTEGER NOT NULL CHECK (generation >= 1),
  status         TEXT    NOT NULL
                 CHECK (status IN ('ready', 'paused', 'done', 'failed', 'cancelled')),
  state          TEXT    NOT NULL,
  attempt        INTEGER NOT NULL CHECK (attempt >= 0),
  lost           INTEGER NOT NULL CHECK (lost >= 0),
  batches        INTEGER NOT NULL CHECK (batches >= 0),
  picture        BLOB,
  worker         INTEGER REFERENCES worker (n),
  wake_at_ms     INTEGER,
  wake_delay_ms  INTEGER CHECK (wake_delay_ms >= 0),
  wake_boot_ms   INTEGER,
  wake_boot_id   TEXT,
  failed_state   TEXT,
  error_class    TEXT,
  error          TEXT,
  entered_at_ms  INTEGER NOT NULL,
  updated_at_ms  INTEGER NOT NULL,
  finished_at_ms INTEGER,
  request        TEXT    CHECK (request IN ('cancel', 'pause')),
  change         TEXT    NOT NULL,
  CHECK ((status IN ('done', 'failed', 'cancelled')) = (finished_at_ms IS NOT NULL)),
  CHECK (worker IS NULL OR status = 'ready'),
  CHECK (worker IS NULL OR wake_boot_id IS NULL),
  CHECK ((wake_boot_id IS NULL) = (wake_at_ms IS NULL))
) STRICT""",
    """
CREATE TABLE journal (
  n          INTEGER PRIMARY KEY,
  instance   INTEGER NOT NULL REFERENCES instance (n),
  seq        INTEGER NOT NULL CHECK (seq >= 1),
  epoch      INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  at_ms      INTEGER NOT NULL,
  kind       TEXT    NOT NULL
             CHECK (kind = 'move' OR kind = 'batch'
                    OR kind IN ('create', 'claim', 'retry', 'interrupt', 'request', 'resume',
                                'rewind', 'cancel', 'pause')),
  event      TEXT    NOT NULL,
  source     TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  task       TEXT,
  attempt    INTEGER CHECK (attempt >= 1),
  took_ms    INTEGER CHECK (took_ms >= 0),
  policy     TEXT    REFERENCES policy (digest),
  records    INTEGER CHECK (records >= 0),
  bytes      INTEGER CHECK (bytes >= 0),
  rejected   INTEGER CHECK (rejected >= 0),
  error_class TEXT,
  error      TEXT,
  picture    BLOB,
  note       TEXT
) STRICT""",
    """
CREATE TABLE batch (
  instance   INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  visit      INTEGER NOT NULL,
  task       TEXT    NOT NULL,
  number     INTEGER NOT NULL CHECK (number >= 0),
  epoch      INTEGER NOT NULL,
  records    INTEGER NOT NULL CHECK (records >= 0),
  bytes      INTEGER NOT NULL CHECK (bytes >= 0),
  sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
  format     TEXT    NOT NULL CHECK (format IN ('msgpack', 'arrow')),
  file       TEXT,
  body       BLOB,
  cursor     BLOB,
  read       INTEGER NOT NULL CHECK (read >= 0),
  PRIMARY KEY (instance, generation, state, visit, task, number),
  CHECK (records = 0 OR (file IS NULL) <> (body IS NULL))
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE reject (
  n          INTEGER PRIMARY KEY,
  instance   INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  visit      INTEGER NOT NULL,
  task       TEXT    NOT NULL,
  number     INTEGER NOT NULL CHECK (number >= 0),
  epoch      INTEGER NOT NULL,
  records    INTEGER NOT NULL CHECK (records >= 1),
  bytes      INTEGER NOT NULL CHECK (bytes >= 0),
  sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
  file       TEXT,
  body       BLOB,
  reasons    TEXT    NOT NULL,
  UNIQUE (instance, generation, state, visit, task, number),
  CHECK ((file IS NULL) <> (body IS NULL))
) STRICT""",
    """
CREATE TABLE plan (
  instance          INTEGER NOT NULL REFERENCES instance (n),
  generation        INTEGER NOT NULL,
  state             TEXT    NOT NULL,
  visit             INTEGER NOT NULL,
  number            INTEGER NOT NULL CHECK (number >= 0),
  source_generation INTEGER NOT NULL,
  source_state      TEXT    NOT NULL,
  source_visit      INTEGER NOT NULL,
  source_task       TEXT    NOT NULL,
  records           INTEGER NOT NULL CHECK (records >= 0),
  sha256            BLOB    NOT NULL,
  loaded            INTEGER CHECK (loaded BETWEEN 0 AND records),
  PRIMARY KEY (instance, generation, state, visit, number)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE transition_count (
  machine TEXT    NOT NULL,
  source  TEXT    NOT NULL,
  event   TEXT    NOT NULL,
  target  TEXT    NOT NULL,
  taken   INTEGER NOT NULL CHECK (taken >= 0),
  PRIMARY KEY (machine, source, event, target)
) STRICT, WITHOUT ROWID""",
)

# Every index serves one query, named here, and is partial where most rows do
# not matter to it: an index over all instances would be rewritten by every move.
_INDEXES: Final = (
    # history, and the promise that an instance's seq has no twin
    "CREATE UNIQUE INDEX journal_instance_seq ON journal (instance, seq)",
    # claim: ready now
    (
        "CREATE INDEX instance_free ON instance (n)"
        " WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL"
    ),
    # claim: waiting for a moment
    (
        "CREATE INDEX instance_timer ON instance (wake_boot_id, wake_boot_ms)"
        " WHERE wake_boot_id IS NOT NULL"
    ),
    # claim: takeover from a dead worker; inspect: who holds what
    "CREATE INDEX instance_held ON instance (worker) WHERE worker IS NOT NULL",
    # ls --failed, resume --failed
    (
        "CREATE INDEX instance_unfinished_business ON instance (status, n)"
        " WHERE status IN ('failed', 'cancelled', 'paused')"
    ),
    # ls, resume --all: the newest that are not done; changes when one is made and when it ends
    "CREATE INDEX instance_open ON instance (definition) WHERE status <> 'done'",
    # ls --all
    "CREATE INDEX instance_definition ON instance (definition)",
)

_TRIGGERS: Final = (
    # One trigger and not three: a trigger is a call, for each row of each group.
    """
CREATE TRIGGER instance_moves_by_the_rules
BEFORE UPDATE ON instance
WHEN NEW.seq <> OLD.seq + 1
  OR NEW.epoch < OLD.epoch
  OR NEW.generation < OLD.generation
  OR (OLD.finished_at_ms IS NOT NULL AND NEW.change NOT IN ('resume', 'rewind'))
BEGIN
  SELECT RAISE(ABORT, 'seq, epoch, generation only rise; finished instances only resume or rewind');
END""",
    """
CREATE TRIGGER instance_is_kept
BEFORE DELETE ON instance
BEGIN
  SELECT RAISE(ABORT, 'an instance is never deleted');
END""",
    """
CREATE TRIGGER journal_is_append_only
BEFORE UPDATE ON journal
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END""",
    """
CREATE TRIGGER journal_is_kept
BEFORE DELETE ON journal
BEGIN
  SELECT RAISE(ABORT, 'the journal is append-only');
END""",
)

_VIEWS: Final = (
    """
CREATE VIEW instances AS
SELECT i.id, d.machine, d.version, i.state, i.status, i.attempt, i.batches, i.generation,
       w.name AS worker, i.error_class, i.error, i.failed_state, i.request,
       datetime(i.created_at_ms  / 1000, 'unixepoch') AS created,
       datetime(i.updated_at_ms  / 1000, 'unixepoch') AS updated,
       datetime(i.finished_at_ms / 1000, 'unixepoch') AS finished,
       datetime(i.wake_at_ms     / 1000, 'unixepoch') AS wakes
  FROM instance i
  JOIN definition d ON d.n = i.definition
  LEFT JOIN worker w ON w.n = i.worker""",
    """
CREATE VIEW history AS
SELECT i.id, j.seq, j.kind, j.event, j.source, j.target, j.task, j.attempt, j.took_ms,
       j.records, j.rejected, j.error_class, j.error, j.note, j.epoch, j.generation,
       datetime(j.at_ms / 1000, 'unixepoch') AS at
  FROM journal j
  JOIN instance i ON i.n = j.instance""",
    """
CREATE VIEW attempts AS
SELECT i.id, d.machine, j.source AS state, j.task, j.attempt, j.event AS outcome, j.took_ms,
       j.records, j.rejected, j.error_class, j.error, j.policy, j.generation,
       datetime(j.at_ms / 1000, 'unixepoch') AS ended
  FROM journal j
  JOIN instance i ON i.n = j.instance
  JOIN definition d ON d.n = i.definition
 WHERE j.attempt IS NOT NULL AND j.kind <> 'batch'""",
    """
CREATE VIEW staged AS
SELECT i.id, b.generation, b.state, b.visit, b.task, b.number, b.records, b.read, b.bytes,
       b.format, b.file, hex(b.sha256) AS sha256
  FROM batch b
  JOIN instance i ON i.n = b.instance""",
    """
CREATE VIEW rejected AS
SELECT i.id, r.state, r.visit, r.number AS batch, r.records, e.key AS reason, e.value AS count,
       r.file, r.generation
  FROM reject r
  JOIN instance i ON i.n = r.instance, json_each(r.reasons) e""",
)

STATEMENTS: Final = (*_TABLES, *_INDEXES, *_TRIGGERS, *_VIEWS)
