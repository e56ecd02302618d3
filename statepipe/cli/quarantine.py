"""
`statepipe quarantine ls`, `show` and `replay`: what was rejected, why, and once more.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Final

import click

from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, shown_id
from statepipe.cli.shared.session import Session
from statepipe.io.plainjson import jsonable
from statepipe.store.lookups.quarantine import Rejected
from statepipe.units import plural

#: How many rejects people see if they do not say.
_SHOWN: Final = 20


@click.group("quarantine")
def quarantine() -> None:
    """Rejected records: counted by reason, shown one by one, sent through again."""


@command(
    "ls",
    examples=[
        "statepipe quarantine ls",
        "statepipe quarantine ls flights",
        "statepipe quarantine ls flights-20130208-1f2e3d4c -o json",
    ],
)
@click.argument("subject", required=False, metavar="[MACHINE|ID]", callback=instance_id)
def ls(*, subject: str | None) -> None:
    """Count by reason what was rejected."""
    out = Session.current().out()
    with open_reader() as reader:
        found = reader.quarantine(subject)
        again = reader.rejected_again(subject) if subject is not None else []
    if not found and not out.is_json:
        out.note("nothing was rejected")
        return
    heads = ["RECORDS", "REASON", "MACHINE", "STATE", "INSTANCES", "NEWEST"]
    if any(each.replayed for each in found):
        heads.insert(1, "REPLAYED")
    rows = [each._asdict() for each in found]
    out.rows(heads, rows, cells=[head.lower() for head in heads])
    if again:
        records = plural(sum(count for _, count in again), "record")
        out.note(f"{records} rejected once more in a replay: {', '.join(id_ for id_, _ in again)}")
        out.note(f"next: statepipe quarantine ls {shown_id(again[-1][0])}")
    elif found:
        out.note(f"next: statepipe quarantine show {shown_id(found[0].newest)}")


@command(
    "show",
    examples=[
        "statepipe quarantine show ID --limit 100",
        "statepipe quarantine show ID -o jsonl > rejected.jsonl",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    help=f"How many; default {_SHOWN}, with -o jsonl or -o json all of them.",
)
def show(*, instance: str, limit: int | None) -> None:
    """Print rejected records, each with the rule it broke; -o jsonl can be edited and replayed."""
    out = Session.current().out()
    if limit is None and not out.is_json:
        limit = _SHOWN
    with open_reader() as reader:
        found = reader.each_rejected(instance)
        if out.is_json:
            out.stream(each._asdict() for each in islice(found, limit))
        else:
            _show(out, islice(found, limit))
        if next(found, None) is not None:
            out.note(f"the first {limit:,} are shown; --limit shows more")


def _show(out: Output, found: Iterable[Rejected]) -> None:
    each = None
    for each in found:
        where = f"{each.state}, batch {each.batch}, record {each.position}"
        if each.replayed_by:
            where += f"; replayed by {each.replayed_by}"
        out.say(f"{each.path or '/'}: {each.rule}  ({where})")
        out.say(f"  {each.message}")
        out.say(f"  {json.dumps(jsonable(each.record), ensure_ascii=False)}")
    if each is None:
        out.note("nothing was rejected")


@command(
    "replay",
    changes=True,
    logs=True,
    examples=[
        "statepipe quarantine replay ID --dry-run",
        "statepipe quarantine replay ID --reason 'the contract was too strict' --yes",
        "statepipe quarantine replay ID --state validating --reason-is '/eur: type' --dry-run",
        "statepipe quarantine replay ID --from repaired.jsonl --reason 'typed in' --yes",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("--state", metavar="STATE", help="Only what this state rejected.")
@click.option(
    "--visit",
    type=click.IntRange(1, 1_000_000_000),
    metavar="N",
    help="In this visit to it, from 1.",
)
@click.option("--reason-is", metavar="TEXT", help="Only for this reason, as `ls` says it.")
@click.option("--from", "file", metavar="FILE", help="Repaired: lines of `show ID -o jsonl`.")
@click.option("--to", metavar="STATE", help="Where they enter, if not where they were rejected.")
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def replay(  # noqa: PLR0913  (one argument an option)
    *,
    instance: str,
    state: str | None,
    visit: int | None,
    reason_is: str | None,
    file: str | None,
    to: str | None,
    reason: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """
    Send rejected records through again, as they are or repaired, as an instance of their own.

    The machine as it is now judges them. A record is replayed once; what is rejected again is
    in the quarantine of the new instance.
    """
    if reason is None and not dry_run:
        raise click.UsageError("say why, for the journal: --reason TEXT")
    # Here, because looking at quarantine must not wait for the engine to be imported.
    from statepipe.cli import replay as replaying  # noqa: PLC0415  (80 ms)
    from statepipe.runtime.steering.replaying import Choice  # noqa: PLC0415  (imported when used)

    choice = Choice(state=state, visit=visit, reason=reason_is, to=to)
    return replaying.replay(
        instance, choice, file=file, reason=reason or "", dry_run=dry_run, yes=yes
    )


quarantine.add_command(ls)
quarantine.add_command(show)
quarantine.add_command(replay)
