"""
Tables made from a contract, and contracts that have grown, at every destination.
"""

import itertools
import threading
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest

from statepipe.errors import DataError, DefinitionError
from statepipe.io.declared import Declared, Field
from statepipe.io.destinations import Destination
from tests.io.warehouse import Crash, Faults, Warehouse, batch, rejects_of

#: A value of each shape.
VALUES: Final[dict[str, Any]] = {
    "integer": 7,
    "number": 1.5,
    "decimal": Decimal("1.10"),
    "text": "é",
    "boolean": True,
    "date": date(2024, 2, 29),
    "datetime": datetime(2024, 2, 29, 12, tzinfo=UTC),
    "time": time(12, 30, tzinfo=UTC),
    "uuid": UUID("0d6b1ad2-2dc4-4f5e-9cbb-9d7c2a3a3b61"),
    "json": {"a": [1, None]},
    "any": "x",
}

BASE: Final = (Field("id", "integer", required=True), Field("name", "text"))
GROWN: Final = (*BASE, Field("price", "decimal", required=True), Field("seen", "datetime"))
RECORD: Final = {"id": 2, "name": "b", "price": Decimal("1.50"), "seen": VALUES["datetime"]}


def target(
    database: Warehouse,
    *fields: Field,
    adds: bool = True,
    **asked: Any,  # noqa: ANN401  (whatever is passed on)
) -> Destination:
    """Return a destination whose table is declared."""
    declared = Declared("row@2.json", fields, adds)
    return database.destination(**{"key": ("id",), "declared": declared, **asked})


def columns(database: Warehouse, table: str = "t") -> dict[str, tuple[str, bool]]:
    """Return type and NOT NULL of each column."""
    if database.kind == "sqlite":
        rows = database.query(f"SELECT name, type, \"notnull\" FROM pragma_table_info('{table}')")
    elif database.kind == "duckdb":
        rows = database.query(
            "SELECT column_name, data_type, NOT is_nullable FROM duckdb_columns()"
            f" WHERE table_name = '{table}' ORDER BY column_index"
        )
    else:
        rows = database.query(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
            f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
            " ORDER BY attnum"
        )
    return {name: (kind, bool(not_null)) for name, kind, not_null in rows}


def test_a_table_is_made_from_the_contract_and_not_from_the_batch(database: Warehouse) -> None:
    """Types, NOT NULL and the key are the contract's, also of what no record has."""
    fields = [Field("id", "integer", required=True), Field("must", "text", required=True)]
    fields += [Field(f"c_{shape}", shape) for shape in VALUES]

    target(database, *fields).load(batch([{"id": 1, "must": "x"}]))

    made = columns(database)
    assert [not_null for _, not_null in made.values()] == [True, True] + [False] * len(VALUES)
    types = [kind for kind, _ in made.values()][2:]
    assert (
        types
        == {
            "sqlite": ["INTEGER", "REAL", "ANY", "TEXT", "INTEGER", *["TEXT"] * 5, "ANY"],
            "postgres": [
                "bigint",
                "double precision",
                "numeric",
                "text",
                "boolean",
                "date",
                "timestamp with time zone",
                "time with time zone",
                "uuid",
                "jsonb",
                "jsonb",
            ],
            "duckdb": [
                "BIGINT",
                "DOUBLE",
                "DECIMAL(38,18)",
                "VARCHAR",
                "BOOLEAN",
                "DATE",
                "TIMESTAMP WITH TIME ZONE",
                "VARCHAR",
                "UUID",
                "JSON",
                "JSON",
            ],
        }[database.kind]
    )
    with pytest.raises(DataError, match="no unique index on must"):
        target(database, *fields, key=("must",)).load(batch(number=1))


def test_values_of_every_shape_go_into_the_column_that_is_made_for_it(
    database: Warehouse,
) -> None:
    """And come back as they were: the same values, or their documented form."""
    fields = [
        Field("id", "integer", required=True),
        *(Field(shape, shape, required=True) for shape in VALUES),
    ]

    landed = target(database, *fields).load(batch([{"id": 1, **VALUES}]))

    assert landed.rejects == []
    names = ", ".join(f'"{shape}"' for shape in VALUES)
    (row,) = database.query(f"SELECT {names} FROM t")
    assert all(map(database.is_same, row, VALUES.values())), row


def test_a_record_without_what_is_required_is_rejected(database: Warehouse) -> None:
    """The column is NOT NULL; the others of the batch are loaded."""
    fields = (Field("id", "integer", required=True), Field("name", "text", required=True))

    landed = target(database, *fields).load(batch([{"id": 1, "name": "a"}, {"id": 2}]))

    assert [*rejects_of(landed)] == [(1, "notnull", "/name")]


