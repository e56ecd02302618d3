"""
What is wrong with a server, an account, a table or a disk: named, and mended by a resume.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.errors import Busy, DataError, DefinitionError, StatepipeError, Unreachable
from statepipe.io.destinations import open_destination
from statepipe.io.postgres.destination import PostgresDestination
from statepipe.observe import redact
from tests.io.postgres.server import PASSWORD, Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import ROWS, batch


@pytest.fixture
def warehouse(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return an empty schema."""
    made = PostgresWarehouse(cluster)
    yield made
    made.close()


def refused(address: str, *, table: str = "t", key: tuple[str, ...] = ()) -> StatepipeError:
    """Return what a load is refused with; whatever it says, it says no password."""
    target = open_destination(address, base_dir=Path("/"), table=table, key=key)
    with pytest.raises(StatepipeError) as refusal, closing(target):
        target.load(batch())
    error = refusal.value
    said = (
        f"{error.message} {error.meaning} {error.next_step} {error.__cause__} {error.__context__!r}"
    )
    assert PASSWORD not in said
    assert "hunter2" not in said
    assert error.meaning
    assert error.next_step
    return error


def test_a_wrong_password_is_no_matter_of_waiting(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses us, so no policy tries again; the error names the address as written."""
    monkeypatch.setenv("PASSWORD", "hunter2")
    to = f"postgresql://loader@127.0.0.1:{cluster.port}/postgres?password=env:PASSWORD"

    error = refused(to)

    assert type(error) is DataError
    assert to in error.message
    assert "password authentication failed" in error.message
    assert "`to`" in error.next_step


def test_a_password_is_hidden_from_whatever_is_written(cluster: Cluster) -> None:
    """A task or a library that prints it shows three stars."""
    redact.forget()
    with closing(open_destination(cluster.url(), base_dir=Path("/"), table="t")) as target:
        target.ledger(store_id="s", instance="i", generation=1, state="l", visit=1)

    assert redact.redacted(f"it is {PASSWORD}!") == "it is ***!"
    redact.forget()


def test_a_password_by_reference_opens_the_door(
    warehouse: PostgresWarehouse, tmp_path: Path
) -> None:
    """In the place of the password, in the query, or the whole address from a file."""
    (tmp_path / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    (tmp_path / "address").write_text(warehouse.url(), encoding="utf-8")
    where = f"127.0.0.1:{warehouse.cluster.port}/postgres"
    path = f"options=-csearch_path%3D{warehouse.schema}"
    in_place = str(tmp_path / "password").replace("/", "%2F")
    addresses = [
        f"postgresql://loader:file:{in_place}@{where}?{path}",
        f"postgres://loader@{where}?{path}&password=file:{tmp_path}/password",
        f"file:{tmp_path}/address",
    ]

    for number, address in enumerate(addresses):
        with closing(open_destination(address, base_dir=tmp_path, table="t")) as target:
            assert target.load(batch(number=number)).records == 3


def test_a_reference_that_leads_nowhere_is_named(cluster: Cluster) -> None:
    """The variable is what has to be set."""
    to = f"postgresql://loader@127.0.0.1:{cluster.port}/postgres?password=env:NOT_THERE"

    error = refused(to)

    assert isinstance(error, DefinitionError)
    assert "NOT_THERE" in error.message


@pytest.mark.parametrize(
    "rest", ["h/db?nonsense=1", "[h/db", "h:port/db", "h/%zz", "a b/c", "h,h2:1,2,3/db"]
)
def test_an_address_that_libpq_cannot_read_is_not_quoted_by_it(
    rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What libpq says of such an address contains it."""
    monkeypatch.setenv("WAREHOUSE", f"postgresql://user:hunter2@{rest}")

    error = refused("env:WAREHOUSE")

    assert "env:WAREHOUSE" in error.message


def test_an_unknown_database_role_and_schema_are_named(warehouse: PostgresWarehouse) -> None:
    """Each error says what the server does not know."""
    url = warehouse.cluster.url()
    nowhere = url.replace("/postgres", "/nowhere")

    assert 'database "nowhere" does not exist' in refused(nowhere).message
    assert "no schema of the search path" in refused(url + "?options=-csearch_path%3Dno").message
    assert 'schema "no" does not exist' in refused(url, table="no.t").message


def test_a_server_that_is_not_there_is_waited_for_by_policy() -> None:
    """It may come back, so policies take it for a ConnectionError."""
    error = refused("postgresql://loader@127.0.0.1:1/postgres")

    assert isinstance(error, Unreachable)
    assert isinstance(error, ConnectionError)
    assert "127.0.0.1" in error.message


def test_a_missing_psycopg_is_an_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads into SQLite never needs it."""
    monkeypatch.setitem(__import__("sys").modules, "statepipe.io.postgres.destination", None)

    with pytest.raises(DataError, match="needs psycopg") as refusal:
        open_destination("postgresql://h/db", base_dir=Path("/"), table="t")

    assert "statepipe[postgres]" in refusal.value.next_step


@pytest.mark.parametrize(
    "name", ["pg_x", "a.b.c", ".t", "s.", "s.pg_x", "s._statepipe_x", "x" * 64]
)
def test_names_that_postgresql_or_we_keep_are_refused(name: str) -> None:
    """Or cut off without an error: 63 bytes are all that a name may have."""
    with pytest.raises(DefinitionError):
        PostgresDestination("postgresql://h/db", name="x", table=name)


def test_a_field_longer_than_a_name_may_be_stops_the_batch(warehouse: PostgresWarehouse) -> None:
    """The new table would have a column of another name."""
    target = warehouse.destination()

    with pytest.raises(DefinitionError, match="longer than 63 bytes"):
        target.load(batch([{"é" * 32: 1}]))

    assert warehouse.tables() == set()


def test_a_table_of_another_schema_has_its_ledger_there(warehouse: PostgresWarehouse) -> None:
    """Whoever may write the table's schema needs no right to another; any name will do."""
    schema = f'{warehouse.schema}%s?"'
    quoted = '"' + schema.replace('"', '""') + '"'
    warehouse.script(f"CREATE SCHEMA {quoted}")

    with closing(warehouse.destination(table=f"{schema}.t", key=("id",))) as target:
        assert target.load(batch()).records == 3
        assert target.load(batch()).already

    assert warehouse.query(f"SELECT count(*) FROM {quoted}.t") == [(3,)]
    assert warehouse.query(f"SELECT table_name FROM {quoted}._statepipe_ledger") == [
        (f"{schema}.t",)
    ]
    assert warehouse.tables() == set()


def test_an_unlogged_table_is_refused(warehouse: PostgresWarehouse) -> None:
    """A crash of the server empties it, and the ledger would still say that all is there."""
    warehouse.script("CREATE UNLOGGED TABLE t (id int, name text)")
    target = warehouse.destination()

    with pytest.raises(DataError, match="not kept over a crash") as refusal:
        target.load(batch())

    assert "SET LOGGED" in refusal.value.next_step
    warehouse.script("ALTER TABLE t SET LOGGED")
    assert target.load(batch()).records == 3


def test_a_key_whose_constraint_is_deferred_is_refused(warehouse: PostgresWarehouse) -> None:
    """PostgreSQL cannot upsert by it; the error says which index to make."""
    warehouse.script("CREATE TABLE t (id int UNIQUE DEFERRABLE, name text)")

    with pytest.raises(DataError, match="no unique index on id"):
        warehouse.destination(key=("id",)).load(batch())


class TestRights:
    """A role that may not do everything."""

    @pytest.fixture
    def loader(self, warehouse: PostgresWarehouse) -> Iterator[str]:
        """Return the address of a role that may use the schema, and no more."""
        role = f"role_{warehouse.schema}"
        warehouse.script(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        warehouse.script(f"GRANT USAGE ON SCHEMA {warehouse.schema} TO {role}")
        yield warehouse.url().replace("//loader:", f"//{role}:")
        warehouse.script(f"DROP OWNED BY {role}; DROP ROLE {role}")

    def test_a_role_that_may_not_make_tables_is_told_what_to_grant(
        self, warehouse: PostgresWarehouse, loader: str
    ) -> None:
        """The ledger has to be made by somebody."""
        target = PostgresDestination(loader, name="w", table="t")

        with pytest.raises(DataError, match="permission denied") as refusal, closing(target):
            target.load(batch())

        assert "CREATE on the schema" in refusal.value.next_step
        assert warehouse.tables() == set()

    @pytest.mark.parametrize("key", [(), ("id",)], ids=["append", "upsert"])
    def test_a_role_needs_no_more_than_the_guide_says(
        self, warehouse: PostgresWarehouse, loader: str, key: tuple[str, ...]
    ) -> None:
        """Once the tables are there: SELECT, INSERT and UPDATE on three of them."""
        with closing(warehouse.destination(key=key)) as owner:
            owner.load(batch(instance="the owner's"))
        role = f"role_{warehouse.schema}"
        for table in ("t", "_statepipe_epoch", "_statepipe_ledger"):
            warehouse.script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {role}")

        with closing(PostgresDestination(loader, name="w", table="t", key=key)) as target:
            assert target.load(batch()).records == 3
            assert target.load(batch()).already


@pytest.mark.parametrize(
    ("sqlstate", "kind", "says"),
    [
        ("53100", DataError, "disk is full"),
        ("57014", DataError, "statement_timeout"),
        ("40P01", Busy, "locked by somebody else"),
        ("58030", DataError, "said no"),
    ],
)
def test_what_a_statement_fails_with_says_what_to_do(
    warehouse: PostgresWarehouse, sqlstate: str, kind: type[StatepipeError], says: str
) -> None:
    """None of it is about a row, so the batch stops, whole, and can be loaded later."""
    warehouse.script("CREATE TABLE t (id int, name text)")
    warehouse.script(f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'said no' USING ERRCODE = '{sqlstate}'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fail();
    """)
    target = warehouse.destination()

    with pytest.raises(kind) as refusal:
        target.load(batch())

    assert says in f"{refusal.value.message} {refusal.value.next_step}"
    warehouse.script("DROP TRIGGER fail ON t")
    assert target.load(batch()).records == 3


def test_a_read_only_server_is_not_the_primary(warehouse: PostgresWarehouse) -> None:
    """A standby takes no rows; the error says how to name the primary."""
    warehouse.script("CREATE TABLE t (id int, name text)")
    warehouse.script("""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'read-only' USING ERRCODE = '25006'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fail();
    """)

    with pytest.raises(DataError) as refusal:
        warehouse.destination().load(batch())

    assert "target_session_attrs=read-write" in refusal.value.next_step


@pytest.fixture
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """Mount a file system of 4 MB; where nobody may mount, the full disk is only told of."""
    folder = cluster.folder / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("mounting a small file system takes root")
    owner = cluster.folder.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_loads_nothing_of_the_batch_and_all_of_it_later(
    warehouse: PostgresWarehouse, small_disk: Path
) -> None:
    """A tablespace without room: batches before stand, and with room again the next one lands."""
    space = f"small_{warehouse.schema}"
    warehouse.script(f"CREATE TABLESPACE {space} LOCATION '{small_disk}'")
    warehouse.script(f"CREATE TABLE t (id int PRIMARY KEY, name text) TABLESPACE {space}")
    target = warehouse.destination(key=("id",))
    target.load(batch(ROWS))
    large = [{"id": n, "name": os.urandom(500).hex()} for n in range(10, 6_000)]

    with pytest.raises(DataError, match="disk is full"):
        target.load(batch(large, number=1))

    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]
    assert warehouse.query("SELECT count(*) FROM _statepipe_ledger") == [(1,)]
    warehouse.script("ALTER TABLE t SET TABLESPACE pg_default")
    assert target.load(batch(large, number=1)).records == len(large)
    target.close()
    warehouse.script("DROP TABLE t")
    warehouse.script(f"DROP TABLESPACE {space}")
