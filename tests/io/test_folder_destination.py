"""
What only the destinations of files do; what all do is in `conformance`.
"""

import datetime as dt
import gzip
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from unittest import mock
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statepipe.errors import DataError
from statepipe.io.destinations import Landed
from statepipe.io.folders.destination import FolderDestination
from statepipe.io.rows import Records
from tests.io.conformance.test_protocol import STAY
from tests.io.folder_warehouse import FolderWarehouse, objects
from tests.io.warehouse import ROWS, Crash, Faults, batch, rejects_of


def count(lake: FolderWarehouse) -> int:
    """Return how many rows a reader finds."""
    return int(lake.query("SELECT count(*) FROM t")[0][0])


def die_at(lake: FolderWarehouse, statement: str, records: Records) -> None:
    """Load `records` of an instance "dead" that dies at the last of such statements."""
    probe = Faults(error=Crash())
    lake.destination(faults=probe).load(batch(records, instance="dead"))
    lake.clear()
    last = len(probe.statements) - 1 - probe.statements[::-1].index(statement)
    assert ("COMMIT" in probe.statements[:last]) == (statement == "rename")
    faults = Faults(at=last, error=Crash())
    with pytest.raises(Crash):
        lake.destination(faults=faults).load(batch(records, instance="dead"))
    faults.die()


def test_a_batch_is_a_file_named_by_its_identity(lake: FolderWarehouse) -> None:
    """For people and in order; nothing else is in the table's folder."""
    target = lake.destination()

    target.load(batch(number=1, instance="nightly/7"))
    target.load(batch(number=0, instance="nightly/7"))

    names = [path.name for path in sorted((lake.root / "t").iterdir())]
    assert [name.split(".")[:5] for name in names] == [
        ["nightly_7", "g1", "loading", "v1", "n000000"],
        ["nightly_7", "g1", "loading", "v1", "n000001"],
    ]
    assert all(name.endswith(f".{lake.kind}") for name in names)
    assert sorted(path.name for path in lake.root.iterdir()) == ["_statepipe", "t"]


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "none"])
def test_parquet_is_compressed_as_asked(parquet: FolderWarehouse, compression: str) -> None:
    """Any reader finds that out by itself."""
    parquet.opened(f"parquet:///lake?compression={compression}").load(batch())

    (file,) = parquet.files()
    used = pq.ParquetFile(file).metadata.row_group(0).column(0).compression
    assert used.lower() == {"none": "uncompressed"}.get(compression, compression)
    assert pq.read_table(file).to_pylist() == ROWS


def test_json_lines_are_compressed_as_asked(jsonl: FolderWarehouse) -> None:
    """The name says how; the same batch is the same file."""
    read: dict[str, Callable[[bytes], bytes]] = {
        ".jsonl": bytes,
        ".jsonl.gz": gzip.decompress,
        ".jsonl.zst": lambda data: pa.CompressedInputStream(pa.py_buffer(data), "zstd").read(),
    }
    for how, suffix in zip(["none", "gzip", "zstd"], read, strict=True):
        to = f"jsonl:///lake?compression={how}"
        jsonl.opened(to).load(batch(instance=how))
        (file,) = [path for path in jsonl.files() if path.name.startswith(how)]
        first = file.read_bytes()

        assert file.name.endswith(suffix)
        assert [json.loads(line) for line in read[suffix](first).splitlines()] == ROWS
        file.unlink()
        jsonl.opened(to).load(batch(instance=how))
        assert file.read_bytes() == first


def test_what_json_lacks_is_the_text_that_is_documented(jsonl: FolderWarehouse) -> None:
    """Each can be read back by its column; nested ones too."""
    record = {
        "n": 2**63 - 1,
        "d": Decimal("1.50"),
        "day": dt.date(2013, 2, 4),
        "at": dt.datetime(2013, 2, 4, 10, tzinfo=dt.UTC),
        "for": dt.timedelta(days=1, seconds=61, microseconds=500_000),
        "b": b"\x00\xff",
        "u": UUID(int=7),
        "s": {"b", "a"},
        "in": {"d": Decimal("0.10"), "x": [None, True, 1.5]},
    }

    jsonl.destination().load(batch([record]))

    assert objects(jsonl.files()[0]) == [
        {
            "n": 2**63 - 1,
            "d": "1.50",
            "day": "2013-02-04",
            "at": "2013-02-04T10:00:00+00:00",
            "for": "PT86461.5S",
            "b": "AP8=",
            "u": "00000000-0000-0000-0000-000000000007",
            "s": ["a", "b"],
            "in": {"d": "0.10", "x": [None, True, 1.5]},
        }
    ]


def test_a_field_may_come_and_go_in_json_lines(jsonl: FolderWarehouse) -> None:
    """There are no columns; what a record lacks is not there."""
    target = jsonl.destination()
    target.load(batch([{"a": 1}]))

    assert target.load(batch([{"b": "x"}, {"a": "y"}], number=1)).rejects == []
    assert [objects(file) for file in jsonl.files()] == [[{"a": 1}], [{"b": "x"}, {"a": "y"}]]


