"""
What is proved of a machine before it runs: the whole graph, and what each state names.

    check       every finding, errors first (findings: what one is)

Proved when the machine is built, so never found here: targets are known, guards parse,
names are names. Proved by construction: `cancel` from everywhere, a timeout in every
acting state (a policy without one cannot be written), `failed` as the last resort of
`error` and `timeout`. What needs a disk or an import is asked through five callables.
"""

from collections.abc import Callable, Iterator

from statepipe.machine.checks.childchecks import prove_children
from statepipe.machine.checks.effectchecks import check_effects
from statepipe.machine.checks.findings import Finding, Role, error, warning
from statepipe.machine.checks.guardchecks import check_guards
from statepipe.machine.checks.taskchecks import check_tasks
from statepipe.machine.definition import FAILED_STATE, Machine, State
from statepipe.machine.paths import graph_of, one_cycle, reached, reversed_graph
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.waits import Wait
from statepipe.model import ERROR, OK, TIMEOUT

_FAILURES = frozenset({ERROR, TIMEOUT})


def check(
    machine: Machine,
    *,
    functions: Callable[[Run], str],
    contracts: Callable[[str], object],
    tables: Callable[[Load], object],
    policies: Callable[[Machine, State], object],
    machines: Callable[[str], Machine],
) -> list[Finding]:
    """
    Return everything that is wrong with `machine`, errors first; [] if it is sound.

    Args:
        machine: The definition.
        functions: Imports the function of a task and returns its kind: "source", "map", "call".
        contracts: Reads the contract at a path of the machine.
        tables: Reads the contract that the table of a load is made from.
        policies: Resolves the policy of a state of the machine, or of one that a task becomes.
        machines: Gives another machine by its name.

    Each raises DefinitionError if it cannot, the last one also NotFound.
    """
    roles, found = check_tasks(
        machine, functions=functions, contracts=contracts, tables=tables, policies=policies
    )
    findings = [
        *found,
        *_events(machine),
        *_reachability(machine),
        *_cycles(machine),
        *_batches(machine, roles),
        *_watermarks(machine, roles),
        *check_effects(machine),
        *check_guards(machine),
        *prove_children(machine, machines),
    ]
    return sorted(findings, key=lambda each: each.severity != "error")


def _events(machine: Machine) -> Iterator[Finding]:
    """`ok` has a target; a list of choices ends in one that is certain, and in only one."""
    for state in machine.states:
        if state.task is not None and not _goes_on(state):
            yield error(state.name, f'"{OK}" has no target', f'on.{OK} = "the next state"')
        for event in dict.fromkeys(each.event for each in state.on):
            choices = state.on_event(event)
            certain = [n for n, each in enumerate(choices) if each.is_certain]
            if certain and certain[0] < len(choices) - 1:
                unused = choices[certain[0] + 1].target
                yield error(
                    state.name,
                    f'on.{event}: "{unused}" is never taken; the target before it always is',
                    "put the target without when and max_visits last",
                )
            if not certain and any(each.when is not None for each in choices):
                yield warning(
                    state.name,
                    f"on.{event}: if no guard holds the event leads nowhere",
                    f'on.{event} = [ …, "{FAILED_STATE}" ]',
                )


def _reachability(machine: Machine) -> Iterator[Finding]:
    """Everything is reached, and an end is reached from everything, without failing."""
    graph = graph_of(machine)
    live = reached(graph, [machine.initial])
    ends = {state.name: state.final for state in machine.states if state.final is not None}
    # Every acting state reaches an end by failing; the proof is worth something
    # only for the ways an author meant.
    meant = graph_of(machine, lambda each: each.event not in _FAILURES)
    ending = reached(reversed_graph(meant), ends)
    failures = [name for name, kind in ends.items() if kind == "failure"]
    failing = reached(reversed_graph(graph), failures)
    for state in machine.states:
        if state.name not in live and state.name != FAILED_STATE:
            yield error(
                state.name,
                f'cannot be reached from "{machine.initial}"',
                "lead a transition to it, or remove it",
            )
        elif state.task is not None and _goes_on(state) and state.name not in ending:
            yield error(
                state.name,
                "reaches no final state except by failing",
                'lead a transition towards a state with final = "success"',
            )
        if state.task is not None and state.name not in failing:
            yield error(state.name, "has no way to fail", f'lead "{ERROR}" to "{FAILED_STATE}"')
    if not any(ends.get(name) == "success" for name in live):
        yield warning(
            None,
            "no final state of kind success can be reached",
            'add a state with final = "success"',
        )


def _cycles(machine: Machine) -> Iterator[Finding]:
    """Without the moves that have a limit there is no way back to anywhere."""
    unbounded = graph_of(machine, lambda each: each.max_visits is None)
    if cycle := one_cycle(unbounded):
        way = " -> ".join((*cycle, cycle[0]))
        yield error(
            cycle[0],
            f"the cycle {way} has no bound",
            "give one of its transitions max_visits, "
            f'for example {{ to = "{cycle[0]}", max_visits = 2 }}',
        )


def _batches(machine: Machine, roles: dict[str, Role]) -> Iterator[Finding]:
    """Whoever takes batches comes after somebody who made them, on every path."""
    hungry: set[str] = set()
    waiting = [machine.initial]
    while waiting:
        name = waiting.pop()
        if name in hungry:
            continue
        hungry.add(name)
        feeds = roles.get(name, "call") != "call"
        waiting += [
            each.target
            for each in machine.state(name).on
            # A task that failed has not made its batches.
            if not feeds or each.event in _FAILURES
        ]
    for state in machine.states:
        if state.name in hungry and roles.get(state.name) in {"map", "sink"}:
            yield error(
                state.name,
                f"{_taking(state)}, and there is a path to it on which no state makes any",
                "lead every path through a source: a generator function of one parameter",
            )


def _watermarks(machine: Machine, roles: dict[str, Role]) -> Iterator[Finding]:
    """Only a source has a watermark; what it reads again must be upserted, nothing else."""
    loads = [(state.name, state.task) for state in machine.states if isinstance(state.task, Load)]
    appends = [name for name, load in loads if load.mode == "append"]
    replaces = [name for name, load in loads if load.mode == "replace"]
    for state in machine.states:
        mark = state.task.watermark if isinstance(state.task, Run) else None
        if mark is None:
            continue
        if roles.get(state.name) not in {"source", "unknown"}:
            yield error(
                state.name,
                "has a watermark, and its function is no source",
                "yield batches, or remove watermark",
            )
        if appends and (mark.lookback or mark.lookback_ms):
            yield warning(
                state.name,
                f'looks back, and "{appends[0]}" appends: rows that are read again are'
                " loaded twice",
                f'give the load of "{appends[0]}" a key, or remove lookback',
            )
        if replaces:
            yield warning(
                state.name,
                f'reads only what is new, and "{replaces[0]}" replaces: what was loaded'
                " before goes",
                f'give the load of "{replaces[0]}" a key instead, or remove watermark',
            )


def _goes_on(state: State) -> bool:
    """Return True if its work, once well done, leads somewhere; a wait's events always do."""
    return isinstance(state.task, Wait) or bool(state.on_event(OK))


def _taking(state: State) -> str:
    if isinstance(state.task, Load):
        return "loads batches"
    return "validates batches" if isinstance(state.task, Validate) else "takes batches"
