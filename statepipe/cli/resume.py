"""
`statepipe resume`: go on from the last commit, one instance or many.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import click

from statepipe.cli.shared.ahead import resume_plan
from statepipe.cli.shared.groups import preview_group
from statepipe.cli.shared.lateness import late_of
from statepipe.cli.shared.options import (
    DEFINITION,
    command,
    confirm,
    duration_ms,
    instance_id,
    parsed_params,
)
from statepipe.cli.shared.places import config_here, open_reader, refuse_unknown
from statepipe.cli.shared.render import Output, shown_id
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.errors import StatepipeError
from statepipe.model import Status
from statepipe.runtime.steering.outlook import outlook
from statepipe.store.lookups import lookup
from statepipe.store.lookups.listing import Filter, Resumable
from statepipe.store.reading import Reader
from statepipe.units import plural

_STAYS = "what came of the old value stays"


@command(
    "resume",
    logs=True,
    examples=[
        "statepipe resume flights-20130208-1f2e3d4c",
        "statepipe resume --failed --machine flights --dry-run",
        "statepipe resume --failed --since 2h --canary 3 --yes --reason 'disk was full'",
        "statepipe resume --failed --state loading --error Throttled --yes",
        "statepipe resume ID --set limit:=10 --reason 'the page is smaller now'",
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
@click.option("--state", metavar="STATE", help="With --all or --failed: that go on in this one.")
@click.option(
    "--error", metavar="CLASS", help="With --all or --failed: whose last error is of this class."
)
@click.option(
    "--set",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="In place of the parameter it had: text, or KEY:=JSON; needs --reason.",
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
    state: str | None,
    error: str | None,
    params: tuple[str, ...],
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
    narrows = bool(machine or since or state or error)
    _refuse_unclear(chosen, narrows=narrows, canary=canary, max_parallel=max_parallel)
    given = parsed_params(params, option="--set")
    if given and (group is not None or not (reason or dry_run)):
        raise click.UsageError("--set goes with --reason, and not with --group")
    if group is not None:
        adopts = definition == "latest"
        run = partial(_resume_group, group, adopts=adopts, max_parallel=max_parallel)
        return run(dry_run=dry_run, reason=reason, detailed=detailed)
    wanted = _wanted(machine=machine, failed=failed, since=since, state=state, error=error)
    if dry_run:
        _say_first(wanted if bulk else ids, given, adopts=definition == "latest")
        return 0
    ids = _agreed(wanted, given, yes=yes) if bulk else tuple(dict.fromkeys(ids))
    if not ids:
        return _nothing_to_resume()
    # Here, because a preview must not wait for the engine to be imported.
    from statepipe.cli.shared.driving import driving  # noqa: PLC0415  (80 ms that --dry-run need not pay)

    with driving(create=False, detailed=detailed) as drivers:
        refused: list[StatepipeError] = []
        take_back = partial(
            drivers.resume,
            reason=reason,
            definition=definition,
            params=given,
            on_refusal=lambda _, error: refused.append(error),
        )
        if not bulk:  # all of them, before the first goes on
            drivers.engine.refuse(ids, definition=definition, params=given)
        statuses = {} if canary is None else take_back(ids[:canary], together=not bulk)
        left = ids[canary or 0 :]
        if refused or any(status != Status.DONE for status in statuses.values()):
            are = "is" if len(left) == 1 else "are"
            drivers.out.note(f"the canary did not end well; {len(left):,} {are} left {_as(left)}")
        else:
            statuses |= take_back(left, together=not (bulk or statuses))
        return _reported(drivers, statuses, refused)


def _nothing_to_resume() -> int:
    out = Session.current().out()
    if out.is_json:
        out.values([])
    out.note("nothing to resume")
    return 0


def _agreed(wanted: Filter, given: Mapping[str, Any], *, yes: bool) -> tuple[str, ...]:
    """Return what a bulk resume takes, if a person agrees to it."""
    with open_reader() as reader:
        refuse_unknown(reader, wanted.machine)
        found = reader.resumable(wanted)
        _changed_in_each(reader, found, given)  # refuses what no machine of them takes
    if found:
        again = "the same command with --yes, or with --dry-run first"
        sets = f", setting {', '.join(given)}" if given else ""
        confirm(f"resume {plural(len(found), 'instance')}{sets}?", yes=yes, again=again)
    return tuple(each.id for each in found)


def _say_first(chosen: Filter | Sequence[str], given: Mapping[str, Any], *, adopts: bool) -> None:
    """Say what would be resumed, and change nothing."""
    out = Session.current().out()
    with open_reader() as reader:
        if isinstance(chosen, Filter):
            refuse_unknown(reader, chosen.machine)
            _preview_bulk(out, reader, chosen, given, adopts=adopts)
        else:
            _preview(out, reader, chosen, given, adopts=adopts)


def _wanted(
    *, machine: str | None, failed: bool, since: str | None, state: str | None, error: str | None
) -> Filter:
    since_ms = None
    if since is not None:
        since_ms = SystemClock().now_ms() - duration_ms(since, option="--since")
    return Filter(
        machine=machine,
        failed=failed,
        since_ms=since_ms,
        states=() if state is None else (state,),
        error=error,
    )


def _refuse_unclear(
    chosen: tuple[bool, ...], *, narrows: bool, canary: int | None, max_parallel: int | None
) -> None:
    """Refuse options that do not go together; `chosen`: by id, all, failed, by group."""
    _, everything, failed, by_group = chosen
    if sum(chosen) != 1:
        raise click.UsageError("name instances, or give one of --all, --failed and --group")
    if narrows and not (everything or failed):
        raise click.UsageError("--machine, --since, --state and --error go with --all or --failed")
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
        return preview_group(group, adopts=adopts)
    from statepipe.cli.shared.driving import driving  # noqa: PLC0415  (as above)

    with driving(create=False, detailed=detailed, brief=True, concurrency=max_parallel) as drivers:
        return drivers.resume_group(group, reason=reason, adopts=adopts)


def _reported(
    drivers: Any,  # noqa: ANN401  (Drivers, not imported for the sake of --dry-run)
    statuses: Mapping[str, str],
    refused: Sequence[StatepipeError],
) -> int:
    """Say what became of each, and return the exit code; raise what was refused, as one error."""
    code: int = drivers.report(statuses)
    if not refused:
        return code
    refusals: dict[type[StatepipeError], list[StatepipeError]] = defaultdict(list)
    for each in refused:
        refusals[type(each)].append(each)
    first = refused[0]
    error = type(first)(
        "; ".join(map(_left, refusals.values())),
        meaning="nothing of that was changed; what else was chosen is as was said of it",
        next_step=first.next_step,
    )
    error.exit_code = code or first.exit_code  # one that failed says more
    raise error


def _left(refused: Sequence[StatepipeError]) -> str:
    """Return how many were refused for a reason of one kind, and one of them."""
    example = ", for example" if len(refused) > 1 else ""
    left = f"{plural(len(refused), 'instance')} left {_as(refused)}"
    return f"{left}{example}: {refused[0].message}"


def _as(left: Sequence[object]) -> str:
    return "as it is" if len(left) == 1 else "as they are"


def _preview_bulk(
    out: Output, reader: Reader, wanted: Filter, given: Mapping[str, Any], *, adopts: bool
) -> None:
    # Only a preview needs machines to be read before the engine is there.
    from statepipe.cli.shared.changes import changes_in, left_by  # noqa: PLC0415  (imported when used)

    found = reader.resumable(wanted) if given or out.is_json else []
    set_of = _changed_in_each(reader, found, given)
    if out.is_json:
        why = changes_in(reader, found, adopts=adopts)
        said = {name: error.message for name, error in why.items()}
        out.values([{**each._asdict(), "changed": said.get(each.id)} for each in found])
        return
    kinds = reader.resumable_counts(wanted)
    if not kinds:
        out.note("nothing to resume")
        return
    counts: Counter[tuple[str, str, str, str | None]] = Counter()
    for kind, count in kinds.items():
        counts[kind.machine, kind.standing, kind.state, kind.error_class] += count
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
    left, example = left_by(reader, wanted, kinds, adopts=adopts)
    for name, changed in set_of.items():
        out.note(f"sets, for example of {name}: {changed}; {_STAYS}")
    if example is not None:
        of = plural(left, "instance")
        out.note(f"{of} would be left as they are, for example: {example.message}")
    would = plural(max(0, counts.total() - left), "instance")
    out.note(f"{would} would be resumed; nothing was changed")


def _preview(
    out: Output, reader: Reader, ids: Sequence[str], given: Mapping[str, Any], *, adopts: bool
) -> None:
    from statepipe.cli.shared.changes import change_of  # noqa: PLC0415  (as above)

    plans = []
    for name in ids:
        found = reader.inspect(name)
        ahead = outlook(found)
        skips, runs = resume_plan(found, ahead)
        changed, late = _changed(reader, name, given), late_of(found)
        refusal = None
        if found.status != Status.DONE and found.standing != "running":
            refusal = change_of(reader, name, adopts=adopts)
        plans.append(
            {
                "id": name,
                "status": found.standing,
                "runs": ahead.runs,
                "from_batch": ahead.batch,
                "skips": [leg.state for leg in ahead.legs if leg.place == "behind"],
                "sets": changed,
                "late": late and late.message,
                "changed": refusal and refusal.message,
            }
        )
        if out.is_json:
            continue
        if found.status == Status.DONE:
            out.say(f"{name} is done: a resume is refused")
        elif found.standing == "running" and found.holder is not None:
            out.say(f"{name} is driven by process {found.holder.pid}: a resume is refused")
        elif (refused := refusal or late) is not None:
            out.say(f"{refused.message}: a resume is refused\n  next {refused.next_step}")
        else:
            sets = f"\n  sets {changed}; {_STAYS}" if changed else ""
            out.say(f"{name}\n  skips {skips}\n  runs {runs}{sets}")
    if out.is_json:
        out.values(plans)
    else:
        out.note(f"nothing was changed   next: statepipe resume {' '.join(map(shown_id, ids))}")


def _changed_in_each(
    reader: Reader, found: Sequence[Resumable], given: Mapping[str, Any]
) -> dict[str, str]:
    """Return what --set changes of one instance of each machine, by its id."""
    first = {each.machine: each.id for each in reversed(found)} if given else {}
    return {name: _changed(reader, name, given) for name in first.values()}


def _changed(reader: Reader, name: str, given: Mapping[str, Any]) -> str:
    """Return what --set changes of an instance, in words; "" if nothing."""
    if not given:
        return ""
    # Only --set needs the machine to be read.
    from statepipe.runtime.catalog import Catalog  # noqa: PLC0415  (imported when used)
    from statepipe.runtime.sharing import sharing_of  # noqa: PLC0415  (imported when used)
    from statepipe.runtime.steering.setting import changed  # noqa: PLC0415  (imported when used)

    catalog = Catalog(config := config_here())
    with reader.moment() as connection:
        found = lookup.find_instance(connection, name)
        before, partition = lookup.params_of(connection, found)
    now = changed(
        catalog,
        found.machine,
        before,
        given,
        partition=partition,
        sharing=sharing_of(config, catalog.machine(found.machine)),
        at_ms=reader.clock.now_ms(),
    ).changed
    return ", ".join(now) or "what it has already"