def test_a_batch_without_records_makes_the_table(database: Warehouse) -> None:
    """What it will look like is known."""
    target(database, *BASE).load(batch([]))

    assert list(columns(database)) == ["id", "name"]


def test_a_field_that_the_contract_does_not_have_stops_the_batch(database: Warehouse) -> None:
    """As one does that a table lacks: nothing is loaded, nothing is made."""
    with pytest.raises(DataError, match="no column 'more'"):
        target(database, *BASE).load(batch([{"id": 1, "more": 2}]))

    assert "t" not in database.tables()


@pytest.mark.parametrize("replace", [False, True])
def test_a_contract_that_grew_adds_its_columns_with_the_batch(
    database: Warehouse, *, replace: bool
) -> None:
    """Nullable, also where they are required: rows that are there have no value."""
    with closing(target(database, *BASE)) as before:
        before.load(batch([{"id": 1, "name": "a"}]))

    after = target(database, *GROWN, replace=replace)
    after.load(batch([RECORD], number=0, instance="i-2"))
    if replace:
        assert list(columns(database)) == ["id", "name"]
    after.load(batch([{"id": 3, "name": "c"}], number=1, instance="i-2"))
    after.publish(batch([], number=2, instance="i-2"))

    made = columns(database)
    assert list(made) == ["id", "name", "price", "seen"]
    assert not any(not_null for _, not_null in list(made.values())[1:])
    old = [] if replace else [(1, "a", True)]
    found = database.query("SELECT id, name, price IS NULL FROM t ORDER BY id")
    assert found == [*old, (2, "b", False), (3, "c", True)]
    assert not [name for name in database.tables() if "draft" in name]


@pytest.mark.parametrize("replace", [False, True])
def test_growth_is_refused_unless_it_is_asked_for(database: Warehouse, *, replace: bool) -> None:
    """With the column and what to say; the batch before is whole, and the load can go on."""
    with closing(target(database, *BASE)) as before:
        before.load(batch([{"id": 1, "name": "a"}]))

    with pytest.raises(DataError, match=r"row@2.json contradicts table 't': it has 'price'") as no:
        target(database, *GROWN, adds=False, replace=replace).load(batch([RECORD], number=1))

    assert 'columns = "add"' in no.value.next_step
    assert list(columns(database)) == ["id", "name"]
    assert target(database, *GROWN, adds=True).load(batch([RECORD], number=1)).records == 1


@pytest.mark.parametrize("adds", [False, True])
def test_a_property_that_differs_from_a_column_in_case_only_is_told_so(
    database: Warehouse, *, adds: bool
) -> None:
    """Where case matters it can be added, if that is asked for."""
    with closing(target(database, *BASE)) as before:
        before.load(batch([{"id": 1, "name": "a"}]))
    after = target(database, *BASE, Field("Name", "text"), adds=adds)

    if adds and database.kind == "postgres":
        assert after.load(batch([{"id": 2, "Name": "b"}], number=1)).records == 1
        return
    with pytest.raises(DataError, match=r"'name'.* differ.* in case only"):
        after.load(batch([{"id": 2, "name": "b"}], number=1))

    assert list(columns(database)) == ["id", "name"]


@pytest.mark.parametrize("replace", [False, True])
def test_growth_that_is_killed_at_any_statement_is_whole_or_absent(
    database: Warehouse, *, replace: bool
) -> None:
    """
    Column, rows and ledger row are one transaction; done again, it is as if never killed.

    Of a replacement, which is longer, it is every third statement.
    """
    for at in itertools.count(step=max(3 if replace else 1, database.stride)):
        drop = "".join(f'DROP TABLE "{name}";' for name in database.tables() if "t" in name)
        database.script(drop)
        with closing(target(database, *BASE)) as before:
            before.load(batch([{"id": 1, "name": "a"}]))
        faults = Faults(at=at, after=True, error=Crash())
        died = False
        for attempt in (faults, None):
            grown = target(database, *GROWN, replace=replace, faults=attempt)
            with closing(grown), suppress(Crash):
                grown.load(batch([RECORD], number=0, instance="i-2"))
                grown.publish(batch([], number=1, instance="i-2"))
                continue
            died = True
            faults.die()
            whole = "price" in columns(database)
            found = database.query("SELECT id FROM t ORDER BY id")
            assert found == ([(2,)] if whole and replace else [(1,), (2,)] if whole else [(1,)])
        rows = database.query("SELECT id, name, price IS NULL FROM t ORDER BY id")
        assert rows == ([] if replace else [(1, "a", True)]) + [(2, "b", False)]
        if not died:
            break
    assert at > 8


