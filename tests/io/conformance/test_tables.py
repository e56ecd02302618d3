"""
Tables of every destination: new ones, other people's ones, and what cannot be one.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
import pytest

from statepipe.errors import DataError, DefinitionError
from tests.io.warehouse import ROWS, Crash, Faults, Warehouse, batch, rejects_of

Result = TypeVar("Result")


def test_without_a_key_equal_records_are_all_kept(warehouse: Warehouse) -> None:
    """Appending is no judgement: a batch may say the same thing twice."""
    target = warehouse.destination()

    target.load(batch([*ROWS, *ROWS]))

    assert warehouse.query("SELECT count(*) FROM t") == [(6,)]


def test_a_field_a_record_lacks_keeps_what_the_table_has(database: Warehouse) -> None:
    """Absent is not null: an upsert leaves the column alone, an insert takes its default."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT DEFAULT 'z')")
    target = database.destination(key=("id",))
    target.load(batch([{"id": 1, "a": "a", "b": "b"}]))

    target.load(batch([{"id": 1, "a": None}, {"b": "q", "id": 2}, {"id": 3}], number=1))

    assert database.query("SELECT id, a, b FROM t ORDER BY id") == [
        (1, None, "b"),
        (2, None, "q"),
        (3, None, "z"),
    ]


def test_records_of_changing_fields_are_applied_in_their_order(database: Warehouse) -> None:
    """Each record of a key changes what it names, after the record before it."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER)")
    records = [{"id": n % 3, "a" if n % 2 else "b": n} for n in range(12)]

    assert database.destination(key=("id",)).load(batch(records)).records == 12
    assert database.query("SELECT id, a, b FROM t ORDER BY id") == [
        (0, 9, 6),
        (1, 7, 10),
        (2, 11, 8),
    ]


def test_records_of_changing_fields_are_counted_and_rejected_where_they_stood(
    database: Warehouse,
) -> None:
    """Whatever order they are written in, a verdict names the position in the batch."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER CHECK (a <> 5), b INTEGER)")
    records = [{"id": n, "a" if n % 2 else "b": n} for n in range(9)]

    answer = database.destination(key=("id",)).load(batch(records))

    assert [(position, rule) for position, rule, _ in rejects_of(answer)] == [(5, "check")]
    assert [entry["record"] for entry in answer.rejects] == [{"id": 5, "a": 5}]
    assert database.query("SELECT count(*) FROM t") == [(8,)]


def test_names_of_any_characters_are_safe(database: Warehouse) -> None:
    """Quotes, spaces and keywords are names like any other; nothing is run by them."""
    name = 'select "x"; DROP TABLE t; --'
    target = database.destination(table=name, key=('k"',))
    record = {'k"': 1, "order": 2, "é ü": 3, "50%s": 4, "?": 5, "_statepipe_epoch": 6}

    assert target.load(batch([record, record | {'k"': 2}])).records == 2
    assert target.load(batch([record | {"order": 7}], number=1)).records == 1

    quoted = name.replace('"', '""')
    assert database.query(f'SELECT * FROM "{quoted}" ORDER BY 1') == [
        (1, 7, 3, 4, 5, 6),
        (2, 2, 3, 4, 5, 6),
    ]


@pytest.mark.parametrize("name", ["", "a\0b", "_statepipe_ledger", "x" * 256, "\ud800"])
def test_names_no_table_can_have_are_refused(warehouse: Warehouse, name: str) -> None:
    """The machine is wrong, and says so before anything is connected to."""
    with pytest.raises(DefinitionError):
        warehouse.destination(table=name)
    with pytest.raises(DefinitionError):
        warehouse.destination(key=("x" * 256,))


def test_an_unknown_column_stops_the_whole_batch(database: Warehouse) -> None:
    """Nothing of the batch is loaded, and the error says how to add the column."""
    target = database.destination()
    target.load(batch())

    with pytest.raises(
        DataError, match=r"no column 'nmae', which record 1 of the batch has; did you mean \"name\""
    ) as refusal:
        target.load(batch([{"id": 9}, {"id": 10, "nmae": "x"}], number=1))

    assert 'ADD COLUMN "nmae"' in refusal.value.next_step
    assert database.query("SELECT count(*) FROM t") == [(3,)]
    assert database.query("SELECT count(*) FROM _statepipe_ledger") == [(1,)]


