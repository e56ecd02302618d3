"""
Files over HTTP: read as those of a disk, and known again by what a server tells of them.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statepipe.batch import Batch
from statepipe.errors import Fatal
from statepipe.io.files.parquet import read_parquet
from statepipe.io.files.text import read_csv, read_jsonl
from statepipe.io.rows import Value
from statepipe.model import Task
from tests.io.reading import read, read_with_crashes, task
from tests.io.web import Reply, Request, Web, serving

ROWS = [{"n": n, "t": "é" * (n % 5)} for n in range(30)]

OLD, NEW = "Mon, 02 Feb 2026 10:00:00 GMT", "Mon, 02 Feb 2026 10:00:01 GMT"

#: By header: what it says of a file, and once that is written again.
STAMPS = {
    "ETag": ('"one"', '"two"'),
    "Content-MD5": ("1B2M2Y8AsgTpgAmY7PhCfg==", "kAFQmDzST7DWlj99KOF/cg=="),
    "Digest": ("sha-256=one", "sha-256=two"),
    "Last-Modified": (OLD, NEW),
}


class Site:
    """
    One file on a server that takes ranges.

    Attributes:
        body: Its bytes.
        headers: What the server tells of it.
    """

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str | None] = {}

    def __call__(self, asked: Request) -> Reply:
        """Answer with the file, or with what was asked for of it."""
        headers = {**self.headers, "Accept-Ranges": "bytes"}
        if asked.method == "HEAD":
            return Reply(headers={**headers, "Content-Length": str(len(self.body))})
        if (wanted := asked.headers.get("range")) is None:
            return Reply(headers=headers, body=self.body)
        start, end = map(int, wanted.removeprefix("bytes=").split("-"))
        end = min(end, len(self.body) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(self.body)}"
        return Reply(status=206, headers=headers, body=self.body[start : end + 1])


@pytest.fixture
def site() -> Site:
    """Return what is served."""
    return Site()


@pytest.fixture
def web(site: Site) -> Iterator[Web]:
    """Serve it."""
    with serving(site) as server:
        yield server


def parquet(numbers: list[int]) -> bytes:
    """Return numbers as a Parquet file, as many bytes for as many of them."""
    sink = io.BytesIO()
    column = pa.array(numbers, pa.int64())
    pq.write_table(pa.table({"n": column}), sink, compression="none", use_dictionary=False)
    return sink.getvalue()


def numbers_of(url: str, cursor: Value = None) -> list[int]:
    """Return what is read of a Parquet file behind a cursor."""
    batches = read_parquet(task(cursor=cursor), url)
    return [n for batch in batches for n in batch.records.column("n").to_pylist()]


def test_lines_are_read_over_http_wherever_a_crash_comes(site: Site, web: Web) -> None:
    """In ranges, as a resume needs them."""
    site.body = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    site.headers = {"Last-Modified": OLD}

    def reader(source: Task) -> Iterator[Batch]:
        return read_jsonl(source, f"{web.url}/a.jsonl")

    assert read(reader, batch_size=7) == (ROWS, [])
    assert read_with_crashes(reader, batch_size=7) == (ROWS, [])


@pytest.mark.parametrize("header", STAMPS)
def test_parquet_that_was_written_again_is_noticed_over_http(
    site: Site, web: Web, header: str
) -> None:
    """By any header that tells it, at the same size; the same file is gone on with."""
    old, new = STAMPS[header]
    url = f"{web.url}/a.parquet"
    site.body, site.headers = parquet([1, 2, 3, 4]), {header: old}
    cursor = next(read_parquet(task(), url)).cursor
    assert numbers_of(url, cursor) == [3, 4]

    size = len(site.body)
    site.body, site.headers = parquet([5, 6, 7, 8]), {header: new}

    assert len(site.body) == size
    with pytest.raises(Fatal, match="it was written again"):
        numbers_of(url, cursor)


def test_a_server_that_tells_nothing_leaves_the_size(site: Site, web: Web) -> None:
    """As the guide says: nothing else can be compared."""
    url = f"{web.url}/a.parquet"
    site.body = parquet([1, 2, 3, 4])
    cursor = next(read_parquet(task(), url)).cursor

    assert numbers_of(url, cursor) == [3, 4]
    site.body = parquet([1, 2, 3, 4, 5])
    with pytest.raises(Fatal, match="it was written again"):
        numbers_of(url, cursor)


@pytest.mark.parametrize("stamp", [{"Last-Modified": OLD}, {"ETag": 'W/"one"'}])
def test_lines_written_twice_in_a_second_are_compared(
    site: Site, web: Web, stamp: dict[str, str | None]
) -> None:
    """A time in whole seconds and a weak ETag may stand for two files: the bytes tell."""
    rows = [b"%07d\n" % n for n in range(20_000)]
    site.body, site.headers = b"n\n" + b"".join(rows), stamp
    source = task(batch_size=15_000)
    cursor = next(read_csv(source, f"{web.url}/a.csv")).cursor

    rows[14_000] = b"9999999\n"
    site.body = b"n\n" + b"".join(rows)

    with pytest.raises(Fatal, match="are not those that were read before"):
        list(read_csv(task(cursor=cursor), f"{web.url}/a.csv"))


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ({"modify": "20260202100000"}, {"modify": "20260202100001"}),
        ({"modificationTime": 1_770_026_400_000}, {"modificationTime": 1_770_026_400_001}),
        ({"sha": "0a"}, {"sha": "0b"}),
        ({"hex": "0a"}, {"hex": "0b"}),
        ({"raw_url": "x/0a"}, {"raw_url": "x/0b"}),
        ({"CRC": 10}, {"CRC": 11}),
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_other_places_tell_is_a_stamp(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], again: dict[str, Any]
) -> None:
    """FTP, WebHDFS, GitHub, git, gists and ZIP each call it otherwise."""
    place = fsspec.filesystem("memory")
    url = f"memory://stamps/{next(iter(told))}.parquet"
    info = place.info

    def telling(says: dict[str, Any]) -> None:
        def tell(path: str) -> dict[str, Any]:
            found = {name: info(path)[name] for name in ("name", "size", "type")}
            return {**found, **says}

        monkeypatch.setattr(type(place), "info", lambda _self, path: tell(path))

    place.pipe_file(url, parquet([1, 2, 3, 4]))
    telling(told)
    cursor = next(read_parquet(task(), url)).cursor
    assert numbers_of(url, cursor) == [3, 4]

    telling(again)

    with pytest.raises(Fatal, match="it was written again"):
        numbers_of(url, cursor)
