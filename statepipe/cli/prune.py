"""
`statepipe prune`: let go of instances that ended long ago, or of their raw data.
"""

from contextlib import closing
from typing import Final

import click

from statepipe.cli.shared.options import command, confirm, duration_ms
from statepipe.cli.shared.places import open_reader, open_store, refuse_unknown
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.model import Status
from statepipe.store.care.prune import Which, prunable
from statepipe.store.care.prune import prune as let_go
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.units import plural

_STATUSES: Final = (Status.DONE, Status.FAILED, Status.CANCELLED)
_AGAIN: Final = "the same command with --yes, or with --dry-run"


@command(
    "prune",
    examples=[
        "statepipe prune --older-than 90d --dry-run",
        "statepipe prune --older-than 90d --keep-last 10 --yes",
        "statepipe prune --older-than 1w --status cancelled --machine flights",
        "statepipe prune --older-than 30d --raw --yes",
    ],
)
@click.option("--older-than", required=True, metavar="DURATION", help="That ended before.")
@click.option(
    "--keep-last", type=click.IntRange(0, 1_000_000_000), default=0, help="The newest, a machine."
)
@click.option("--machine", metavar="MACHINE", help="Only of this machine.")
@click.option(
    "--status", "statuses", type=click.Choice(_STATUSES), multiple=True, help="Default: done."
)
@click.option("--raw", is_flag=True, help="Only raw data that was kept; the instances stay.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def prune(
    *,
    older_than: str,
    keep_last: int,
    machine: str | None,
    statuses: tuple[str, ...],
    raw: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """
    Delete instances that have ended, their journal, quarantine and staged files.

    Figures keep what they counted, so no counter falls. Ids are not given again. Failed and
    cancelled instances could still be resumed; they go only if --status names them.
    """
    if raw and statuses not in ((), (Status.DONE,)):
        raise click.UsageError(
            "--raw is of instances that are done; others may need what is staged"
        )
    out = Session.current().out()
    clock = SystemClock()
    which = Which(
        before_ms=clock.now_ms() - duration_ms(older_than, option="--older-than"),
        statuses=statuses or (Status.DONE,),
        machine=machine,
        keep_last=keep_last,
        raw_only=raw,
    )
    with open_reader() as reader:
        refuse_unknown(reader, machine)
        with reader.moment() as connection:
            found = prunable(connection, which, clock=clock)
    total = sum(each.instances for each in found)
    if dry_run:
        out.rows(
            ("MACHINE", "STATUS", "INSTANCES", "REJECTED", "BYTES"),
            [{**each._asdict(), "_bytes": f"{each.bytes:,}"} for each in found],
            cells=("machine", "status", "instances", "rejected", "_bytes"),
        )
        return
    rejected = sum(each.rejected for each in found)
    with_them = f" and {plural(rejected, 'record')} in quarantine" if rejected else ""
    whose = f"the raw data of {plural(total, 'instance')}" if raw else plural(total, "instance")
    gone = 0
    if total:
        confirm(f"delete {whose}{with_them}?", yes=yes, again=_AGAIN)
        with closing(open_store()) as store:
            stage = Stage(stage_directory(store.path, store_id=store.store_id))
            gone = sum(let_go(store, stage, which))
    if out.is_json:
        out.value({"deleted": gone})
    out.say(f"{'raw data of ' if raw else ''}{plural(gone, 'instance')} deleted")
