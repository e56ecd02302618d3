"""
Files on S3: read as those of a disk, from a real server on loopback that also fails.
"""

import gzip
import io
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from statepipe.batch import Batch
from statepipe.errors import BadAnswer, DataError, Fatal
from statepipe.io.files import remote
from statepipe.io.files.found import BLOCK_BYTES
from statepipe.io.files.parquet import read_parquet
from statepipe.io.files.text import read_csv, read_jsonl
from statepipe.io.rows import Value
from statepipe.model import Task
from statepipe.observe import redact
from statepipe.runtime.failure import describe
from tests.io.reading import read, read_with_crashes, task
from tests.io.s3 import KEY, S3, SECRET, App, Asked, cut, refusing, serving

_buckets = itertools.count()

ROWS = [{"n": n, "t": "é" * (n % 5)} for n in range(30)]


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    """Run a server."""
    with serving() as s3:
        yield s3


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """Return the server, well again, and the credentials where references find them."""
    monkeypatch.setenv("S3_KEY", KEY)
    monkeypatch.setenv("S3_SECRET", SECRET)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)  # five, with pauses
    server.fault = None
    yield server
    redact.forget()


@pytest.fixture
def bucket(s3: S3) -> str:
    """Return the name of an empty bucket."""
    name = f"bucket-{next(_buckets)}"
    s3.place().call_s3("create_bucket", Bucket=name)
    return name


def put(s3: S3, bucket: str, **files: bytes) -> None:
    """Write objects, at `in/NAME`."""
    for name, data in files.items():
        s3.place().pipe_file(f"{bucket}/in/{name}", data)


