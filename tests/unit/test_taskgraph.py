"""Several tasks in a state, and child machines, as written: what is refused, and what counts."""

import datetime as dt
from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.definition import Machine, State
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.foreach import ELEMENTS_MAX, Foreach
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from tests.unit.building import to, written

TEXT = """\
machine = "orders"
version = 1
initial = "transforming"

[params]
day = { type = "date", default = "today" }
shop = { required = false }

[states.transforming]
timeout = "1h"
tasks.rates = "orders:rates"
tasks.crm = { run = "orders:crm", on_error = "skip", retry = "transient", uses = ["crm-api"] }
tasks.pages = { run = "orders:page", needs = "rates", foreach = "result.pages", max_parallel = 4 }
tasks.join = { run = "orders:join", needs = ["pages", "crm"], when_skipped = "run", timeout = "9m" }
on = { ok = "refreshing" }

[states.refreshing]
machine = "refresh"
params = { day = "{params.day}", file = "orders-{params.day}.csv", full = true }
on = { ok = "done", error = "done" }

[states.done]
final = "success"
"""


def loaded(folder: Path, *edits: str) -> Machine:
    """Return the machine of the file, in which every other text is replaced by the next."""
    text = TEXT
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return load_machine(written(folder, text))


def test_a_file_says_what_python_says(tmp_path: Path) -> None:
    """Tasks have the keys of a state that runs a function, and those of a graph."""
    machine = loaded(tmp_path)

    assert machine.state("transforming") == State(
        name="transforming",
        task=Graph(
            tasks=(
                GraphTask(name="rates", function="orders:rates"),
                GraphTask(
                    name="crm",
                    function="orders:crm",
                    on_error="skip",
                    retry="transient",
                    uses=("crm-api",),
                ),
                GraphTask(
                    name="pages",
                    function="orders:page",
                    needs=("rates",),
                    foreach="result.pages",
                    max_parallel=4,
                ),
                GraphTask(
                    name="join",
                    function="orders:join",
                    needs=("pages", "crm"),
                    when_skipped="run",
                    settings={"timeout": "9m"},
                ),
            )
        ),
        settings={"timeout": "1h"},
        on=(to("refreshing"), to("failed", "error"), to("failed", "timeout")),
    )
    given = {"day": "{params.day}", "file": "orders-{params.day}.csv", "full": True}
    assert machine.state("refreshing").task == Child(machine="refresh", params=given)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            '"orders:rates"',
            '{ run = "orders:rates", needs = ["join"] }',
            "states.transforming: the tasks rates -> pages -> join -> rates need each other in a",
        ),
        ('"orders:rates"', '{ run = "orders:rates", needs = ["rates"] }', "rates -> rates need"),
        ('needs = "rates"', 'needs = "rate"', 'no task "rate"; did you mean "rates"?'),
        ('needs = "rates"', 'needs = ["rates", "rates"]', 'needs: task "rates" is there twice'),
        ('needs = "rates", ', "", "tasks.pages: foreach takes its list from the result of a task"),
        ("result.pages", "results.pages", "is in the result of no task that is needed"),
        ("result.pages", "result.", "not the place of a list"),
        ('needs = "rates"', 'needs = ["rates", "crm"]', "and there are 2 needs"),
        ('foreach = "result.pages", ', "", "max_parallel bounds the elements of a list"),
        ("max_parallel = 4", "max_parallel = 0", "max_parallel is 0, outside 1..10000"),
        ('on_error = "skip"', 'on_error = "skp"', "there is no 'skp'; did you mean \"skip\"?"),
        ('when_skipped = "run"', 'when_skipped = "ran"', "when_skipped: there is no 'ran'"),
        ('on_error = "skip"', 'on_eror = "skip"', 'tasks.crm: unknown key "on_eror"; did you'),
        ('on_error = "skip"', 'watermark = "at"', "tasks.crm: watermark is not of a task"),
        ('run = "orders:crm"', 'contract = "c.json"', "tasks.crm: contract is not of a task"),
        ('on_error = "skip"', 'load = { to = "x" }', "tasks.crm: load is not of a task"),
        ('on_error = "skip"', 'wait = { for = "1h" }', "tasks.crm: wait is not of a task"),
        ('run = "orders:crm", ', "", 'tasks.crm: key "run" is missing'),
        ("orders:crm", "orders", "tasks.crm: 'orders' does not name a function"),
        ("tasks.rates =", "tasks.done =", '"done" is what the end of a task is called'),
        ("tasks.rates =", "tasks.skipped =", '"skipped" is what the end of a task is called'),
        ("tasks.rates =", "tasks.Rates =", "'Rates' is not a name"),
        ('timeout = "9m"', 'timeout = "soon"', 'task "join": timeout: '),
        ('retry = "transient"', "retry = { max_attempts = 0 }", "max_attempts is 0"),
        ('retry = "transient"', "retry = 3", "retry is 3, neither the name of a policy nor"),
        ('timeout = "1h"', "batch_size = 1", 'state "transforming" leaves its work to others'),
        ("[states.refreshing]", '[states.refreshing]\nuses = ["crm-api"]', "leaves its work to"),
        ("[states.refreshing]", '[states.refreshing]\nrun = "m:f"', "must have exactly one of run"),
        ('machine = "refresh"', 'run = "m:f"', 'key "params" belongs to a state that has a child'),
        ('machine = "refresh"', 'machine = "a/b/c"', "'a/b/c' is not a name"),
        ('machine = "orders"', 'machine = "orders/a/b"', "'orders/a/b' is not a name"),
        ('day = "{params.day}"', 'day = "{params.dya}"', 'no parameter "dya" that every instance'),
        ('day = "{params.day}"', 'day = "{params.day"', "not a text with parameters in it"),
        ("orders-{params.day}", "orders-{params.shop}", 'no parameter "shop" that every instance'),
        ('error = "done" }', 'invalid = "done" }', 'on.invalid of "refreshing" is never taken'),
        ('ok = "refreshing"', 'skipped = "refreshing"', 'on.skipped of "transforming" is never'),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """With the place, and what to write instead."""
    with pytest.raises(DefinitionError) as refusal:
        loaded(tmp_path, old, new)

    assert told in refusal.value.message
    assert refusal.value.next_step


