"""
SQL that interventions share, whoever makes them: a person, a parent, an event.

    ASK                     a wish is written down, for whoever drives the instance or claims it
    ASKED_FOR               of a SELECT from `instance i`: what is asked of it and not yet done
    NO_TIMER                of an UPDATE: it is looked at anew, whatever its timer was for
    TAKE_OVER               of an UPDATE: what its driver began ends, and so does what was asked
    JOURNAL_OF_STEERING     the row of what was done, after that
"""

from typing import Final

NO_TIMER: Final = """
       wake_at_ms     = NULL,
       wake_delay_ms  = NULL,
       wake_boot_ms   = NULL,
       wake_boot_id   = NULL"""

# It is ready. One that is driven has no timer that this would end.
ASK: Final = f"""
UPDATE instance
   SET seq           = seq + 1,
       request       = CASE :wish WHEN 'kill' THEN 'cancel' ELSE :wish END,
       forced        = :wish = 'kill',
       {NO_TIMER},
       updated_at_ms = :now_ms,
       change        = 'request'
 WHERE n = :n
"""  # noqa: S608  (made of constants)

ASKED_FOR: Final = "CASE WHEN i.forced AND i.request = 'cancel' THEN 'kill' ELSE i.request END"

TAKE_OVER: Final = f"""
       seq            = seq + 1,
       epoch          = epoch + 1,
       {NO_TIMER},
       request        = NULL,
       updated_at_ms  = :now_ms"""

JOURNAL_OF_STEERING: Final = """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, note,
                     ended)
SELECT n, seq, epoch, generation, updated_at_ms, change, :event, :source, state, :note,
       CASE WHEN change = 'cancel' AND finished_at_ms IS NOT NULL THEN 'cancelled' END
  FROM instance
 WHERE n = :n
"""
