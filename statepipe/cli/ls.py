"""
`statepipe ls`: instances, newest first.
"""

from typing import Any

import click

from statepipe.cli.shared.groups import group_sentence, list_groups
from statepipe.cli.shared.options import command, duration_ms
from statepipe.cli.shared.places import open_reader, refuse_unknown
from statepipe.cli.shared.render import age, first_line, moment
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.store.lookups.listing import Filter, Listed


@command(
    "ls",
    examples=[
        "statepipe ls",
        "statepipe ls --failed --since 2h",
        "statepipe ls --machine flights --all --limit 500 -o jsonl",
        "statepipe ls --parts-of orders-7",
        "statepipe ls --groups",
        "statepipe ls --group flights_by_day-2013-02-04..2013-02-10 --failed",
    ],
)
@click.option("--state", "states", multiple=True, metavar="STATE", help="In this state; repeat.")
@click.option("-m", "--machine", metavar="NAME", help="Of this machine.")
@click.option("--failed", is_flag=True, help="Those that ended failed.")
@click.option("--stalled", is_flag=True, help="Those whose driver died, parts of others as well.")
@click.option("--all", "everything", is_flag=True, help="Those that are done as well.")
@click.option("--since", metavar="DURATION", help='That changed since, such as "2h".')
@click.option("--group", metavar="ID", help="The partitions of this group, with a summary.")
@click.option("--parts-of", metavar="ID", help="What does part of the work of this instance.")
@click.option("--groups", "of_groups", is_flag=True, help="Groups instead of instances.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True)
def ls(  # noqa: PLR0913  (one argument an option)
    *,
    states: tuple[str, ...],
    machine: str | None,
    failed: bool,
    stalled: bool,
    everything: bool,
    since: str | None,
    group: str | None,
    parts_of: str | None,
    of_groups: bool,
    limit: int,
) -> None:
    """List instances, newest first; those that are done only with --all, --state or --group."""
    out = Session.current().out()
    now_ms = SystemClock().now_ms()
    if of_groups:
        if group or parts_of or states or failed or stalled or everything or since:
            raise click.UsageError("--groups goes with --machine and --limit alone")
        list_groups(out, machine=machine, limit=limit, now_ms=now_ms)
        return
    wanted = Filter(
        states=states,
        machine=machine,
        failed=failed,
        stalled=stalled,
        all=everything,
        since_ms=None if since is None else now_ms - duration_ms(since, option="--since"),
        group=group,
        parts_of=parts_of,
    )
    with open_reader() as reader:
        refuse_unknown(reader, machine)
        summary = reader.group(group) if group is not None else None
        if parts_of is not None:
            reader.history(parts_of, limit=1)  # an id that is none is said so
        found = reader.instances(wanted, limit=limit + 1)
    shown = found[:limit]
    if summary is not None and not out.is_json:
        out.say(group_sentence(summary, leads_on=False))
    if not shown and not out.is_json:
        out.note("no such instances" if wanted != Filter() else "nothing unfinished")
        return
    who = ["partition"] if summary else ["id", "machine"]
    out.rows(
        [*map(str.upper, who), "STATE", "STATUS", "BATCHES", "CHANGED", "WHY"],
        [_row(each, now_ms=now_ms) for each in shown],
        cells=[*who, "state", "status", "batches", "_changed", "_why"],
    )
    if len(found) > limit:
        which = "first" if summary else "newest"
        out.note(f"the {which} {limit:,} are shown; --limit shows more")


def _row(each: Listed, *, now_ms: int) -> dict[str, Any]:
    return {
        "id": each.id,
        "machine": each.machine,
        "state": each.state,
        "status": each.standing,
        "batches": each.batches,
        "attempt": each.attempt,
        "failed_state": each.failed_state,
        "error_class": each.error_class,
        "error": each.error,
        "request": each.request,
        "created_at": moment(each.created_at_ms),
        "updated_at": moment(each.updated_at_ms),
        "finished_at": moment(each.finished_at_ms) or None,
        "group": each.group,
        "partition": each.partition,
        "wakes_at": moment(each.wake_at_ms) or None,
        "awaits": None if each.awaits is None else list(each.awaits),
        "awaits_parts": each.awaits_parts,
        "_changed": age(each.updated_at_ms, now_ms=now_ms),
        "_why": _why(each, now_ms=now_ms),
    }


def _why(each: Listed, *, now_ms: int) -> str:
    said = []
    if each.failed_state:
        is_ending = each.finished_at_ms is None
        said.append(f"{'being cancelled ' if is_ending else ''}in {each.failed_state}")
    if each.error_class:
        said.append(f"{each.error_class}: {first_line(each.error)}")
    if each.standing == "waiting" and each.wake_at_ms is not None:
        what = "next try"
        if each.awaits is not None:
            what = f"for {' or '.join(each.awaits)}; ends" if each.awaits else "ends"
        elif each.awaits_parts:
            what = "for its parts; looks at them again"
        said.append(f"{what} {age(each.wake_at_ms, now_ms=now_ms)}")
    if each.request:
        said.append(f"{each.request} asked for")
    return "; ".join(said)
