"""
A state whose work is done by instances of their own: several tasks, or another machine.

    Graph       tasks that need each other's results; each is an instance (see `taskmachine`)
    GraphTask   one of them: its function, what it needs, what its failure means for the others
    Child       an instance of another machine of the author's

What is to be done next, once some of them have ended, is decided by `taskplan`. What both have
in common is checked here: who is named is there, and nobody waits for himself.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import Any, Final

from statepipe.effects import EFFECTS
from statepipe.filling import has_braces, params_in, value_of, whole
from statepipe.machine.names import (
    check_function,
    check_name,
    check_names,
    check_once,
    check_one_of,
    check_policy,
)
from statepipe.machine.parameter import Param
from statepipe.machine.states.foreach import ELEMENTS_MAX, Foreach
from statepipe.model import CANCELLED_STATE, ERROR, OK, SKIPPED, TIMEOUT
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

TASKS_MAX: Final = 100

#: What the failure of a task means for the others: nothing new begins, and the state ends with
#: `error`; it counts as skipped; or they go on without its result.
ON_ERROR: Final = ("halt", "skip", "continue")
#: What a task does of which a need was skipped: it is skipped as well, or it runs without.
WHEN_SKIPPED: Final = ("skip", "run")

#: The other states of the machine that a task becomes, and what is skipped in the state's result.
_TAKEN: Final = ("done", "failed", CANCELLED_STATE, "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTask:
    """
    One task of several in a state.

    Attributes:
        name: Its name.
        function: As in `Run`: "module:name", or the function itself.
        needs: The tasks whose results it needs; it begins when they have ended.
        on_error: One of ON_ERROR.
        when_skipped: One of WHEN_SKIPPED.
        foreach: Where in the results of its needs a list is of which each element is worked on
            alone: "result.files", or "results.TASK.files" if it needs several. None: no list.
        max_parallel: How many elements are worked on at once, 1..10,000; None: all.
        retry: As in `State`.
        settings: As in `State`.
        uses: As in `State`.
        effect: As in `Run`.
    """

    name: str
    function: str | Callable[..., Any]
    needs: tuple[str, ...] = ()
    on_error: str = "halt"
    when_skipped: str = "skip"
    foreach: str | None = None
    max_parallel: int | None = None
    retry: str | Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    effect: str = ""
    #: `foreach`, taken apart.
    source: Foreach | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse bad names and values, and a list in the result of what it does not need."""
        check_name("task", self.name)
        if self.name in _TAKEN:
            raise refusal(
                f'"{self.name}" is what the end of a task is called, and names none',
                next_step="use another name",
            )
        check_function(self.function)
        check_names("needs", self.needs)
        check_once("needs: task", list(self.needs))
        check_names("uses", self.uses)
        check_once("uses: resource", list(self.uses))
        check_one_of("on_error", self.on_error, ON_ERROR)
        check_one_of("when_skipped", self.when_skipped, WHEN_SKIPPED)
        if self.effect:
            check_one_of("effect", self.effect, EFFECTS)
        check_policy(self.settings, self.retry, where=f'task "{self.name}"')
        listed = None if self.foreach is None else Foreach.of(self.foreach, needs=self.needs)
        object.__setattr__(self, "source", listed)
        self._check_max_parallel()
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        if isinstance(self.retry, Mapping):
            object.__setattr__(self, "retry", MappingProxyType(dict(self.retry)))

    def _check_max_parallel(self) -> None:
        most = self.max_parallel
        if most is None:
            return
        if self.foreach is None:
            raise refusal(
                "max_parallel bounds the elements of a list, and there is no foreach",
                next_step='foreach = "result.files", or parallel = 4 for several batches at once',
            )
        if type(most) is not int or not 1 <= most <= ELEMENTS_MAX:
            raise refusal(
                f"max_parallel is {most!r}, outside 1..{ELEMENTS_MAX}",
                next_step="max_parallel = 4",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """
    Several tasks in one state, run side by side as far as they do not need each other.

    Attributes:
        tasks: 1..100 of them, as their author lists them.
        order: The same, each behind all that it needs.

    Raises:
        DefinitionError: Two have one name, one needs what is not there, or they wait for
            each other.
    """

    tasks: tuple[GraphTask, ...]
    order: tuple[GraphTask, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the whole."""
        if not 1 <= len(self.tasks) <= TASKS_MAX:
            raise refusal(
                f"there are {len(self.tasks)} tasks, outside 1..{TASKS_MAX}",
                next_step='tasks.enrich = { run = "module:function" }; for more than'
                f" {TASKS_MAX} of one kind there is foreach",
            )
        check_once("task", [task.name for task in self.tasks])
        by_name = {task.name: task for task in self.tasks}
        for task in self.tasks:
            for need in task.needs:
                if need not in by_name:
                    raise refusal(
                        f'tasks.{task.name}.needs: there is no task "{need}"'
                        f"{did_you_mean(need, by_name)}",
                        next_step=f"the tasks are {', '.join(by_name)}",
                    )
        try:
            order = [*TopologicalSorter({t.name: t.needs for t in self.tasks}).static_order()]
        except CycleError as error:
            way = " -> ".join(error.args[1])
            raise refusal(
                f"the tasks {way} need each other in a circle: none of them could begin",
                next_step="remove one of these needs",
            ) from None
        object.__setattr__(self, "order", tuple(by_name[name] for name in order))

    def task(self, name: str) -> GraphTask | None:
        """Return the task called `name`, or None."""
        return next((task for task in self.tasks if task.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """
    An instance of another machine, begun when the state is entered; the state ends with it.

    Attributes:
        machine: Its name.
        params: What it is given, by name of its parameters: plain values, and texts with
            the parent's parameters in them, such as "{params.day}".
    """

    machine: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what names no machine, and a text whose braces name no parameter."""
        check_name("machine", self.machine)
        if not isinstance(self.params, Mapping):
            raise refusal(
                f"params is {self.params!r}, not a table",
                next_step='params = { day = "{params.day}" }',
            )
        for name, value in self.params.items():
            if isinstance(value, str) and has_braces(value):
                raise refusal(
                    f"params.{name} is {value!r}, not a text with parameters in it",
                    next_step=f'params = {{ {name} = "{{params.day}}" }}, for example',
                )
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    def given(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return what the child is given by a parent that has `params`.

        What is nothing but a parameter of the parent keeps its type; if the parent has no value
        for it, the child is given none, and its own default counts.
        """
        values = {
            name: value_of(value, params) if isinstance(value, str) else value
            for name, value in self.params.items()
        }
        return {name: value for name, value in values.items() if value is not None}

    def refuse_unknown(self, state: str, declared: Collection[Param]) -> None:
        """
        Refuse a text with a parameter in it that the parent does not have.

        Args:
            state: The parent's state.
            declared: The parent's parameters.

        Raises:
            DefinitionError: It has none of that name, or one that may be absent in the midst of
                a text.
        """
        have = {each.name: each.required or each.default is not None for each in declared}
        for name, value in self.params.items():
            for asked in params_in(value) if isinstance(value, str) else ():
                if not have.get(asked, False) and not (asked in have and whole(value)):
                    raise refusal(
                        f'states.{state}.params.{name}: there is no parameter "{asked}" that every'
                        f" instance has{did_you_mean(asked, have)}",
                        next_step=f"those are {', '.join(n for n in have if have[n]) or 'none'}",
                    )


def refuse_events(state: str, events: Collection[str], task: Graph | Child) -> None:
    """
    Refuse transitions that no graph and no child machine takes.

    Raises:
        DefinitionError: One of `events` is none of ok, error and timeout, nor, of a child
            machine, skipped.
    """
    takes = (OK, ERROR, TIMEOUT, SKIPPED) if isinstance(task, Child) else (OK, ERROR, TIMEOUT)
    for event in events:
        if event not in takes:
            raise refusal(
                f'on.{event} of "{state}" is never taken: tasks and child machines end with'
                f' "{OK}" or "{ERROR}"{did_you_mean(event, takes)}',
                next_step=f'choose by the result: on.{OK} = [{{ to = …, when = "result.…" }}, …]',
            )
