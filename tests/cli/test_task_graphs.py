"""check, graph and policy explain of machines whose states have several tasks, or a child."""

from statepipe.clock import SystemClock
from tests.cli.project import CONFIG, Project
from tests.runtime.scene import Scene

SEVERAL = """\
machine = "several"
version = 1
initial = "working"

[states.working]
timeout = "1h"
tasks.list = "several:listed"
tasks.each = { run = "several:each", needs = "list", foreach = "result.files", retry = "patient" }
on = { ok = "renewing" }

[states.renewing]
machine = "numbers"
params = { count = 3 }
on = { ok = "done" }

[states.done]
final = "success"
"""
POLICIES = """
[policies.patient]
max_attempts = 9

[machines.several.states.working.tasks.each]
timeout = "4m"
"""


def written(project: Project, *edits: str) -> None:
    """Write the machine `several` beside the other one, its text edited."""
    text = SEVERAL
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    path = project.root / "machines" / "several.toml"
    path.write_text(text, encoding="utf-8")
    functions = "def listed(task): ...\n\n\ndef each(task): ...\n"
    path.with_suffix(".py").write_text(functions, encoding="utf-8")
    (project.root / "statepipe.toml").write_text(CONFIG + POLICIES, encoding="utf-8")


def test_a_sound_machine_passes_the_check(project: Project) -> None:
    """Its tasks' functions are imported, its child is looked up."""
    written(project)

    said = project.call("check")

    assert (said.code, said.out) == (0, "numbers: ok\nseveral: ok\n")


def test_check_names_the_task_and_the_child(project: Project) -> None:
    """What is wrong with each of them, at once."""
    written(project, "several:each", "several:eech", "count = 3", 'count = "many"')

    said = project.call("check", "several")
    found = project.call("check", "several", "-o", "json").json

    assert said.code == 6
    assert [each["state"] for each in found] == ["working.each", "renewing"]
    assert 'did you mean "each"?' in said.out
    assert "'many', not a whole number" in said.out


def test_needs_in_a_circle_are_printed(project: Project) -> None:
    """The machine is refused as it is loaded, by whoever asks for it."""
    written(project, '"several:listed"', '{ run = "several:listed", needs = "each" }')

    said = project.call("run", "several")

    assert said.code == 2
    assert "the tasks list -> each -> list need each other in a circle" in said.err


def test_the_policy_of_a_task_is_explained(project: Project) -> None:
    """As that of a state is; a state whose work others do has a timeout and nothing else."""
    written(project)

    task = project.call("policy", "explain", "several.working.each", "-o", "json").json
    state = project.call("policy", "explain", "several.working", "-o", "json").json
    child = project.call("policy", "explain", "several.renewing").out

    values = {each["setting"]: (each["value"], each["from"]) for each in task}
    config = project.root / "statepipe.toml"
    assert values["max_attempts"] == (9, f"{config} [policies.patient]")
    where = f"{config} [machines.several.states.working.tasks.each]"
    assert values["timeout"] == (240_000, where)
    assert state == [
        {"setting": "timeout", "value": 3_600_000, "from": "machine several, state working"}
    ]
    assert child.split()[:6] == ["SETTING", "VALUE", "FROM", "timeout", "none", "default"]
    assert project.call("policy", "explain", "several.working.eech").code == 3
    assert project.call("policy", "explain", "numbers.loading.x").code == 3


def test_what_runs_is_governed_by_what_is_explained_and_counted_by_task(project: Project) -> None:
    """An element that fails is tried as often as the file says; the path has all of them."""
    written(project, 'foreach = "result.files"', 'foreach = "result.files", on_error = "skip"')
    path = project.root / "statepipe.toml"
    again = 'timeout = "4m"\nretry = { max_attempts = 2, interval = "0s", errors = ["*"] }'
    path.write_text(path.read_text().replace('timeout = "4m"', again), encoding="utf-8")
    functions = """\
def listed(task):
    return {"files": [1, 0, 3]}


def each(task):
    return 1 / task.item
"""
    (project.root / "machines" / "several.py").write_text(functions, encoding="utf-8")

    ran = project.call("run", "several", "--id", "one")

    assert ran.code == 0
    tried = project.call("history", "one/working.each[1]", "-o", "json").json
    assert [row["kind"] for row in tried if row["attempt"]] == ["retry", "move"]
    assert project.call("top", "--once", "-o", "json").json["failures"] == []
    rows = project.call("graph", "several", "--critical-path", "-o", "json").json
    assert [(each["state"], each["task"], each["of"]) for each in rows] == [
        ("working", None, 1),
        ("working", "list", 1),
        ("working", "each", 2),
        ("renewing", None, 1),
    ]


def test_the_path_that_bounds_a_run_is_shown(project: Project) -> None:
    """Each state with its median, of how many, and its part of the whole."""
    for name in ("one", "two"):
        assert project.call("run", "numbers", "--id", name).code == 0

    said = project.call("graph", "numbers", "--critical-path")
    rows = project.call("graph", "numbers", "--critical-path", "-o", "json").json

    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == [
        "STATE",
        "extracting",
        "validating",
        "transforming",
        "loading",
    ]
    assert "median of 2 runs" in said.err
    assert [each["of"] for each in rows] == [2, 2, 2, 2]
    assert all(each["median_ms"] >= 0 and each["task"] is None for each in rows)


def test_without_a_run_there_is_no_path_and_nothing_to_suggest(project: Project) -> None:
    """What is not measured is not guessed at: its states and tasks are there, without numbers."""
    written(project)
    project.call("run", "numbers")

    path = project.call("graph", "several", "--critical-path")
    suggested = project.call("graph", "several", "--suggest")

    assert path.code == suggested.code == 0
    assert [line.split() for line in path.out.splitlines()[1:]] == [
        ["working", "-", "-", "0"],
        ["list", "-", "-", "0"],
        ["each", "-", "-", "0"],
        ["renewing", "-", "-", "0"],
    ]
    assert suggested.out == ""
    assert "run it first" in path.err
    assert "run it first" in suggested.err
    assert project.call("graph", "several", "--suggest", "--critical-path").code == 2


SCENE = """\
machine = "m"
version = 1
initial = "a"
states.a = { run = "nowhere:a", on.ok = "b" }
states.b = { run = "numbers_:extract", on.ok = "done" }
states.done.final = "success"
"""


def test_what_dominates_is_suggested(project: Project) -> None:
    """With what it rests on; a function that cannot be imported takes nothing from it."""
    scene = Scene(project.root)
    (project.root / "machines" / "m.toml").write_text(SCENE, encoding="utf-8")
    scene.clock.set_wall(SystemClock().now_ms() - 60_000)
    with scene.engine(lambda _: scene.clock.advance(2_000)) as engine:
        engine.create("m", instance_id="one")
        engine.run(["one"])

    said = project.call("graph", "m", "--suggest")
    found = project.call("graph", "m", "--suggest", "-o", "json").json

    text = '"a" takes 2.0s of 2.0s: whatever makes it shorter makes the run shorter'
    assert said.out == f"{text} (saves up to 2.0s, median of 1)\n"
    assert found == [{"state": "a", "text": text, "saves_ms": 2_000, "of": 1}]
