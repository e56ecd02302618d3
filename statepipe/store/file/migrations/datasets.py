"""
Part of migration 0002, schema version 2: the data that is there, and who is woken by it.

    dataset     one row a partition of a machine that was done, and a group that was; of a machine
                that others start after, one row an instance as well
    datasets    the same for people

Who ends an instance that is a partition writes its row. A group's is written by a trigger, since
what a group has come to is. Whoever rests for a dataset (`awaiting`) is woken by triggers, too,
in the transaction that makes it so, whoever writes that. They fire on what is written once an
instance ends, and never on a move.
"""

from typing import Final


def _wakes(name: str, fires: str, *, event: str, at_ms: str, of: str) -> str:
    """Return a trigger that wakes who rests for `event`; `of` narrows it to a key."""
    return f"""
CREATE TRIGGER {name}
{fires}
BEGIN
  INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, note)
  SELECT i.n, i.seq + 1, i.epoch, i.generation, {at_ms}, 'request', 'dataset', i.state, i.state,
         {event} || ' ' || a.key
    FROM awaiting a
    JOIN instance i ON i.n = a.instance
   WHERE a.event = {event}{of} AND i.wake_boot_id IS NOT NULL AND i.attempt = 0;
  UPDATE instance
     SET seq           = seq + 1,
         wake_at_ms    = NULL,
         wake_delay_ms = NULL,
         wake_boot_ms  = NULL,
         wake_boot_id  = NULL,
         updated_at_ms = {at_ms},
         change        = 'request'
   WHERE n IN (SELECT a.instance FROM awaiting a WHERE a.event = {event}{of})
     AND wake_boot_id IS NOT NULL
     AND attempt = 0;
END"""  # noqa: S608  (texts of ours)


_THERE: Final = {
    "event": "NEW.kind || ':' || NEW.machine",
    "at_ms": "NEW.done_at_ms",
    "of": " AND a.key IN (NEW.key, NEW.value)",
}

STATEMENTS: Final = (
    """
CREATE TABLE dataset (
  n          INTEGER PRIMARY KEY,
  kind       TEXT    NOT NULL CHECK (kind IN ('instance', 'partition', 'group')),
  machine    TEXT    NOT NULL,
  key        TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
  value      TEXT    NOT NULL,
  instance   TEXT    CHECK ((instance IS NULL) = (kind = 'group')),
  params     BLOB    NOT NULL,
  done_at_ms INTEGER NOT NULL,
  times      INTEGER NOT NULL DEFAULT 1 CHECK (times >= 1),
  is_there   INTEGER NOT NULL DEFAULT 1 CHECK (is_there IN (0, 1)),
  UNIQUE (kind, machine, key)
) STRICT""",
    # what has become of a machine since somebody looked
    "CREATE INDEX dataset_machine ON dataset (kind, machine, n)",
    # a wait that names a partition by the value of its parameter
    "CREATE INDEX dataset_value ON dataset (machine, value) WHERE value <> key",
    # rewind: what an instance had done is not there until it is done again
    "CREATE INDEX dataset_instance ON dataset (instance) WHERE instance IS NOT NULL",
    """
CREATE TRIGGER instance_group_is_there
AFTER UPDATE OF status ON instance_group
WHEN NEW.status <> OLD.status
BEGIN
  UPDATE dataset SET is_there = 0
   WHERE kind = 'group' AND machine = NEW.machine AND key = NEW.id AND NEW.status <> 'done';
  INSERT INTO dataset (kind, machine, key, value, params, done_at_ms)
  SELECT 'group', NEW.machine, NEW.id, NEW.id,
         (SELECT params FROM instance WHERE member_of = NEW.n ORDER BY n LIMIT 1),
         NEW.finished_at_ms
   WHERE NEW.status = 'done'
      ON CONFLICT (kind, machine, key) DO UPDATE
     SET n = (SELECT max(n) FROM dataset) + 1, done_at_ms = excluded.done_at_ms,
         times = times + 1, is_there = 1;
END""",
    "ALTER TABLE machine_trigger ADD COLUMN follows TEXT",
    # who is started after each instance of a machine
    "CREATE INDEX machine_trigger_follows ON machine_trigger (follows) WHERE follows IS NOT NULL",
    """
CREATE TRIGGER instance_is_followed
AFTER UPDATE OF status ON instance
WHEN NEW.status = 'done'
 AND EXISTS (SELECT 1
               FROM machine_trigger t
              CROSS JOIN definition d  -- in this order: mostly nobody follows anybody
              WHERE t.follows IS NOT NULL AND d.n = NEW.definition AND d.machine = t.follows)
BEGIN
  INSERT INTO dataset (kind, machine, key, value, instance, params, done_at_ms)
  SELECT 'instance', d.machine, NEW.id, NEW.id, NEW.id, NEW.params, NEW.finished_at_ms
    FROM definition d
   WHERE d.n = NEW.definition AND NOT EXISTS (SELECT 1 FROM replay WHERE instance = NEW.n)
      ON CONFLICT (kind, machine, key) DO UPDATE
     SET n = (SELECT max(n) FROM dataset) + 1, done_at_ms = excluded.done_at_ms,
         times = times + 1, is_there = 1;
END""",
    _wakes("dataset_is_there", "AFTER INSERT ON dataset", **_THERE),
    _wakes("dataset_is_there_again", "AFTER UPDATE OF n ON dataset", **_THERE),
    _wakes(
        "watermark_is_there",
        "AFTER INSERT ON watermark",
        event="'watermark:' || NEW.machine",
        at_ms="NEW.at_ms",
        of="",
    ),
    """
CREATE VIEW datasets AS
SELECT machine, kind, key, instance, is_there,
       datetime(done_at_ms / 1000, 'unixepoch') AS done, times
  FROM dataset""",
)