def test_two_who_add_the_same_column_at_once_both_load(database: Warehouse) -> None:
    """Whoever comes second finds it there."""
    with closing(target(database, *BASE)) as before:
        before.load(batch([{"id": 1, "name": "a"}]))
    start = threading.Barrier(4)
    problems: list[BaseException] = []

    def load(number: int) -> None:
        grown = target(database, *GROWN)
        try:
            start.wait()
            for again in itertools.count():
                try:
                    grown.load(batch([RECORD | {"id": number}], instance=f"i-{number}"))
                except Exception:
                    if again == 200:  # busy for all that time
                        raise
                else:
                    return
        except BaseException as problem:  # noqa: BLE001  (told below)
            problems.append(problem)
        finally:
            grown.close()

    threads = [threading.Thread(target=load, args=(number,)) for number in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (10,), (11,), (12,), (13,)]


@pytest.mark.parametrize("replace", [False, True])
def test_a_contract_that_contradicts_the_table_is_refused_before_any_row(
    database: Warehouse, *, replace: bool
) -> None:
    """With the column; the table is as it was."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name INTEGER)")

    with pytest.raises(DataError, match="contradicts table 't': 'name' is of type text"):
        target(database, *BASE, replace=replace).load(batch([{"id": 1, "name": None}]))

    assert database.query("SELECT count(*) FROM t") == [(0,)]


def test_a_table_without_the_key_is_refused_whatever_may_be_added(database: Warehouse) -> None:
    """A column that is added has no values, so it cannot be the key."""
    database.script("CREATE TABLE t (name TEXT)")

    with pytest.raises(DataError, match="table 't' has no key column 'id'"):
        target(database, *BASE).load(batch([{"id": 1, "name": "a"}]))


def test_a_name_that_no_column_can_have_is_refused(database: Warehouse) -> None:
    """In a table that is made, and in one that is there."""
    name = "x" * 256
    with pytest.raises(DefinitionError, match="longer than"):
        target(database, *BASE, Field(name, "text")).load(batch([]))
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    with pytest.raises(DefinitionError, match="longer than"):
        target(database, *BASE, Field(name, "text")).load(batch([]))


def test_a_column_added_to_a_table_that_is_not_strict_changes_no_value(
    database: Warehouse,
) -> None:
    """SQLite takes an unknown type for a number's: 1.50 would be 1.5, and '007' would be 7."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    fields = (*BASE, Field("price", "decimal"), Field("note", "any"))

    landed = target(database, *fields).load(
        batch([{"id": 1, "price": Decimal("1.50"), "note": "007"}])
    )

    assert landed.rejects == []
    ((price, note),) = database.query("SELECT price, note FROM t")
    assert Decimal(price) == Decimal("1.50")
    assert database.is_same(note, "007")
    assert database.kind == "duckdb" or str(price) == "1.50"


TYPES: Final = {
    "sqlite": ["INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "DATETIME", "DECIMAL(9,2)"],
    "postgres": [
        *("integer", "bigint", "real", "double precision", "numeric", "boolean", "bytea"),
        *("text", "varchar(60)", "date", "time", "timetz", "timestamp", "timestamptz"),
        *("interval", "uuid", "json", "jsonb"),
    ],
    "duckdb": [
        *("INTEGER", "HUGEINT", "REAL", "DOUBLE", "DECIMAL(9,2)", "BOOLEAN", "BLOB", "VARCHAR"),
        *("DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "INTERVAL", "UUID", "JSON"),
    ],
}


@pytest.mark.parametrize("shape", [*VALUES])
def test_a_column_that_is_not_refused_holds_an_ordinary_value(
    database: Warehouse, shape: str
) -> None:
    """Every type of column against every shape; nearly each shape has a column it contradicts."""
    refused = 0
    for kind in TYPES[database.kind]:
        database.script(f"DROP TABLE IF EXISTS t; CREATE TABLE t (x {kind})")
        with closing(target(database, Field("x", shape), key=())) as declared:
            try:
                landed = declared.load(batch([{"x": VALUES[shape]}], instance=kind))
            except DataError:
                refused += 1
            else:
                assert landed.rejects == [] or shape == "any", kind

    assert refused > 0 or shape == "any"
