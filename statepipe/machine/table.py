"""
The rule table: state + event + facts -> target. The only file that knows `transitions`.

    Table.compile   a Machine, read once into the library and out again as a table
    Table.decide    the next state, or NoTransition; pure
    Table.counted   under which key a transition is counted, if its visits are bounded

`transitions` holds the rules: every (event, source, target) with its conditions in order.
What it answers the same way every time is read out into a dict, and deciding is one
lookup. A pair with guards or visit limits is asked of the library itself, on a view that
lives for that one question: no instance is ever its model, and no work is its callback
(0.07 us against 8 us, and 140 us for `add_model`). That the
dict and the library agree is proved by tests/unit/test_table.py.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Literal, cast

import transitions

from statepipe.errors import NoTransition
from statepipe.machine.definition import Machine, Transition
from statepipe.machine.guards import Guard
from statepipe.machine.paths import graph_of, on_cycles
from statepipe.model import CANCEL, CANCELLED_STATE
from statepipe.suggest import did_you_mean

EndKind = Literal["success", "failure", "cancelled"]
Facts = Mapping[str, Any]

#: The fact that holds what is counted of an instance: by `Table.counted` key, how often it
#: took a bounded transition; by name, how often it entered a state that is on a cycle.
VISITS: Final = "visits"


class _View:
    """What the library sees of an instance while one question is answered."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


class Table:
    """
    The compiled rules of one machine; immutable, safe to share between threads.

    Attributes:
        machine: The definition it was compiled from.
        cyclic_states: States an instance can come back to; only their visits need counting.
    """

    __slots__ = ("_ends", "_limits", "_questions", "_rules", "_targets", "cyclic_states", "machine")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cyclic_states = on_cycles(graph_of(machine))
        self._ends: dict[str, EndKind | None] = {each.name: each.final for each in machine.states}
        self._ends[CANCELLED_STATE] = "cancelled"
        self._limits = {
            (state.name, each.event, each.target): f"{state.name}/{each.event}/{each.target}"
            for state in machine.states
            for each in state.on
            if each.max_visits is not None
        }
        self._rules = _rules_of(machine)
        self._targets, self._questions = _read_out(self._rules)

    @classmethod
    def compile(cls, machine: Machine) -> "Table":
        """Return the table of `machine`, which is sound because it exists."""
        return cls(machine)

    def decide(self, state: str, event: str, facts: Facts) -> str:
        """
        Return the state that `event` leads to from `state`.

        Args:
            state: Where the instance is.
            event: What happened.
            facts: What guards may look at (`guards.FACTS`, without `visit`), and what
                was counted under "visits": by `counted` key (absent: never taken), and
                by name of a state (absent: entered once), from which `visit` is made.
                Only read if the pair needs it.

        Raises:
            NoTransition: If the event is unknown there, no guard holds, or a
                visit limit was reached; the message says which.
            GuardError: If a guard cannot be evaluated on these facts.
        """
        try:
            return self._targets[state, event]
        except KeyError:
            pass
        ask = self._questions.get((state, event))
        if ask is not None:
            view = _View(state)
            if ask(view, facts):
                return view.state
        raise self._refusal(state, event, facts)

    def counted(self, source: str, event: str, target: str) -> str | None:
        """Return the key under which this move is counted, or None if it has no limit."""
        return self._limits.get((source, event, target))

    def counts(self, source: str, event: str, target: str) -> bool:
        """Return True if this move changes what is counted: it has a limit, or enters a cycle."""
        return target in self.cyclic_states or (source, event, target) in self._limits

    def acting(self, state: str) -> bool:
        """Return True if a task runs in `state`; False for final and unknown states."""
        return state in self._ends and self._ends[state] is None

    def final_kind(self, state: str) -> EndKind | None:
        """Return how an instance in `state` has ended, or None if it has not."""
        return self._ends.get(state)

    def _refusal(self, state: str, event: str, facts: Facts) -> NoTransition:
        meaning = "the instance stays where it is; nothing was changed"
        show = f"statepipe graph {self.machine.name}"
        if state not in self._ends:
            return NoTransition(
                f'machine "{self.machine.name}" has no state "{state}"'
                f"{did_you_mean(state, self._ends)}",
                meaning=meaning,
                next_step=show,
            )
        choices = () if state == CANCELLED_STATE else self.machine.state(state).on_event(event)
        if not choices:
            events = sorted({each for source, each in self._targets if source == state})
            events += sorted({each for source, each in self._questions if source == state})
            known = f"it accepts {', '.join(events)}" if events else "it is final"
            return NoTransition(
                f'state "{state}" does not accept the event "{event}"{did_you_mean(event, events)}',
                meaning=meaning,
                next_step=f"{known}; {show}",
            )
        reasons = "; ".join(self._why_not(state, each, facts) for each in choices)
        return NoTransition(
            f'event "{event}" leads nowhere from "{state}" now: {reasons}',
            meaning=meaning,
            next_step=f"give the list a last target without when and max_visits; {show}",
        )

    def _why_not(self, state: str, choice: Transition, facts: Facts) -> str:
        key = self.counted(state, choice.event, choice.target)
        if key is not None and choice.max_visits is not None:
            taken = facts.get(VISITS, {}).get(key, 0)
            if taken >= choice.max_visits:
                return (
                    f'the visit limit of "{choice.target}" is reached'
                    f" ({taken} of {choice.max_visits})"
                )
        return f'the guard of "{choice.target}" does not hold ({choice.when})'


