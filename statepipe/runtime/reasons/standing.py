"""
Why an instance is where it is: first what holds it there, then what that comes from.

    reasons     for whatever it is doing, failed to done
"""

from collections.abc import Callable
from typing import Final

from statepipe.model import ERROR, TIMEOUT
from statepipe.runtime.reasons import parts
from statepipe.runtime.reasons.drivers import demise, named, nobody
from statepipe.runtime.reasons.reason import Reason, because, error_text
from statepipe.runtime.reasons.trying import governing, not_again, pause
from statepipe.runtime.reasons.waiting import OVERDUE_MS, polling, size, waits
from statepipe.runtime.steering.outlook import outlook
from statepipe.store.questions.evidence import Evidence, Row
from statepipe.store.walk.datasets import is_name, told
from statepipe.units import format_duration, plural, times
from statepipe.wishes import CANCELLING_STATE, KILL

#: What is written down of an instance that is asked for something, or driven.
_ASKING: Final = ("request", "claim", "resume")


def reasons(known: Evidence, *, now_ms: int) -> list[Reason]:
    """
    Return why the instance is where it is, what matters most first.

    Args:
        known: What the store knows.
        now_ms: The moment it is asked (UTC).
    """
    found = known.found
    if found.standing == "waiting":
        said = _waiting(known, now_ms=now_ms)
    else:
        said = _BY_STANDING[found.standing](known)
    if found.is_being_cancelled:
        text = f"it is being cancelled in {found.failed_state}, and its on_cancel has not ended yet"
        said.insert(0, _wish(known, "cancel", text))
    if found.request:
        said.append(_asked(known, found.request))
    return said


def _failed(known: Evidence) -> list[Reason]:
    row = _last(known, "move")
    if row is None:
        return []
    if row.event not in (ERROR, TIMEOUT) or (row.attempt is None and row.error_class == TIMEOUT):
        said_so = f": {row.note}" if row.note else ""
        return [
            because(
                "event",
                f"{row.source} ended with {row.event!r}, which leads to {row.target},"
                f" a final state of kind failure{said_so}",
                at_ms=row.at_ms,
                event=row.event,
                state=row.source,
            )
        ]
    said = [_error("error", row)]
    policy = governing(known, row)
    if policy is not None:
        said += not_again(row, policy)
    if known.alike:
        said.append(
            because(
                "alike",
                f"{plural(known.alike, 'other instance')} of {known.found.machine} failed in"
                f" {row.source} with {row.error_class} as well",
                others=known.alike,
            )
        )
    return [*said, *_rewound(known)]


def _waiting(known: Evidence, *, now_ms: int) -> list[Reason]:
    found = known.found
    assert found.wake_at_ms is not None, "what waits has a time"
    if found.awaits is not None:
        return _resting(known, found.awaits, wake_at_ms=found.wake_at_ms, now_ms=now_ms)
    if (at_work := parts.at_work(known)) is not None:
        return at_work
    if found.is_polling and not found.attempt:
        return polling(known, now_ms=now_ms)
    row = _last(known, "retry")
    if row is None:
        return [because("due", "it waits for its time", at_ms=found.wake_at_ms)]
    policy = governing(known, row)
    of = f" of {policy.max_attempts}" if policy else ""
    overdue = now_ms - found.wake_at_ms > OVERDUE_MS
    said = [
        because(
            "due",
            f"attempt {found.attempt + 1}{of} of {found.state} is {'over' if overdue else ''}due",
            at_ms=found.wake_at_ms,
            attempt=found.attempt + 1,
            max_attempts=policy.max_attempts if policy else None,
        ),
        _error("error", row),
    ]
    if overdue:
        said += nobody(known)
    elif policy:
        said.append(pause(row, policy, wake_at_ms=found.wake_at_ms))
    return [*said, *size(known)]


def _resting(
    known: Evidence, events: tuple[str, ...], *, wake_at_ms: int, now_ms: int
) -> list[Reason]:
    """Return what an instance in a state that waits is there for."""
    state, overdue = known.found.state, now_ms - wake_at_ms > OVERDUE_MS
    key = known.found.key
    if events and is_name(events[0]):
        text = f"it waits in {state} for {told(events[0], key or '')} to be there; at most until"
    elif events:
        sends = "to send" if key is None else f"to emit, for {key},"
        text = f"it waits in {state} for somebody {sends} {' or '.join(events)}; at most until"
    else:
        text = f"it waits in {state} for its time"
    due = f"{text}, which is over" if overdue else text
    said = [because("wait", due, at_ms=wake_at_ms, state=state, events=list(events))]
    if missed := known.found.missed:
        names = " and ".join(each.told for each in missed)
        text = f"{names} came too late, after an earlier wait: only a signal can bring it now"
        facts = {"events": [each.event for each in missed]}
        said.append(because("late", text, at_ms=missed[-1].at_ms, **facts))
    kept = [event for event in known.found.signals if event not in events]
    if kept:
        text = f"it was sent {', '.join(kept)} as well, for which a later state waits"
        said.append(because("kept", text, events=kept))
    return [*said, *(nobody(known) if overdue else [])]


