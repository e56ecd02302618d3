"""
A machine made ready to be driven: rules compiled, policies merged, calls prepared.

    Program         one machine, by the number of its definition in the store
    with_children   some machines, and those that do part of their work
    Part            one acting state of it: what runs there, under which policy
    UNKNOWN         of a state that the machine does not have: nothing
    unknown_state   that, in words
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from statepipe.machine.alerts import Alerts
from statepipe.machine.definition import Machine
from statepipe.machine.states.tasks import Run
from statepipe.machine.table import Table
from statepipe.model import Status
from statepipe.policy import Policy
from statepipe.resources import Resource
from statepipe.sharing import Sharing

Work = Literal["run", "validate", "load", "wait", "job", "children", "cancel", "unknown"]

#: What needs no executor: nothing is called.
RESTING: Final = ("wait", "children", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    One acting state, ready to be called.

    Attributes:
        work: What is done there.
        policy: The merged policy of the state.
        policy_digest: Names `policy` in the journal; None if nothing is attempted under it.
        call: The part of every call to `perform` that does not change.
        uses: The resources that each attempt needs, sorted by name.
        calls_back: True if a state that waits for events may come next: its task has a token.
    """

    work: Work
    policy: Policy
    policy_digest: str | None
    call: Mapping[str, Any]
    uses: tuple[Resource, ...] = ()
    calls_back: bool = False


#: What runs in a state that the machine does not have.
UNKNOWN: Final = Part(
    work="unknown",
    policy=Policy(max_attempts=1, executor="thread"),
    policy_digest=None,
    call={},
)


class PlainMove(NamedTuple):
    """A move that is the same for every instance: no guard, nothing counted, nothing to plan."""

    target: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """
    One machine as this process knows it.

    Attributes:
        name: The machine's name.
        definition: The number of its definition in the store.
        table: Its rules.
        parts: Its acting states by name; `cancelling` among them if it has an `on_cancel`.
        policies: Bodies (JSON) of the parts' policies, by digest.
        deadline_ms: How long an instance may take in all, None for no bound.
        alerts: Who is told of what its instances do; None if nobody is.
        sharing: How its instances share workers, merged.
        queues: The queue of each acting state.
        plain: Moves worked out beforehand, by state and event; nearly all there are.
        keeps: States whose staged batches are not given back when an instance is done.
        children: The machines that its children are instances of.
        delivers: True if others may wait for what its instances have done.
        cleans: True if it has an `on_cancel`.
    """

    name: str
    definition: int
    table: Table
    parts: Mapping[str, Part]
    policies: Mapping[str, str]
    deadline_ms: int | None
    alerts: Alerts | None = None
    children: tuple[str, ...] = ()
    sharing: Sharing = field(default_factory=Sharing)
    queues: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[tuple[str, str], PlainMove] = field(init=False)
    keeps: tuple[str, ...] = field(init=False)
    delivers: bool = field(init=False)
    cleans: bool = field(init=False)

    def __post_init__(self) -> None:
        # A move out of a state that has children is never plain: of what ends, theirs ends too.
        plain = {} if self.children else _plain_moves(self.table, self.parts)
        object.__setattr__(self, "plain", plain)
        states = self.table.machine.states
        keeps = tuple(each.name for each in states if isinstance(each.task, Run) and each.task.raw)
        object.__setattr__(self, "keeps", keeps)
        marked = any(isinstance(each.task, Run) and each.task.watermark for each in states)
        partitioned = self.table.machine.partition is not None
        object.__setattr__(self, "delivers", partitioned or marked)
        object.__setattr__(self, "cleans", self.table.machine.on_cancel is not None)

    @property
    def machine(self) -> Machine:
        """Its definition."""
        return self.table.machine

    @property
    def limit(self) -> int | None:
        """How many of its instances may have one key at a time, None for any number."""
        concurrency = self.sharing.concurrency
        return None if concurrency is None else concurrency.limit


def unknown_state(machine: str, state: str, instance_id: str) -> str:
    """Return, for people, that the machine of an instance does not have the state it is in."""
    return f"machine {machine!r} has no state {state!r}, in which {instance_id!r} rests"


def with_children(names: Iterable[str], program_of: Callable[[str], Program]) -> list[Program]:
    """Return these machines ready to be driven, and those that do part of their work."""
    known: dict[str, Program] = {}
    asked = list(names)
    while asked:
        if (name := asked.pop()) not in known:
            known[name] = program_of(name)
            asked += known[name].children
    return list(known.values())


def _plain_moves(table: Table, parts: Mapping[str, Part]) -> dict[tuple[str, str], PlainMove]:
    plain: dict[tuple[str, str], PlainMove] = {}
    for state in table.machine.states:
        for each in state.on:
            certain = each.when is None and len(state.on_event(each.event)) == 1
            if not certain or table.counts(state.name, each.event, each.target):
                continue
            if table.acting(each.target):
                if parts[each.target].work != "load":
                    plain[state.name, each.event] = PlainMove(each.target, Status.READY)
            elif table.final_kind(each.target) == "success":
                plain[state.name, each.event] = PlainMove(each.target, Status.DONE)
    return plain
