"""
`statepipe unpause`: what is paused goes on, with whoever drives instances.
"""

import click

from statepipe.cli.shared.changes import change_of, first_change
from statepipe.cli.shared.intervening import intervening
from statepipe.cli.shared.lateness import late_of
from statepipe.cli.shared.options import command, instance_or_group
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.model import Status
from statepipe.runtime.steering.unpausing import none_paused, refuse_unpaused
from statepipe.store.lookups.listing import Filter
from statepipe.units import plural


@command(
    "unpause",
    examples=[
        "statepipe unpause ID --reason 'the source is back'",
        "statepipe unpause --group ID",
    ],
    changes=True,
)
@instance_or_group("All partitions of this group that are paused.")
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
def unpause(*, instance: str | None, group: str | None, reason: str | None, dry_run: bool) -> None:
    """Let a paused instance go on; a worker drives it. `resume` drives it itself."""
    if instance is None:
        assert group is not None
        _unpause_group(group, reason=reason, dry_run=dry_run)
    else:
        _unpause(instance, reason=reason, dry_run=dry_run)


def _unpause(instance: str, *, reason: str | None, dry_run: bool) -> None:
    out = Session.current().out()
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
    with intervening(config_here(), create=False) as engine:
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


def _unpause_group(group: str, *, reason: str | None, dry_run: bool) -> None:
    out, name = Session.current().out(), shown_id(group)
    with open_reader() as reader:
        found = reader.group(group)
        everyone = reader.instances(Filter(group=group), limit=found.group.total)
        paused = [each.id for each in everyone if each.standing == Status.PAUSED]
        if not paused:
            raise none_paused(group)
        if dry_run:
            # They were created at one moment: if one has had its time, all have.
            late = late_of(reader.inspect(paused[0]))
            if (refusal := first_change(reader, paused) or late) is not None:
                raise refusal
            out.would(f"unpause {plural(len(paused), 'partition')} of {group}")
            return
    with intervening(config_here(), create=False) as engine:
        taken, asked = engine.groups.unpause(group, reason=reason)
    if out.is_json:
        out.value({"group": group, "unpaused": taken, "about_to_pause": asked})
        return
    said = f"{plural(taken, 'partition')} ready"
    said += f"; {asked:,} more are about to pause: unpause them once they have" if asked else ""
    out.say(f"{said}   next: statepipe worker   # or: statepipe resume --group {name}")
