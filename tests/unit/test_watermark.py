"""Watermarks in machine files, and their values: what may be written, what is read out of it."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import DefinitionError, Fatal
from statepipe.io.blocks import Blocks, Columns
from statepipe.io.coded import Coded
from statepipe.io.marks import highest, start_of
from statepipe.machine.definition import Machine
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.watermark import Incremental

SHORT = """\
machine = "grows"
extract = {{ run = "m:f", watermark = {} }}
load = {{ to = "sqlite:///w.db", table = "t", key = ["id"] }}
"""
FIVE = dt.datetime(2013, 2, 4, 5, tzinfo=dt.UTC)


def _loaded(folder: Path, watermark: str) -> Machine:
    path = folder / "grows.toml"
    path.write_text(SHORT.format(watermark), encoding="utf-8")
    return load_machine(path)


def _task(machine: Machine) -> Any:  # noqa: ANN401 a task
    return machine.state("extracting").task


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"at"', Incremental(column="at")),
        ('{ column = "at" }', Incremental(column="at")),
        ('{ column = "at", lookback = "2h" }', Incremental(column="at", lookback_ms=7_200_000)),
        ('{ column = "n", lookback = 100 }', Incremental(column="n", lookback=100)),
        ('{ column = "n", lookback = 0.5 }', Incremental(column="n", lookback=0.5)),
    ],
)
def test_a_watermark_is_a_column_and_perhaps_a_lookback(
    tmp_path: Path, written: str, meant: Incremental
) -> None:
    """A duration for moments, a number for numbers."""
    assert _task(_loaded(tmp_path, written)).watermark == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("5", "extract: watermark: is 5, not a table"),
        ('{ lookback = "2h" }', 'watermark: key "column" is missing'),
        ('{ colum = "at" }', 'unknown key "colum"; did you mean "column"?'),
        ('{ column = "at", lookback = "soon" }', "is not a duration"),
        ('{ column = "at", lookback = -1 }', "lookback is -1"),
        ('{ column = "at", lookback = true }', "lookback is True"),
        ('{ column = "at", lookback = inf }', "lookback is inf"),
        ('{ column = "" }', "column"),
    ],
)
def test_what_it_cannot_be_is_refused_by_its_key(tmp_path: Path, written: str, why: str) -> None:
    """Before anything runs."""
    with pytest.raises(DefinitionError) as refusal:
        _loaded(tmp_path, written)

    assert why in refusal.value.message


def test_only_a_state_that_runs_a_function_has_one(tmp_path: Path) -> None:
    """A contract reads what others have read."""
    path = tmp_path / "m.toml"
    path.write_text(
        'machine = "m"\ninitial = "a"\n[states.a]\ncontract = "c.json"\nwatermark = "at"\n'
        'on.ok = "b"\n[states.b]\nfinal = "success"\n',
        encoding="utf-8",
    )

    with pytest.raises(DefinitionError, match="belongs to a state that runs a source"):
        load_machine(path)


def test_its_column_counts_in_a_definition_and_its_lookback_does_not(tmp_path: Path) -> None:
    """Another column means another watermark; how far one looks back is policy."""
    at, again, other, none = (
        canonical(_loaded(tmp_path, text), contract_digests={})
        for text in ('"at"', '{ column = "at", lookback = "2h" }', '"seen"', '"x"')
    )
    del none["states"]["extracting"]["task"]["watermark"]

    assert digest(at) == digest(again)
    assert describe_changes(at, other) == [
        "the watermark's column of \"extracting\" was 'at' and is 'seen'"
    ]
    assert describe_changes(none, at) == [
        "the task of \"extracting\" was run 'm:f' and is run 'm:f' with watermark 'at'"
    ]


def test_a_machine_built_in_python_has_the_same() -> None:
    """The loader is thin over it."""
    assert Run(function="m:f", watermark=Incremental(column="at")).watermark is not None
    with pytest.raises(DefinitionError, match="given in time and in units"):
        Incremental(column="at", lookback=1, lookback_ms=1)


@pytest.mark.parametrize(
    ("records", "above", "found"),
    [
        ([], None, None),
        ([], 5, 5),
        ([{"at": 3}, {"at": None}, {"at": 9}], None, 9),
        ([{"at": 3}], 5, 5),
        ([{"at": None}], None, None),
        ([{"at": 1.5}, {"at": 1}], None, 1.5),
        ([{"at": "a"}, {"at": "b"}], "aa", "b"),
        ([{"at": Decimal("1.2")}], None, Decimal("1.2")),
        (pa.table({"at": [1, 3, None]}), 2, 3),
        (Blocks([Columns(("at",), [Coded([1, 3, None], b"\0\2\1\0")]), [{"at": 2}]]), 2, 3),
        (pa.table({"at": [FIVE]}), None, FIVE),
        (pa.table({"at": pa.array([FIVE], pa.timestamp("ns", "UTC"))}), None, FIVE),
    ],
)
def test_the_highest_value_of_a_column(records: Any, above: Any, found: Any) -> None:  # noqa: ANN401 any values
    """Of dicts and of tables, and of what came before."""
    assert highest(records, "at", above=above) == found


@pytest.mark.parametrize(
    "records", [[{"id": 1}], pa.table({"id": [1]}), Blocks([Columns(("id",), [[1]])])]
)
def test_a_record_without_the_column_is_refused(records: Any) -> None:  # noqa: ANN401 dicts, or a table
    """It may be the newest of all."""
    with pytest.raises(Fatal, match="a record does not have it"):
        highest(records, "at", above=None)


def test_a_moment_without_an_offset_is_refused() -> None:
    """Nobody knows when it was."""
    with pytest.raises(Fatal, match="no offset"):
        highest([{"at": dt.datetime(2013, 2, 4)}], "at", above=None)  # noqa: DTZ001 that is the point


def test_a_moment_finer_than_microseconds_is_refused() -> None:
    """Cut down it would be lower than what was read, and Python holds no more of it."""
    moments = pa.array([1_000, 1_001], pa.int64()).cast(pa.timestamp("ns", "UTC"))

    with pytest.raises(Fatal, match="finer than microseconds"):
        highest(pa.table({"at": moments}), "at", above=None)


@pytest.mark.parametrize(
    ("watermark", "lookback", "start"),
    [
        (None, {"lookback_ms": 5, "lookback": None}, None),
        (10, {"lookback_ms": None, "lookback": None}, 10),
        (10, {"lookback_ms": None, "lookback": 3}, 7),
        (Decimal("1.5"), {"lookback_ms": None, "lookback": 0.5}, Decimal(1)),
        (FIVE, {"lookback_ms": 3_600_000, "lookback": None}, FIVE.replace(hour=4)),
        (dt.date(2013, 2, 4), {"lookback_ms": 1, "lookback": None}, dt.date(2013, 2, 3)),
    ],
)
def test_a_source_starts_at_the_watermark_less_the_lookback(
    watermark: Any,  # noqa: ANN401 any value
    lookback: Any,  # noqa: ANN401 the keywords
    start: Any,  # noqa: ANN401 any value
) -> None:
    """Of a date whole days: a part of one is one."""
    assert start_of(watermark, **lookback) == start


@pytest.mark.parametrize(
    ("watermark", "lookback"),
    [
        ("2013-02-04", {"lookback_ms": 5, "lookback": None}),
        (10, {"lookback_ms": 5, "lookback": None}),
        (FIVE, {"lookback_ms": None, "lookback": 5}),
        (dt.date.min, {"lookback_ms": 5, "lookback": None}),
    ],
)
def test_a_lookback_that_cannot_be_taken_fails_and_says_so(watermark: Any, lookback: Any) -> None:  # noqa: ANN401 any values
    """Rather than start somewhere else."""
    with pytest.raises(Fatal, match="lookback cannot be taken"):
        start_of(watermark, **lookback)
