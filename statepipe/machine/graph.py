"""
A machine as a picture: text for Mermaid and for Graphviz.

Moves between the same two states share an arrow. Tasks stand inside their state, with arrows to
those that need them. A state says its effect outside if no
ledger makes it exactly once, or if its author declares one. Nothing of the machine reaches the
text unescaped, so a guard cannot end a label and begin markup of its own.
"""

import re

from statepipe.effects import effect_of, is_http
from statepipe.errors import NotFound
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.waits import Wait
from statepipe.suggest import did_you_mean
from statepipe.units import format_duration

#: Words that Mermaid reads as syntax when a state is called so.
_MERMAID_WORDS = frozenset(
    {
        "accdescr",
        "acctitle",
        "as",
        "class",
        "classdef",
        "click",
        "default",
        "direction",
        "end",
        "graph",
        "note",
        "state",
        "style",
        "subgraph",
    }
)
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MERMAID_SAFE = re.compile(r"[^\w .,()=+*/?!'-]")


def mermaid(machine: Machine, current: str | None = None) -> str:
    """
    Return `machine` as a Mermaid state diagram.

    Args:
        machine: What to draw.
        current: A state to mark, for example where an instance is.

    Raises:
        NotFound: If there is no state `current`.
    """
    _check_current(machine, current)
    ids = {state.name: _mermaid_id(n, state.name) for n, state in enumerate(machine.states)}
    lines = ["stateDiagram-v2"]
    for n, state in enumerate(machine.states):
        named = f"    state {ids[state.name]}"
        if _shown(state) != ids[state.name]:
            named = f'    state "{_mermaid_text(_shown(state))}" as {ids[state.name]}'
        if isinstance(state.task, Graph):
            lines += [f"{named} {{", *_mermaid_tasks(n, state.task), "    }"]
        elif _shown(state) != ids[state.name]:
            lines.append(named)
    lines.append(f"    [*] --> {ids[machine.initial]}")
    for state in machine.states:
        lines += [
            f"    {ids[state.name]} --> {ids[target]} : {_mermaid_text(label)}"
            for target, label in _arrows(state).items()
        ]
    lines += [f"    {ids[state.name]} --> [*]" for state in machine.states if state.final]
    lines += [
        "    classDef success fill:#d5f5dd,stroke:#2b8a3e",
        "    classDef failure fill:#fde2e1,stroke:#c92a2a",
        "    classDef current stroke-width:4px,font-weight:bold",
    ]
    lines += [f"    class {ids[each.name]} {each.final}" for each in machine.states if each.final]
    if current is not None:
        lines.append(f"    class {ids[current]} current")
    return "\n".join(lines) + "\n"


