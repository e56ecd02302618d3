"""The dashboards: what every panel must have, and that its queries name what exists."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from statepipe.observe.catalogue import CATALOGUE
from statepipe.observe.shipped import BOARDS
from tests.observe.naming import complaints, used_by
from tests.observe.queries import Query, board, names, panels, queries, rules

NAMES = [each.name for each in BOARDS]
COLUMNS = 24

#: What a board shows beside its own machines; and the state of Machine is one of its variables.
VARIABLES = {
    "fleet": ["datasource", "store", "machine", "state"],
    "machine": ["datasource", "store", "machine", "state"],
    "store": ["datasource", "store"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_board_is_found_by_an_id_that_never_changes(name: str) -> None:
    """People bookmark boards and link to panels; Grafana numbers neither anew."""
    parsed = board(name)
    ids = [panel["id"] for panel in parsed["panels"]]
    (title,) = [each.title for each in BOARDS if each.name == name]

    assert (parsed["uid"], parsed["title"]) == (f"statepipe-{name}", title)
    assert ids == list(range(1, len(ids) + 1))
    assert not {"id", "version", "iteration", "gnetId"} & set(parsed), "what an export leaves"


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_explains_itself(name: str) -> None:
    """Its title is its own, its description says what a rise means, its numbers have a unit."""
    titles = [panel["title"] for panel in panels(name)]

    assert len(set(titles)) == len(titles)
    for panel in panels(name):
        assert re.fullmatch(r"\S.*[^.]", panel["title"]), panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side(name: str) -> None:
    """None covers another, none leaves the grid."""
    areas = [(panel["title"], _cells(panel["gridPos"])) for panel in board(name)["panels"]]

    for title, cells in areas:
        assert max(x for x, _ in cells) < COLUMNS, title
    for (title, cells), (other, taken) in combinations(areas, 2):
        assert not cells & taken, f"{title!r} lies on {other!r}"


@pytest.mark.parametrize("name", NAMES)
def test_a_board_asks_the_data_source_that_was_chosen(name: str) -> None:
    """A board that knows one Prometheus by its id works on one installation only."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    sources = [
        source
        for panel in panels(name)
        for source in (panel["datasource"], *(each["datasource"] for each in panel["targets"]))
    ]

    assert all(source == chosen for source in sources)


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_used_and_every_one_used_is_there(name: str) -> None:
    """A variable that changes nothing is a lie, one that is missing an empty panel."""
    variables = board(name)["templating"]["list"]
    exprs = " ".join(target["expr"] for panel in panels(name) for target in panel["targets"])
    used = {each for each in re.findall(r"\$(\w+)", exprs) if not each.startswith("__")}

    assert [variable["name"] for variable in variables] == VARIABLES[name]
    assert used | {"datasource"} == set(VARIABLES[name])
    for variable in variables[1:]:
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (
            True,
            True,
            ".*",
        )


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_taken_over_an_interval_that_grafana_chooses(name: str) -> None:
    """A fixed one is wrong for every scrape interval and zoom but one."""
    windows = {
        window
        for panel in panels(name)
        for target in panel["targets"]
        for window in re.findall(r"\[([^\]]+)\]", target["expr"])
    }

    assert windows <= {"$__rate_interval", "$__range"}


def test_a_row_of_the_fleet_leads_to_its_machine() -> None:
    """One click from what fails to why."""
    (table,) = [panel for panel in panels("fleet") if panel["title"] == "Machines"]
    links = [
        link
        for override in table["fieldConfig"]["overrides"]
        if override["matcher"] == {"id": "byName", "options": "machine"}
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]

    assert len(links) == 1
    assert "var-machine=${__data.fields.machine}" in links[0]["url"]


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_board_that_ships(name: str) -> None:
    """By uid, which stays the same under whatever folder it is imported into."""
    linked = re.findall(r"/d/([\w-]+)/([\w-]+)\?", str(board(name)))

    assert {uid for pair in linked for uid in pair} <= {f"statepipe-{each}" for each in NAMES}
    assert [link["tags"] for link in board(name)["links"]] == [["statepipe"]]
    assert board(name)["tags"] == ["statepipe"]


@pytest.mark.parametrize("query", queries(), ids=lambda query: "-".join(query[:3]))
def test_a_query_names_metrics_and_labels_that_exist(query: Query) -> None:
    """A slip in a name is an empty panel that looks like good news."""
    assert not complaints(query.expr)


@pytest.mark.parametrize(
    "expr",
    [
        "statepipe_instance",
        "statepipe_state_duration_seconds",
        "statepipe_workers_bucket",
        'statepipe_instances{machien="orders"}',
        "sum by (source) (statepipe_instances)",
        'statepipe_state_attempts_total{outcome="timed out"}',
        'statepipe_state_attempts_total{outcome=~"error|timed out"}',
    ],
)
def test_a_slip_in_a_name_is_found(expr: str) -> None:
    """Otherwise the test above would hold of any query."""
    assert complaints(expr)


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_shows_labels_that_its_query_keeps(name: str) -> None:
    """`{{state}}` of a query that sums over states is blank."""
    for panel in panels(name):
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert shown <= names(target["expr"]).grouped, (panel["title"], target["expr"])


def test_every_metric_is_looked_at_by_a_board_or_a_rule() -> None:
    """What nobody looks at need not be counted."""
    looked_at = {
        metric
        for expr in (*(query.expr for query in queries()), *(rule["expr"] for rule in rules()))
        for metric in used_by(expr)
    }

    assert {metric.name for metric in CATALOGUE} <= looked_at


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    """As rules that record them: promtool parses each as the server would."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "this test needs Prometheus. Type: make tools"
    lines = ["groups:", "  - name: queries", "    rules:"]
    for number, query in enumerate(queries()):
        lines += [f"      - record: query_{number}", f"        expr: {json.dumps(query.expr)}"]
    written = tmp_path / "queries.yml"
    written.write_text("\n".join(lines) + "\n", encoding="utf-8")

    said = subprocess.run(
        [promtool, "check", "rules", str(written)], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def _cells(grid: dict[str, int]) -> set[tuple[int, int]]:
    return {
        (x, y)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    }