def _running(known: Evidence) -> list[Reason]:
    found, holder = known.found, known.found.holder
    assert holder is not None, "somebody drives it"
    begun = _last(known, "claim", "resume")
    said = [
        because(
            "driven",
            f"process {holder.pid} on {holder.host} is alive and drives it",
            at_ms=begun.at_ms if begun else None,
            pid=holder.pid,
            host=holder.host,
        ),
    ]
    waiting = waits(known)
    if not waiting:
        under_way = because(
            "attempt",
            f"attempt {found.attempt + 1} of {found.state} is under way or about to begin",
            at_ms=found.entered_at_ms if found.attempt == 0 else None,
            attempt=found.attempt + 1,
        )
        said.append(under_way)
    return [*waiting, *said, *_progress(known), *size(known), *_why_again(known, begun)]


def _stalled(known: Evidence) -> list[Reason]:
    holder = known.found.holder
    assert holder is not None, "somebody drove it"
    death = next(each.death for each in known.drivers if each.name == holder.name)
    assert death is not None, "stalled is held by a dead one"
    said = because(
        "dead_driver",
        f"process {holder.pid} on {holder.host} drove it and is dead: {demise(death)}",
        pid=holder.pid,
        host=holder.host,
        death=death,
    )
    return [said, *_progress(known), *_lost(known), *nobody(known)]


def _ready(known: Evidence) -> list[Reason]:
    row = known.journal.rows[-1]
    reason = f": {row.note}" if row.note else ""
    said = {
        "cancel": "nobody has begun its on_cancel",
        "create": f"it was created and nobody has driven it yet{reason}",
        "interrupt": f"its driver was stopped in order and let it go{reason}",
        "rewind": f"somebody put it back from {row.source} to {row.target}{reason}",
    }.get(row.kind, "it rests where it can go on")
    return [because(row.kind, said, at_ms=row.at_ms, reason=row.note), *nobody(known)]


def _paused(known: Evidence) -> list[Reason]:
    said = _wish(known, "pause", f"somebody paused it in {known.found.state}")
    row = _last(known, "pause")
    return [said] if row is None or row.error_class is None else [said, _error("error", row)]


def _cancelled(known: Evidence) -> list[Reason]:
    ended, where = _last(known, "cancel"), known.found.failed_state
    failed = [] if ended is None or ended.error_class is None else [_error("error", ended)]
    if ended is not None and ended.event == KILL:
        said = _wish(known, "cancel", f"somebody killed it in {where}")._replace(code=KILL)
        return [said, *failed]
    said = _wish(known, "cancel", f"somebody cancelled it in {where}")
    row = _last(known, "move")
    if row is None or row.source != CANCELLING_STATE or row.error_class is None:
        return [said, *failed]
    text = f"its on_cancel failed: {error_text(row.error_class, row.error)}"
    facts = {"attempt": row.attempt, "error_class": row.error_class, "error": row.error}
    return [said, because("on_cancel", text, at_ms=row.at_ms, **facts), *failed]


def _done(known: Evidence) -> list[Reason]:
    row = _last(known, "move")
    said = [_summary(known), *_detours(known), *_rewound(known)]
    if row is None:
        return said
    text = f"{row.event} of {row.source} led to {row.target}"
    return [because("done", text, at_ms=row.at_ms, event=row.event, state=row.source), *said]


_BY_STANDING: Final[dict[str, Callable[[Evidence], list[Reason]]]] = {
    "failed": _failed,
    "running": _running,
    "stalled": _stalled,
    "ready": _ready,
    "paused": _paused,
    "cancelled": _cancelled,
    "done": _done,
}


def _summary(known: Evidence) -> Reason:
    """Return what an instance that is done has loaded and rejected, and what it took."""
    found = known.found
    states = found.form["states"]
    took_ms = max(0, (found.finished_at_ms or 0) - found.created_at_ms)
    tallies = {
        state: tally
        for (generation, state), tally in found.tallies.items()
        if generation == found.generation
    }
    loads = [state for state in states if "load" in states[state].get("task", {})]
    loaded = sum(tallies[state].records for state in loads if state in tallies)
    rejected = sum(tally.rejected for tally in tallies.values())
    attempts = sum(tally.attempts for tally in tallies.values())
    said = [f"{plural(loaded, 'record')} loaded"] if loads else []
    said += [f"{rejected:,} rejected"] if rejected else []
    said += [plural(attempts, "attempt"), f"{format_duration(took_ms)} from creation to end"]
    return because(
        "summary",
        ", ".join(said),
        loaded=loaded,
        rejected=rejected,
        attempts=attempts,
        took_ms=took_ms,
    )


