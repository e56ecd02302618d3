"""The format page of the store, compared both ways with a store that was just made."""

import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from statepipe.clock import SystemClock
from statepipe.io import ledger
from statepipe.sqlite import APPLICATION_ID
from statepipe.store.codec import encode
from statepipe.store.file.opening import open_store
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.store.stage.frames import Block, read_frames, write_frames
from tests.house.repository import ROOT

PAGE = (ROOT / "checkpoints" / "README.md").read_text(encoding="utf-8")
IN_DESTINATION = "In the destination: "

#: The values of the page's byte table, as they are written there.
VALUES: dict[str, Any] = {
    "None": None,
    '{"rows": [1, -1, 2.5]}': {"rows": [1, -1, 2.5]},
    r'b"\x00"': b"\x00",
    "(1, 2)": (1, 2),
    "{2, 1}": {2, 1},
    "datetime(2013, 2, 9, 5, tzinfo=UTC)": datetime(2013, 2, 9, 5, tzinfo=UTC),
    "date(2013, 2, 9)": date(2013, 2, 9),
    "time(5, 30)": time(5, 30),
    "timedelta(days=-1, seconds=2)": timedelta(days=-1, seconds=2),
    'Decimal("1.20")': Decimal("1.20"),
    "UUID(int=1)": UUID(int=1),
    "2**64": 2**64,
}


class Column(NamedTuple):
    """A column as the page or the store says it is."""

    name: str
    type: str
    may_be_null: bool


def _section(heading: str) -> str:
    """Return the text below a heading of the page, to the next one of its rank or above."""
    rank = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)",
        PAGE,
        flags=re.MULTILINE | re.DOTALL,
    )
    assert found is not None, f"the page has no heading {heading!r}"
    return found[1]


def _rows(text: str) -> list[list[str]]:
    """Return the cells of every table line whose first cell is code, as it is between the ticks."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [[first.strip("| ").strip("`"), *rest] for first, *rest in cells]


def _columns_documented(heading: str) -> list[Column]:
    rows = [row for row in _rows(_section(heading)) if len(row) == 4]
    return [Column(name, type_, means.strip(" |") != "never") for name, type_, _, means in rows]


def _columns_made(connection: sqlite3.Connection, table: str) -> list[Column]:
    listed = connection.execute(
        "SELECT name, type, [notnull], pk FROM pragma_table_info(?)", [table]
    )
    return [Column(name, type_, not (notnull or pk)) for name, type_, notnull, pk in listed]


def _named(connection: sqlite3.Connection, kind: str) -> set[str]:
    sql = "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'"
    return {name for (name,) in connection.execute(sql, [kind])}


def _headings(within: str) -> set[str]:
    return set(re.findall(r"^### `(\w+)`$", _section(within), flags=re.MULTILINE))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a fresh store, `statepipe.db` in the test's folder."""
    opened = open_store(tmp_path / "statepipe.db", create=True, clock=SystemClock())
    yield opened.connection
    opened.close()


def test_the_page_has_every_table_view_index_and_trigger_and_no_other(
    store: sqlite3.Connection,
) -> None:
    """People query the store by this page; what it omits is not there for them."""
    assert _headings("## Tables") == _named(store, "table")
    assert _headings("## Views") == _named(store, "view")
    assert {row[0] for row in _rows(_section("## Indexes"))} == _named(store, "index")
    assert {row[0] for row in _rows(_section("## Triggers"))} == _named(store, "trigger")


@pytest.mark.parametrize("table", sorted(_headings("## Tables")))
def test_a_table_has_the_columns_of_the_page(store: sqlite3.Connection, table: str) -> None:
    """Names, order, types, and whether NULL can occur."""
    assert _columns_documented(f"### `{table}`") == _columns_made(store, table)


@pytest.mark.parametrize("view", sorted(_headings("## Views")))
def test_a_view_has_the_columns_of_the_page(store: sqlite3.Connection, view: str) -> None:
    """Views are promises to people, like tables to programs."""
    described = store.execute(f"SELECT * FROM {view}").description

    assert [row[0] for row in _rows(_section(f"### `{view}`"))] == [each[0] for each in described]


