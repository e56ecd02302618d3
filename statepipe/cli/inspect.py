"""
`statepipe inspect ID`: where an instance stands, why, what a resume would do, what to type.
"""

from typing import Any

import click

from statepipe.cli.shared.ahead import next_command, resume_plan, shown_cursor
from statepipe.cli.shared.groups import show_group
from statepipe.cli.shared.lateness import late_of
from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, age, escape, first_line, moment, shown_id
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.errors import NotFound
from statepipe.io.plainjson import jsonable
from statepipe.model import Status
from statepipe.runtime.picture import Picture
from statepipe.runtime.reasons.parts import told_asking
from statepipe.runtime.steering.outlook import Leg, Outlook, outlook
from statepipe.store.lookups.inspection import Inspection
from statepipe.store.walk.emissions import told
from statepipe.store.walk.signals import Late
from statepipe.units import format_duration, plural, times

_ERROR_LINES_MAX = 12
_PARTS_SHOWN = 50
#: So many of those that rest for events are named.
_ASKING_SHOWN = 5


@command(
    "inspect",
    examples=["statepipe inspect flights-20130208-1f2e3d4c", "statepipe show ID -o json"],
)
@click.argument("instance", metavar="ID", callback=instance_id)
def inspect(*, instance: str) -> None:
    """Show one instance, or one group: how it stands, the last error, what a resume would do."""
    out = Session.current().out()
    with open_reader() as reader:
        try:
            found = reader.inspect(instance)
        except NotFound as missing:
            if not show_group(out, reader, instance):
                raise missing from None
            return
    ahead = outlook(found)
    if out.is_json:
        leads = next_command(found, late_of(found)).partition("   #")[0]
        out.value({**_facts(found, ahead), "next": out.addressed(leads)})
        return
    now_ms = SystemClock().now_ms()
    _head(out, found, now_ms=now_ms)
    _progress(out, ahead, found)
    _parts(out, found)
    _tail(out, found, ahead, now_ms=now_ms)


def _head(out: Output, found: Inspection, *, now_ms: int) -> None:
    # Colours are ours, the rest is escaped word by word.
    where = f"in {found.failed_state or found.state}"
    where = f"and being cancelled {where}" if found.is_being_cancelled else where
    out.raw(
        f"{escape(found.id)}  {escape(found.machine)} v{found.version}"
        f"  {out.paint(found.standing)} {escape(where) if found.status != 'done' else ''}".rstrip()
    )
    lines = {
        "created": f"{moment(found.created_at_ms)} ({age(found.created_at_ms, now_ms=now_ms)})",
        "params": " ".join(f"{k}={jsonable(v)}" for k, v in found.params.items()),
        "driver": _driver(found),
        "waits": _waits(found, now_ms=now_ms),
        "late": _late(found),
        "job": _job(found, now_ms=now_ms),
        "batches": _sizes(found),
        "asked": f"{found.request}, not yet honoured" if found.request else "",
        "sent": f"{', '.join(found.signals)}; not taken yet" if found.signals else "",
        "replays": _replays(found),
        "made": _made(found),
        "part of": found.part_of or "",
        "started by": f"{by.trigger}, for {by.key}" if (by := found.started_by) else "",
        "rewound": times(found.generation - 1) if found.generation > 1 else "",
        "ended": _ended(found),
    }
    for key, text in lines.items():
        if text:
            out.say(f"  {key:<11} {text}")


def _replays(found: Inspection) -> str:
    if found.origin is None:
        return ""
    origin, records = found.origin
    return f"{plural(records, 'record')} that {origin} rejected"


def _late(found: Inspection) -> str:
    told = ", ".join(each.told for each in found.late)
    return f"{told}; too late to be taken" if told else ""


def _came_late(late: Late) -> dict[str, Any]:
    at = moment(late.at_ms)
    return {"event": late.event, "key": late.key, "became": late.became, "at": at}


def _made(found: Inspection) -> str:
    if found.copy_of is None:
        return ""
    return f"by a {found.copy_of.event} of {found.copy_of.id}, in {found.copy_of.state}"


def _driver(found: Inspection) -> str:
    if found.holder is None:
        return ""
    alive = "alive" if found.holder.alive else "dead"
    return f"process {found.holder.pid} on {found.holder.host}, {alive}"


