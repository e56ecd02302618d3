"""check, graph and policy explain of machines whose states have several tasks, or a child."""

from tests.cli.project import CONFIG, Project

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
