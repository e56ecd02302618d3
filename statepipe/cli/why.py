"""
`statepipe why ID`: why an instance ran, waits, retries, failed, was taken over, or rests.
"""

from typing import Any

import click

from statepipe.cli.shared.ahead import maker_of_damaged, next_command, resume_plan
from statepipe.cli.shared.lateness import late_of
from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, age, escape, first_line, moment, shown_id
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.errors import NotFound, Refused
from statepipe.model import Status
from statepipe.runtime.reasons.reason import Reason
from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.states import of_state
from statepipe.runtime.reasons.story import told
from statepipe.runtime.steering.outlook import outlook
from statepipe.store.lookups.triggers import listed
from statepipe.store.questions.evidence import Evidence, Excerpt, Row, evidence
from statepipe.store.reading import Reader
from statepipe.units import plural

#: How many moves of the story people are shown, the newest; JSON has more of them.
_SHOWN_MAX = 15
_LINE_CHARS_MAX = 160
#: A reason and its moment share a line up to here.
_WIDTH = 120


@command(
    "why",
    examples=[
        "statepipe why ID",
        "statepipe why ID --state validating",
        "statepipe why ID -o json",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("--state", metavar="STATE", help="Why it was entered, left, skipped, or never seen.")
def why(*, instance: str, state: str | None) -> None:
    """Say why an instance is where it is, from what the store has seen; then what to type."""
    out = Session.current().out()
    with open_reader() as reader:
        try:
            known = evidence(reader, instance, state=state)
        except NotFound as error:
            if (of_trigger := _of_trigger(reader, instance)) is not None:
                raise of_trigger from error
            raise
    now_ms = SystemClock().now_ms()
    if state is None:
        said, journal = reasons(known, now_ms=now_ms), known.journal
    else:
        said, journal = of_state(known, state, now_ms=now_ms), known.there or known.journal
    if out.is_json:
        leads = _next(known, late_of(known.found)).partition("   #")[0]
        out.value({**_facts(known, state, said, journal), "next": out.addressed(leads)})
        return
    _head(out, known)
    _reasons(out, said, now_ms=now_ms)
    _story(out, journal, instance=known.found.id)
    _end(out, known, said)


def _of_trigger(reader: Reader, name: str) -> NotFound | None:
    """Return that a name is a trigger's, whose occasions are asked for otherwise; None if not."""
    with reader.moment() as connection:
        machines = [e.machine for e in listed(connection) if name == f"{e.machine}.{e.name}"]
    if not machines:
        return None
    return NotFound(
        f"{name!r} is a trigger, and no instance; what is due has none until it is decided upon",
        meaning="nothing was changed",
        next_step=f"statepipe triggers ls {machines[0]}"
        "   # says what is due, and what it waits for",
    )


def _head(out: Output, known: Evidence) -> None:
    # Colours are ours, the rest is escaped word by word.
    found = known.found
    where = "" if found.status == Status.DONE else escape(f"in {found.failed_state or found.state}")
    where = f"and being cancelled {where}" if found.is_being_cancelled else where
    name = f"{escape(found.id)}  {escape(found.machine)} v{found.version}"
    out.raw(f"{name}  {out.paint(found.standing)} {where}".rstrip())


def _reasons(out: Output, said: list[Reason], *, now_ms: int) -> None:
    head = "why"
    for reason in said:
        when = ""
        if reason.at_ms is not None:
            when = f"{moment(reason.at_ms)} ({age(reason.at_ms, now_ms=now_ms)})"
        lines = reason.text.split("\n")
        if when and len(lines) == 1 and len(lines[0]) + len(when) < _WIDTH:
            lines = [f"{lines[0]}, {when}"]
        elif when:
            lines.append(f"  {when}")
        for line in lines:
            out.say(f"  {head:<6} {line}")
            head = ""


def _story(out: Output, journal: Excerpt, *, instance: str) -> None:
    head = "story"
    older = journal.left_out + max(0, len(journal.rows) - _SHOWN_MAX)
    if older:
        which = out.addressed(f"statepipe history {shown_id(instance)}")
        out.say(f"  {head:<6} {plural(older, 'move')} before: {which}")
        head = ""
    for row in journal.rows[-_SHOWN_MAX:]:
        text = first_line(told(row), chars_max=_LINE_CHARS_MAX)
        out.say(f"  {head:<6} {moment(row.at_ms)}  {text}")
        head = ""


def _end(out: Output, known: Evidence, said: list[Reason]) -> None:
    found = known.found
    late = late_of(found)
    if found.status != Status.DONE and found.standing != "running":
        if late is not None:
            out.say(f"  a resume is refused: {late.message}")
        else:
            skips, runs = resume_plan(found, outlook(found))
            out.say(f"  a resume skips {skips}")
            out.say(f"           runs {runs}")
    if any(reason.code == "error" for reason in said):
        policy = f"statepipe policy explain {found.machine}.{found.resume_state}"
        out.say(f"  policy {out.addressed(policy)}")
    out.say(f"  next   {_next(known, late)}")


def _next(known: Evidence, late: Refused | None) -> str:
    """Return the command that leads on, also if the machine has changed since."""
    found = known.found
    is_same = found.standing in ("done", "running") or known.newest.digest == found.digest
    leads = next_command(found, late)
    if late is not None or is_same:
        return leads
    verb = f"statepipe resume {shown_id(found.id)}" if maker_of_damaged(found) is None else leads
    return f"{verb} --definition latest"


def _facts(
    known: Evidence, state: str | None, said: list[Reason], journal: Excerpt
) -> dict[str, Any]:
    found = known.found
    return {
        "id": found.id,
        "machine": found.machine,
        "version": found.version,
        "status": found.standing,
        "state": found.state,
        "failed_state": found.failed_state,
        "generation": found.generation,
        "asked_of": state,
        "because": [
            {
                "code": reason.code,
                "text": reason.text,
                "at": moment(reason.at_ms) or None,
                "at_ms": reason.at_ms,
                "facts": reason.facts,
            }
            for reason in said
        ],
        "story": [_row(row) for row in journal.rows],
        "story_left_out": journal.left_out,
    }


def _row(row: Row) -> dict[str, Any]:
    return {"text": told(row), "at": moment(row.at_ms), **row._asdict()}