def _waits(found: Inspection, *, now_ms: int) -> str:
    if found.wake_at_ms is None:
        return ""
    wakes = age(found.wake_at_ms, now_ms=now_ms)
    if found.awaits is not None:
        what = f"for {told(found.awaits, found.key)}; " if found.awaits else ""
        return f"{what}its time is up {wakes}, at {moment(found.wake_at_ms)}"
    if found.awaits_parts:
        asking = "".join(f"; {told_asking(*each)}" for each in found.asking[:_ASKING_SHOWN])
        return f"for its parts{asking}; looks at them again {wakes}, at {moment(found.wake_at_ms)}"
    what = "polls its job" if found.is_polling else f"attempt {found.attempt + 1}"
    return f"{what} {wakes}, at {moment(found.wake_at_ms)}"


def _job(found: Inspection, *, now_ms: int) -> str:
    job = found.job
    if job is None:
        return ""
    said = [f"{shown_cursor(job.handle)} of {job.state}, {job.standing}"]
    said.append(f"submitted {age(job.submitted_at_ms, now_ms=now_ms)}")
    if job.polled_at_ms is not None:
        said.append(f"{plural(job.polls, 'poll')}, the last {age(job.polled_at_ms, now_ms=now_ms)}")
    return "; ".join([*said, *([job.note] if job.note else [])])


def _sizes(found: Inspection) -> str:
    """Return where batches are smaller than their policy says, and how large they are."""
    sizes = Picture.read(found.picture).sizes
    said = [f"{size:,} records each in {state}" for state, size in sizes.items()]
    return f"{', '.join(said)} by now: the other side could not keep up" if said else ""


def _ended(found: Inspection) -> str:
    if found.finished_at_ms is None:
        return ""
    took = format_duration(max(0, found.finished_at_ms - found.created_at_ms))
    return f"{moment(found.finished_at_ms)}, after {took}"


def _progress(out: Output, ahead: Outlook, found: Inspection) -> None:
    if not any(leg.work for leg in ahead.legs):
        return
    out.say("  progress")
    acting = [leg for leg in ahead.legs if leg.work]
    width = max(len(leg.state) for leg in acting)
    for leg in acting:
        word = {"behind": "done", "ahead": "to do"}.get(leg.place) or found.standing
        pad = " " * (len("cancelled") - len(word))
        name = escape(leg.state).ljust(width)
        out.raw(f"    {name}  {out.paint(word)}{pad}  {escape(_did(leg))}".rstrip())


def _parts(out: Output, found: Inspection) -> None:
    if not found.parts:
        return
    first = found.parts[0]
    rewound = ", before it was rewound" if first.generation < found.generation else ""
    out.say(f"  tasks of {first.state}{rewound}")
    width = max(len(each.task) for each in found.parts)
    for each in found.parts[:_PARTS_SHOWN]:
        said = f"{each.error_class}: {first_line(each.error)}" if each.error_class else ""
        tried = f", {plural(each.attempt, 'attempt')} failed" if each.attempt else ""
        pad = " " * (len("cancelled") - len(each.status))
        name = escape(each.task).ljust(width)
        text = escape(f"{said}{tried}")
        out.raw(f"    {name}  {out.paint(each.status)}{pad}  {text}".rstrip())
    if len(found.parts) > _PARTS_SHOWN:
        more = out.addressed(f"statepipe ls --parts-of {shown_id(found.id)}")
        out.say(f"    and more: {more}")


def _did(leg: Leg) -> str:
    tally = leg.tally
    said = []
    if tally.batches or leg.total:
        of = f" of {leg.total:,}" if leg.total is not None else ""
        said.append(f"{tally.batches:,}{of} batches" if of else plural(tally.batches, "batch"))
        said.append(plural(tally.records, "record"))
    if tally.rejected:
        said.append(f"{tally.rejected:,} rejected")
    if tally.attempts > 1:
        said.append(plural(tally.attempts, "attempt"))
    if tally.attempts:
        said.append(format_duration(tally.took_ms))
    return ", ".join(said)


