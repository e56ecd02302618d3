"""
What is proved of the work of each state alone: functions, contracts and policies are there.

    check_tasks     the findings, and what each state does with batches
"""

from collections.abc import Callable, Iterator

from statepipe.errors import DefinitionError
from statepipe.machine.checks.findings import Finding, Role, error
from statepipe.machine.checks.graphchecks import check_graph
from statepipe.machine.definition import Machine, State
from statepipe.machine.names import reference_of
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.waits import Wait


def check_tasks(
    machine: Machine,
    *,
    functions: Callable[[Run], str],
    contracts: Callable[[str], object],
    tables: Callable[[Load], object],
    policies: Callable[[Machine, State], object],
) -> tuple[dict[str, Role], list[Finding]]:
    """
    Return what each acting state does with batches, and what is wrong with what it names.

    Args:
        machine: The definition.
        functions: As in `checker.check`.
        contracts: As in `checker.check`.
        tables: As in `checker.check`.
        policies: As in `checker.check`.
    """
    roles: dict[str, Role] = {}
    findings = [
        *_tasks(
            machine,
            roles,
            functions=functions,
            contracts=contracts,
            tables=tables,
            policies=policies,
        ),
        *_cleanup(machine, functions=functions, policies=policies),
        *_jobs(machine, functions=functions),
        *_schemas(machine, contracts=contracts),
        *_partitions(machine, functions=functions),
    ]
    return roles, findings


def _tasks(
    machine: Machine,
    roles: dict[str, Role],
    *,
    functions: Callable[[Run], str],
    contracts: Callable[[str], object],
    tables: Callable[[Load], object],
    policies: Callable[[Machine, State], object],
) -> Iterator[Finding]:
    """Functions, contracts and policies; fills in `roles` on the way."""
    for state in machine.states:
        if state.task is None:
            continue
        try:
            roles[state.name] = "unknown"
            if isinstance(state.task, Run):
                roles[state.name] = _role(functions(state.task))
                yield from _watch(state.name, state.task, roles[state.name])
            elif isinstance(state.task, Validate):
                roles[state.name] = "map"
                yield from _judge(state.name, state.task, functions=functions, contracts=contracts)
            elif isinstance(state.task, Graph):
                roles[state.name], wrong = check_graph(
                    machine, state.name, state.task, functions=functions, policies=policies
                )
                yield from wrong
            elif isinstance(state.task, Wait | Job | Child):
                roles[state.name] = "call"
            else:
                roles[state.name] = "sink"
                if state.task.contract is not None:
                    tables(state.task)
        except DefinitionError as refused:
            yield error(state.name, refused.message, refused.next_step)
        try:
            policies(machine, state)
        except DefinitionError as refused:
            yield error(state.name, refused.message, refused.next_step)


def _role(kind: str) -> Role:
    if kind == "source":
        return "source"
    return "map" if kind == "map" else "call"


def _watch(state: str, task: Run, role: Role) -> Iterator[Finding]:
    """Drift is watched, and raw data kept, where records come in."""
    if task.drift is not None and role != "source":
        yield error(
            state,
            f"drift is watched of a source, and {task.reference} is none",
            "move drift to the state whose function yields the batches",
        )
    if task.raw is not None and role != "source":
        yield error(
            state,
            f"raw data is kept of a source, and {task.reference} is none",
            "move raw to the state whose function yields the batches",
        )


def _judge(
    state: str,
    task: Validate,
    *,
    functions: Callable[[Run], str],
    contracts: Callable[[str], object],
) -> Iterator[Finding]:
    """Every accepted version can be read, and its function takes one record."""
    for path in task.contracts:
        contracts(path)
    for version, function in task.upcast.items():
        if functions(Run(function=function)) != "call":
            yield error(
                state,
                f"{function}, the upcaster of version {version}, is no function of one record",
                f"def {function.rpartition(':')[2]}(record), which returns the newer record",
            )


def _cleanup(
    machine: Machine,
    *,
    functions: Callable[[Run], str],
    policies: Callable[[Machine, State], object],
) -> Iterator[Finding]:
    """What runs on a cancel is a function of the task alone."""
    state = machine.on_cancel
    if state is None or not isinstance(state.task, Run):
        return
    try:
        if functions(state.task) != "call":
            yield error(
                state.name,
                f"on_cancel: {state.task.reference} makes or takes batches",
                f"def {state.task.reference.rpartition(':')[2]}(task), which yields nothing",
            )
        policies(machine, state)
    except DefinitionError as refused:
        yield error(state.name, f"on_cancel: {refused.message}", refused.next_step)


def _jobs(machine: Machine, *, functions: Callable[[Run], str]) -> Iterator[Finding]:
    """The functions of a job take the task, all but the first of them the handle as well."""
    jobs = [(state.name, state.task) for state in machine.states if isinstance(state.task, Job)]
    for name, key, function in (
        (name, *each) for name, job in jobs for each in job.functions.items()
    ):
        said, given = reference_of(function), "task" if key == "submit" else "task, handle"
        try:
            kind = functions(Run(function=function))
        except DefinitionError as refused:
            yield error(name, refused.message, refused.next_step)
            continue
        if kind != ("call" if key == "submit" else "map"):
            yield error(
                name,
                f"{key} = {said} does not take {given.replace(', ', ' and ')}",
                f"def {said.rpartition(':')[2]}({given})",
            )


def _schemas(machine: Machine, *, contracts: Callable[[str], object]) -> Iterator[Finding]:
    """The schemas of events can be read."""
    for path in (rule.schema for rule in machine.events if rule.schema is not None):
        try:
            contracts(path)
        except DefinitionError as refused:
            yield error(None, refused.message, refused.next_step)


def _partitions(machine: Machine, *, functions: Callable[[Run], str]) -> Iterator[Finding]:
    """The function that lists the keys can be asked for them."""
    source = None if machine.partition is None else machine.partition.source
    if source is None:
        return
    run = Run(function=source)
    try:
        kind = functions(run)
    except DefinitionError as refused:
        yield error(None, refused.message, refused.next_step)
        return
    if kind == "map":
        yield error(
            None,
            f"{run.reference}, which lists the partitions, takes more than the parameters",
            f"def {run.reference.rpartition(':')[2]}(params), which returns the keys",
        )
