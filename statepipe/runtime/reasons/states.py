"""
Why one state of a machine was entered, left, skipped, or never seen by an instance.

    of_state    for any state of the definition the instance has
"""

from collections.abc import Mapping
from typing import Any

from statepipe.errors import NotFound
from statepipe.model import Status
from statepipe.runtime.reasons.reason import Reason, because
from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.story import told
from statepipe.runtime.steering.outlook import outlook
from statepipe.store.questions.evidence import Evidence, Row
from statepipe.suggest import did_you_mean
from statepipe.units import format_duration, plural


def of_state(known: Evidence, state: str, *, now_ms: int) -> list[Reason]:
    """
    Return why `state` was entered, left, skipped or not reached, what matters most first.

    Args:
        known: What the store knows, with the rows of this state.
        state: Which.
        now_ms: The moment it is asked (UTC).

    Raises:
        NotFound: The machine has no such state, and it never was in one.
    """
    found = known.found
    states = found.form["states"]
    rows = known.there.rows if known.there else ()
    entered = [row for row in rows if row.target == state and row.source != state]
    if state not in states and not entered:
        raise NotFound(
            f"machine {found.machine!r} has no state {state!r}{did_you_mean(state, states)}",
            meaning="nothing was changed",
            next_step=f"statepipe graph {found.machine}",
        )
    if not entered:
        return [_not_reached(known, state)]
    here = state in (found.state, found.resume_state) and found.status != Status.DONE
    said = reasons(known, now_ms=now_ms) if here else _left(known, rows, state)
    return [*said, _entered(entered), *_done_there(known, state)]


def _entered(entered: list[Row]) -> Reason:
    last = entered[-1]
    again = f"; that was entry {len(entered)}" if len(entered) > 1 else ""
    return because(
        "entered",
        f"{told(last)}{again}",
        at_ms=last.at_ms,
        event=last.event,
        source=last.source,
        entries=len(entered),
    )


def _left(known: Evidence, rows: tuple[Row, ...], state: str) -> list[Reason]:
    """Return how the instance left the state last, and what a resume does with it."""
    found = known.found
    if found.status == Status.DONE and found.state == state:
        return []
    left = [row for row in rows if row.source == state and row.target != state]
    if not left:
        return []
    last = left[-1]
    said = [because("left", told(last), at_ms=last.at_ms, event=last.event, target=last.target)]
    behind = {leg.state for leg in outlook(found).legs if leg.place == "behind"}
    if state in behind and found.status != Status.DONE:
        said.append(because("skipped", "its work is committed: a resume skips it"))
    elif state not in behind and "task" in found.form["states"].get(state, {}):
        said.append(because("undone", "what it did was undone since: it is to be done again"))
    return said


def _done_there(known: Evidence, state: str) -> list[Reason]:
    tallies = {gen: tally for (gen, name), tally in known.found.tallies.items() if name == state}
    if not tallies:
        return []
    tally = tallies[max(tallies)]
    said = [plural(tally.attempts, "attempt")]
    if tally.batches:
        said += [plural(tally.batches, "batch"), plural(tally.records, "record")]
    if tally.rejected:
        said.append(f"{tally.rejected:,} rejected")
    said.append(format_duration(tally.took_ms))
    return [because("tally", f"in all there: {', '.join(said)}", **tally._asdict())]


def _not_reached(known: Evidence, state: str) -> Reason:
    """Return which events would have led to the state, and what came instead."""
    found = known.found
    legs = outlook(found).legs
    if found.status != Status.DONE and any(
        leg.state == state for leg in legs if leg.place == "ahead"
    ):
        return because(
            "ahead",
            f"it has not come there yet: it is in {found.resume_state}",
            state=found.resume_state,
        )
    ways = _ways(found.form["states"], state)
    if not ways:
        return because("not_reached", "no transition leads there", ways={})
    listed = [_way(known, source, events) for source, events in ways.items()]
    text = "nothing led there; these would have:"
    return because("not_reached", "\n  ".join([text, *listed]), ways=ways)


def _ways(states: Mapping[str, Any], target: str) -> dict[str, list[str]]:
    """Return the events that lead to `target`, with their guards, by the state they end."""
    ways: dict[str, list[str]] = {}
    for name, state in states.items():
        for event, choices in state.get("on", {}).items():
            for choice in choices:
                if choice["to"] == target:
                    when = f" when {choice['when']}" if "when" in choice else ""
                    ways.setdefault(name, []).append(f"{event}{when}")
    return ways


def _way(known: Evidence, source: str, events: list[str]) -> str:
    """Return what would have led there from one state, and what came of that state."""
    rows = known.journal.rows
    came = {row.event for row in rows if row.kind == "move" and row.source == source}
    instead = f"it ended with {', '.join(sorted(came))}" if came else "it never ended"
    return f"{' or '.join(events)} of {source}; {instead}"