@pytest.mark.parametrize("as_table", [False, True], ids=["dicts", "a table"])
def test_a_field_that_differs_from_a_column_in_case_only_is_told_so(
    database: Warehouse, *, as_table: bool
) -> None:
    """To add the column would not help where case does not matter, and is not meant elsewhere."""
    database.script("CREATE TABLE t (id INTEGER, name TEXT)")
    records = [{"ID": 1, "name": "a"}]

    with pytest.raises(DataError, match=r"'ID'.*it has 'id', which differs in case") as no:
        database.destination().load(batch(pa.Table.from_pylist(records) if as_table else records))

    assert "call the field 'id'" in no.value.next_step
    if not as_table:
        with pytest.raises(DataError, match="'ID'") as both:
            database.destination().load(batch([{"ID": 1, "id": 2}]))
        assert "leave one of the two fields out" in both.value.next_step


@pytest.mark.parametrize("records", [[{"ID": 1, "id": 2}], [{"ID": 1}, {"id": 2}]])
@pytest.mark.parametrize("as_table", [False, True], ids=["dicts", "a table"])
def test_fields_that_differ_in_case_only_are_two_columns_or_refused(
    database: Warehouse, records: list[dict[str, Any]], *, as_table: bool
) -> None:
    """Where the database would take them for one, the error names both."""
    table = pa.table({name: [record.get(name) for record in records] for name in ("ID", "id")})
    target = database.destination()

    if database.kind == "postgres":
        assert target.load(batch(table if as_table else records)).records == len(records)
        return
    with pytest.raises(DataError, match="the fields 'ID' and 'id' differ in case only") as no:
        target.load(batch(table if as_table else records))

    assert "call one of them otherwise" in no.value.next_step
    assert "t" not in database.tables()


def test_more_fields_than_a_table_has_columns_are_refused_with_the_way_out(
    database: Warehouse,
) -> None:
    """2,000 in SQLite, 1,600 in PostgreSQL; DuckDB has no such limit."""
    record = {f"c{n}": n for n in range(2_001)}
    target = database.destination()

    if database.kind == "duckdb":
        assert target.load(batch([record])).records == 1
        return
    with pytest.raises(DataError, match="columns") as no:
        target.load(batch([record]))

    assert "into one, as a dict" in no.value.next_step
    assert "t" not in database.tables()


def test_a_column_added_meanwhile_is_seen(database: Warehouse) -> None:
    """Somebody's ALTER TABLE between two batches is taken in by the same connection."""
    target = database.destination()
    target.load(batch())
    target.load(batch(number=1))
    database.script("ALTER TABLE t ADD COLUMN extra TEXT")

    target.load(batch([{"id": 4, "name": "d", "extra": "e"}], number=2))

    assert database.query("SELECT * FROM t WHERE id = 4") == [(4, "d", "e")]


def test_a_column_whose_type_changed_meanwhile_is_judged_again(database: Warehouse) -> None:
    """The values were fitted to what the column was; now it would hold them as another type."""
    target = database.destination()
    target.load(batch([{"id": 1}]))
    database.script("DROP TABLE t; CREATE TABLE t (id TEXT)")

    answer = target.load(batch([{"id": 5}, {"id": "6"}], number=1))

    assert [entry["record"] for entry in answer.rejects] == [{"id": 5}]
    assert database.query("SELECT id FROM t") == [("6",)]


def test_a_table_made_by_somebody_else_in_between_is_judged_again(database: Warehouse) -> None:
    """The values were fitted to a new table; then another loader made it first."""

    class Rival(Faults):
        def run(self, sql: str, call: Callable[[], Result]) -> Result:
            first = not any(known.startswith("BEGIN") for known in self.statements)
            if sql.lstrip().startswith("BEGIN") and first:
                database.script("CREATE TABLE t (id TEXT, name TEXT)")
            return super().run(sql, call)

    target = database.destination(faults=Rival(error=Crash()))

    answer = target.load(batch([{"id": 1}, {"id": "1"}]))

    assert [entry["record"] for entry in answer.rejects] == [{"id": 1}]
    assert database.query("SELECT id FROM t") == [("1",)]


