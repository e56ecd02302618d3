"""
What must hold between the rows of every store, whatever happened to its writers.

    violations   what breaks it, one text each
"""

from statepipe.sqlite import sqlite3
from statepipe.store.metrics import recount

# Each query returns one text a violation (R2 and R5 of docs/reliability.md); R17, that figures
# are what the journal says, is `recount`'s.
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
SELECT 'instance ' || i.id || ': seq ' || s.taken_seq || ' took ' || count(*)
       || ' signals and is ' || coalesce(j.kind, 'no row')
  FROM signal s
  JOIN instance i ON i.n = s.instance
  LEFT JOIN journal j ON j.instance = s.instance AND j.seq = s.taken_seq
 WHERE s.taken_seq IS NOT NULL
 GROUP BY s.instance, s.taken_seq
HAVING count(*) > 1 OR j.kind IS NOT 'move'
""",
    """
SELECT 'instance ' || i.id || ': goes on, and ' || p.id || ', of which it does part of the work, '
       || 'is in ' || p.state
  FROM child c
  JOIN instance i ON i.n = c.instance
  JOIN instance p ON p.n = c.parent
 WHERE i.status IN ('ready', 'paused')
   AND i.request IS NOT 'cancel'
   AND i.failed_state IS NULL
   AND (p.status = 'done' OR p.generation <> c.generation
        OR (p.status <> 'cancelled' AND coalesce(p.failed_state, p.state) <> c.state))
""",
    """
SELECT 'occasion ' || o.key || ' of ' || t.machine || '.' || t.name || ': started ' || o.instance
       || ', which never was'
  FROM occasion o
  JOIN machine_trigger t ON t.n = o.trigger
 WHERE o.instance IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM instance WHERE id = o.instance)
   AND NOT EXISTS (SELECT 1 FROM pruned WHERE id = o.instance)
""",
    """
SELECT kind || ' ' || key || ' of ' || d.machine || ': is there, and its rows say otherwise'
  FROM dataset d
  LEFT JOIN instance i ON i.id = d.instance
  LEFT JOIN instance_group g ON d.kind = 'group' AND g.id = d.key
 WHERE d.is_there AND coalesce(i.status, g.status, 'done') <> 'done'
""",
    """
SELECT 'jobs of ' || i.id || ' in ' || j.state || ': have gaps, or more than one is waited for'
  FROM job j
  JOIN instance i ON i.n = j.instance
 GROUP BY j.instance, j.generation, j.state, j.visit
HAVING max(j.number) + 1 <> count(*)
    OR sum(j.over_at_ms IS NULL AND j.stopping = 0) > 1
""",
    """
SELECT 'instance ' || i.id || ': is done, and its job in ' || j.state || ' is waited for'
  FROM job j
  JOIN instance i ON i.n = j.instance
 WHERE i.status = 'done' AND j.generation = i.generation AND j.over_at_ms IS NULL
   AND j.stopping = 0
""",
    """
SELECT 'group ' || g.id || ': is ' || g.status || ' and ' || coalesce(g.completeness, 'nothing')
       || ', its instances say otherwise'
  FROM instance_group g
  JOIN instance i ON i.member_of = g.n
 GROUP BY g.n
HAVING (g.status = 'open') <> (sum(i.status IN ('ready', 'paused')) > 0)
    OR count(*) > g.total
    OR (g.status <> 'open'
        AND (abs(g.completeness * g.total - g.pruned_done - sum(i.status = 'done')) > 0.001
             OR (g.status = 'done')
                <> (g.total - g.pruned_done - sum(i.status = 'done') <= g.tolerated)))
""",
)


def violations(connection: sqlite3.Connection) -> list[str]:
    """Return everything in the store's rows that breaks a promise; [] if nothing does."""
    broken = [text for sql in _CHECKS for (text,) in connection.execute(sql)]
    return broken + [
        f"{each.figure} is {each.stored}, the journal says {each.recounted}"
        for each in recount.differences(connection)
    ]
