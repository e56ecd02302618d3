"""Pictures: what they show, and that no text of a machine gets out of its label."""

import re
from pathlib import Path

import pytest

from statepipe.errors import NotFound
from statepipe.machine.definition import State
from statepipe.machine.graph import dot, mermaid
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.machine.states.tasks import Load, Run
from tests.unit.building import acting, orders, pipeline, to

HOSTILE = to("done", when="""'"];<script>{x}--> %% \\n' == 'x'""".replace("\\", ""))


def test_the_mermaid_text_is_this(tmp_path: Path) -> None:
    """Arrows of one pair are joined, ends are coloured, the current state is marked."""
    assert (
        mermaid(orders(tmp_path), current="cleaning")
        == """\
stateDiagram-v2
    [*] --> extracting
    extracting --> validating : ok
    extracting --> done : empty
    extracting --> failed : error, timeout
    validating --> loading : ok #91;records #62; 0#93;
    validating --> done : ok
    validating --> cleaning : invalid (at most 2 times)
    validating --> failed : error, timeout
    cleaning --> extracting : ok
    cleaning --> failed : error, timeout
    loading --> done : ok
    loading --> failed : error, timeout
    done --> [*]
    failed --> [*]
    classDef success fill:#d5f5dd,stroke:#2b8a3e
    classDef failure fill:#fde2e1,stroke:#c92a2a
    classDef current stroke-width:4px,font-weight:bold
    class done success
    class failed failure
    class cleaning current
"""
    )


def test_the_dot_text_is_this() -> None:
    """The same in the language of Graphviz."""
    machine = pipeline(acting("a", to("done", when="records > 0"), to("failed")))

    assert (
        dot(machine, current="a")
        == """\
digraph "m" {
    rankdir=LR
    node [shape=box, style="rounded,filled", fillcolor=white]
    "" [shape=point]
    "" -> "a"
    "a" [penwidth=4]
    "done" [peripheries=2, fillcolor="#d5f5dd"]
    "failed" [peripheries=2, fillcolor="#fde2e1"]
    "a" -> "done" [label="ok [records > 0]"]
    "a" -> "failed" [label="ok, error, timeout"]
}
"""
    )


def test_names_that_mermaid_would_misread_get_an_alias() -> None:
    """Its own words, and names with a hyphen."""
    text = mermaid(pipeline(acting("end", to("b-1")), acting("b-1", to("done")), initial="end"))

    assert 'state "end" as S0' in text
    assert 'state "b-1" as S1' in text
    assert "[*] --> S0" in text
    assert "S0 --> S1 : ok" in text


SEVERAL = Graph(
    tasks=(
        GraphTask(name="list", function="m:f", on_error="continue"),
        GraphTask(name="end", function="m:f", on_error="skip", effect="at_least_once"),
        GraphTask(
            name="x-1",
            function="m:f",
            needs=("list", "end"),
            foreach="results.list",
            max_parallel=4,
        ),
    )
)


def test_tasks_stand_inside_their_state() -> None:
    """With arrows to those that need them, and what is odd about them; a child says its machine."""
    work = State(name="work", task=SEVERAL, on=(to("child"),))
    child = State(name="child", task=Child(machine="refresh"), on=(to("done"),))
    machine = pipeline(work, child, initial="work")

    assert mermaid(machine).startswith("""\
stateDiagram-v2
    state work {
        state "list (may fail)" as T0_0
        state "end (may be skipped, at_least_once)" as T0_1
        state "x-1 (each of results.list, 4 at once)" as T0_2
        T0_0 --> T0_2
        T0_1 --> T0_2
    }
    state "child (machine refresh)" as child
    [*] --> work
""")
    assert """\
    subgraph "cluster_work" {
        style=dotted
        "work" [penwidth=4]
        "work.list" [label="list (may fail)"]
        "work" -> "work.list" [style=dashed]
        "work.end" [label="end (may be skipped, at_least_once)"]
        "work" -> "work.end" [style=dashed]
        "work.x-1" [label="x-1 (each of results.list, 4 at once)"]
        "work.list" -> "work.x-1" [style=dashed]
        "work.end" -> "work.x-1" [style=dashed]
    }
    "child" [label="child (machine refresh)"]
""" in dot(machine, "work")


@pytest.mark.parametrize(
    ("task", "effect"),
    [
        (Load(to="https://h/x"), "at_least_once"),
        (Load(to="https://h/x", effect="exactly_once"), "exactly_once"),
        (Load(to="sqlite:///w.db", table="t"), ""),
        (Run(function="m:f", effect="at_least_once"), "at_least_once"),
    ],
)
def test_a_state_says_its_effect_where_no_ledger_settles_it(task: Load | Run, effect: str) -> None:
    """Who looks at the picture sees where something may arrive twice."""
    machine = pipeline(State(name="a", task=task, on=(to("done"),)))

    assert (f'state "a ({effect})" as a' in mermaid(machine)) == bool(effect)
    assert (f'"a" [label="a ({effect})"]' in dot(machine)) == bool(effect)
    assert "a --> done : ok" in mermaid(machine)


def test_a_guard_cannot_leave_its_label() -> None:
    """Quotes, brackets, tags, semicolons and comments are escaped in both languages."""
    machine = pipeline(acting("a", HOSTILE, to("failed")))

    arrow = next(line for line in mermaid(machine).splitlines() if "a --> done" in line)
    label = arrow.split(" : ")[1]
    assert re.sub(r"#\d+;", "", label).isascii()
    assert not set('"<>;[]{}%#') & set(re.sub(r"#\d+;", "", label))
    strings = re.sub(r'"(?:[^"\\]|\\.)*"', "", dot(machine))
    assert "script" not in strings
    assert strings.count("{") == strings.count("}") == 1


def test_a_state_that_is_not_there_cannot_be_marked() -> None:
    """The nearest name is offered."""
    machine = pipeline(acting("a", to("done")), State(name="odd", final="failure"))

    for draw in (mermaid, dot):
        with pytest.raises(NotFound, match='no state "don"; did you mean "done"'):
            draw(machine, current="don")
