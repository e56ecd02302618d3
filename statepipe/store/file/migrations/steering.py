"""
Part of migration 0002, schema version 2: ends by force, ends of what has failed, whose store it is.

    instance.forced     1 if the cancel that is asked for is a kill
    store.environment   the environment that the store belongs to
    instance_moves_by_the_rules     what has failed may be cancelled as well
"""

from typing import Final

STATEMENTS: Final = (
    # Means something while `request` does; a default, so that a million rows need no rewriting.
    "ALTER TABLE instance ADD COLUMN forced INTEGER NOT NULL DEFAULT 0 CHECK (forced IN (0, 1))",
    "ALTER TABLE store ADD COLUMN environment TEXT CHECK (length(environment) >= 1)",
    "DROP TRIGGER instance_moves_by_the_rules",
    """
CREATE TRIGGER instance_moves_by_the_rules
BEFORE UPDATE ON instance
WHEN NEW.seq <> OLD.seq + 1
  OR NEW.epoch < OLD.epoch
  OR NEW.generation < OLD.generation
  OR (OLD.finished_at_ms IS NOT NULL AND NEW.change NOT IN ('resume', 'rewind')
      AND (OLD.status <> 'failed' OR NEW.change <> 'cancel'))
BEGIN
  SELECT RAISE(ABORT, 'seq, epoch, generation only rise; what is done or cancelled stays so');
END""",
)
