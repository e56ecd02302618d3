"""
What a destination of files refuses, and what it does on a disk that fails.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest

from statepipe.errors import DataError, DefinitionError
from statepipe.io.declared import Declared, Field
from statepipe.io.destinations import Landed, check_address, open_destination
from statepipe.io.folders.destination import FolderDestination
from statepipe.io.folders.files import Files
from statepipe.io.folders.jsonl import JsonlFormat
from statepipe.io.folders.parquet import ParquetFormat
from tests.io.folder_warehouse import FolderWarehouse
from tests.io.warehouse import batch


class Failing(Files):
    """A disk that fails once it is told so."""

    def __init__(self, code: int, *, at: str) -> None:
        self._code = code
        self._at = at

    def write(self, path: Path, write: Callable[[BinaryIO], None]) -> None:
        """Fail after some bytes, if this is the place."""
        if self._at == "write":
            path.write_bytes(b"half")
            raise OSError(self._code, "as told")
        super().write(path, write)

    def rename(self, old: Path, new: Path) -> None:
        """Fail, if this is the place."""
        if self._at == "rename":
            raise OSError(self._code, "as told")
        super().rename(old, new)


@pytest.mark.parametrize("at", ["write", "rename"])
@pytest.mark.parametrize(
    ("code", "reason", "next_step"),
    [
        (errno.ENOSPC, "its disk is full", "free some space"),
        (errno.EACCES, "as told", "let this user write there"),
        (errno.EIO, "as told", "see to the folder"),
    ],
)
def test_a_disk_that_fails_loads_nothing_and_says_why(
    lake: FolderWarehouse, at: str, code: int, reason: str, next_step: str
) -> None:
    """No half of a file is seen or left behind, and the batch lands when the disk works."""
    made = ParquetFormat() if lake.kind == "parquet" else JsonlFormat()
    target = FolderDestination(lake.root, format=made, table="t", files=Failing(code, at=at))

    with pytest.raises(DataError, match=reason) as refusal:
        target.load(batch())

    assert next_step in refusal.value.next_step
    assert lake.files() == []
    assert not list(lake.root.rglob("*.tmp"))
    assert lake.destination().load(batch()) == Landed(3, [], already=False)
    assert lake.query("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_a_table_on_another_file_system_is_refused(lake: FolderWarehouse) -> None:
    """A file cannot be moved there in one step; the error says so, and nothing is half there."""
    elsewhere = Path(f"/dev/shm/statepipe-{lake.kind}-{lake.root.parent.name}")
    elsewhere.mkdir()
    lake.root.mkdir()
    (lake.root / "t").symlink_to(elsewhere)
    try:
        with pytest.raises(DataError, match="on another file system than its ledger"):
            lake.destination().load(batch())
        assert list(elsewhere.iterdir()) == []
    finally:
        shutil.rmtree(elsewhere)


def test_a_folder_without_a_parent_is_named(tmp_path: Path) -> None:
    """One folder is made where it is missing, not a whole path that may be a slip."""
    target = open_destination("jsonl:///a/b", base_dir=tmp_path, table="t")

    with pytest.raises(DataError, match=r"its parent .* does not exist"):
        target.load(batch())


@pytest.mark.parametrize("to", ["parquet:///lake", "jsonl:///lake"])
def test_files_cannot_be_upserted_into(tmp_path: Path, to: str) -> None:
    """Said when the machine is checked, and when it is loaded; before anything is made."""
    with pytest.raises(DefinitionError, match="cannot be upserted into"):
        check_address(to, key=("id",))
    with pytest.raises(DefinitionError, match="cannot be upserted into"):
        open_destination(to, base_dir=tmp_path, table="t", key=("id",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", ["a/b", "..", ".hidden", "_statepipe", "x" * 201])
def test_names_no_folder_can_have_are_refused(tmp_path: Path, table: str) -> None:
    """A table is a folder that readers see, inside the one that is named."""
    with pytest.raises(DefinitionError):
        open_destination("jsonl:///lake", base_dir=tmp_path, table=table)


@pytest.mark.parametrize(
    "to",
    [
        "parquet://lake",
        "parquet:///",
        "jsonl:///lake?compression=brotli",
        "parquet:///lake?compresion=zstd",
        "parket:///lake",
        "sqlite:///w.db?mode=ro",
        "duckdb:///w.db?access_mode=read_only",
    ],
)
def test_addresses_nobody_speaks_are_refused_without_opening_anything(
    tmp_path: Path, to: str
) -> None:
    """The check of a machine says it, in the words of the load."""
    with pytest.raises(DefinitionError) as checked:
        check_address(to)
    with pytest.raises(DefinitionError) as opened:
        open_destination(to, base_dir=tmp_path, table="t")
    assert checked.value.message == opened.value.message


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_question_mark_in_the_name_of_a_file_is_escaped(tmp_path: Path, scheme: str) -> None:
    """So that one behind the name can be refused, instead of becoming part of it."""
    target: Any = open_destination(f"{scheme}:///w%3Fx.db", base_dir=tmp_path, table="t")

    assert target.path == tmp_path / "w?x.db"


def test_an_absolute_address_wins_over_the_project(tmp_path: Path) -> None:
    """Four slashes, as for SQLite."""
    target: Any = open_destination(f"parquet:///{tmp_path}/l", base_dir=Path("/no"), table="t")

    assert target.root == tmp_path / "l"


def test_parquet_has_the_columns_of_a_contract(tmp_path: Path) -> None:
    """Also those that no record has; a contract that grew contradicts the files that are there."""
    fields = (Field("id", "integer", required=True), Field("day", "date"), Field("more", "json"))
    lake = FolderWarehouse(tmp_path / "lake", "parquet")
    lake.destination(declared=Declared("row.json", fields, adds=False)).load(batch([{"id": 1}]))

    schema = pq.read_schema(lake.files()[0])
    assert {field.name: str(field.type) for field in schema} == {
        "id": "int64",
        "day": "date32[day]",
        "more": "string",
    }
    grown = Declared("row.json", (*fields, Field("x", "text")), adds=False)
    with pytest.raises(DataError, match="it has 'x', and the table has no such column"):
        lake.destination(declared=grown).load(batch([{"id": 2}], number=1))


@pytest.mark.parametrize(
    ("to", "adds", "words"),
    [("parquet:///l", True, "get no columns"), ("jsonl:///l", False, "have no columns")],
)
def test_what_a_contract_cannot_do_for_files_is_said(
    tmp_path: Path, to: str, words: str, *, adds: bool
) -> None:
    """By the check of the machine, and by the load."""
    declared = Declared("row.json", (Field("id", "integer"),), adds)

    with pytest.raises(DefinitionError, match=words):
        check_address(to, adds=adds)
    with pytest.raises(DefinitionError, match=words):
        open_destination(to, base_dir=tmp_path, table="t", declared=declared)
