"""
Part of migration 0002, schema version 2: partitions, and the groups they belong to.

    instance_group      one row a group; how it ended, as its instances say
    groups, partitions  the same for people

Whether a group has ended, and how, follows from its instances. A trigger writes it down in
the transaction that moves the last of them, whoever moves it, so that no crash parts the two.
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE instance_group (
  n              INTEGER PRIMARY KEY,
  id             TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 100),
  machine        TEXT    NOT NULL,
  definition     INTEGER NOT NULL REFERENCES definition (n),
  tolerate       TEXT    NOT NULL,
  tolerated      INTEGER NOT NULL CHECK (tolerated >= 0),
  total          INTEGER NOT NULL CHECK (total >= 1),
  created_at_ms  INTEGER NOT NULL,
  status         TEXT    NOT NULL DEFAULT 'open'
                 CHECK (status IN ('open', 'done', 'failed', 'cancelled')),
  completeness   REAL    CHECK (completeness BETWEEN 0 AND 1),
  finished_at_ms INTEGER,
  pruned_done    INTEGER NOT NULL DEFAULT 0 CHECK (pruned_done BETWEEN 0 AND total),
  CHECK ((status = 'open') = (finished_at_ms IS NULL)),
  CHECK (status = 'open' OR completeness IS NOT NULL)
) STRICT""",
    "ALTER TABLE instance ADD COLUMN member_of INTEGER REFERENCES instance_group (n)",
    "ALTER TABLE instance ADD COLUMN partition TEXT CHECK (length(partition) >= 1)",
    # a group's partitions, and how many are where; an instance of its own is not in it
    ("CREATE INDEX instance_member ON instance (member_of, status) WHERE member_of IS NOT NULL"),
    # One trigger and not two: a trigger is a call, for each instance that ends. What a group has
    # come to is counted once, when its last one ends; before that it takes a look at the index.
    """
CREATE TRIGGER instance_group_follows
AFTER UPDATE OF status ON instance
WHEN NEW.member_of IS NOT NULL
BEGIN
  UPDATE instance_group
     SET status         = 'open',
         finished_at_ms = NULL
   WHERE n = NEW.member_of AND status <> 'open' AND NEW.status IN ('ready', 'paused');
  UPDATE instance_group
     SET status         = CASE
           WHEN total - pruned_done - (SELECT count(*) FROM instance
                                        WHERE member_of = NEW.member_of AND status = 'done')
                <= tolerated
           THEN 'done'
           WHEN (SELECT count(*) FROM instance
                  WHERE member_of = NEW.member_of AND status = 'failed') <= tolerated
            AND EXISTS (SELECT 1 FROM instance
                         WHERE member_of = NEW.member_of AND status = 'cancelled')
           THEN 'cancelled'
           ELSE 'failed' END,
         completeness   = CAST(pruned_done
           + (SELECT count(*) FROM instance WHERE member_of = NEW.member_of AND status = 'done')
           AS REAL) / total,
         finished_at_ms = NEW.updated_at_ms
   WHERE n = NEW.member_of
     AND NEW.status NOT IN ('ready', 'paused')
     AND NOT EXISTS (SELECT 1 FROM instance WHERE member_of = NEW.member_of AND status = 'ready')
     AND NOT EXISTS (SELECT 1 FROM instance WHERE member_of = NEW.member_of AND status = 'paused');
END""",
    """
CREATE TRIGGER instance_group_remembers
AFTER DELETE ON instance
WHEN OLD.member_of IS NOT NULL AND OLD.status = 'done'
BEGIN
  UPDATE instance_group SET pruned_done = pruned_done + 1 WHERE n = OLD.member_of;
END""",
    """
CREATE VIEW groups AS
SELECT g.id, g.machine, g.status, g.total,
       g.pruned_done + (SELECT count(*) FROM instance
                         WHERE member_of = g.n AND status = 'done')   AS done,
       (SELECT count(*) FROM instance
         WHERE member_of = g.n AND status = 'failed')                 AS failed,
       g.tolerate, g.completeness,
       datetime(g.created_at_ms  / 1000, 'unixepoch') AS created,
       datetime(g.finished_at_ms / 1000, 'unixepoch') AS finished
  FROM instance_group g""",
    """
CREATE VIEW partitions AS
SELECT g.id AS "group", i.partition, i.id, i.state, i.status, i.error_class, i.error,
       datetime(i.finished_at_ms / 1000, 'unixepoch') AS finished
  FROM instance i
  JOIN instance_group g ON g.n = i.member_of""",
)
