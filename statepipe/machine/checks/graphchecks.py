"""
What is proved of the tasks of a graph: their functions, policies, and who makes batches for whom.

    check_graph     the findings in one state, and what the whole does with batches

That its needs lead in no circle is proved when it is built.
"""

from collections.abc import Callable, Iterator, Mapping

from statepipe.errors import DefinitionError
from statepipe.machine.checks.findings import Finding, Role, error
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.machine.taskmachine import task_machine

#: What makes batches.
_MAKES = ("source", "map")


def check_graph(
    machine: Machine,
    state: str,
    graph: Graph,
    *,
    functions: Callable[[Run], str],
    policies: Callable[[Machine, State], object],
) -> tuple[Role, list[Finding]]:
    """
    Return what the state does with batches, and everything that is wrong with its tasks.

    Args:
        machine: Whose state it is.
        state: Its name.
        graph: Its tasks.
        functions: As in `checker.check`.
        policies: As in `checker.check`.
    """
    kinds: dict[str, str] = {}
    findings: list[Finding] = []
    for task in graph.order:
        at = f"{state}.{task.name}"
        try:
            kinds[task.name] = "unknown"
            kinds[task.name] = functions(Run(function=task.function))
            findings += _fed(at, task, kinds)
        except DefinitionError as refused:
            findings.append(error(at, refused.message, refused.next_step))
        own = task_machine(machine, state, task)
        try:
            policies(own, own.state(own.initial))
        except DefinitionError as refused:
            findings.append(error(at, refused.message, refused.next_step))
    if "unknown" in kinds.values():
        return "unknown", findings
    if any(kinds[task.name] == "map" and not _makers(task, kinds) for task in graph.tasks):
        return "map", findings
    return ("source" if any(kind in _MAKES for kind in kinds.values()) else "call"), findings


def _fed(at: str, task: GraphTask, kinds: Mapping[str, str]) -> Iterator[Finding]:
    """Whoever takes batches takes them of one task; a list is returned, not yielded."""
    makers = _makers(task, kinds)
    if kinds[task.name] == "map" and len(makers) > 1:
        yield error(
            at,
            f"takes batches, and {' and '.join(makers)}, which it needs, both make some",
            f"def {task.name}(task), which joins task.batches of each, and yields",
        )
    if task.source is not None and task.source.need in makers:
        yield error(
            at,
            f'takes its list from the result of "{task.source.need}", which yields batches',
            "return the list instead, for example the names of the files",
        )


def _makers(task: GraphTask, kinds: Mapping[str, str]) -> list[str]:
    """Those of its needs that make batches; without any a map takes those of the state before."""
    return [need for need in task.needs if kinds[need] in _MAKES]