def test_the_first_file_says_the_columns_of_parquet(parquet: FolderWarehouse) -> None:
    """A later batch is fitted to them: null where it lacks one, rejected where it has another."""
    parquet.destination().load(batch([{"n": 1, "s": "x", "j": {"a": 1}}]))
    target = parquet.destination()

    answer = target.load(batch([{"n": 2, "j": [1]}, {"n": "3"}, {"s": "y"}], number=1))

    assert list(rejects_of(answer)) == [(1, "type", "/n")]
    with pytest.raises(
        DataError, match=r"have no column 'nn', which record 0 .* did you mean"
    ) as refusal:
        target.load(batch([{"nn": 1}], number=2))
    assert "task that makes the batch, then rewind to it" in refusal.value.next_step
    assert pq.read_table(parquet.root / "t").to_pylist() == [
        {"n": 1, "s": "x", "j": '{"a":1}'},
        {"n": 2, "s": None, "j": "[1]"},
        {"n": None, "s": "y", "j": None},
    ]


def test_a_columnar_table_keeps_its_own_types_in_parquet(parquet: FolderWarehouse) -> None:
    """Nested ones and small ones; the second batch is cast to them where nothing is lost."""
    table = pa.table({"n": pa.array([1, 2], pa.int16()), "list": [[1], []], "s": ["a", "b"]})
    target = parquet.destination()
    target.load(batch(table))

    answer = target.load(batch(table.set_column(0, "n", [[3, 70_000]]), number=1))

    assert list(rejects_of(answer)) == [(1, "range", "/n")]
    schema = pq.read_schema(parquet.files()[1])
    assert (str(schema.field("n").type), str(schema.field("s").type)) == ("int16", "string")
    assert pa.types.is_list(schema.field("list").type)
    assert pq.read_table(parquet.root / "t").num_rows == 3


def test_a_file_is_not_seen_before_it_is_committed_and_is_then_put_right(
    lake: FolderWarehouse,
) -> None:
    """The process dies between COMMIT and rename: whoever comes next shows the file, once."""
    die_at(lake, "rename", ROWS)

    assert lake.files() == []
    target = lake.destination()
    stay = {**STAY, "instance": "dead"}
    assert target.ledger(**stay) == []
    assert target.load(batch(instance="dead")) == Landed(3, [], already=True)
    assert count(lake) == 3
    assert len(target.ledger(**stay)) == 1


def test_columns_are_those_of_a_batch_that_is_committed_and_not_seen(
    parquet: FolderWarehouse,
) -> None:
    """Its process dies between COMMIT and rename; another instance is the next to load."""
    die_at(parquet, "rename", [{"id": 1, "v": 1}])
    assert parquet.files() == []
    target = parquet.destination()

    with pytest.raises(DataError, match="have no column 'w', which record 0"):
        target.load(batch([{"id": 2, "v": "x", "w": 2.5}]))
    answer = target.load(batch([{"id": 2, "v": "x"}, {"id": 3, "v": 3}]))
    resumed = parquet.destination().load(batch([{"id": 1, "v": 1}], instance="dead"))

    assert list(rejects_of(answer)) == [(0, "type", "/v")]
    assert resumed == Landed(1, [], already=True)
    rows = pq.read_table(parquet.root / "t").to_pylist()
    assert sorted(row["v"] for row in rows) == [1, 3]


def test_columns_are_not_those_of_a_batch_that_was_never_committed(
    parquet: FolderWarehouse,
) -> None:
    """Its process dies before COMMIT; its file stays hidden, and what comes next is the first."""
    die_at(parquet, "COMMIT", [{"id": 1, "v": 1}])
    (hidden,) = (parquet.root / "t").iterdir()
    foreign = hidden.with_name(".note.parquet.pending")
    foreign.write_bytes(b"somebody's")

    parquet.destination().load(batch([{"id": 2, "v": "x", "w": 2.5}]))

    assert hidden.is_file()
    assert foreign.read_bytes() == b"somebody's"
    assert pq.read_table(parquet.root / "t").to_pylist() == [{"id": 2, "v": "x", "w": 2.5}]
    answer = parquet.destination().load(batch([{"id": 1, "v": 1}], instance="dead"))
    assert list(rejects_of(answer)) == [(0, "type", "/v")]


