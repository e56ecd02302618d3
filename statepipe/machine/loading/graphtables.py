"""
What a state's `tasks` say, as a Graph.

    graph_of    the table of all of them, to the graph
"""

from collections.abc import Mapping
from typing import Any, Final

from statepipe.machine.reading import at, names_of, needed, retry_of, table_of, text_of
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.policy import STATE_KEYS
from statepipe.tables import known, refusal

#: Keys whose values a GraphTask looks at itself.
_CHECKED: Final = ("on_error", "when_skipped", "foreach", "max_parallel")
_TASK: Final = ("run", "needs", *_CHECKED, "effect", "retry", "uses", *STATE_KEYS)
_ELSEWHERE: Final = "give it a state of its own, before this one or after it"
#: Keys of states that tasks do not have, and what to do instead.
_NOT_HERE: Final[Mapping[str, str]] = {
    "contract": f"{_ELSEWHERE}: a contract judges the batches of a whole state",
    "load": f"{_ELSEWHERE}: a load takes the batches of a whole state",
    "wait": f"{_ELSEWHERE}: tasks work, states wait",
    "tasks": "write its tasks among the others, and say what they need",
    "machine": f"{_ELSEWHERE}: a state has one child machine",
    "watermark": f"{_ELSEWHERE}: a watermark is of a state with one source",
    "drift": f"{_ELSEWHERE}: drift is watched of a state with one source",
    "raw": f"{_ELSEWHERE}: raw data is kept of a state with one source",
    "on": 'say on_error = "halt", "skip" or "continue"; the transitions are the state\'s',
    "notify": "write it into a final state, or up to the machine",
}


def graph_of(value: object) -> Graph:
    """
    Return the graph that the table of a state's tasks describes.

    Raises:
        DefinitionError: If a key is unknown or missing, a value makes no sense, or the tasks
            do not fit together.
    """
    tasks = table_of("tasks", value)
    return Graph(tasks=tuple(_task(name, table) for name, table in tasks.items()))


def _task(name: str, value: object) -> GraphTask:
    with at(f"tasks.{name}"):
        table = {"run": value} if isinstance(value, str) else table_of(None, value)
        for key in table:
            if key in _NOT_HERE:
                raise refusal(f"{key} is not of a task", next_step=_NOT_HERE[key])
        known(table, _TASK)
        needed(table, ("run",))
        said: Mapping[str, Any] = {key: table[key] for key in _CHECKED if key in table}
        return GraphTask(
            name=name,
            function=text_of("run", table["run"]),
            needs=names_of("needs", table, example="rates"),
            retry=retry_of(table),
            settings={key: table[key] for key in STATE_KEYS if key in table},
            uses=names_of("uses", table, example="crm-api"),
            effect=text_of("effect", table.get("effect", "")),
            **said,
        )
