"""
`statepipe migrate`: bring a store of an older release to this release's schema.

Every command that writes does it by itself; this one is for stores that are only looked at, and
for giving a store to another environment.
"""

from contextlib import closing

import click

from statepipe.cli.shared.options import command, confirm
from statepipe.cli.shared.places import config_here, environment_of
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.config import Config
from statepipe.errors import UsageError
from statepipe.store.file.opening import open_store
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.store.file.stamp import restamp, stamp_of
from statepipe.store.reading import Reader
from statepipe.suggest import did_you_mean


@command(
    "migrate",
    examples=[
        "statepipe migrate",
        "statepipe migrate --store old.db",
        "statepipe migrate --store /var/lib/statepipe/prod.db --stamp prod --yes",
    ],
)
@click.option("--stamp", metavar="ENV", help="Whose store it is from now on: an environment's.")
@click.option("--unstamp", is_flag=True, help="It is from now on of no environment.")
@click.option("--dry-run", is_flag=True, help="Say whose it would be, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def migrate(*, stamp: str | None, unstamp: bool, dry_run: bool, yes: bool) -> None:
    """
    Bring the store to this release's schema; a copy of what it was stays beside it.

    Does nothing to a store that has it.
    """
    config = config_here()
    if stamp is not None or unstamp:
        _stamp(config, stamp, unstamp=unstamp, dry_run=dry_run, yes=yes)
        return
    if dry_run:
        raise click.UsageError("--dry-run goes with --stamp or --unstamp")
    environment = environment_of(config)
    clock = SystemClock()
    with closing(open_store(config.store, create=False, clock=clock, environment=environment)):
        out = Session.current().out()
        if out.is_json:
            out.value({"store": str(config.store), "schema_version": SCHEMA_VERSION})
        else:
            out.say(f"{config.store} has schema version {SCHEMA_VERSION}")


def _stamp(config: Config, name: str | None, *, unstamp: bool, dry_run: bool, yes: bool) -> None:
    """Give the store to another environment, whoever asks: that is what it is for."""
    if unstamp and name is not None:
        raise click.UsageError("--stamp or --unstamp, not both")
    if name is not None and name not in config.environments:
        raise UsageError(
            f"there is no environment {name!r}{did_you_mean(name, config.environments)}",
            meaning="nothing was changed",
            next_step=f"add [env.{name}] to {config.path or 'statepipe.toml'}, with its store",
        )
    out = Session.current().out()
    with Reader(config.store) as reader, reader.moment() as connection:
        was = stamp_of(connection)
    what = f"{config.store}: environment {was or 'none'} -> {name or 'none'}"
    if dry_run:
        out.would(f"stamp {what}")
        return
    confirm(f"stamp {what}?", yes=yes)
    with closing(open_store(config.store, create=False, clock=SystemClock())) as store:
        restamp(store, name)
    if out.is_json:
        facts = {"store": str(config.store), "environment": name, "environment_before": was}
        out.value(facts)
    else:
        out.say(what)
