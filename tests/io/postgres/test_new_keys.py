"""
An upsert whose keys are all new is copied into the table itself.

Whatever stands against that, it ends as if it had not been tried.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from statepipe.errors import DataError
from statepipe.io.fitting import Fitted
from statepipe.io.postgres import values
from statepipe.io.postgres.destination import PostgresDestination
from statepipe.io.postgres.table import Column
from statepipe.io.rows import Records
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import ROWS, batch

STAGING = "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relname ~ '^_statepipe_'"


@pytest.fixture
def warehouse(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return an empty schema."""
    made = PostgresWarehouse(cluster)
    yield made
    made.close()


def staged(target: PostgresDestination) -> bool:
    """Return True if the session has made a table to stage rows in."""
    (count,) = target._open().execute(STAGING).fetchone() or (None,)
    return bool(count)


def test_new_keys_need_no_staging_table(warehouse: PostgresWarehouse) -> None:
    """In a table that is made, and in one that was there."""
    target = warehouse.destination(key=("id",))

    target.load(batch())
    target.load(batch(number=1, records=[{"id": 4, "name": "d"}]))

    assert warehouse.query("SELECT count(*) FROM t") == [(4,)]
    assert not staged(target)


def test_known_keys_are_replaced_from_the_first_one_on(warehouse: PostgresWarehouse) -> None:
    """Nothing of the try is left, what was new is there once, and no further batch tries."""
    target = warehouse.destination(key=("id",))
    target.load(batch())

    landed = target.load(
        batch(number=1, records=[{"id": 9, "name": "new"}, {"id": 2, "name": "B"}])
    )

    assert landed.records == 2
    assert staged(target)
    assert warehouse.query("SELECT id, name FROM t ORDER BY id") == [
        (1, "a"),
        (2, "B"),
        (3, "c"),
        (9, "new"),
    ]
    assert not target._all_new


def test_a_refused_row_is_rejected_alone_among_new_keys(warehouse: PostgresWarehouse) -> None:
    """The verdict is that of the upsert."""
    warehouse.script("CREATE TABLE t (id int PRIMARY KEY, name text CHECK (name <> 'no'))")
    target = warehouse.destination(key=("id",))

    landed = target.load(batch(records=[*ROWS, {"id": 4, "name": "no"}]))

    assert (landed.records, [entry["rule"] for entry in landed.rejects]) == (3, ["check"])
    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize(
    "index",
    [
        "CREATE UNIQUE INDEX ON t (id) WHERE id > 100",
        "CREATE UNIQUE INDEX ON t (id, name)",
        "CREATE UNIQUE INDEX ON t ((id + 1))",
        "CREATE INDEX ON t (id)",
        "ALTER TABLE t ADD UNIQUE (id) DEFERRABLE",
        "ALTER TABLE t ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED",
    ],
)
def test_an_index_that_goes_meanwhile_lets_no_key_in_twice(
    warehouse: PostgresWarehouse, index: str
) -> None:
    """What is left refuses no second row at once, so COPY is not asked whether a key is new."""
    warehouse.script("CREATE TABLE t (id int PRIMARY KEY, name text)")
    target = warehouse.destination(key=("id",))
    target.load(batch())
    target.load(batch(number=1, records=[{"id": 4, "name": "d"}]))  # what it knows now, it keeps
    warehouse.script(f"ALTER TABLE t DROP CONSTRAINT t_pkey; {index}")

    with pytest.raises(DataError, match="no unique index on id"):
        target.load(batch(number=2))

    assert warehouse.query("SELECT count(*) FROM t") == [(4,)]


def test_a_table_with_row_security_is_upserted_as_ever(warehouse: PostgresWarehouse) -> None:
    """COPY refuses such a table; nobody else need know."""
    schema = warehouse.schema
    clerk = f"clerk_{schema}"
    warehouse.script(
        f"""
        CREATE ROLE {clerk};
        GRANT ALL ON SCHEMA {schema} TO {clerk};
        CREATE TABLE t (id int PRIMARY KEY, name text);
        GRANT ALL ON t TO {clerk};
        ALTER TABLE t ENABLE ROW LEVEL SECURITY;
        CREATE POLICY anyone ON t USING (true) WITH CHECK (name <> 'no')
        """
    )
    options = f"-csearch_path={schema} -crole={clerk}"
    address = warehouse.cluster.socket(options=options)
    target = PostgresDestination(address, name="the warehouse", table="t", key=("id",))
    with closing(target):
        assert target.load(batch()).records == 3

    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize(("first", "times", "rejected"), [("x", 1, []), (1, 2, [0])])
def test_a_batch_fitted_while_another_one_made_the_table_is_fitted_again_only_if_it_matters(
    warehouse: PostgresWarehouse,
    monkeypatch: pytest.MonkeyPatch,
    first: object,
    times: int,
    rejected: list[int],
) -> None:
    """It does if the table came to be another one than the batch would have made."""
    fitted = []

    def fit(records: Records, **known: Any) -> Fitted[Column]:  # noqa: ANN401  (passed on)
        fitted.append(records)
        return values.fit(records, **known)

    def turn() -> None:
        warehouse.destination(key=("id",)).load(batch(records=[{"id": 1, "x": first}]))

    second = [{"id": 2, "x": "5"}]
    monkeypatch.setattr("statepipe.io.postgres.destination.fit", fit)
    target = warehouse.destination(key=("id",))
    answer = target.load(replace(batch(number=1, records=second), turn=turn))

    assert sum(records is second for records in fitted) == times
    assert [entry["position"] for entry in answer.rejects] == rejected
    assert len(warehouse.query("SELECT * FROM t")) == 2 - len(rejected)