def test_a_graph_has_tasks_and_not_too_many() -> None:
    """For many of one kind there is foreach."""
    tasks = tuple(GraphTask(name=f"t{n}", function="m:f") for n in range(101))

    for some in ((), tasks):
        with pytest.raises(DefinitionError, match=f"there are {len(some)} tasks, outside"):
            Graph(tasks=some)
    assert Graph(tasks=tasks[:100]).tasks == tasks[:100]
    with pytest.raises(DefinitionError, match='task "t1" is there twice'):
        Graph(tasks=(tasks[1], tasks[1]))


def test_a_list_is_found_in_the_result_of_a_need() -> None:
    """By keys, or the result itself; anything else is told as it is."""
    needs = ("a", "b-1")
    found = {"a": {"files": ["x"], "n": 3}, "b-1": ("y", "z")}

    assert Foreach.of("results.a.files", needs=needs).items(found) == ["x"]
    assert Foreach.of("results.b-1", needs=needs).items(found) == ("y", "z")
    assert Foreach.of("result", needs=("b-1",)).items(found) == ("y", "z")
    for text, told in (
        ("results.a", "the result of 'a' is dict, not a list of elements"),
        ("results.a.n", "the result of 'a'.n is int, not a list"),
        ("results.a.m.n", "the result of 'a' has no 'm' to take a list from"),
        ("results.b-1.files", "the result of 'b-1' has no 'files' to take"),
    ):
        with pytest.raises(ValueError, match=told):
            Foreach.of(text, needs=needs).items(found)
    with pytest.raises(ValueError, match=r"'a' has 10,001 elements, more than 10,000"):
        Foreach.of("result", needs=("a",)).items({"a": [0] * (ELEMENTS_MAX + 1)})


def test_a_child_is_given_parameters_of_its_parent() -> None:
    """One alone keeps its type; one that is absent leaves the child its own default."""
    day = dt.date(2013, 2, 4)
    given = {"day": "{params.day}", "file": "{params.shop}-{params.day}", "shop": "{params.x}"}
    child = Child(machine="refresh", params={**given, "full": True, "note": ""})

    found = child.given({"day": day, "shop": "S1", "x": None})

    assert found == {"day": day, "file": "S1-2013-02-04", "full": True, "note": ""}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (
            "orders:crm",
            "orders:crm2",
            ['the function of task "transforming.crm" was'],
        ),
        ('"pages", "crm"', '"pages"', ['needs of task "transforming.join" was [']),
        (
            "result.pages",
            "result.all",
            ['foreach of task "transforming.pages" was'],
        ),
        (
            'tasks.rates = "orders:rates"\n',
            "tasks.a = 'm:f'\ntasks.rates = 'orders:rates'\n",
            ['task "transforming.a" was added'],
        ),
        (
            'machine = "refresh"',
            'machine = "renew"',
            ['the child machine of "refreshing" was \'re'],
        ),
        (", full = true", "", ['what is given to the child machine of "refreshing" was {']),
        ('"pages", "crm"', '"crm", "pages"', []),
        ("max_parallel = 4", "max_parallel = 5", []),
        ('on_error = "skip"', 'on_error = "continue"', []),
        ('timeout = "9m"', 'timeout = "8m"', []),
    ],
)
def test_what_a_task_is_counts_and_how_it_is_done_does_not(
    tmp_path: Path, old: str, new: str, changes: list[str]
) -> None:
    """Policy may change between a crash and a resume; functions and needs may not."""
    before, after = (
        canonical(each, contract_digests={})
        for each in (loaded(tmp_path), loaded(tmp_path, old, new))
    )

    said = describe_changes(before, after)

    assert len(said) == len(changes)
    assert all(each.startswith(start) for each, start in zip(said, changes, strict=True))
    assert (digest(before) == digest(after)) == (not changes)
