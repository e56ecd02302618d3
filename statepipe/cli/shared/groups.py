"""
Groups as the commands show them: `run --partition`, `ls`, `inspect`, `resume`, `cancel`, `pause`.

    group_facts     one as JSON has it
    group_sentence  one in a line, with the command that leads on
    show_group      one in full
    list_groups     the newest
    preview_group   what a resume of one would take back
    unfinished_of   how many of its partitions have not ended
"""

from collections.abc import Iterator
from typing import Any, Final

from statepipe.cli.shared.places import open_reader, refuse_unknown
from statepipe.cli.shared.render import Output, age, escape, first_line, moment, shown_id
from statepipe.cli.shared.session import Session
from statepipe.errors import NotFound
from statepipe.model import Status
from statepipe.store.lookups.groups import Summary
from statepipe.store.lookups.listing import Filter, Listed
from statepipe.store.reading import Reader
from statepipe.units import format_duration, plural

_SHOWN_MAX: Final = 10


def group_facts(found: Summary) -> dict[str, Any]:
    """Return a group as plain data; what is counted is as of now."""
    group = found.group
    return {
        "group": group.id,
        "machine": group.machine,
        "status": group.status,
        "total": group.total,
        "done": found.done,
        "standings": dict(sorted(found.standings.items())),
        "pruned_done": group.pruned_done,
        "tolerate": group.tolerate,
        "tolerated": group.tolerated,
        "completeness": found.completeness,
        "loaded": found.loaded,
        "rejected": found.rejected,
        "created_at": moment(group.created_at_ms),
        "finished_at": moment(group.finished_at_ms) or None,
    }


def group_sentence(found: Summary, *, leads_on: bool = True) -> str:
    """Return how a group stands in one line; and, if `leads_on`, what to type next."""
    group = found.group
    counts = f"{plural(found.loaded, 'record')} loaded, {found.rejected:,} rejected"
    parts = [f"{found.done:,} of {plural(group.total, 'partition')}", *_others(found), counts]
    said = f"{shown_id(group.id)} {group.status}: {', '.join(parts)}"
    return f"{said}   next: {_next(found)}" if leads_on else said


def show_group(out: Output, reader: Reader, group_id: str) -> bool:
    """Print everything about a group; False if there is none of that id."""
    try:
        found = reader.group(group_id)
    except NotFound:
        return False
    failed = reader.instances(Filter(group=group_id, failed=True), limit=_SHOWN_MAX + 1)
    if out.is_json:
        out.value({**group_facts(found), "next": out.addressed(_next(found).partition("   #")[0])})
        return True
    group = found.group
    out.raw(f"{escape(group.id)}  {escape(group.machine)}  {out.paint(group.status)}")
    out.say(f"  created     {moment(group.created_at_ms)}")
    if group.finished_at_ms is not None:
        took = format_duration(max(0, group.finished_at_ms - group.created_at_ms))
        out.say(f"  ended       {moment(group.finished_at_ms)}, after {took}")
    standings = ", ".join([f"{found.done:,} done", *_others(found)])
    out.say(f"  partitions  {group.total:,}: {standings}")
    out.say(f"  complete    {_percent(found)}; {group.tolerate} of them may fail")
    out.say(f"  records     {found.loaded:,} loaded, {found.rejected:,} rejected")
    for each in failed[:_SHOWN_MAX]:
        out.say(f"  failed      {each.partition} in {_cause(each)}")
    if len(failed) > _SHOWN_MAX:
        out.say("  failed      and more")
    out.say(f"  next        {_next(found)}")
    return True