def test_rows_a_constraint_refuses_are_rejected_alone(database: Warehouse) -> None:
    """NOT NULL, CHECK, UNIQUE, foreign keys and triggers cost their own row only."""
    database.script("""
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        INSERT INTO parent VALUES (1);
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER CHECK (n < 10),
          u TEXT UNIQUE, p INTEGER REFERENCES parent
        );
    """)
    triggers = database.refusing_triggers()
    database.script(triggers)
    good: dict[str, Any] = {"id": 1, "name": "ok", "n": 1, "u": "u1", "p": 1}
    records = [
        good,
        good | {"id": 2, "name": None, "u": "u2"},
        good | {"id": 3, "n": 10, "u": "u3"},
        good | {"id": 4},
        good | {"id": 5, "p": 7, "u": "u5"},
        good | {"id": 8, "u": "u8"},
    ]
    if triggers:
        records += [
            good | {"id": 6, "name": "no", "u": "u6"},
            good | {"id": 7, "name": "hush", "u": "u7"},
        ]
    target = database.destination(key=("id",))

    answer = target.load(batch(records))

    assert [(position, rule) for position, rule, _ in rejects_of(answer)] == [
        (1, "notnull"),
        (2, "check"),
        (3, "unique"),
        (4, "foreignkey"),
        *([(6, "trigger"), (7, "trigger")] if triggers else []),
    ]
    paths = {rule: path for _, rule, path in rejects_of(answer)}
    assert (paths["notnull"], paths["unique"]) == ("/name", "/u")
    assert paths.get("trigger", "") == ""
    assert paths["check"] in {"", "/n"}
    assert paths["foreignkey"] in {"", "/p"}
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (8,)]
    assert answer.records + len(answer.rejects) == len(records)
    assert target.load(batch(records)) == answer._replace(already=True)


def test_appended_rows_are_refused_alone_too(database: Warehouse) -> None:
    """Without a key there is no conflict to update; a unique column refuses its own row."""
    database.script("CREATE TABLE t (id INTEGER UNIQUE, name TEXT NOT NULL)")
    triggers = database.refusing_triggers()
    database.script(triggers)
    names = ["a", None, "b", *(["hush", "c", "no"] if triggers else ["d", "c", "e"])]
    records = [{"id": n, "name": name} for n, name in enumerate(names)]

    answer = database.destination().load(batch([*records, records[0]]))

    refused = [(3, "trigger"), (5, "trigger")] if triggers else []
    assert [(position, rule) for position, rule, _ in rejects_of(answer)] == [
        (1, "notnull"),
        *refused,
        (6, "unique"),
    ]
    kept = {0, 2, 3, 4, 5} - {position for position, _ in refused}
    assert database.query("SELECT id FROM t ORDER BY id") == [(n,) for n in sorted(kept)]


def test_a_batch_of_which_nothing_can_be_stored_is_loaded_as_nothing(database: Warehouse) -> None:
    """All of it is in quarantine, and its ledger row says so."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 10))")
    target = database.destination(key=("id",))

    answer = target.load(batch([{"id": n, "n": 10 + n} for n in range(37)]))

    assert (answer.records, len(answer.rejects)) == (0, 37)
    assert database.query("SELECT records, rejected FROM _statepipe_ledger") == [(0, 37)]


def test_a_view_is_refused(database: Warehouse) -> None:
    """Rows cannot be put into it; the error says to name a table."""
    database.script("CREATE TABLE x (id INTEGER, name TEXT); CREATE VIEW t AS SELECT * FROM x")

    with pytest.raises(DataError) as refusal:
        database.destination().load(batch())

    assert "name a table" in refusal.value.next_step


def test_a_columnar_table_is_loaded_and_its_rejects_have_records(warehouse: Warehouse) -> None:
    """Arrow goes in by columns; what cannot be stored comes back as a dict."""
    table = pa.table({"id": [1, 2, 3, 4], "x": [1.5, 2.5, None, 3.5], "s": ["a", "b", None, "\0"]})
    target = warehouse.destination(key=("id",) if warehouse.upserts else ())

    answer = target.load(batch(table))

    assert warehouse.query("SELECT id, x, s FROM t ORDER BY id") == [
        (1, 1.5, "a"),
        (2, 2.5, "b"),
        (3, None, None),
    ]
    assert [(e["record"]["id"], e["rule"], e["path"]) for e in answer.rejects] == [(4, "nul", "/s")]
    assert target.load(batch(table)) == answer._replace(already=True)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_columnar_table_without_columns_has_only_empty_records(
    warehouse: Warehouse, rows: int
) -> None:
    """There is nothing to load, and every record is accounted for."""
    table = pa.table({"x": range(rows)}).select([])

    answer = warehouse.destination().load(batch(table))

    assert list(rejects_of(answer)) == [(n, "empty", "") for n in range(rows)]


def test_a_table_that_contradicts_the_records_says_so_of_each(database: Warehouse) -> None:
    """A column of another type than what comes: the reason names field, value and type."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name INTEGER)")

    answer = database.destination(key=("id",)).load(batch([{"id": 1, "name": "7"}]))

    (entry,) = answer.rejects
    assert (entry["rule"], entry["path"]) == ("type", "/name")
    assert "'7'" in entry["message"]
    assert "integer column" in entry["message"].lower()
