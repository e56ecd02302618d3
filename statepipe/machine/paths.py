"""
Who reaches whom: the few graph questions that the table and the checker ask.
"""

from collections.abc import Callable, Iterable, Mapping

from statepipe.machine.definition import Machine, Transition

#: Successors by state name.
Graph = Mapping[str, frozenset[str]]


def graph_of(
    machine: Machine, keep: Callable[[Transition], bool] = lambda _transition: True
) -> Graph:
    """Return the states and where their transitions lead, of those transitions that `keep`."""
    return {
        state.name: frozenset(each.target for each in state.on if keep(each))
        for state in machine.states
    }


def reached(graph: Graph, starts: Iterable[str]) -> frozenset[str]:
    """Return the states that can be reached from `starts`, themselves included."""
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph[name] - seen)
    return frozenset(seen)


def reversed_graph(graph: Graph) -> Graph:
    """Return `graph` with every arrow turned round."""
    return {name: frozenset(each for each in graph if name in graph[each]) for name in graph}


def on_cycles(graph: Graph) -> frozenset[str]:
    """Return the states that can come back to themselves."""
    return frozenset(name for name in graph if name in reached(graph, graph[name]))


def one_cycle(graph: Graph) -> tuple[str, ...]:
    """Return the states of one cycle, in order, beginning with its first by name; or ()."""
    for start in sorted(on_cycles(graph)):
        came_from: dict[str, str] = {}
        waiting = [start]
        while waiting:
            name = waiting.pop(0)
            for target in sorted(graph[name]):
                if target == start:
                    return (start, *_trail(came_from, start, name))
                if target not in came_from:
                    came_from[target] = name
                    waiting.append(target)
    return ()


def _trail(came_from: Mapping[str, str], start: str, end: str) -> tuple[str, ...]:
    trail: list[str] = []
    while end != start:
        trail.append(end)
        end = came_from[end]
    return tuple(reversed(trail))