def test_an_index_belongs_to_the_table_the_page_names(store: sqlite3.Connection) -> None:
    """The index table says what each one serves; it must not speak of another table."""
    made = dict(store.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'"))

    for name, table, _ in _rows(_section("## Indexes")):
        assert table.strip("`") == made[name]


def test_kinds_and_statuses_are_those_that_the_schema_takes(store: sqlite3.Connection) -> None:
    """A word that is not in the CHECK cannot be in the store, and the other way round."""
    sql = "SELECT sql FROM sqlite_master WHERE name = 'journal'"
    check = re.search(r"CHECK \((kind = .*?\))\)", store.execute(sql).fetchone()[0], re.DOTALL)
    assert check is not None
    kinds = {row[0] for row in _rows(_section("### `journal`")) if len(row) == 3}

    assert kinds == set(re.findall(r"'(\w+)'", check[1]))


def test_the_header_is_what_the_page_says(store: sqlite3.Connection) -> None:
    """`file` and other people's tools know a store by these numbers."""
    assert f"`application_id` is `{APPLICATION_ID:#x}`" in PAGE
    assert f"`user_version` is the schema version, now {SCHEMA_VERSION}." in PAGE
    assert store.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert store.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


@pytest.mark.parametrize("query", re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_every_query_of_the_page_runs(store: sqlite3.Connection, query: str) -> None:
    """Who copies a query gets an answer, not an error."""
    store.execute(query).fetchall()


@pytest.mark.usefixtures("store")
def test_every_command_of_the_page_runs_on_an_open_store(tmp_path: Path) -> None:
    """`sqlite3` may not be installed, so its SQL is run as it would run it."""
    path = tmp_path / "statepipe.db"
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for command in block.splitlines():
            if command.startswith("sqlite-utils"):
                words = shlex.split(command)[1:]
                arguments = [word.replace("checkpoints", str(tmp_path)) for word in words]
                subprocess.run(
                    [sys.executable, "-m", "sqlite_utils", *arguments],
                    check=True,
                    capture_output=True,
                )
            else:
                mode = "ro" if "-readonly" in command else "rw"
                (sql,) = re.findall(r'"(.*)"$', command)
                connection = sqlite3.connect(f"file:{path}?mode={mode}", uri=True)
                connection.execute(sql.replace("'backup.db'", f"'{tmp_path / 'backup.db'}'"))
                connection.close()
    assert (tmp_path / "backup.db").stat().st_size > 0


def test_values_have_the_bytes_of_the_page() -> None:
    """The bytes are in stores that exist; a change here would make them unreadable."""
    rows = _rows(_section("## The codec"))
    documented = {value: bytes_.strip("`| ") for value, bytes_, *_ in rows}

    assert documented == {text: encode(value).hex(" ") for text, value in VALUES.items()}


def test_a_framed_batch_has_the_layout_of_the_page() -> None:
    """Magic, then crc, kind, records, two lengths and the payload; the end counts it all."""
    written = write_frames([Block(records=1, payload=b"payload")])

    assert written[:8] == b"SPBATCH1"
    assert written[12:25].hex(" ") == "00 00 00 00 01 00 00 00 07 00 00 00 07"
    assert written[25:32] == b"payload"
    assert written[36:].hex(" ") == "02 00 00 00 01 00 00 00 01 00 00 00 00"
    assert [block.records for block in read_frames(written)] == [1]


@pytest.mark.parametrize("table", ["_statepipe_epoch", "_statepipe_ledger"])
def test_a_destination_has_the_tables_of_the_page(table: str) -> None:
    """The ledger lies in other people's databases; they may want to look."""
    connection = sqlite3.connect(":memory:")
    ledger.create(connection.execute, ledger.SQLITE)

    documented = _columns_documented(f"### {IN_DESTINATION}`{table}`")
    assert documented == _columns_made(connection, table)
    connection.close()
