"""
Part of migration 0002, schema version 2: instances that do part of another one's work.

    instance.root   the instance at the top, of which one is a part; NULL for none
    child           one row a part: for which task of which stay of its parent
    skipped         one row a task that its state went on without
    children        the same for people

A parent rests while its children work. When one of them ends, whoever ends it, a trigger wakes
the parent in the same transaction, so that no crash parts the two. That moves the parent's seq,
as every row of its journal does: who decided that it rests without having seen this end is
refused by the committer, and looks again.
"""

from typing import Final

STATEMENTS: Final = (
    "ALTER TABLE instance ADD COLUMN root INTEGER REFERENCES instance (n)",
    # what is pruned, and driven, with its root
    "CREATE INDEX instance_root ON instance (root) WHERE root IS NOT NULL",
    """
CREATE TABLE child (
  instance   INTEGER PRIMARY KEY REFERENCES instance (n),
  parent     INTEGER NOT NULL REFERENCES instance (n),
  generation INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  visit      INTEGER NOT NULL,
  task       TEXT    NOT NULL,
  element    INTEGER CHECK (element >= 0)
) STRICT""",
    """
CREATE TABLE skipped (
  n        INTEGER PRIMARY KEY,
  instance INTEGER NOT NULL REFERENCES instance (n),
  seq      INTEGER NOT NULL CHECK (seq >= 1),
  state    TEXT    NOT NULL,
  task     TEXT    NOT NULL
) STRICT""",
    # pruning an instance
    "CREATE INDEX skipped_instance ON skipped (instance)",
    # a parent's children of one stay; and the promise that no task begins twice
    """
CREATE UNIQUE INDEX child_of_stay
    ON child (parent, generation, state, visit, task, coalesce(element, -1))""",
    """
CREATE TRIGGER child_wakes_its_parent
AFTER UPDATE OF status ON instance
WHEN NEW.root IS NOT NULL AND NEW.status IN ('done', 'failed', 'cancelled')
BEGIN
  UPDATE instance
     SET seq           = seq + 1,
         wake_at_ms    = NULL,
         wake_delay_ms = NULL,
         wake_boot_ms  = NULL,
         wake_boot_id  = NULL,
         updated_at_ms = NEW.updated_at_ms,
         change        = 'request'
   WHERE n = (SELECT parent FROM child WHERE instance = NEW.n)
     AND status = 'ready'
     AND (generation, coalesce(failed_state, state))
         = (SELECT generation, state FROM child WHERE instance = NEW.n);
  INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, note)
  SELECT n, seq, epoch, generation, updated_at_ms, change, 'child', state, state,
         NEW.id || ' is ' || NEW.status
    FROM instance
   WHERE n = (SELECT parent FROM child WHERE instance = NEW.n)
     AND status = 'ready'
     AND (generation, coalesce(failed_state, state))
         = (SELECT generation, state FROM child WHERE instance = NEW.n);
END""",
    """
CREATE VIEW children AS
SELECT p.id AS parent, c.state, c.visit, c.task, c.element, i.id, i.status, i.attempt, i.batches,
       i.error_class, i.error, c.generation
  FROM child c
  JOIN instance i ON i.n = c.instance
  JOIN instance p ON p.n = c.parent""",
)
