"""
`statepipe unpause`: a paused instance goes on, with whoever drives instances.
"""

import click

from statepipe.cli.shared.changes import change_of
from statepipe.cli.shared.lateness import late_of
from statepipe.cli.shared.loglines import log_lines
from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.engine import Engine
from statepipe.runtime.steering.unpausing import refuse_unpaused


@command("unpause", examples=["statepipe unpause ID --reason 'the source is back'"], changes=True)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
def unpause(*, instance: str, reason: str | None, dry_run: bool) -> None:
    """Let a paused instance go on; a worker drives it. `resume` drives it itself."""
    out, session = Session.current().out(), Session.current()
    with open_reader() as reader:
        found = reader.inspect(instance)
    name = shown_id(instance)
    refuse_unpaused(instance, found.status)
    if (late := late_of(found)) is not None:
        raise late
    if dry_run:
        with open_reader() as reader:
            if (changed := change_of(reader, instance)) is not None:
                raise changed
        out.would(f"unpause {instance} in {found.state}")
        return
    config = config_here()
    with (
        log_lines(config, session) as lines,
        Engine(config, create=False, log=lines.log) as engine,
    ):
        engine.unpause(instance, reason=reason)
    if out.is_json:
        with open_reader() as reader:
            found = reader.inspect(instance)
        out.value({"id": instance, "status": found.standing, "state": found.state})
    else:
        out.say(
            f"{instance} is ready in {found.state}"
            f"   next: statepipe worker   # or: statepipe resume {name}"
        )
