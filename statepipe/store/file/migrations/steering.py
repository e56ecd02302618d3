"""
Part of migration 0002, schema version 2: ends by force, and whose store it is.

    instance.forced     1 if the cancel that is asked for is a kill
    store.environment   the environment that the store belongs to
"""

from typing import Final

STATEMENTS: Final = (
    # Means something while `request` does; a default, so that a million rows need no rewriting.
    "ALTER TABLE instance ADD COLUMN forced INTEGER NOT NULL DEFAULT 0 CHECK (forced IN (0, 1))",
    "ALTER TABLE store ADD COLUMN environment TEXT CHECK (length(environment) >= 1)",
)