def lines(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as JSON Lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_lines_are_read_from_s3_wherever_a_crash_comes(s3: S3, bucket: str) -> None:
    """Several objects in the order of their names, packed ones among them."""
    put(s3, bucket, a=lines(ROWS[:10]), b=lines(ROWS[10:20]), c=lines(ROWS[20:]))
    packed = gzip.compress(lines(ROWS[10:20]))
    s3.place().pipe_file(f"{bucket}/in/b", packed)
    s3.place().mv(f"{bucket}/in/b", f"{bucket}/in/b.gz")
    s3.place().pipe_file(f"{bucket}/other", b"no JSON")
    options = s3.storage_options()
    url = f"s3://{bucket}/in/*"

    def reader(source: Task) -> Iterator[Batch]:
        return read_jsonl(source, url, storage_options=options)

    assert read(reader, batch_size=7) == (ROWS, [])
    assert read_with_crashes(reader, batch_size=7) == (ROWS, [])


def test_parquet_is_read_from_s3_with_what_is_needed_only(s3: S3, bucket: str) -> None:
    """A resume asks for the rest, and a column that is not wanted is not fetched."""
    table = pa.table({"id": range(60_000), "t": [f"{n * 7919:099x}" for n in range(60_000)]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=20_000, compression="none", use_dictionary=False)
    put(s3, bucket, x=sink.getvalue())
    options = s3.storage_options()

    def fetched(cursor: Value = None, **more: list[str]) -> tuple[list[Any], int]:
        s3.asked.clear()
        source = task(batch_size=18_000, cursor=cursor)
        url = f"s3://{bucket}/in/x"
        batches = list(read_parquet(source, url, storage_options=options, **more))
        ranges = [asked.range.removeprefix("bytes=") for asked in s3.asked if asked.range]
        ends = [tuple(map(int, each.split("-"))) for each in ranges]
        return batches, sum(end - start + 1 for start, end in ends)

    batches, all_bytes = fetched()
    rest, rest_bytes = fetched(cursor=batches[2].cursor)
    _, column_bytes = fetched(columns=["id"])

    assert pa.concat_tables([batch.records for batch in batches]).equals(table)
    assert [batch.records for batch in rest] == [batches[3].records]
    size = len(sink.getvalue())
    assert all_bytes < size * 1.1
    assert rest_bytes < size * 0.45
    assert column_bytes < size * 0.3


def test_an_object_that_changed_between_crash_and_resume_is_noticed(s3: S3, bucket: str) -> None:
    """By its ETag, and then by its bytes: one that was only copied is still good."""
    put(s3, bucket, a=b"n\n1\n2\n3\n")
    options, url = s3.storage_options(), f"s3://{bucket}/in/*"
    cursor = next(read_csv(task(), url, storage_options=options)).cursor
    s3.place().cp_file(f"{bucket}/in/a", f"{bucket}/b")
    s3.place().mv(f"{bucket}/b", f"{bucket}/in/a")
    assert len(list(read_csv(task(cursor=cursor), url, storage_options=options))) == 1

    put(s3, bucket, a=b"n\n1\n4\n3\n")
    with pytest.raises(Fatal, match=rf"s3://{bucket}/in/a is not what this instance began"):
        list(read_csv(task(cursor=cursor), url, storage_options=options))


def test_an_object_that_changes_while_it_is_read_is_noticed(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the old one and half of the new one would be neither."""
    monkeypatch.setattr(remote, "_ASKED_BYTES", BLOCK_BYTES)
    big = b"n\n" + b"%07d\n" * 300_000 % tuple(range(300_000))
    put(s3, bucket, a=big)
    batches = read_csv(
        task(batch_size=10_000), f"s3://{bucket}/in/a", storage_options=s3.storage_options()
    )
    next(batches)
    put(s3, bucket, a=big.replace(b"0000001", b"9999999"))

    with pytest.raises(Fatal, match="was changed while it was read"):
        list(batches)


Wrap = Callable[[App], App]
Fault = Callable[[Asked], Wrap | None]


def always(fault: Wrap) -> Fault:
    """Let every answer go wrong."""
    return lambda _asked: fault


def on_reading(fault: Wrap) -> Fault:
    """Let the object be found, and go wrong when its bytes are asked for."""
    return lambda asked: fault if asked.range else None


FAULTS = [
    (always(refusing("403 Forbidden", "AccessDenied")), Fatal, "may not be read"),
    (on_reading(refusing("403 Forbidden", "AccessDenied")), Fatal, "may not be read"),
    (always(refusing("404 Not Found", "NoSuchBucket")), Fatal, "is not there|no file matches"),
    (on_reading(refusing("404 Not Found", "NoSuchKey")), Fatal, "is not there"),
    (always(refusing("400 Bad Request", "InvalidRequest")), Fatal, "cannot be read"),
    (always(refusing("500 Internal Server Error", "InternalError")), BadAnswer, "cannot be read"),
    (on_reading(refusing("503 Busy", "ServiceUnavailable")), BadAnswer, "cannot be read"),
    (on_reading(cut), ConnectionError, "cannot be read"),
]


@pytest.mark.parametrize("trouble", FAULTS, ids=range(len(FAULTS)))
@pytest.mark.parametrize("reader", [read_jsonl, read_parquet])
def test_what_goes_wrong_is_worth_another_attempt_or_not(
    s3: S3, bucket: str, trouble: tuple[Fault, type[Exception], str], reader: Callable[..., Any]
) -> None:
    """What passes is a ConnectionError, which policies retry; the rest is Fatal."""
    fault, kind, said = trouble
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": [1]}), sink)
    put(s3, bucket, a=b'{"n": 1}\n' if reader is read_jsonl else sink.getvalue())
    url = f"s3://{bucket}/in/{'a' if reader is read_jsonl else '*'}"
    assert len(list(reader(task(), url, storage_options=s3.storage_options()))) == 1
    s3.fault = fault

    with pytest.raises(Exception, match=said) as failure:
        list(reader(task(), url, storage_options=s3.storage_options()))

    assert type(failure.value) is kind
    assert bucket in str(failure.value)


def test_a_folder_that_cannot_be_listed_is_an_error(s3: S3, bucket: str) -> None:
    """Its library passes over it: that would be less data, and nobody would know."""
    for name in ["a/1", "b/1", "c/d/1"]:
        s3.place().pipe_file(f"{bucket}/{name}.jsonl", b'{"n": "%s"}\n' % name.encode())
    options = s3.storage_options()
    for url in [f"s3://{bucket}/**/*.jsonl", f"s3://{bucket}/*/*.jsonl"]:
        s3.fault = None
        records, _ = read(lambda source: read_jsonl(source, url, storage_options=options))  # noqa: B023  (called at once)
        assert [record["n"] for record in records] == ["a/1", "b/1", "c/d/1"][: len(records)]
        s3.fault = lambda asked: (
            refusing("500 Oh no", "InternalError") if "prefix=b" in asked.query else None
        )
        with pytest.raises(BadAnswer, match="InternalError"):
            list(read_jsonl(task(), url, storage_options=options))


def test_an_answer_that_is_cut_once_is_asked_for_again(s3: S3, bucket: str) -> None:
    """By the library: no attempt is lost for it, and no byte."""
    put(s3, bucket, a=lines(ROWS))
    faults = [cut]
    s3.fault = lambda asked: faults.pop() if asked.range and faults else None
    options = s3.storage_options()

    got = read(lambda source: read_jsonl(source, f"s3://{bucket}/in/a", storage_options=options))

    assert got == (ROWS, [])
    assert not faults


def test_a_place_that_cannot_be_reached_is_worth_another_attempt(s3: S3) -> None:
    """Nothing listens there."""
    with serving() as gone:
        pass
    options = {**s3.storage_options(), "endpoint_url": gone.url}

    with pytest.raises(ConnectionError, match="cannot be read"):
        list(read_jsonl(task(), "s3://bucket/x", storage_options=options))


def test_credentials_are_in_no_cursor_and_no_error(s3: S3, bucket: str) -> None:
    """They are references until somebody connects, and hidden from then on."""
    put(s3, bucket, a=lines(ROWS))
    options = s3.storage_options()
    url = f"s3://{bucket}/in/a"
    batch = next(read_jsonl(task(), url, storage_options=options))
    s3.fault = always(refusing("403 Forbidden", f"{SECRET} and {KEY}"))

    with pytest.raises(Fatal) as refusal:
        list(read_jsonl(task(), url, storage_options=options))

    told = json.dumps(describe(refusal.value))
    assert "may not be read" in told or "cannot be read" in told
    for secret in (KEY, SECRET):
        assert secret not in repr(batch.cursor)
        assert secret not in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"secret": SECRET}, "secret is a secret in plain text"),
        ({"client_kwargs": {"aws_secret_access_key": SECRET}}, "is a secret in plain text"),
        ({"key": "env:NO_SUCH_KEY"}, "NO_SUCH_KEY is unset"),
        ({"no_such_option": 1}, "no_such_option"),
    ],
)
def test_options_that_cannot_be_used_are_fatal(s3: S3, options: dict[str, Any], said: str) -> None:
    """A secret in plain text would be in the machine's module, and mostly in its repository."""
    del s3
    with pytest.raises(Fatal, match=said) as refusal:
        list(read_jsonl(task(), "s3://bucket/x", storage_options=options))

    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("s3://me:s3cret@bucket/x", Fatal, "use storage_options"),
        ("https://host/x.csv?signature=s3cret", Fatal, "would be kept"),
        ("simplecache::https://me:s3cret@127.0.0.1:1/x.csv", Fatal, "would be kept"),
        ("zip://x.csv::https://127.0.0.1:1/x.zip?signature=s3cret", Fatal, "would be kept"),
        ("nowhere://x", Fatal, "nowhere"),
        ("gs://bucket/x", DataError, "gs:// needs a library"),
    ],
)
def test_urls_that_cannot_be_used_say_why(url: str, kind: type[Exception], said: str) -> None:
    """Nothing was connected to."""
    with pytest.raises(kind, match=said) as refusal:
        list(read_jsonl(task(), url))

    assert "s3cret" not in str(refusal.value)