def test_what_a_killed_attempt_has_written_is_removed_once_its_batch_is_loaded(
    lake: FolderWarehouse,
) -> None:
    """The process dies between the write and the rename; other batches' files are left alone."""
    probe = Faults(error=Crash())
    lake.destination(table="probe", faults=probe).load(batch(instance="probe"))
    lake.clear()
    faults = Faults(at=probe.statements.index("write") + 1, error=Crash())

    # The dead remove nothing.
    with mock.patch.object(FolderDestination, "_drop_written"), pytest.raises(Crash):
        lake.destination(faults=faults).load(batch(number=1))
    faults.die()

    assert len(list(lake.root.glob("_statepipe/*.tmp"))) == 1
    lake.destination().load(batch(number=0))  # perhaps the first one is still being written
    assert len(list(lake.root.glob("_statepipe/*.tmp"))) == 1
    lake.destination().load(batch(number=1))
    assert list(lake.root.glob("_statepipe/*.tmp")) == []
    assert count(lake) == 6


def test_a_file_that_was_lost_is_written_again(lake: FolderWarehouse) -> None:
    """A row of the ledger counts only if its file is there."""
    target = lake.destination()
    target.load(batch(number=0))
    target.load(batch(number=1))
    lake.files()[1].unlink()

    assert [row.number for row in target.ledger(**STAY)] == [0]
    assert target.load(batch(number=1)) == Landed(3, [], already=False)
    assert count(lake) == 6


def test_an_older_copy_of_the_folder_is_filled_up(lake: FolderWarehouse, tmp_path: Path) -> None:
    """A backup that was put back, ledger and files, or files that are older than the ledger."""
    target = lake.destination()
    target.load(batch(number=0))
    target.close()
    shutil.copytree(lake.root, tmp_path / "backup")
    target.load(batch(number=1))
    target.close()

    shutil.rmtree(lake.root)
    shutil.copytree(tmp_path / "backup", lake.root)
    assert target.load(batch(number=1)) == Landed(3, [], already=False)
    assert count(lake) == 6
    shutil.rmtree(lake.root / "t")
    shutil.copytree(tmp_path / "backup" / "t", lake.root / "t")
    assert [row.number for row in target.ledger(**STAY)] == [0]
    assert target.load(batch(number=1)) == Landed(3, [], already=False)
    assert count(lake) == 6


def test_a_batch_of_which_nothing_is_left_has_no_file(lake: FolderWarehouse) -> None:
    """Its ledger row says so, and counts without one."""
    target = lake.destination()

    answer = target.load(batch([{"n": "a\0b"}, {}]))

    assert [rule for _, rule, _ in rejects_of(answer)] == ["nul", "empty"]
    assert [row.rejected for row in target.ledger(**STAY)] == [2]
    assert target.load(batch([{"n": "a\0b"}, {}])) == answer._replace(already=True)
    assert lake.files() == []


def test_foreign_files_are_left_alone(lake: FolderWarehouse) -> None:
    """A note and a file of somebody else are no reason to stop, and nobody's to remove."""
    (lake.root / "t").mkdir(parents=True)
    (lake.root / "t" / "README").write_text("ours", encoding="utf-8")

    lake.destination().load(batch())

    assert (lake.root / "t" / "README").read_text("utf-8") == "ours"
    assert len(lake.files()) == 1


def test_a_foreign_file_that_is_no_parquet_is_named(parquet: FolderWarehouse) -> None:
    """Every reader would stumble over it, so it is told before anything is written."""
    (parquet.root / "t").mkdir(parents=True)
    (parquet.root / "t" / "a.parquet").write_bytes(b"no")

    with pytest.raises(DataError, match=r"cannot be read from a\.parquet"):
        parquet.destination().load(batch())

    assert len(parquet.files()) == 1


def test_a_foreign_folder_is_not_replaced(lake: FolderWarehouse) -> None:
    """A folder cannot take another one's place in one step; only our link to one can."""
    lake.destination().load(batch())

    with pytest.raises(DataError, match="take its place in one step") as refusal:
        lake.destination(replace=True).load(batch(instance="i-2"))

    assert "move it away" in refusal.value.next_step
    assert count(lake) == 3


def test_what_a_reader_is_in_stays_until_the_publication_after_the_next(
    lake: FolderWarehouse,
) -> None:
    """Whoever follows the link once reads one version to its end; then it goes."""
    seen = []
    for n in range(4):
        target = lake.destination(replace=True)
        target.load(batch([{"id": n, "name": "x"}], instance=str(n)))
        target.publish(batch([], instance=str(n), number=1))
        seen.append((lake.root / "t").resolve())

        assert lake.query("SELECT id FROM t") == [(n,)]
        assert [path.is_dir() for path in seen[-2:]] == [True] * len(seen[-2:])
        assert not any(path.exists() for path in seen[:-2])


def test_rows_may_be_appended_to_what_was_replaced(lake: FolderWarehouse) -> None:
    """The link is followed, and the next replacement takes these rows along."""
    target = lake.destination(replace=True)
    target.load(batch(instance="a"))
    target.publish(batch([], instance="a", number=1))

    lake.destination().load(batch(instance="b"))

    assert count(lake) == 6
    target.load(batch(instance="c", digest=b"c"))
    target.publish(batch([], instance="c", number=1))
    assert count(lake) == 3
