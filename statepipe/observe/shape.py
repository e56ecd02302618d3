"""
What a machine implies: every label value that its series can ever have.

    Shape       states, moves and error classes of one definition
    shape_of    read from a canonical form, as stores keep it

A machine is finite and so are its series. All of them are served at 0 before anything is
counted, or the first failure of a new machine would be a series born at 1, which is no
increase to Prometheus and fires no alert.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from statepipe.errors import ENGINE_ERRORS
from statepipe.figures import OTHER
from statepipe.model import CANCEL, CANCELLED_STATE, ERROR, OK, TIMEOUT
from statepipe.policy import ANY_ERROR, Policy
from statepipe.wishes import CANCELLING_STATE, KILL

#: Where every machine can end, whatever else its author says.
_FAILED: Final = "failed"

Move = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """
    The finite part of a machine.

    Attributes:
        machine: Its name.
        acting: States in which something runs.
        resting: States in which an instance has ended, "cancelled" among them.
        moves: (source, event, target) of each allowed move, of creation, and of each
            resume. A rewind leads from anywhere to anywhere and is a person's rare act:
            its series is there once it was taken.
        errors: (state, class) for each class that errors in an acting state are counted as.
    """

    machine: str
    acting: tuple[str, ...]
    resting: tuple[str, ...]
    moves: tuple[Move, ...]
    errors: tuple[tuple[str, str], ...]


def shape_of(
    form: Mapping[str, Any], *, declared: Mapping[str, Sequence[str]] | None = None
) -> Shape:
    """
    Return the shape of a machine.

    Args:
        form: Its canonical form.
        declared: By state, the error classes that its policy names; where it is silent,
            those of the default policy.
    """
    states: Mapping[str, Any] = form.get("states", {})
    acting = tuple(name for name, state in states.items() if "final" not in state)
    cleanup = (CANCELLING_STATE,) if "on_cancel" in form else ()
    failures = {name for name, state in states.items() if state.get("final") == "failure"}
    moves = dict.fromkeys(_moves(form, acting))
    resumes = [
        (end, "resume", source)
        for source, _, end in moves
        if source not in ("", *cleanup) and (end in failures or end == CANCELLED_STATE)
    ]
    return Shape(
        machine=str(form.get("machine", "")),
        acting=(*acting, *cleanup),
        resting=(*(name for name in states if name not in acting), CANCELLED_STATE),
        moves=(*moves, *dict.fromkeys(resumes)),
        errors=tuple(
            (name, each)
            for name in (*acting, *cleanup)
            for each in _classes((declared or {}).get(name))
        ),
    )


def _moves(form: Mapping[str, Any], acting: Sequence[str]) -> Iterator[Move]:
    if "initial" in form:
        yield "", "create", form["initial"]
    for name in acting:
        for event, choices in form["states"][name].get("on", {}).items():
            for choice in choices:
                yield name, event, choice["to"]
        yield name, ERROR, _FAILED  # the last resort, when the rules refuse even a failure
        yield name, CANCEL, CANCELLING_STATE if "on_cancel" in form else CANCELLED_STATE
        yield name, KILL, CANCELLED_STATE
    if "on_cancel" in form:
        for event in (OK, ERROR, TIMEOUT, KILL):
            yield CANCELLING_STATE, event, CANCELLED_STATE


def _classes(declared: Sequence[str] | None) -> tuple[str, ...]:
    named = Policy().errors if declared is None else declared
    every = (*(name for name in named if name != ANY_ERROR), *ENGINE_ERRORS, OTHER)
    return tuple(dict.fromkeys(every))
