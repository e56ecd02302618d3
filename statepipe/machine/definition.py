"""
A machine as frozen values: what a TOML file says, or what Python builds directly.

    Machine         name, version, states, parameters; complete once built
    State           a task, or a final kind; its transitions
    Transition      event, target, guard, visit limit

Each checks itself when built, so whatever holds a Machine holds a sound one. What takes
looking at the whole graph (reachable, bounded, fed) is proved by `machine.checker`.

Building a Machine completes it: the state `failed` is added if absent, and each acting
state gets `error` and `timeout` to `failed` unless its author says otherwise. `cancel`
leads to `cancelled` from everywhere; neither is written down.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from statepipe.errors import NotFound
from statepipe.machine.events import EventRule, refuse_unawaited
from statepipe.machine.guards import Guard
from statepipe.machine.names import (
    check_machine_name,
    check_name,
    check_names,
    check_once,
    check_policy,
    check_text,
)
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.cleanup import refuse_misfit_cleanup
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph, refuse_events
from statepipe.machine.states.tasks import AnyTask
from statepipe.machine.states.waits import Wait, refuse_misfit
from statepipe.machine.triggers.trigger import Trigger, refuse_unfit
from statepipe.model import CANCEL, CANCELLED_STATE, ERROR, INVALID, TIMEOUT
from statepipe.policy import DURATION_MS_MAX
from statepipe.sharing import Sharing, queue_name
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

FinalKind = Literal["success", "failure"]

#: The final state of kind failure that every machine has.
FAILED_STATE: Final = "failed"

STATES_MAX: Final = 500
VISITS_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """
    An allowed move out of a state.

    Attributes:
        event: What asks for it.
        target: Name of the state it leads to.
        when: A guard (see `machine.guards`), or None.
        max_visits: How often one instance may take it, 1..1,000,000, or None for no limit.
    """

    event: str
    target: str
    when: str | None = None
    max_visits: int | None = None

    def __post_init__(self) -> None:
        """Refuse bad names, a guard that cannot be parsed and a limit that is none."""
        check_name("event", self.event)
        check_name("target", self.target)
        if self.event == CANCEL or self.target == CANCELLED_STATE:
            raise refusal(
                f'"{CANCEL}" and "{CANCELLED_STATE}" are reserved: every state can be cancelled',
                next_step="use another event and another target",
            )
        if self.when is not None:
            check_text("when", self.when)
            Guard(self.when)
        if self.max_visits is not None and (
            type(self.max_visits) is not int or not 1 <= self.max_visits <= VISITS_MAX
        ):
            raise refusal(
                f"max_visits is {self.max_visits!r}, outside 1..{VISITS_MAX}",
                next_step="max_visits = 2",
            )

    @property
    def is_certain(self) -> bool:
        """True if nothing can forbid it: no guard, no limit."""
        return self.when is None and self.max_visits is None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """
    Where an instance may be: acting (it has a task) or final.

    Attributes:
        name: Its name.
        task: What runs in it, or None if it is final.
        final: "success" or "failure", or None if it acts.
        on: Its transitions; those of one event are tried in this order.
        retry: Name of a policy of `statepipe.toml`, or a policy's keys, or None.
        settings: How its task runs, in people's keys: timeout, grace, heartbeat,
            executor, batch_size, batch_size_min, parallel.
        notify: If it is final, the targets of `statepipe.toml` that are told of an
            instance that ends here.
        uses: Resources of `statepipe.toml` that each attempt of its task needs.
        queue: Whose workers drive an instance that is in it; None for the machine's.
    """

    name: str
    task: AnyTask | None = None
    final: FinalKind | None = None
    on: tuple[Transition, ...] = ()
    retry: str | Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notify: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    queue: str | None = None

    def __post_init__(self) -> None:
        """Refuse a state that is neither acting nor final, or both."""
        check_name("state", self.name)
        if self.name == CANCELLED_STATE:
            raise refusal(
                f'"{CANCELLED_STATE}" is reserved: every machine has it',
                next_step="use another name",
            )
        if self.final is not None and self.final not in get_args(FinalKind):
            raise refusal(
                f"final is {self.final!r}{did_you_mean(str(self.final), get_args(FinalKind))}",
                next_step='final = "success" or final = "failure"',
            )
        if (self.task is None) == (self.final is None):
            raise refusal(
                f'state "{self.name}" must have one of run, contract, load, wait,'
                " job, tasks, machine, final",
                next_step='run = "module:function", or final = "success"',
            )
        says = self.on or self.retry is not None or self.settings or self.uses or self.queue
        if self.final is not None and says:
            raise refusal(
                f'state "{self.name}" is final: nothing runs in it and nothing leads out',
                next_step="remove on, retry, uses, queue and the settings of the task, or final",
            )
        if self.notify and self.final is None:
            raise refusal(
                f'state "{self.name}" has notify and is not final: nothing ends there',
                next_step="move notify to a final state, or up to the machine for all it does",
            )
        check_names("notify", self.notify)
        check_names("uses", self.uses)
        if self.queue is not None:
            queue_name("queue", self.queue)
        check_once("uses: resource", list(self.uses))
        check_policy(self.settings, self.retry, where=f'state "{self.name}"')
        self._check_limits()
        self._complete_task()
        # Grouped by event, so that a machine has one form: order matters within an event only.
        events = list(dict.fromkeys(each.event for each in self.on))
        on = tuple(sorted(self.on, key=lambda each: events.index(each.event)))
        object.__setattr__(self, "on", on)
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        if isinstance(self.retry, Mapping):
            object.__setattr__(self, "retry", MappingProxyType(dict(self.retry)))

    def on_event(self, event: str) -> tuple[Transition, ...]:
        """Return the transitions that `event` may take, in the order they are tried."""
        return tuple(each for each in self.on if each.event == event)

    def _complete_task(self) -> None:
        if isinstance(self.task, Wait):
            refuse_misfit(self.name, self.task, on={each.event: None for each in self.on})
            if self.retry is not None or self.settings or self.uses:
                raise refusal(
                    f'state "{self.name}" waits: no attempt is made in it that could be limited',
                    next_step="remove retry, uses and the settings of a task; a wait's timeout"
                    ' stands inside it: wait = { event = …, timeout = "2d" }',
                )
        if isinstance(self.task, Graph | Child):
            refuse_events(self.name, [each.event for each in self.on], self.task)
            if self.retry is not None or self.uses or set(self.settings) - {"timeout"}:
                raise refusal(
                    f'state "{self.name}" leaves its work to others: no attempt is made in it that'
                    " could be limited, but for its timeout",
                    next_step="write retry, uses and the settings into its tasks, or into the"
                    " other machine",
                )
        # Who says where `invalid` leads wants it raised: by any reject, unless a limit is said.
        if not isinstance(self.task, Validate):
            return
        if self.task.max_rejects is None and self.on_event(INVALID):
            object.__setattr__(self, "task", replace(self.task, max_rejects=0))
        elif self.task.max_rejects is not None and not self.on_event(INVALID):
            raise refusal(
                f'state "{self.name}" has max_rejects, and its event "{INVALID}" has no target',
                next_step=f'on.{INVALID} = "the state for it", for example "{FAILED_STATE}"',
            )

    def _check_limits(self) -> None:
        # What is counted is (source, event, target); two limits on one triple
        # could not be told apart.
        for each in self.on:
            if each.max_visits is not None and each.target == FAILED_STATE:
                raise refusal(
                    f'max_visits bounds loops, and "{FAILED_STATE}" is final',
                    next_step="remove max_visits",
                )
            same = [other for other in self.on_event(each.event) if other.target == each.target]
            if each.max_visits is not None and len(same) > 1:
                raise refusal(
                    f'event "{each.event}" of "{self.name}" leads to "{each.target}" twice,'
                    " once with max_visits",
                    next_step='write it once and join the guards with "or"',
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """
    The definition of a pipeline; immutable, and complete once built.

    Attributes:
        name: Its name; its file is `<name>.toml`.
        initial: Name of the acting state an instance begins in.
        states: All states, `failed` included.
        version: The author's number for this definition, from 1.
        params: The declared parameters.
        deadline_ms: How long an instance may take over all, or None.
        partition: How its input falls into partitions, or None if it does not.
        why: What it is for, for people.
        notify: Targets of `statepipe.toml` that are told of it, each of what its `on` says.
        triggers: What starts instances of it by itself.
        on_cancel: What runs when an instance is cancelled, before it rests; see `machine.cleanup`.
        events: What is said of the events that its states wait for.
        sharing: How its instances share workers, unless `statepipe.toml` says otherwise.

    Raises:
        DefinitionError: If a name is bad or used twice, or a target is unknown.
    """

    name: str
    initial: str
    states: tuple[State, ...]
    version: int = 1
    params: tuple[Param, ...] = ()
    deadline_ms: int | None = None
    partition: Partition | None = None
    why: str = ""
    notify: tuple[str, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    on_cancel: State | None = None
    events: tuple[EventRule, ...] = ()
    sharing: Sharing = field(default_factory=Sharing)

    def __post_init__(self) -> None:
        """Check the whole, then complete it."""
        check_machine_name(self.name)
        if type(self.version) is not int or not 1 <= self.version < 2**31:
            raise refusal(f"version is {self.version!r}, not 1 or more", next_step="version = 1")
        if self.deadline_ms is not None and not 0 < self.deadline_ms <= DURATION_MS_MAX:
            raise refusal(
                f"deadline is {self.deadline_ms} ms, outside 1 ms..365 days",
                next_step='deadline = "6h"',
            )
        check_names("notify", self.notify)
        check_once("state", [state.name for state in self.states])
        check_once("parameter", [param.name for param in self.params])
        check_once("event", [rule.event for rule in self.events])
        waits = [state.task for state in self.states if isinstance(state.task, Wait)]
        refuse_unawaited(self.events, {event for wait in waits for event in wait.events})
        if len(self.states) > STATES_MAX:
            raise refusal(f"more than {STATES_MAX} states", next_step="split the machine")
        object.__setattr__(self, "states", _completed(self.states))
        if self.partition is not None:
            object.__setattr__(self, "partition", self.partition.bound_to(self.params))
        refuse_unfit(self.triggers, self.params)
        self._check_names()
        if self.on_cancel is not None:
            refuse_misfit_cleanup(self.on_cancel.task, [each.name for each in self.states])

    def state(self, name: str) -> State:
        """
        Return the state called `name`.

        Raises:
            NotFound: If there is none.
        """
        for each in self.states:
            if each.name == name:
                return each
        names = [each.name for each in self.states]
        raise NotFound(
            f'machine "{self.name}" has no state "{name}"{did_you_mean(name, names)}',
            meaning="nothing was changed",
            next_step=f"its states are {', '.join(names)}",
        )

    @property
    def acting(self) -> tuple[State, ...]:
        """The states in which something runs, or waits; `cancelling` is the last of them."""
        cleanup = () if self.on_cancel is None else (self.on_cancel,)
        return (*(each for each in self.states if each.task is not None), *cleanup)

    @property
    def running(self) -> tuple[State, ...]:
        """Those of them in which something runs, under settings; a wait has its own end alone."""
        return tuple(each for each in self.acting if not isinstance(each.task, Wait))

    def refuse_keys(self, place: str, names: Collection[str]) -> None:
        """
        Refuse parameters in `place` that not every instance has.

        Raises:
            DefinitionError: There is one.
        """
        always = [each.name for each in self.params if each.required or each.default is not None]
        for name in names:
            if name not in always:
                raise refusal(
                    f'{place}: there is no parameter "{name}" that'
                    f" every instance has{did_you_mean(name, always)}",
                    next_step=f"those are {', '.join(always) or 'none'}",
                )

    def _check_keys(self) -> None:
        has = [each for each in self.params if each.required or each.default is not None]
        for state in self.states:
            if isinstance(state.task, Child):
                state.task.refuse_unknown(state.name, self.params)
            if isinstance(state.task, Wait) and state.task.until is not None:
                state.task.until.check_types({each.name: each.type for each in has})
            if isinstance(state.task, Wait):
                self.refuse_keys(f"states.{state.name}.wait", state.task.params)
        if self.sharing.concurrency is not None:
            self.refuse_keys("concurrency.key", self.sharing.concurrency.params)

    def _check_names(self) -> None:
        self._check_keys()
        kinds = {state.name: state.final for state in self.states}
        if self.initial not in kinds:
            raise refusal(
                f'initial: there is no state "{self.initial}"{did_you_mean(self.initial, kinds)}',
                next_step=f"the states are {', '.join(kinds)}",
            )
        if kinds[self.initial] is not None:
            raise refusal(
                f'initial: state "{self.initial}" is final; nothing would ever run',
                next_step="begin in a state that has a task",
            )
        if kinds[FAILED_STATE] != "failure":
            raise refusal(
                f'state "{FAILED_STATE}" must be final, of kind "failure"',
                next_step=f"give the state that acts another name than {FAILED_STATE}",
            )
        for state in self.states:
            for each in state.on:
                if each.target not in kinds:
                    raise refusal(
                        f"states.{state.name}.on.{each.event}:"
                        f' there is no state "{each.target}"{did_you_mean(each.target, kinds)}',
                        next_step=f"the states are {', '.join(kinds)}",
                    )


def _completed(states: tuple[State, ...]) -> tuple[State, ...]:
    """Add `failed`, and its transitions wherever nothing certain is said of an event."""
    if all(state.name != FAILED_STATE for state in states):
        states = (*states, State(name=FAILED_STATE, final="failure"))
    return tuple(state if state.task is None else _failing(state) for state in states)


def _failing(state: State) -> State:
    added = tuple(
        Transition(event=event, target=FAILED_STATE)
        for event in (ERROR, TIMEOUT)
        if not any(each.is_certain for each in state.on_event(event))
    )
    return replace(state, on=state.on + added) if added else state
