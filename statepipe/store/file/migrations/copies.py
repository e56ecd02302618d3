"""
Part of migration 0002, schema version 2: instances that were made of another one.

    copy        one row each: of which, and how
    copies      the same for people
"""

from typing import Final

STATEMENTS: Final = (
    """
CREATE TABLE copy (
  instance INTEGER PRIMARY KEY REFERENCES instance (n),
  origin   TEXT    NOT NULL,
  event    TEXT    NOT NULL CHECK (event IN ('fork', 'restart'))
) STRICT""",
    "CREATE INDEX copy_origin ON copy (origin)",
    """
CREATE VIEW copies AS
SELECT c.origin, i.id, c.event, d.machine, i.state, i.status,
       datetime(i.created_at_ms / 1000, 'unixepoch') AS created
  FROM copy c
  JOIN instance i ON i.n = c.instance
  JOIN definition d ON d.n = i.definition""",
)
