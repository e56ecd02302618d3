"""
Where an instance could be put back to, worked out from its journal.

    put_back    do it: at rest there, in a new generation
    rewound     what it knew when it entered a state, or why it cannot go back there

The way it went is `way.py`'s.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from statepipe.errors import NotFound, Refused
from statepipe.machine.definition import Machine
from statepipe.machine.paths import graph_of, reached
from statepipe.machine.states.tasks import AnyTask, Load
from statepipe.model import Stay
from statepipe.runtime.picture import Picture
from statepipe.runtime.program import Program
from statepipe.runtime.steering.doubling import refuse_doubling
from statepipe.runtime.steering.way import Passage, entries
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup
from statepipe.store.lookups.lookup import Found
from statepipe.store.stage import rows as staged
from statepipe.store.steering import instances as steering

Verb = Literal["rewind", "fork"]


def put_back(store: Store, found: Found, program: Program, *, to: str, reason: str | None) -> None:
    """
    Put an instance back to rest in a state it was in before, in a new generation.

    From there on it is an instance of `program`.

    Raises:
        NotFound, Refused: As `rewound`; or as `steering.rewind`.
        Busy: A live process drives it.
    """
    machine = program.table.machine
    passages = [Passage(*row) for row in lookup.steps_of(store.connection, found.n)]
    picture = rewound(
        passages,
        found=found,
        machine=machine,
        form=json.loads(lookup.definition_body(store.connection, found.definition)),
        to=to,
        loaded=lookup.batches_loaded(store.connection, found.n),
        is_staged=lambda stay: staged.has_batches(store.connection, found.n, stay),
    )
    known = Picture.read(picture)
    steering.rewind(
        store,
        instance_id=found.id,
        seq=found.seq,
        state=to,
        picture=picture,
        reason=reason,
        visit=known.visit(to),
        loads=known.input if isinstance(machine.state(to).task, Load) else None,
        needs=known.input if _was_done(passages, machine) else None,
        appends=_undone(passages, to) if _may_append(machine, to) else (),
        definition=program.definition,
    )


def rewound(
    passages: Sequence[Passage],
    *,
    found: Found,
    machine: Machine,
    form: Mapping[str, Any],
    to: str,
    loaded: Mapping[str, int],
    is_staged: Callable[[Stay], bool],
    verb: Verb = "rewind",
) -> bytes | None:
    """
    Return the picture an instance had when it last entered `to`, encoded.

    Args:
        passages: Its journal.
        found: Where it stands.
        machine: What it will be an instance of.
        form: What it was one of until now, in canonical form.
        to: The state to go back to.
        loaded: How many batches each loading state has put at its destination.
        is_staged: Whether the batches of a stay are still there.
        verb: What is to be done with it: a fork takes the picture to another instance.

    Raises:
        NotFound: It never was in that state, as things stand now.
        Refused: `to` is final, rows were appended that nobody could take back, or the
            batches it would need were given back when it ended.
    """
    again = f"statepipe {verb} {shlex.quote(found.id)} {'--to' if verb == 'rewind' else '--at'}"
    way = entries(passages)
    places = [index for index, entry in enumerate(way) if entry.state == to]
    if not places:
        been = ", ".join(dict.fromkeys(entry.state for entry in way))
        raise NotFound(
            f"instance {found.id!r} never was in a state {to!r}",
            meaning="nothing was changed",
            next_step=f"{again} STATE   # it was in: {been}",
        )
    task = _task_in(machine, to)
    if task is None:
        raise Refused(
            f"{to!r} is a final state: nothing runs there",
            meaning="nothing was changed",
            next_step=f"{again} {machine.initial}",
        )
    entry = way[places[-1]]
    undone = {later.state: loaded.get(later.state, 0) for later in way[places[-1] :]}
    refuse_doubling(machine, form, undone, found=found, to=to, again=again)
    given = Picture.read(entry.picture).input
    if given is not None and _was_done(passages, machine) and not is_staged(given):
        raise Refused(
            f"{to!r} needs staged batches that were given back when {found.id!r} ended",
            meaning="nothing was changed; its data is loaded",
            next_step=f"{again} {machine.initial}",
        )
    return _with_starts(entry.picture, way[-1].picture)


def _undone(passages: Sequence[Passage], to: str) -> list[str]:
    """Return the states that are done again, once it is put back to `to`."""
    states = [entry.state for entry in entries(passages)]
    last = len(states) - 1 - states[::-1].index(to)
    return states[last:]


def _may_append(machine: Machine, to: str) -> bool:
    """Return whether a load that appends may follow on `to`."""
    tasks = (machine.state(name).task for name in reached(graph_of(machine), [to]))
    return any(isinstance(task, Load) and task.mode == "append" for task in tasks)


def _was_done(passages: Sequence[Passage], machine: Machine) -> bool:
    """Return whether it ever ended well: what was given back then is gone for good."""
    finals = {state.name for state in machine.states if state.final == "success"}
    return any(passage.target in finals for passage in passages)


def _with_starts(entered: bytes | None, now: bytes | None) -> bytes | None:
    """
    Return the picture on entering, with the starts of sources that it did not know yet.

    The watermark may since have moved, by this very instance; a source that read on from
    there would find nothing to read again.
    """
    marks = Picture.read(now).marks
    if not marks:
        return entered
    before = Picture.read(entered)
    fresh = {state: mark._replace(reached=mark.start) for state, mark in marks.items()}
    return before._replace(marks={**fresh, **before.marks}).write()


def _task_in(machine: Machine, state: str) -> AnyTask | None:
    """Return what runs in a state of the author; None where a cancel led, and at an end."""
    return next((each.task for each in machine.states if each.name == state), None)