def list_groups(out: Output, *, machine: str | None, limit: int, now_ms: int) -> None:
    """Print the newest groups, one line each."""
    with open_reader() as reader:
        refuse_unknown(reader, machine)
        found = reader.groups(machine=machine, limit=limit + 1)
    shown = found[:limit]
    if not shown and not out.is_json:
        out.note("no groups")
        return
    rows = [
        {
            **group_facts(each),
            "_done": f"{each.done:,} of {each.group.total:,}",
            "_failed": f"{each.standings.get(Status.FAILED, 0):,}",
            "_complete": _percent(each),
            "_loaded": f"{each.loaded:,}",
            "_rejected": f"{each.rejected:,}",
            "_created": age(each.group.created_at_ms, now_ms=now_ms),
        }
        for each in shown
    ]
    heads = ["GROUP", "MACHINE", "STATUS", "DONE", "FAILED", "COMPLETE", "LOADED", "REJECTED"]
    cells = ["group", "machine", "status", "_done", "_failed", "_complete", "_loaded", "_rejected"]
    out.rows([*heads, "CREATED"], rows, cells=[*cells, "_created"])
    if len(found) > limit:
        out.note(f"the newest {limit:,} are shown; --limit shows more")


def preview_group(group_id: str, *, adopts: bool) -> int:
    """Say what a resume of a group would do, changing nothing; return the exit code."""
    # It reads machines, which no other command that shows groups does.
    from statepipe.cli.shared.changes import first_change  # noqa: PLC0415  (imported when used)

    out = Session.current().out()
    with open_reader() as reader:
        found = reader.group(group_id)
        everyone = reader.instances(Filter(group=group_id), limit=found.group.total)
        taken = {str(Status.FAILED)}
        if found.group.status == Status.CANCELLED:
            taken.add(Status.CANCELLED)
        lost = [each for each in everyone if each.standing in taken]
        rests = {Status.DONE, Status.PAUSED, Status.CANCELLED} - taken
        goes_on = [each.id for each in everyone if each.standing not in rests]
        changed = first_change(reader, goes_on, adopts=adopts)
    rows = [
        {
            "id": each.id,
            "partition": each.partition,
            "state": each.failed_state,
            "error_class": each.error_class,
            "error": each.error,
            "_cause": _cause(each),
        }
        for each in lost
    ]
    if changed is not None:
        out.note(f"{changed.message}: a resume is refused   next: {changed.next_step}")
    if out.is_json:
        out.rows([], rows, cells=[])
        return 0
    if changed is not None:
        return 0
    if rows:
        out.rows(["PARTITION", "GOES ON IN"], rows, cells=["partition", "_cause"])
    ready = unfinished_of(found) - found.standings.get(Status.PAUSED, 0)
    out.note(
        f"{plural(len(rows), 'partition')} would be taken back, {ready:,} more driven to their"
        " end; nothing was changed"
    )
    return 0


def unfinished_of(found: Summary) -> int:
    """Return how many partitions of a group have not ended."""
    return sum(
        count for standing, count in found.standings.items() if standing not in Status.FINISHED
    )


def _others(found: Summary) -> Iterator[str]:
    """Yield how many partitions are where they should not stay."""
    for standing, count in sorted(found.standings.items()):
        if standing != Status.DONE:
            yield f"{count:,} {standing}"


def _next(found: Summary) -> str:
    group, name = found.group, shown_id(found.group.id)
    if group.status == "open" and unfinished_of(found) == found.standings.get(Status.PAUSED, 0):
        return f"statepipe unpause --group {name}"
    if group.status == "open":
        return f"statepipe resume --group {name}   # or: statepipe worker"
    if found.standings.get(Status.FAILED):
        return f"statepipe ls --group {name} --failed   # then: statepipe resume --group {name}"
    if group.status == Status.CANCELLED:
        return f"statepipe resume --group {name}"
    return f"statepipe ls --group {name}"


def _percent(found: Summary) -> str:
    """Return the completeness for people; never rounded up to all."""
    return f"{found.done * 1_000 // found.group.total / 10:.1f}%"


def _cause(each: Listed) -> str:
    why = f": {each.error_class}: {first_line(each.error)}" if each.error_class else ""
    return f"{each.failed_state}{why}"
