"""
`statepipe resume`: go on from the last commit, one instance or many.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import click

from statepipe.cli.inspect import resume_plan, shown_id
from statepipe.cli.options import command, confirm, instance_id
from statepipe.cli.places import open_reader
from statepipe.cli.render import Output, plural
from statepipe.cli.session import Session
from statepipe.errors import DefinitionChanged
from statepipe.model import Status
from statepipe.runtime.outlook import outlook
from statepipe.store.listing import Resumable
from statepipe.store.reading import Reader


@command(
    "resume",
    examples=[
        "statepipe resume flights-20130208-1f2e3d4c",
        "statepipe resume --failed --machine flights --dry-run",
        "statepipe resume --failed --canary 3 --yes --reason 'disk was full'",
        "statepipe resume --all --yes",
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
@click.option("--dry-run", is_flag=True, help="Say what would be resumed, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@click.option(
    "--definition",
    type=click.Choice(["pinned", "latest"]),
    default="pinned",
    show_default=True,
    help="If the machine has changed since: refuse, or go on with what it is now.",
)
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
    if bulk == bool(ids) or (everything and failed):
        raise click.UsageError("name instances, or give one of --all and --failed")
    if machine and not bulk:
        raise click.UsageError("--machine goes with --all or --failed")
    out = Session.current().out()
    with open_reader() as reader:
        if dry_run:
            if bulk:
                _preview_bulk(out, reader, machine=machine, failed=failed)
            else:
                _preview(out, reader, ids)
            return 0
        groups = _groups(reader.resumable(machine=machine, failed=failed)) if bulk else [list(ids)]
    count = sum(map(len, groups))
    if count == 0:
        out.note("nothing to resume")
        return 0
    if bulk:
        again = "the same command with --yes, or with --dry-run first"
        confirm(f"resume {plural(count, 'instance')}?", yes=yes, again=again)
    # Here, because a preview must not wait for the engine to be imported.
    from statepipe.cli.driving import driving  # noqa: PLC0415  (80 ms that --dry-run need not pay)

    with driving(create=False, detailed=detailed) as drivers:
        bulk_of = Bulk(drivers, reason=reason, definition=definition, skips=bulk)
        if canary is not None:
            first, groups = _split(groups, canary)
            code = bulk_of.resume(first)
            if code != 0:
                out.note(f"the canary did not end well; {count - canary:,} are left as they are")
                return code
        return bulk_of.resume(groups)


class Bulk:
    """
    Resumes groups of instances that share a definition and a state.

    Args:
        drivers: What drives them.
        reason: Why, for the journal.
        definition: As `Engine.resume`.
        skips: True to leave a group out if its machine has changed, False to end there.
    """

    def __init__(
        self,
        drivers: Any,  # noqa: ANN401  (Drivers, not imported for the sake of --dry-run)
        *,
        reason: str | None,
        definition: Literal["pinned", "latest"],
        skips: bool,
    ) -> None:
        self._drivers = drivers
        self._reason = reason
        self._definition = definition
        self._skips = skips

    def resume(self, groups: Sequence[Sequence[str]]) -> int:
        """Resume them all, say what became of each, return the exit code."""
        statuses: dict[str, str] = {}
        changed = False
        for group in groups:
            try:
                statuses |= self._drivers.resume(
                    group, reason=self._reason, definition=self._definition
                )
            except DefinitionChanged as error:
                if not self._skips:
                    raise
                changed = True
                self._drivers.out.note(
                    f"{plural(len(group), 'instance')} left as they are: {error.message}"
                )
        code: int = self._drivers.report(statuses)
        return code or (DefinitionChanged.exit_code if changed else 0)


def _groups(found: Iterable[Resumable]) -> list[list[str]]:
    """Return ids by definition and state: whether a machine has changed is the same for each."""
    groups: dict[tuple[int, str], list[str]] = defaultdict(list)
    for each in found:
        groups[each.definition, each.state].append(each.id)
    return list(groups.values())


def _split(groups: list[list[str]], canary: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return the first `canary` instances, and the rest, both in groups."""
    first: list[list[str]] = []
    rest: list[list[str]] = []
    for group in groups:
        taken = max(0, canary - sum(len(each) for each in first))
        first.append(group[:taken])
        rest.append(group[taken:])
    return [each for each in first if each], [each for each in rest if each]


def _preview_bulk(out: Output, reader: Reader, *, machine: str | None, failed: bool) -> None:
    if out.is_json:
        out.values([each._asdict() for each in reader.resumable(machine=machine, failed=failed)])
        return
    counts = reader.resumable_counts(machine=machine, failed=failed)
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