def _error(code: str, row: Row) -> Reason:
    which = f"attempt {row.attempt} of {row.source}" if row.ends_attempt else row.source
    return because(
        code,
        f"{which} failed: {error_text(row.error_class, row.error)}",
        at_ms=row.at_ms,
        state=row.source,
        attempt=row.attempt,
        error_class=row.error_class,
        error=row.error,
    )


def _progress(known: Evidence) -> list[Reason]:
    """Return what was last achieved in the stay it is in."""
    found, good = known.found, known.found.good
    if not found.batches or good is None:
        return [because("no_batch", f"no batch of {found.state} is committed yet", batches=0)]
    total = outlook(found).total
    of = f" of {total:,}" if total is not None else ""
    return [
        because(
            "progress",
            f"{plural(found.batches, 'batch') if not of else f'{found.batches:,}{of} batches'}"
            f" of {found.state} {'is' if found.batches == 1 and not of else 'are'} committed",
            at_ms=good.at_ms,
            batches=found.batches,
            total=total,
        )
    ]


def _why_again(known: Evidence, begun: Row | None) -> list[Reason]:
    """Return why it runs when it ran before: a takeover, a resume, a retry, a rewind."""
    found = known.found
    said = []
    if begun is not None and begun.event == "takeover":
        _, _, before = (begun.note or "").partition(" from ")
        text = f"it was taken over from {named(before)}, which was dead"
        said.append(because("taken_over", text, at_ms=begun.at_ms, worker=before))
    if begun is not None and begun.kind == "resume":
        reason = f": {begun.note}" if begun.note else ""
        said.append(because("resumed", f"somebody resumed it{reason}", at_ms=begun.at_ms))
    tried = _last(known, "retry")
    if found.attempt and tried is not None:
        said.append(_error("tried", tried))
    return [*said, *_lost(known), *_rewound(known)]


def _lost(known: Evidence) -> list[Reason]:
    lost = known.found.lost
    if lost <= 1:  # one takeover explains itself
        return []
    text = f"its drivers died {lost} times in a row without any progress"
    return [because("lost_before", text, lost=lost)]


def _detours(known: Evidence) -> list[Reason]:
    """Return what it took besides: retries, takeovers, resumes, stops."""
    words = {
        "retry": "tried again",
        "takeover": "taken over from a dead process",
        "resume": "resumed",
        "interrupt": "let go by a driver that was stopped",
    }
    had = {kind: known.counts[kind] for kind in words if known.counts.get(kind)}
    if not had:
        return []
    said = [f"{words[kind]} {times(count)}" for kind, count in had.items()]
    return [because("detours", f"on its way it was {', '.join(said)}", **had)]


def _rewound(known: Evidence) -> list[Reason]:
    row = _last(known, "rewind")
    if row is None:
        return []
    reason = f": {row.note}" if row.note else ""
    return [
        because(
            "rewound",
            f"somebody put it back from {row.source} to {row.target}{reason}",
            at_ms=row.at_ms,
            generation=known.found.generation,
            reason=row.note,
        )
    ]


def _wish(known: Evidence, wish: str, text: str) -> Reason:
    """Return that a person wanted it so, and the reason given with the wish."""
    row = _last(known, wish)
    assert row is not None, "its status says that it was wished for"
    before = [each for each in known.journal.rows if each.seq < row.seq]
    rows = [each for each in before if each.event not in ("signal", "emit")]
    asked = next((row for row in reversed(rows) if row.kind in _ASKING), None)
    if asked is not None and asked.kind != "request":
        asked = None  # nobody drove it when the wish came, so it was fulfilled at once
    reason = row.note or (asked.note if asked else None)
    return because(
        wish,
        text + (f": {reason}" if reason else "; no reason was given"),
        at_ms=row.at_ms,
        reason=reason,
        asked_at_ms=asked.at_ms if asked else row.at_ms,
    )


def _asked(known: Evidence, wish: str) -> Reason:
    requests = [row for row in known.journal.rows if row.kind == "request" and row.event == wish]
    row = requests[-1] if requests else None
    reason = f": {row.note}" if row and row.note else ""
    when = "at once" if wish == KILL else "at the next batch or state"
    return because(
        "asked",
        f"somebody asked for a {wish}; its driver obeys {when}{reason}",
        at_ms=row.at_ms if row else None,
        wish=wish,
    )


def _last(known: Evidence, *kinds: str) -> Row | None:
    return next((row for row in reversed(known.journal.rows) if row.kind in kinds), None)