def dot(machine: Machine, current: str | None = None) -> str:
    """
    Return `machine` as a Graphviz digraph.

    Args:
        machine: What to draw.
        current: A state to mark, for example where an instance is.

    Raises:
        NotFound: If there is no state `current`.
    """
    _check_current(machine, current)
    lines = [
        f"digraph {_dot_text(machine.name)} {{",
        "    rankdir=LR",
        '    node [shape=box, style="rounded,filled", fillcolor=white]',
        '    "" [shape=point]',
        f'    "" -> {_dot_text(machine.initial)}',
    ]
    for state in machine.states:
        node = _dot_node(state, is_current=state.name == current)
        if isinstance(state.task, Graph):
            node = _dot_tasks(state.name, state.task, node)
        lines.append(node)
    for state in machine.states:
        lines += [
            f"    {_dot_text(state.name)} -> {_dot_text(target)} [label={_dot_text(label)}]"
            for target, label in _arrows(state).items()
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _check_current(machine: Machine, current: str | None) -> None:
    names = [state.name for state in machine.states]
    if current is not None and current not in names:
        raise NotFound(
            f'machine "{machine.name}" has no state "{current}"{did_you_mean(current, names)}',
            meaning="nothing was drawn",
            next_step=f"its states are {', '.join(names)}",
        )


def _arrows(state: State) -> dict[str, str]:
    """Labels by target: "error, timeout", "invalid (at most 2 times)"."""
    labels: dict[str, list[str]] = {}
    for each in state.on:
        label = each.event
        if each.when is not None:
            label += f" [{each.when}]"
        if each.max_visits is not None:
            label += f" (at most {each.max_visits} times)"
        labels.setdefault(each.target, []).append(label)
    return {target: ", ".join(each) for target, each in labels.items()}


def _shown(state: State) -> str:
    task = state.task
    if isinstance(task, Wait):
        events = " or ".join(task.events)
        if task.dataset is not None:
            events = f"a {task.dataset.kind} of {task.dataset.machine}"
        what = f"for {events}, at most " if events else ""
        until = task.until and f"until {task.until.text} {task.until.tz}"
        return f"{state.name} (waits {what}{until or format_duration(task.ms)})"
    if isinstance(task, Job):
        return f"{state.name} (a job elsewhere, at most {format_duration(task.timeout_ms)})"
    if isinstance(task, Child):
        return f"{state.name} (machine {task.machine})"
    effect = task.effect if isinstance(task, Run | Load) else ""
    if isinstance(task, Load) and is_http(task.to):
        effect = effect_of(task.to, task.effect)
    return f"{state.name} ({effect})" if effect else state.name


def _task_shown(task: GraphTask) -> str:
    notes = [] if task.foreach is None else [f"each of {task.foreach}"]
    notes += [] if task.max_parallel is None else [f"{task.max_parallel} at once"]
    notes += {"halt": [], "skip": ["may be skipped"], "continue": ["may fail"]}[task.on_error]
    notes += [task.effect] if task.effect else []
    return f"{task.name} ({', '.join(notes)})" if notes else task.name


def _mermaid_tasks(n: int, graph: Graph) -> list[str]:
    # Capitals again, and numbers: no name of a state anywhere in the picture.
    ids = {task.name: f"T{n}_{number}" for number, task in enumerate(graph.tasks)}
    return [
        *(f'        state "{_mermaid_text(_task_shown(t))}" as {ids[t.name]}' for t in graph.tasks),
        *(f"        {ids[each]} --> {ids[t.name]}" for t in graph.tasks for each in t.needs),
    ]


def _mermaid_id(n: int, name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name not in _MERMAID_WORDS:
        return name
    return f"S{n}"  # a capital: no state can have that name itself


def _mermaid_text(text: str) -> str:
    one_line = " ".join(text.split())
    return _MERMAID_SAFE.sub(lambda match: f"#{ord(match[0])};", one_line)


def _dot_node(state: State, *, is_current: bool) -> str:
    options = []
    if state.final is not None:
        colour = "#d5f5dd" if state.final == "success" else "#fde2e1"
        options += ["peripheries=2", f'fillcolor="{colour}"']
    if is_current:
        options.append("penwidth=4")
    if (shown := _shown(state)) != state.name:
        options.append(f"label={_dot_text(shown)}")
    said = f" [{', '.join(options)}]" if options else ""
    return f"    {_dot_text(state.name)}{said}"


def _dot_tasks(state: str, graph: Graph, node: str) -> str:
    """The state's node in a box with its tasks, the first of which hang on it."""
    ids = {task.name: _dot_text(f"{state}.{task.name}") for task in graph.tasks}
    lines = [
        f"    subgraph {_dot_text(f'cluster_{state}')} {{",
        "        style=dotted",
        f"    {node}",
    ]
    for task in graph.tasks:
        lines.append(f"        {ids[task.name]} [label={_dot_text(_task_shown(task))}]")
        lines += [f"        {ids[each]} -> {ids[task.name]} [style=dashed]" for each in task.needs]
        if not task.needs:
            lines.append(f"        {_dot_text(state)} -> {ids[task.name]} [style=dashed]")
    return "\n".join([*lines, "    }"])


def _dot_text(text: str) -> str:
    one_line = " ".join(text.split())
    return '"' + one_line.replace("\\", "\\\\").replace('"', '\\"') + '"'
