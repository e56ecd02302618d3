"""
`statepipe resume`: go on from the last commit, one instance or many.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import click

from statepipe.cli.inspect import resume_plan
from statepipe.cli.shared.groups import preview_group
from statepipe.cli.shared.options import DEFINITION, command, confirm, duration_ms, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, shown_id
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.errors import StatepipeError
from statepipe.model import Status
from statepipe.runtime.steering.outlook import outlook
from statepipe.store.lookups.listing import Filter
from statepipe.store.reading import Reader
from statepipe.units import plural


@command(
    "resume",
    logs=True,
    examples=[
        "statepipe resume flights-20130208-1f2e3d4c",
        "statepipe resume --failed --machine flights --dry-run",
        "statepipe resume --failed --since 2h --canary 3 --yes --reason 'disk was full'",
        "statepipe resume --all --yes",
        "statepipe resume --group flights_by_day-2013-02-04..2013-02-10",
    ],
)
@click.argument("ids", nargs=-1, metavar="[ID]...", callback=instance_id)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Failed, left behind, and ready ones; not what a person cancelled or paused.",
)
@click.option("--failed", is_flag=True, help="All that ended failed.")
@click.option("-m", "--machine", metavar="NAME", help="With --all or --failed: only of this one.")
@click.option(
    "--since", metavar="DURATION", help='With --all or --failed: that changed since, "2h".'
)
@click.option(
    "--group",
    metavar="ID",
    callback=instance_id,
    help="What failed of this group, and what it has not driven yet.",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(1, 1_024),
    metavar="N",
    help="With --group: partitions at a time.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be resumed, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@DEFINITION
@click.option(
    "--canary", type=click.IntRange(1), metavar="N", help="N first; the rest if all end well."
)
@click.option("--detailed", is_flag=True, help="Say every batch.")
def resume(  # noqa: PLR0913  (one argument an option)
    *,
    ids: tuple[str, ...],
    everything: bool,
    failed: bool,
    machine: str | None,
    since: str | None,
    group: str | None,
    max_parallel: int | None,
    dry_run: bool,
    yes: bool,
    reason: str | None,
    definition: Literal["pinned", "latest"],
    canary: int | None,
    detailed: bool,
) -> int:
    """
    Take unfinished instances back to work: failed, cancelled, paused, left behind.

    Committed work is never done again; the state it goes on in gets fresh attempts.
    """
    bulk = everything or failed
    chosen = (bool(ids), everything, failed, group is not None)
    _refuse_unclear(
        chosen, narrows=bool(machine or since), canary=canary, max_parallel=max_parallel
    )
    if group is not None:
        latest = definition == "latest"
        return _resume_group(
            group,
            dry_run=dry_run,
            reason=reason,
            adopts=latest,
            detailed=detailed,
            max_parallel=max_parallel,
        )
    out = Session.current().out()
    wanted = _wanted(machine=machine, failed=failed, since=since)
    with open_reader() as reader:
        if dry_run:
            if bulk:
                _preview_bulk(out, reader, wanted)
            else:
                _preview(out, reader, ids)
            return 0
        if bulk:
            ids = tuple(each.id for each in reader.resumable(wanted))
    if not ids:
        out.note("nothing to resume")
        return 0
    if bulk:
        again = "the same command with --yes, or with --dry-run first"
        confirm(f"resume {plural(len(ids), 'instance')}?", yes=yes, again=again)
    # Here, because a preview must not wait for the engine to be imported.
    from statepipe.cli.shared.driving import driving  # noqa: PLC0415  (80 ms that --dry-run need not pay)

    with driving(create=False, detailed=detailed) as drivers:
        take_back = partial(_resume, drivers, reason=reason, definition=definition, skips=bulk)
        if canary is not None:
            code = take_back(ids[:canary])
            ids = ids[canary:]
            if code != 0:
                out.note(f"the canary did not end well; {len(ids):,} are left as they are")
                return code
        return take_back(ids)


def _wanted(*, machine: str | None, failed: bool, since: str | None) -> Filter:
    since_ms = None
    if since is not None:
        since_ms = SystemClock().now_ms() - duration_ms(since, option="--since")
    return Filter(machine=machine, failed=failed, since_ms=since_ms)


def _refuse_unclear(
    chosen: tuple[bool, ...], *, narrows: bool, canary: int | None, max_parallel: int | None
) -> None:
    """Refuse options that do not go together; `chosen`: by id, all, failed, by group."""
    _, everything, failed, by_group = chosen
    if sum(chosen) != 1:
        raise click.UsageError("name instances, or give one of --all, --failed and --group")
    if narrows and not (everything or failed):
        raise click.UsageError("--machine and --since go with --all or --failed")
    if max_parallel is not None and not by_group:
        raise click.UsageError("--max-parallel goes with --group")
    if canary is not None and by_group:
        raise click.UsageError("--canary goes with instances, --all or --failed")


def _resume_group(
    group: str,
    *,
    dry_run: bool,
    reason: str | None,
    adopts: bool,
    detailed: bool,
    max_parallel: int | None,
) -> int:
    if dry_run:
        return preview_group(group)
    from statepipe.cli.shared.driving import driving  # noqa: PLC0415  (as above)

    with driving(create=False, detailed=detailed, brief=True, concurrency=max_parallel) as drivers:
        return drivers.resume_group(group, reason=reason, adopts=adopts)


def _resume(
    drivers: Any,  # noqa: ANN401  (Drivers, not imported for the sake of --dry-run)
    ids: Sequence[str],
    *,
    reason: str | None,
    definition: Literal["pinned", "latest"],
    skips: bool,
) -> int:
    """
    Resume instances, say what became of each, return the exit code.

    With `skips`, one that cannot be resumed is left as it is and the others go on;
    without, it ends the command.
    """
    refusals: dict[type[StatepipeError], list[StatepipeError]] = defaultdict(list)

    def note(_: str, error: StatepipeError) -> None:
        refusals[type(error)].append(error)

    statuses = drivers.resume(
        ids, reason=reason, definition=definition, on_refusal=note if skips else None
    )
    for errors in refusals.values():
        left = plural(len(errors), "instance")
        drivers.out.note(f"{left} left as they are, for example: {errors[0].message}")
    code: int = drivers.report(statuses)
    return code or next((kind.exit_code for kind in refusals), 0)


def _preview_bulk(out: Output, reader: Reader, wanted: Filter) -> None:
    if out.is_json:
        out.values([each._asdict() for each in reader.resumable(wanted)])
        return
    counts = reader.resumable_counts(wanted)
    if not counts:
        out.note("nothing to resume")
        return
    out.rows(
        ["INSTANCES", "MACHINE", "STATUS", "GOES ON IN", "LAST ERROR"],
        [
            {
                "count": f"{count:,}",
                "machine": each[0],
                "status": each[1],
                "state": each[2],
                "error": each[3] or "",
            }
            for each, count in counts.most_common()
        ],
        cells=["count", "machine", "status", "state", "error"],
    )
    out.note(f"{plural(counts.total(), 'instance')} would be resumed; nothing was changed")


def _preview(out: Output, reader: Reader, ids: Sequence[str]) -> None:
    plans = []
    for name in ids:
        found = reader.inspect(name)
        ahead = outlook(found)
        skips, runs = resume_plan(found, ahead)
        plans.append(
            {
                "id": name,
                "status": found.standing,
                "runs": ahead.runs,
                "from_batch": ahead.batch,
                "skips": [leg.state for leg in ahead.legs if leg.place == "behind"],
            }
        )
        if out.is_json:
            continue
        if found.status == Status.DONE:
            out.say(f"{name} is done: a resume is refused")
        elif found.standing == "running" and found.holder is not None:
            out.say(f"{name} is driven by process {found.holder.pid}: a resume is refused")
        else:
            out.say(f"{name}\n  skips {skips}\n  runs {runs}")
    if out.is_json:
        out.values(plans)
    else:
        out.note(f"nothing was changed   next: statepipe resume {' '.join(map(shown_id, ids))}")
