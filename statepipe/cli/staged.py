"""
`statepipe staged ls` and `show`: what lies between the states, and raw data that was kept.
"""

import json
from itertools import islice
from typing import Final

import click

from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.errors import NotFound
from statepipe.io.plainjson import jsonable

#: How many records people see if they do not say.
_SHOWN: Final = 20


@click.group("staged")
def staged() -> None:
    """Look at staged batches: counted by state, or record by record."""


@command(
    "ls",
    examples=["statepipe staged ls", "statepipe staged ls flights", "statepipe staged ls ID"],
)
@click.argument("subject", required=False, metavar="[MACHINE|ID]", callback=instance_id)
def ls(*, subject: str | None) -> None:
    """Count what lies in the stage; of an instance that is done that is raw data it kept."""
    out = Session.current().out()
    with open_reader() as reader:
        found = reader.staged(subject)
    if not found and not out.is_json:
        out.note("nothing is staged")
        return
    out.rows(
        ["ID", "STATUS", "STATE", "VISIT", "BATCHES", "RECORDS", "BYTES"],
        [{**each._asdict(), "_bytes": f"{each.bytes:,}"} for each in found],
        cells=["id", "status", "state", "visit", "batches", "records", "_bytes"],
    )
    if found:
        out.note(f"next: statepipe staged show {shown_id(found[0].id)} --state {found[0].state}")


@command(
    "show",
    examples=[
        "statepipe staged show ID --state extracting",
        "statepipe staged show ID --state extracting --limit 100",
        "statepipe staged show ID --state extracting -o jsonl > extracted.jsonl",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("--state", required=True, metavar="STATE", help="What this state has staged.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    help=f"How many; default {_SHOWN}, with -o jsonl or -o json all of them.",
)
def show(*, instance: str, state: str, limit: int | None) -> None:
    """Print the records that a state has staged, as they lie there."""
    out = Session.current().out()
    if limit is None and not out.is_json:
        limit = _SHOWN
    with open_reader() as reader:
        found = reader.staged_records(instance, state)
        if all(each.state != state for each in reader.staged(instance)):
            raise NotFound(
                f"nothing that {state!r} has staged for {instance!r} is there",
                meaning="what is staged is given back when an instance is done, unless its state"
                ' has raw = "keep"',
                next_step=f"statepipe staged ls {shown_id(instance)}",
            )
        shown = islice(found, limit)
        if out.is_json:
            out.stream(each._asdict() for each in shown)
        for each in () if out.is_json else shown:
            out.say(json.dumps(jsonable(each.record), ensure_ascii=False))
        if next(found, None) is not None:
            out.note(f"the first {limit:,} are shown; --limit shows more")


staged.add_command(ls)
staged.add_command(show)
