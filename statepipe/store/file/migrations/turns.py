"""
Part of migration 0002, schema version 2: whose turn it is, and who drives what.

    instance.priority, concurrency_key, awaits_turn    what decides who is claimed next
    instance_turn, instance_key_…                      indexes for that order
    instance_timer_…                                   the same for instances that are due
    worker.serves                                      what a worker drives
    route                                              states that are not of the queue "default"
"""

from typing import Final

STATEMENTS: Final = (
    (
        "ALTER TABLE instance ADD COLUMN priority INTEGER NOT NULL DEFAULT 0"
        " CHECK (priority BETWEEN -100 AND 100)"
    ),
    (
        "ALTER TABLE instance ADD COLUMN concurrency_key TEXT"
        " CHECK (length(concurrency_key) BETWEEN 1 AND 1200)"
    ),
    (
        "ALTER TABLE instance ADD COLUMN awaits_turn INTEGER NOT NULL DEFAULT 0"
        " CHECK (awaits_turn = 0"
        " OR awaits_turn = 1 AND concurrency_key IS NOT NULL AND worker IS NULL)"
    ),
    # claim: ready now; the highest priority of all, then what a machine has in one state, the
    # oldest first
    (
        "CREATE INDEX instance_turn ON instance (priority, definition, state, n)"
        " WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL AND awaits_turn = 0"
    ),
    # metrics, top, doctor: ready now; create: how many of a machine that are no part of another
    "DROP INDEX instance_free",
    (
        "CREATE INDEX instance_free ON instance (definition, root)"
        " WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL"
    ),
    # metrics, top: waiting for a moment, and of which machine
    "DROP INDEX instance_timer",
    (
        "CREATE INDEX instance_timer ON instance (wake_boot_id, wake_boot_ms, definition)"
        " WHERE wake_boot_id IS NOT NULL"
    ),
    # claim: waiting for a moment, in the same order, the first one that is due
    (
        "CREATE INDEX instance_timer_turn"
        " ON instance (wake_boot_id, priority, definition, state, wake_boot_ms)"
        " WHERE wake_boot_id IS NOT NULL"
    ),
    # the same on another boot, where the boot clock says nothing: by the wall clock
    (
        "CREATE INDEX instance_timer_wall"
        " ON instance (wake_boot_id, priority, definition, state, wake_at_ms)"
        " WHERE wake_boot_id IS NOT NULL"
    ),
    # and at most one delay after start-up
    (
        "CREATE INDEX instance_timer_delay"
        " ON instance (wake_boot_id, priority, definition, state, wake_delay_ms)"
        " WHERE wake_boot_id IS NOT NULL"
    ),
    # claim, create: how many have begun with a key and not ended
    (
        "CREATE INDEX instance_key_held ON instance (concurrency_key)"
        " WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0"
    ),
    # claim: who waits for a key, in the order of their turn
    (
        "CREATE INDEX instance_key_turn"
        " ON instance (priority, definition, state, n, concurrency_key)"
        " WHERE awaits_turn = 1 AND status = 'ready'"
    ),
    # create, why: who waits for one key, in the order of creation
    (
        "CREATE INDEX instance_key_awaited ON instance (concurrency_key, n)"
        " WHERE awaits_turn = 1 AND status = 'ready'"
    ),
    "ALTER TABLE worker ADD COLUMN serves TEXT",
    """
CREATE TABLE route (
  definition INTEGER NOT NULL REFERENCES definition (n),
  state      TEXT    NOT NULL,
  queue      TEXT    NOT NULL CHECK (length(queue) BETWEEN 1 AND 64),
  PRIMARY KEY (definition, state)
) STRICT, WITHOUT ROWID""",
)
