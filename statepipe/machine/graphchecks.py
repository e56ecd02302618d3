"""
What is proved of the tasks of a graph: their functions, policies, and who makes batches for whom.

    check_graph     the findings in one state, and what the whole does with batches

That its needs lead in no circle is proved when it is built.
"""

from collections.abc import Callable, Iterator, Mapping

from statepipe.errors import DefinitionError
from statepipe.machine.definition import Machine, State
from statepipe.machine.findings import Finding, Role, error
from statepipe.machine.taskgraph import Graph, GraphTask
from statepipe.machine.taskmachine import task_machine
from statepipe.machine.tasks import Run

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
    gives = [task.name for task in graph.last if kinds[task.name] in _MAKES]
    if len(gives) > 1:
        findings.append(
            error(
                state,
                f"{' and '.join(gives)} make batches, and no other task needs them: which of them"
                " the state is to give on is not said",
                "let one task need the others, and yield what is to be given on",
            )
        )
    takes = any(not task.needs and kinds[task.name] == "map" for task in graph.tasks)
    if gives:
        return ("map" if takes else "source"), findings
    return ("sink" if takes else "call"), findings


def _fed(at: str, task: GraphTask, kinds: Mapping[str, str]) -> Iterator[Finding]:
    """Whoever takes batches needs one who makes them; a list is returned, not yielded."""
    makers = [need for need in task.needs if kinds[need] in _MAKES]
    unclear = any(kinds[need] == "unknown" for need in task.needs)
    if kinds[task.name] == "map" and task.needs and len(makers) != 1 and not unclear:
        whose = f"{' and '.join(makers)} make some" if makers else "none of its needs makes any"
        yield error(
            at,
            f"takes batches, and {whose}",
            "need one task that yields batches; def f(task), with task.batches, joins several",
        )
    if task.source is not None and kinds[task.source.need] in _MAKES:
        yield error(
            at,
            f'takes its list from the result of "{task.source.need}", which yields batches',
            "return the list instead, for example the names of the files",
        )
