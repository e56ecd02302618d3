"""
What lies ahead of an instance, for people.

    next_command        what to type next
    maker_of_damaged    the state that staged what it failed to read
    resume_plan         what a resume would skip, and what it would run
    shown_cursor        where it goes on, not all of a long one
"""

import shlex

from statepipe.cli.shared.render import shown_id
from statepipe.errors import Refused, StagedDataDamaged
from statepipe.io.plainjson import jsonable
from statepipe.model import Status
from statepipe.runtime.picture import Picture
from statepipe.runtime.steering.outlook import Outlook, at_hand
from statepipe.store.lookups.inspection import Inspection
from statepipe.store.walk.datasets import is_name
from statepipe.units import plural

_CURSOR_CHARS_MAX = 120


def next_command(found: Inspection, late: Refused | None) -> str:
    """Return the command that leads on from where the instance stands; `late` as `late_of` says."""
    name = shown_id(found.id)
    if late is not None:
        return late.next_step
    if found.awaits is not None and all(map(is_name, found.awaits)):  # nobody can send that
        return f"statepipe worker   # or: statepipe resume {name}"
    if found.awaits:
        event = found.awaits[0]
        was_missed = event in [each.event for each in found.missed]
        return _answer(found.id, event, None if was_missed else found.key)
    if found.awaits_parts and found.asking:  # a resume would wait for that
        part, key = found.asking[0]
        return _answer(part.id, part.events[0], key)
    if (maker := maker_of_damaged(found)) is not None:  # a resume would read the same again
        return f"statepipe rewind {name} --to {maker} --reason 'a staged batch is damaged'"
    return {
        "running": f"statepipe history {name} --follow",
        "done": f"statepipe history {name}",
        "ready": f"statepipe resume {name}   # or: statepipe worker",
        "waiting": f"statepipe resume {name}   # at once; or: statepipe worker",
    }.get(found.standing, f"statepipe resume {name}")


def maker_of_damaged(found: Inspection) -> str | None:
    """Return the state that staged what an instance failed to read; None if it did not."""
    failure = found.failure
    if found.standing != Status.FAILED or failure is None or found.part_of is not None:
        return None
    if failure.error_class != StagedDataDamaged.__name__:
        return None
    staged = Picture.read(found.picture).input
    return found.resume_state if staged is None else staged.state


def resume_plan(found: Inspection, ahead: Outlook) -> tuple[str, str]:
    """Return what a resume would skip, and what it would run, a sentence each."""
    if ahead.runs is None:
        return "everything: it is done", "nothing"
    skips = [leg.state for leg in ahead.legs if leg.place == "behind"]
    if found.is_being_cancelled:
        return "all else", f"on_cancel ({found.form['on_cancel']}), and it is cancelled"
    if any(part.status == Status.DONE for part in at_hand(found)):
        skips.append(f"the tasks of {ahead.runs} that are done")
    if ahead.batch:
        of = f" of {ahead.total:,}" if ahead.total is not None else ""
        skips.append(f"{plural(ahead.batch, 'batch')}{of} in {ahead.runs}")
    here = ahead.runs
    if ahead.batch:
        here += f" from batch {ahead.batch}"
    if found.cursor is not None:
        here += f" (cursor {shown_cursor(found.cursor)})"
    runs = [here, *(leg.state for leg in ahead.legs if leg.place == "ahead" and leg.work)]
    # A state that it came to again has done its work once more, and is skipped as one.
    return ", ".join(dict.fromkeys(skips)) or "nothing", ", then ".join(runs)


def _answer(instance: str, event: str, key: str | None) -> str:
    """Return the command by which an instance hears of an event that it rests for."""
    if key is not None:
        return f"statepipe emit {event} --key {shlex.quote(key)}"
    return f"statepipe signal {shown_id(instance)} {event}"


def shown_cursor(cursor: object) -> str:
    """Return a cursor, or the handle of a job, as people see it: not all of a long one."""
    text = str(jsonable(cursor))
    return text if len(text) <= _CURSOR_CHARS_MAX else text[: _CURSOR_CHARS_MAX - 1] + "…"
