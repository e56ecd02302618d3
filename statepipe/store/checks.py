"""
What must hold between the rows of every store, whatever happened to its writers.

    violations   what breaks it, one text each
"""

from statepipe.sqlite import sqlite3

# Each query returns one text a violation (R2 and R5 of docs/reliability.md).
_CHECKS = (
    """
SELECT 'instance ' || i.id || ': journal seq has gaps or twins'
  FROM instance i
 WHERE i.seq <> (SELECT max(seq) FROM journal WHERE instance = i.n)
    OR i.seq <> (SELECT count(*) FROM journal WHERE instance = i.n)
""",
    """
SELECT 'instance ' || i.id || ': seq ' || b.seq || ' leaves ' || b.source
       || ' but the instance was in ' || a.target
  FROM journal a
  JOIN journal b ON b.instance = a.instance AND b.seq = a.seq + 1
  JOIN instance i ON i.n = a.instance
 WHERE a.target <> b.source
""",
    """
SELECT 'instance ' || i.id || ': rests in ' || i.state || ' but its journal ends in ' || j.target
  FROM instance i
  JOIN journal j ON j.instance = i.n AND j.seq = i.seq
 WHERE j.target <> i.state
""",
    """
SELECT 'instance ' || i.id || ': epoch or generation falls at seq ' || b.seq
  FROM journal a
  JOIN journal b ON b.instance = a.instance AND b.seq = a.seq + 1
  JOIN instance i ON i.n = a.instance
 WHERE b.epoch < a.epoch OR b.generation < a.generation
""",
    """
SELECT 'batches of ' || i.id || ' in ' || b.state || ' have gaps'
  FROM batch b
  JOIN instance i ON i.n = b.instance
 GROUP BY b.instance, b.generation, b.state, b.visit, b.task
HAVING max(b.number) + 1 <> count(*)
""",
    """
SELECT 'counter ' || machine || ': ' || source || ' --' || event || '-> ' || target || ' is '
       || coalesce(taken, 'absent') || ', the journal says ' || coalesce(seen, 0)
  FROM (SELECT d.machine, j.source, j.event, j.target, count(*) AS seen
          FROM journal j
          JOIN instance i ON i.n = j.instance
          JOIN definition d ON d.n = i.definition
         WHERE j.kind IN ('create', 'move', 'cancel', 'resume', 'rewind')
           AND (j.kind IN ('create', 'move', 'rewind') OR j.source <> j.target)
         GROUP BY 1, 2, 3, 4)
  FULL JOIN transition_count USING (machine, source, event, target)
 WHERE taken IS NOT seen
""",
)


def violations(connection: sqlite3.Connection) -> list[str]:
    """Return everything in the store's rows that breaks a promise; [] if nothing does."""
    return [text for sql in _CHECKS for (text,) in connection.execute(sql)]