def _tail(out: Output, found: Inspection, ahead: Outlook, *, now_ms: int) -> None:
    failure = found.failure
    if failure is not None:
        of = f"/{failure.max_attempts}" if failure.max_attempts else ""
        tried = f"attempt {failure.attempt}{of} of {failure.state}, " if failure.attempt else ""
        text = _bounded(failure.error or "")
        out.say(f"  cause       {failure.error_class}: {text}")
        out.say(f"              {tried}{moment(failure.at_ms)}")
        if found.has_output:
            attempt = f" --attempt {failure.attempt}" if failure.attempt else ""
            where = f"--state {failure.state}{attempt}"
            logs = out.addressed(f"statepipe logs {shown_id(found.id)} {where}")
            out.say(f"  logs        {logs}")
    elif found.standing == "stalled" and found.holder is not None:
        out.say(f"  cause       the process that drove it ({found.holder.pid}) died")
    good = found.good
    if good is not None:
        # A batch's note says which it is; another's is the reason that somebody gave.
        is_batch = good.note is not None and good.kind == "batch"
        what = f"{good.note} of {good.state}" if is_batch else _reached(good.kind, good.state)
        when = f"{moment(good.at_ms)} ({age(good.at_ms, now_ms=now_ms)})"
        out.say(f"  checkpoint  seq {good.seq}: {what}, {when}")
    if found.status != Status.DONE:
        skips, runs = resume_plan(found, ahead)
        out.say(f"  a resume    skips {skips}")
        out.say(f"              runs {runs}")
    if found.staged and found.status == Status.DONE:
        batches = plural(sum(found.staged.values()), "batch")
        which = out.addressed(f"statepipe staged ls {shown_id(found.id)}")
        out.say(f"  raw         {batches}, {found.staged_bytes:,} bytes: {which}")
    rejected = sum(leg.tally.rejected for leg in ahead.legs)
    if rejected:
        which = out.addressed(f"statepipe quarantine ls {shown_id(found.id)}")
        out.say(f"  quarantine  {which}")
    for each in found.replays:
        instead = f", replaced by {each.replaced_by}" if each.replaced_by else ""
        out.say(
            f"  replayed    {plural(each.records, 'record')} by {each.id}, {each.status}{instead}"
        )
    for copy in found.copies:
        out.say(f"  {f'{copy.event}ed':<11} as {copy.id}, {copy.status}")
    out.say(f"  next        {next_command(found, late_of(found))}")


def _reached(kind: str, state: str) -> str:
    return {"create": f"created in {state}", "rewind": f"rewound to {state}"}.get(
        kind, f"entered {state}"
    )


def _bounded(text: str) -> str:
    """Return an error text, its further lines indented and not too many of them."""
    lines = text.strip().split("\n")
    if len(lines) > _ERROR_LINES_MAX:
        lines = [*lines[:_ERROR_LINES_MAX], f"… {len(lines) - _ERROR_LINES_MAX} more lines"]
    return "\n              ".join(lines)


def _facts(found: Inspection, ahead: Outlook) -> dict[str, Any]:
    good, failure = found.good, found.failure
    return {
        "id": found.id,
        "machine": found.machine,
        "version": found.version,
        "definition": found.digest,
        "status": found.standing,
        "state": found.state,
        "failed_state": found.failed_state,
        "params": found.params,
        "seq": found.seq,
        "epoch": found.epoch,
        "generation": found.generation,
        "attempt": found.attempt,
        "batches": found.batches,
        "created_at": moment(found.created_at_ms),
        "updated_at": moment(found.updated_at_ms),
        "finished_at": moment(found.finished_at_ms) or None,
        "wakes_at": moment(found.wake_at_ms) or None,
        "request": found.request,
        "batch_sizes": dict(Picture.read(found.picture).sizes),
        "awaits": None if found.awaits is None else list(found.awaits),
        "key": None if found.awaits is None else found.key,
        "sent": list(found.signals),
        "late": [_came_late(each) for each in found.late],
        "job": found.job and {**found.job._asdict(), "handle": jsonable(found.job.handle)},
        "driver": found.holder and found.holder._asdict(),
        "cause": failure and {**failure._asdict(), "at": moment(failure.at_ms)},
        "has_output": found.has_output,
        "replays": found.origin and dict(zip(("origin", "records"), found.origin, strict=True)),
        "replayed_by": [each._asdict() for each in found.replays],
        "copy_of": found.copy_of and found.copy_of._asdict(),
        "copies": [each._asdict() for each in found.copies],
        "part_of": found.part_of,
        "awaits_parts": found.awaits_parts,
        "parts": [each._asdict() for each in found.parts],
        "started_by": found.started_by and found.started_by._asdict(),
        "staged": {"batches": sum(found.staged.values()), "bytes": found.staged_bytes},
        "checkpoint": good and {**good._asdict(), "at": moment(good.at_ms)},
        "progress": [
            {
                "state": leg.state,
                "place": leg.place,
                "work": leg.work,
                "total": leg.total,
                **leg.tally._asdict(),
            }
            for leg in ahead.legs
        ],
        "resume": {
            "skips": [leg.state for leg in ahead.legs if leg.place == "behind"],
            "runs": ahead.runs,
            "from_batch": ahead.batch,
            "of_batches": ahead.total,
            "cursor": found.cursor,
            "then": [leg.state for leg in ahead.legs if leg.place == "ahead"],
        },
    }