def _rules_of(machine: Machine) -> transitions.Machine:
    rules = [
        {
            "trigger": each.event,
            "source": state.name,
            "dest": each.target,
            "conditions": _conditions(state.name, each),
        }
        for state in machine.states
        for each in state.on
    ]
    # Sources are listed, since "*" would make rules out of final states too.
    cancels = [state.name for state in machine.states if state.final is None]
    rules.append({"trigger": CANCEL, "source": cancels, "dest": CANCELLED_STATE})
    return transitions.Machine(
        model=None,
        states=[*(state.name for state in machine.states), CANCELLED_STATE],
        initial=machine.initial,
        transitions=rules,
        auto_transitions=False,
        send_event=False,
        # A queued machine answers another thread's question with True and no move.
        queued=False,
        name=machine.name,
    )


def _conditions(source: str, choice: Transition) -> list[Callable[[Facts], bool]]:
    conditions: list[Callable[[Facts], bool]] = []
    if choice.max_visits is not None:
        # First, so that a guard is not asked about a move that is used up.
        conditions.append(_limit(f"{source}/{choice.event}/{choice.target}", choice.max_visits))
    if choice.when is not None:
        conditions.append(_guard(source, Guard(choice.when)))
    return conditions


def _guard(source: str, guard: Guard) -> Callable[[Facts], bool]:
    def holds(facts: Facts) -> bool:
        visit = facts.get(VISITS, {}).get(source, 1)
        # A ChainMap writes to its first map only, and nobody writes to this one.
        return guard(ChainMap({"visit": visit}, cast(MutableMapping[str, Any], facts)))

    return holds


def _limit(key: str, visits_max: int) -> Callable[[Facts], bool]:
    def is_left(facts: Facts) -> bool:
        return bool(facts.get(VISITS, {}).get(key, 0) < visits_max)

    return is_left


def _read_out(
    rules: transitions.Machine,
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], Callable[[_View, Facts], bool]]]:
    """Split the rules into those with one answer and those that must be asked."""
    targets: dict[tuple[str, str], str] = {}
    questions: dict[tuple[str, str], Callable[[_View, Facts], bool]] = {}
    for name, event in rules.events.items():
        for source, choices in event.transitions.items():
            if choices[0].conditions:
                questions[source, name] = event.trigger
            else:
                target = choices[0].dest
                assert target is not None, "a rule without a target is none of ours"
                targets[source, name] = target
    return targets, questions
