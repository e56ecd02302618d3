"""
Part of migration 0002, schema version 2: rejected records that are sent through again.

    reject.arrow_schema     the columns of the table that rejected rows came from
    replay                  instances that were made to replay some, one row each
    replayed                which records of a reject they are
    replays                 the same for people
"""

from typing import Final

STATEMENTS: Final = (
    "ALTER TABLE reject ADD COLUMN arrow_schema BLOB",
    """
CREATE TABLE replay (
  instance    INTEGER PRIMARY KEY REFERENCES instance (n),
  origin      TEXT    NOT NULL,
  records     INTEGER NOT NULL CHECK (records >= 1),
  replaced_by TEXT
) STRICT""",
    """
CREATE TABLE replayed (
  reject  INTEGER NOT NULL REFERENCES reject (n),
  id      TEXT    NOT NULL,
  entries TEXT    NOT NULL,
  reasons TEXT    NOT NULL,
  PRIMARY KEY (reject, id)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX replay_origin ON replay (origin)",
    "CREATE INDEX replayed_id ON replayed (id)",
    """
CREATE VIEW replays AS
SELECT r.origin, i.id, d.machine, r.records, i.state, i.status, r.replaced_by,
       datetime(i.created_at_ms / 1000, 'unixepoch') AS created
  FROM replay r
  JOIN instance i ON i.n = r.instance
  JOIN definition d ON d.n = i.definition""",
)
