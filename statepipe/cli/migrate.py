"""
`statepipe migrate`: bring a store of an older release to this release's schema.

Every command that writes does it by itself; this one is for stores that are only looked at.
"""

from contextlib import closing

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.store.file.opening import open_store
from statepipe.store.file.schema import SCHEMA_VERSION


@command("migrate", examples=["statepipe migrate", "statepipe migrate --store old.db"])
def migrate() -> None:
    """
    Bring the store to this release's schema; a copy of what it was stays beside it.

    Does nothing to a store that has it.
    """
    path = config_here().store
    with closing(open_store(path, create=False, clock=SystemClock())):
        Session.current().out().say(f"{path} has schema version {SCHEMA_VERSION}")
