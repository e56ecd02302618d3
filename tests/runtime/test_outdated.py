"""Which machines a worker drives as they were before they changed."""

import os
from pathlib import Path

from statepipe.machine.definition import Machine
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.model import Task
from tests.runtime.families import Scene, acting, machine_of, task, working


def nothing(_it: Task) -> None:
    """Do nothing."""


def machines(version: int) -> tuple[Machine, ...]:
    """Return a parent, its child machine with a task, and one that never changes."""
    child = machine_of(working(Graph(tasks=(task("a", nothing),))), name="child", version=version)
    return (
        machine_of(working(Child(machine="child"))),
        child,
        machine_of(acting("a", nothing), name="same"),
    )


def changed(scene: Scene) -> None:
    """Let another process use the machines of another version."""
    scene.machines = machines(2)
    with scene.engine() as other:
        other.create("child")
        other.create("same")


def test_what_has_changed_since_it_began_is_named(tmp_path: Path) -> None:
    """As soon as another process has used it; of a machine with tasks itself, and not they."""
    scene = Scene(tmp_path, *machines(1))
    with scene.engine() as engine:
        assert engine.outdated() == [], "it drives nothing yet"
        engine.create("m")
        engine.work(until_idle=True)
        assert engine.outdated() == []
        changed(scene)
        assert [(each.machine, each.pid) for each in engine.outdated()] == [("child", os.getpid())]


def test_the_child_machine_of_one_that_it_was_given_is_named_too(tmp_path: Path) -> None:
    """It drives that as well, though nobody named it."""
    scene = Scene(tmp_path, *machines(1))
    with scene.engine() as engine:
        engine.work(["m"], until_idle=True)
        changed(scene)
        assert [each.machine for each in engine.outdated()] == ["child"]


def test_of_what_drives_only_what_it_is_given_nothing_is_said(tmp_path: Path) -> None:
    """It says of no machine that it would drive it."""
    scene = Scene(tmp_path, *machines(1))
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "done"}
        changed(scene)
        assert engine.outdated() == []
