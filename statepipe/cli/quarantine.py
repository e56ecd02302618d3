"""
`statepipe quarantine ls` and `show`: what was rejected, and why.
"""

import json

import click

from statepipe.cli.options import command, instance_id
from statepipe.cli.places import open_reader
from statepipe.cli.render import jsonable, shown_id
from statepipe.cli.session import Session


@click.group("quarantine")
def quarantine() -> None:
    """Look at rejected records: counted by reason, or one by one."""


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
    if not found and not out.is_json:
        out.note("nothing was rejected")
        return
    out.rows(
        ["RECORDS", "REASON", "MACHINE", "STATE", "INSTANCES", "NEWEST"],
        [each._asdict() for each in found],
        cells=["records", "reason", "machine", "state", "instances", "newest"],
    )
    if found:
        out.note(f"next: statepipe quarantine show {shown_id(found[0].newest)}")


@command(
    "show",
    examples=["statepipe quarantine show ID", "statepipe quarantine show ID --limit 1000 -o jsonl"],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
def show(*, instance: str, limit: int) -> None:
    """Print rejected records, each with the rule it broke."""
    out = Session.current().out()
    with open_reader() as reader:
        found = reader.rejected(instance, limit=limit + 1)
    shown = found[:limit]
    if out.is_json:
        out.values([each._asdict() for each in shown])
    elif not shown:
        out.note("nothing was rejected")
    for each in [] if out.is_json else shown:
        where = f"{each.state}, batch {each.batch}, record {each.position}"
        out.say(f"{each.path or '/'}: {each.rule}  ({where})")
        out.say(f"  {each.message}")
        out.say(f"  {json.dumps(jsonable(each.record), ensure_ascii=False)}")
    if len(found) > limit:
        out.note(f"the first {limit:,} are shown; --limit shows more")


quarantine.add_command(ls)
quarantine.add_command(show)
