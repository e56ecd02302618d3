"""
What `statepipe quarantine replay` does, apart from its options: it imports the engine.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from statepipe.cli.shared.driving import driving
from statepipe.cli.shared.options import confirm
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import Output, shown_id
from statepipe.cli.shared.session import Session
from statepipe.errors import UsageError
from statepipe.model import Record
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.steering.repairs import repaired
from statepipe.runtime.steering.replaying import Choice, Prepared, prepare
from statepipe.store.reading import Reader
from statepipe.units import plural


def replay(
    instance: str, choice: Choice, *, file: str | None, reason: str, dry_run: bool, yes: bool
) -> int:
    """
    Say what would be replayed; unless `dry_run`, ask, do it, and return the exit code.

    Args:
        instance: Whose rejects.
        choice: Which of them.
        file: What a person has made of them, or None.
        reason: Why, for the journal.
        dry_run: Change nothing.
        yes: Do not ask.
    """
    out = Session.current().out()
    with open_reader() as reader:
        if file is not None:
            choice = replace(choice, repaired=_repaired(reader, instance, file))
        looked, stage = reader.rejects(instance), reader.stage()
    prepared, left = prepare(looked, choice, catalog=Catalog(config_here()), stage=stage)
    _preview(out, prepared, left)
    if dry_run:
        if out.is_json:
            out.values([_facts(each) for each in prepared])
        out.note("nothing was changed")
        return 0
    records = sum(each.new.records for each in prepared)
    confirm(f"replay {plural(records, 'record')} of {instance}?", yes=yes)
    with driving(create=False) as drivers:
        made = drivers.engine.replay(instance, choice, reason=reason)
        return drivers.report(drivers.engine.run(made))


def _repaired(reader: Reader, instance: str, file: str) -> dict[str, Record]:
    rejects = reader.each_rejected(instance)
    try:
        with click.open_file(file, encoding="utf-8") as lines:
            return repaired(lines, rejects, name=file, instance_id=shown_id(instance))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}",
            meaning="nothing was changed",
            next_step=f"statepipe quarantine show {shown_id(instance)} -o jsonl > {file}",
        ) from None


def _preview(out: Output, prepared: Sequence[Prepared], left: int) -> None:
    for each in prepared:
        edited = f" ({each.repaired:,} edited)" if each.repaired else ""
        records = plural(each.new.records, "record")
        out.say(f"{records}{edited} rejected in {', '.join(each.states)} to {each.new.state}")
        for id_ in each.replaces:
            out.say(f"  in place of {id_}, which ended before it loaded anything")
    if left:
        out.say(f"{plural(left, 'record')} left: no state was ever given them; see --from and --to")


def _facts(prepared: Prepared) -> dict[str, Any]:
    return {
        "to": prepared.new.state,
        "records": prepared.new.records,
        "edited": prepared.repaired,
        "rejected_in": list(prepared.states),
        "reasons": dict(prepared.reasons),
        "replaces": list(prepared.replaces),
    }
