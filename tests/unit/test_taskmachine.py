"""The machine that a task becomes: derived, the same from the same, and nobody else's."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.errors import DefinitionError, NotFound, UsageError
from statepipe.machine.definition import Machine, State
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.tasks import Run
from statepipe.machine.taskmachine import task_machines
from statepipe.runtime.catalog import Catalog
from tests.unit.building import to, written
from tests.unit.test_taskgraph import TEXT


def catalog(folder: Path, *built: Machine) -> Catalog:
    """Return the catalog of a folder with the file of the machine `orders` in it."""
    (folder / "machines").mkdir()
    written(folder / "machines", TEXT)
    return Catalog(load_config(start=folder, environ={}), built)


def test_a_task_becomes_a_machine_of_its_own(tmp_path: Path) -> None:
    """With its own policy, the parent's version and parameters, and nothing else of it."""
    known = catalog(tmp_path)
    parent = known.machine("orders")

    names = [each.name for each in task_machines(parent)]

    assert names == [f"orders/transforming/{task}" for task in ("rates", "crm", "pages", "join")]
    assert known.machine("orders/transforming/crm") == Machine(
        name="orders/transforming/crm",
        initial="crm",
        states=(
            State(
                name="crm",
                task=Run(function="orders:crm", raw="keep"),
                on=(to("done"),),
                retry="transient",
                uses=("crm-api",),
            ),
            State(name="done", final="success"),
            State(name="failed", final="failure"),
        ),
        params=parent.params,
    )


def test_the_same_text_gives_the_same_machines(tmp_path: Path) -> None:
    """An instance of a task is resumed by the definition it began with."""
    known = catalog(tmp_path)
    forms = [known.form(each) for each in task_machines(known.machine("orders"))]
    written(tmp_path / "machines", TEXT.replace("version = 1", "version = 2"))

    again = [known.form(each) for each in task_machines(known.machine("orders"))]

    assert [{**each, "version": 2} for each in forms] == again


def test_what_is_no_task_is_told(tmp_path: Path) -> None:
    """The nearest is named."""
    known = catalog(tmp_path)

    with pytest.raises(
        NotFound, match=r'no task "transforming.cmr"; did you mean "transforming.crm'
    ):
        known.machine("orders/transforming/cmr")
    with pytest.raises(NotFound, match='no machine "order"'):
        known.machine("order/transforming/crm")


def test_no_one_begins_a_task_but_its_parent(tmp_path: Path) -> None:
    """What it needs would not be there."""
    with pytest.raises(UsageError, match="is a task: it begins as a part of an instance of orders"):
        catalog(tmp_path).bound("orders/transforming/crm", {}, at_ms=0)


def test_no_author_writes_such_a_machine(tmp_path: Path) -> None:
    """Its name would be taken for a task's."""
    machine = load_machine(written(tmp_path, TEXT))

    with pytest.raises(DefinitionError, match="'orders/transforming/crm' is not a name"):
        catalog(tmp_path, replace(machine, name="orders/transforming/crm"))
    with pytest.raises(DefinitionError, match="'a/b' is not a name"):
        replace(machine, name="a/b")
