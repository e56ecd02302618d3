"""`statepipe.toml` reaches the tasks of a state as it reaches a state, and nothing in vain."""

from pathlib import Path

import pytest

from statepipe.config import Config, load_config, resolve_policy, resolve_timeout
from statepipe.errors import DefinitionError
from statepipe.machine.states.taskgraph import Graph
from statepipe.machine.taskmachine import task_machine
from statepipe.runtime.catalog import Catalog
from tests.unit.building import written
from tests.unit.test_taskgraph import TEXT

SETTINGS = """\
[policies.default]
timeout = "7m"

[policies.transient]
max_attempts = 7

[resources.crm-api]
slots = 2

[machines.orders.states.transforming.tasks.join]
timeout = "40m"
retry = { max_attempts = 2 }

[env.prod.machines.orders.states.transforming]
timeout = "2h"
tasks.join = { timeout = "50m" }
"""
REFRESH = """\
machine = "refresh"
version = 1
extract = "orders:extract"

[params]
day = "date"
file = "text"
full = "bool"
"""


def project(folder: Path, *edits: str, env: str | None = None) -> Config:
    """Return the configuration of a folder with two machines, its text edited."""
    text = SETTINGS
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    (folder / "machines").mkdir(exist_ok=True)
    written(folder / "machines", TEXT)
    written(folder / "machines", REFRESH, "refresh")
    written(folder, text, "statepipe")
    return load_config(start=folder, environ={}, env=env)


def test_a_task_is_governed_by_what_is_said_of_it(tmp_path: Path) -> None:
    """Its own settings, then the file, then the overlay; each part tells where it is from."""
    config = project(tmp_path, env="prod")
    parent = Catalog(config).sound("orders")
    graph = parent.state("transforming").task
    assert isinstance(graph, Graph)
    join = task_machine(parent, "transforming", graph.tasks[-1])
    state = join.state("join")

    resolved = resolve_policy(
        config, machine=join.name, state="join", settings=state.settings, retry=state.retry
    )

    assert resolved.policy.timeout_ms == 50 * 60_000
    assert resolved.policy.max_attempts == 2
    file = tmp_path / "statepipe.toml"
    table = "machines.orders.states.transforming.tasks.join"
    assert resolved.origins["timeout_ms"] == f"{file} [env.prod.{table}]"
    assert resolved.origins["max_attempts"] == f"{file} [{table}], retry"
    bare = resolve_policy(
        project(
            tmp_path,
            "[machines.orders.states.transforming.tasks.join]",
            "[logging]",
            'timeout = "40m"\nretry = { max_attempts = 2 }',
            "",
        ),
        machine=join.name,
        state="join",
        settings=state.settings,
        retry=state.retry,
    )
    assert bare.origins["timeout_ms"] == "machine orders, state transforming, task join"


def test_only_who_speaks_of_the_state_itself_limits_what_others_do_in_it(tmp_path: Path) -> None:
    """A policy is of attempts, and a default of 7 minutes is not for all tasks together."""
    here, prod = project(tmp_path), project(tmp_path, env="prod")

    said = {"timeout": "1h"}
    asked = {"machine": "orders", "state": "transforming"}
    assert resolve_timeout(here, **asked, settings={}) == (None, "default")
    own = "machine orders, state transforming"
    assert resolve_timeout(here, **asked, settings=said) == (3_600_000, own)
    table = f"{tmp_path / 'statepipe.toml'} [env.prod.machines.orders.states.transforming]"
    assert resolve_timeout(prod, **asked, settings=said) == (7_200_000, table)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "[machines.orders.states.transforming.tasks.join]",
            "[machines.orders.states.transforming.tasks.jion]",
            'state "transforming" of machine "orders" has no task "jion"; did you mean "join"?',
        ),
        (
            "[machines.orders.states.transforming.tasks.join]",
            "[machines.orders.states.refreshing.tasks.join]",
            'tasks.join]: state "refreshing" of machine "orders" has no task "join"',
        ),
        (
            "[machines.orders.states.transforming.tasks.join]",
            "[machines.orders.states.transforming]",
            'states.transforming]: the work of state "transforming" is done by others',
        ),
        (
            "[machines.orders.states.transforming.tasks.join]",
            "[machines.orders.states.refreshing]",
            'states.refreshing]: the work of state "refreshing" is done by others',
        ),
        (
            "[machines.orders.states.transforming.tasks.join]",
            "[machines.orders.states.transforming.tasks.join.tasks.x]",
            'tasks.join: unknown key "tasks"',
        ),
        ("tasks.join = {", "tasks.join = 3 # {", "join is 3, not a table"),
        ("slots = 2", "", "resources.crm-api"),
        ("[resources.crm-api]", "[resources.crm]", "task crm: uses: there is no resource"),
        ("[policies.transient]", "[policies.other]", 'task crm: there is no policy "transient"'),
    ],
)
def test_what_is_said_in_vain_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """Before an instance is created, with its place."""
    with pytest.raises(DefinitionError) as refusal:
        Catalog(project(tmp_path, old, new)).sound("orders")

    assert told in refusal.value.message
