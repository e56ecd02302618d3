"""
`statepipe ls`: instances, newest first.
"""

from typing import Any

import click

from statepipe.cli.options import command, duration_ms
from statepipe.cli.places import open_reader
from statepipe.cli.render import age, first_line, moment
from statepipe.cli.session import Session
from statepipe.clock import SystemClock
from statepipe.store.listing import Filter, Listed


@command(
    "ls",
    examples=[
        "statepipe ls",
        "statepipe ls --failed --since 2h",
        "statepipe ls --machine flights --all --limit 500 -o jsonl",
    ],
)
@click.option("--state", "states", multiple=True, metavar="STATE", help="In this state; repeat.")
@click.option("-m", "--machine", metavar="NAME", help="Of this machine.")
@click.option("--failed", is_flag=True, help="Those that ended failed.")
@click.option("--stalled", is_flag=True, help="Those whose driver died.")
@click.option("--all", "everything", is_flag=True, help="Those that are done as well.")
@click.option("--since", metavar="DURATION", help='That changed since, such as "2h".')
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True)
def ls(
    *,
    states: tuple[str, ...],
    machine: str | None,
    failed: bool,
    stalled: bool,
    everything: bool,
    since: str | None,
    limit: int,
) -> None:
    """List instances, newest first; those that are done only with --all or --state."""
    out = Session.current().out()
    now_ms = SystemClock().now_ms()
    wanted = Filter(
        states=states,
        machine=machine,
        failed=failed,
        stalled=stalled,
        all=everything,
        since_ms=None if since is None else now_ms - duration_ms(since, option="--since"),
    )
    with open_reader() as reader:
        found = reader.instances(wanted, limit=limit + 1)
    shown = found[:limit]
    if not shown and not out.is_json:
        out.note("no such instances" if wanted != Filter() else "nothing unfinished")
        return
    out.rows(
        ["ID", "MACHINE", "STATE", "STATUS", "BATCHES", "CHANGED", "WHY"],
        [_row(each, now_ms=now_ms) for each in shown],
        cells=["id", "machine", "state", "status", "batches", "_changed", "_why"],
    )
    if len(found) > limit:
        out.note(f"the newest {limit:,} are shown; --limit shows more")


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
        "wakes_at": moment(each.wake_at_ms) or None,
        "_changed": age(each.updated_at_ms, now_ms=now_ms),
        "_why": _why(each, now_ms=now_ms),
    }


def _why(each: Listed, *, now_ms: int) -> str:
    said = []
    if each.failed_state:
        said.append(f"in {each.failed_state}")
    if each.error_class:
        said.append(f"{each.error_class}: {first_line(each.error)}")
    if each.standing == "waiting" and each.wake_at_ms is not None:
        said.append(f"next try {age(each.wake_at_ms, now_ms=now_ms)}")
    if each.request:
        said.append(f"{each.request} asked for")
    return "; ".join(said)
