"""
A place that cannot be loaded to, met by a real machine: who may not, and where there is no room.

As in `test_bad_input`: the error names the setting, what was committed before is whole, and
once the cause is mended, `resume` ends exact.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.machine.states.tasks import Load
from tests.io.postgres.server import PASSWORD, Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.receiver import Receiver, told
from tests.io.scene import GOOD, Make, is_whole
from tests.io.sqlite_warehouse import SqliteWarehouse
from tests.io.web import as_json, serving


def test_a_wrong_password_is_named_by_its_reference(
    make: Make, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address as the machine has it, and no word of the password."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        host = f"127.0.0.1:{cluster.port}"
        options = f"options=-csearch_path%3D{warehouse.schema}"
        to = f"postgresql://loader@{host}/postgres?password=env:WORD&{options}"
        monkeypatch.setenv("WORD", "hunter2")
        scene = make(Load(to=to, table="t", key=("id",)))

        said = scene.fails()

        assert f"{host}/postgres?password=env:WORD" in said[0]
        assert "password authentication failed" in said[0]
        assert "correct user, password or database in `to`" in said[-1]
        assert "hunter2" not in "".join(said)
        monkeypatch.setenv("WORD", PASSWORD)
        assert scene.resume() == "done"
        assert is_whole(warehouse)


def test_a_folder_that_is_not_there_is_named(make: Make, tmp_path: Path) -> None:
    """A file needs no password, but a place."""
    scene = make(Load(to="sqlite:///far/w.db", table="t", key=("id",)))

    said = scene.fails()

    assert f"its folder {tmp_path / 'far'} does not exist" in said[0]
    assert said[-1] == "next: make the folder, resume"
    (tmp_path / "far").mkdir()
    assert scene.resume() == "done"
    assert is_whole(SqliteWarehouse(tmp_path / "far" / "w.db"))


@pytest.fixture
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """Mount a file system of 4 MB where the server may write as well."""
    folder = cluster.folder / "little"
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if subprocess.run(asked, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("mounting a small file system takes root")
    owner = cluster.folder.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_of_a_file_keeps_what_is_there(make: Make, small_disk: Path) -> None:
    """Named with the file; with room again the rest of the load lands."""
    path = small_disk / "w.db"
    large = [{"id": n, "name": os.urandom(500).hex()} for n in range(3, 6_000)]
    scene = make(Load(to=f"sqlite:///{path}", table="t", key=("id",)), large)

    said = scene.fails()

    assert said[0] == f"DataError: cannot load into {path}: its disk is full"
    assert said[1:] == [
        "nothing of this batch was loaded",
        "next: free some space, then resume",
    ]
    warehouse = SqliteWarehouse(path)
    assert is_whole(warehouse)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert scene.resume() == "done"
    assert warehouse.query("SELECT count(*), count(DISTINCT name) FROM t") == [(5_999, 5_999)]
    assert warehouse.query("PRAGMA integrity_check") == [("ok",)]


def test_a_full_disk_of_a_server_keeps_what_is_there(
    make: Make, cluster: Cluster, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tablespace without room; with room again the rest of the load lands."""
    large = [{"id": n, "name": os.urandom(500).hex()} for n in range(3, 6_000)]
    with closing(PostgresWarehouse(cluster)) as warehouse:
        space = f"little_{warehouse.schema}"
        warehouse.script(f"CREATE TABLESPACE {space} LOCATION '{small_disk}'")
        warehouse.script(f"CREATE TABLE t (id int PRIMARY KEY, name text) TABLESPACE {space}")
        monkeypatch.setenv("WAREHOUSE", warehouse.url())
        scene = make(Load(to="env:WAREHOUSE", table="t", key=("id",)), large)

        said = scene.fails()

        assert said[0].startswith("DataError: cannot load into env:WAREHOUSE: its disk is full")
        assert said[-1] == "next: free some space, then resume"
        assert is_whole(warehouse)
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert scene.resume() == "done"
        assert warehouse.query("SELECT count(*), count(DISTINCT name) FROM t") == [(5_999, 5_999)]
        warehouse.script("DROP TABLE t")
        warehouse.script(f"DROP TABLESPACE {space}")


def test_a_receiver_that_knows_no_such_token_is_told_by_reference(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Midway it no longer does: what it took stands, and with a new token the rest is sent."""
    monkeypatch.setenv("API_TOKEN", "s3cret-and-old")
    denied = told(as_json({"error": "s3cret-and-old has expired"}, status=401))
    receiver = Receiver(troubles=[None, denied])
    with serving(receiver) as web:
        load = Load(to=f"{web.url}/orders", effect="exactly_once", auth="env:API_TOKEN")
        scene = make(load, [{"id": 3, "name": "c"}])

        said = scene.fails()

        assert said[0].startswith(f"DataError: cannot load: POST {web.url}/orders: 401 ")
        assert "has expired" in said[0]
        assert "s3cret" not in "".join(said)
        assert "correct `to` or `auth`" in said[2]
        assert receiver.taken == GOOD
        monkeypatch.setenv("API_TOKEN", "s3cret-and-new")
        assert scene.resume() == "done"
        assert web.requests[-1].headers["authorization"] == "Bearer s3cret-and-new"
    assert receiver.taken == [*GOOD, {"id": 3, "name": "c"}]


def test_a_receiver_without_room_is_tried_as_often_as_the_policy_says(make: Make) -> None:
    """It may have room again by itself; if it has not, a resume sends what is missing."""
    full = told(as_json({"error": "no space left"}, status=507))
    receiver = Receiver(troubles=[None, full, full])
    with serving(receiver) as web:
        scene = make(Load(to=f"{web.url}/orders"), [{"id": 3, "name": "c"}])

        (said,) = scene.fails()

        assert said.startswith(f"BadAnswer: POST {web.url}/orders: 507 ")
        assert "no space left" in said
        assert receiver.taken == GOOD
        assert scene.resume() == "done"
    assert receiver.taken == [*GOOD, {"id": 3, "name": "c"}]
