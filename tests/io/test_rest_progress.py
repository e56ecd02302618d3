"""
An API whose pages have few records, or none: the place in it is committed all the same.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import BadAnswer, Fatal, Throttled
from statepipe.io.rest.pages import ByCursor, ByLink, ByPage, Pages
from statepipe.io.rest.position import ALIKE_MAX, LoopError, Position
from statepipe.io.rest.source import BATCH_PAGES_MAX, read_rest
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.watermark import Incremental
from statepipe.model import Record, Task
from statepipe.store.codec import decode, encode
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.io.reading import task
from tests.io.web import Answering, Reply, Request, Web, as_json, serving


def sparse(rows: dict[int, list[Record]], *, pages: int) -> Answering:
    """Cursors over so many pages, of which few have records."""

    def answer(request: Request) -> Reply:
        at = int(request.query.get("cursor", "0"))
        following = at + 1 if at + 1 < pages else None
        return as_json({"items": rows.get(at, []), "next_cursor": following})

    return answer


def failing(answer: Answering, *, every: int) -> Answering:
    """The same, but each `every`-th request is told to come back later."""
    asked: list[int] = []

    def fail(request: Request) -> Reply:
        asked.append(len(asked))
        return as_json({}, status=429) if len(asked) % every == 0 else answer(request)

    return fail


def batches_of(web: Web, *, cursor: object = None, batch_size: int = 100) -> Any:  # noqa: ANN401  (an iterator of batches)
    """Read by cursor."""
    source = task(cursor=cursor, batch_size=batch_size)
    return read_rest(source, web.url, records="$.items", pages=ByCursor())


def test_pages_without_records_before_a_failure_are_committed() -> None:
    """Else failures that come more often than records would keep it where it is for ever."""
    with serving(failing(sparse({}, pages=8), every=5)) as web:
        reading = batches_of(web)
        batch = next(reading)
        with pytest.raises(Throttled):
            next(reading)
        rest = list(batches_of(web, cursor=batch.cursor))

    assert (batch.records, batch.cursor["next"], batch.cursor["pages"]) == ([], 4, 4)
    assert rest == []
    assert [request.query.get("cursor") for request in web.requests][5:] == ["4", "5", "6", "7"]


def test_a_failure_on_the_first_page_commits_nothing() -> None:
    """There is no place to keep that is not kept."""
    with serving(failing(sparse({}, pages=8), every=1)) as web, pytest.raises(Throttled):
        next(batches_of(web))


@pytest.mark.parametrize("rows", [{}, {3: [{"n": 1}]}], ids=["none", "one"])
def test_a_batch_has_a_bounded_number_of_pages(rows: dict[int, list[Record]]) -> None:
    """What a kill makes us ask for again does not grow with how few records there are."""
    with serving(sparse(rows, pages=2 * BATCH_PAGES_MAX + 50)) as web:
        batches = list(batches_of(web))

    assert [batch.cursor["pages"] for batch in batches] == [BATCH_PAGES_MAX, 2 * BATCH_PAGES_MAX]
    assert [len(batch.records) for batch in batches] == [len(rows), 0]


@pytest.mark.parametrize("pages", [1, 7, BATCH_PAGES_MAX])
def test_pages_without_records_at_the_end_are_no_batch(pages: int) -> None:
    """The end of the stay says as much, in one commit less."""
    with serving(sparse({}, pages=pages)) as web:
        assert list(batches_of(web)) == []
    assert len(web.requests) == pages


def test_a_last_page_that_is_empty_is_no_batch() -> None:
    """It only says that the one before it was the last, and is asked for by a resume."""

    def answer(request: Request) -> Reply:
        return as_json([{"n": 1}] if request.query["page"] == "1" else [])

    with serving(answer) as web:
        (batch,) = read_rest(task(batch_size=1), web.url, pages=ByPage())
        again = list(read_rest(task(cursor=batch.cursor), web.url, pages=ByPage()))

    assert batch.records == [{"n": 1}]
    assert again == []
    assert [request.query["page"] for request in web.requests] == ["1", "2", "2"]


def test_what_fails_behind_a_batch_of_whole_size_commits_no_second_one() -> None:
    """The place was kept with the records."""

    def answer(request: Request) -> Reply:
        return as_json([{"n": 1}]) if request.query["page"] == "1" else Reply(status=503)

    with serving(answer) as web:
        reading = read_rest(task(batch_size=1), web.url, pages=ByPage())
        assert next(reading).records == [{"n": 1}]
        with pytest.raises(BadAnswer):
            next(reading)


@pytest.mark.parametrize(
    "pages", [ByPage(more="$.more"), ByPage(more="$.more", last="$.last")], ids=str
)
@pytest.mark.parametrize("rows", [0, 3])
def test_page_numbers_that_never_end_are_noticed(pages: Pages, rows: int) -> None:
    """The API says that there is more, and gives nothing: another number would change nothing."""

    def answer(request: Request) -> Reply:
        page = int(request.query["page"])
        items = [{"n": page}] if page <= rows else []
        return as_json({"items": items, "more": True, "last": 10**9})

    def rest(cursor: object = None) -> list[Batch]:
        reading = read_rest(task(cursor=cursor), web.url, records="$.items", pages=pages)
        found: list[Batch] = []
        with pytest.raises(Fatal, match=f"the last {ALIKE_MAX + 1} pages have no records"):
            found.extend(reading)  # it keeps what came before the error
        return found

    with serving(answer) as web:
        batches = rest()
        asked = len(web.requests)
        again = rest(batches[-1].cursor)

    assert asked == rows + ALIKE_MAX + 1
    assert sum(len(batch.records) for batch in batches) == rows
    assert (again, len(web.requests)) == ([], asked + 1), "a resume asks once more"


def test_page_numbers_that_end_after_empty_pages_are_read() -> None:
    """Some filter behind their numbers: what is empty is not the end, and what is said counts."""

    def answer(request: Request) -> Reply:
        page = int(request.query["page"])
        rows = [] if 1 < page <= ALIKE_MAX else [{"n": page}]
        return as_json({"items": rows, "more": page <= ALIKE_MAX + 1})

    with serving(answer) as web:
        reading = read_rest(task(), web.url, records="$.items", pages=ByPage(more="$.more"))
        found = [record["n"] for batch in reading for record in batch.records]

    assert found == [1, ALIKE_MAX + 1, ALIKE_MAX + 2]


def test_page_numbers_are_read_up_to_the_last_however_many_are_empty() -> None:
    """The API says where the pages end, so a filter behind them may find nothing for long."""
    last = ALIKE_MAX + 50

    def answer(request: Request) -> Reply:
        page = int(request.query["page"])
        return as_json({"items": [{"n": page}] if page in (1, last) else [], "last": last})

    with serving(answer) as web:
        reading = read_rest(task(), web.url, records="$.items", pages=ByPage(last="$.last"))
        found = [record["n"] for batch in reading for record in batch.records]

    assert found == [1, last]
    assert len(web.requests) == last


@pytest.mark.parametrize(
    "pages",
    [ByCursor(), ByLink("$.next"), ByPage(last="$.last")],
    ids=["cursor", "link", "last page"],
)
def test_empty_pages_that_each_lead_on_are_followed_for_long(pages: Pages) -> None:
    """A filter behind a cursor may find nothing for long; for ever is too long, over any crash."""
    empty: dict[str, Any] = {
        "items": [],
        "total": None,
        "empty_max": pages.empty_max,
        "repeats": False,
    }

    def read_empty(number: int) -> Position:
        at = Position.start(of="", first="")
        for each in range(number):
            at = Position.resumed(decode(encode(at.cursor())), of="").after(
                token=str(each), **empty
            )
        return at

    at = read_empty(10_000)

    last = at.after(token=None, **empty)
    assert last.next is None
    with pytest.raises(LoopError, match="the last 10001 pages have no records"):
        at.after(token="x", **empty)


def machine(url: str) -> Machine:
    """Return one that reads by cursor, keeps a watermark, and loads."""

    def extract(source: Task) -> Iterator[Batch]:
        yield from read_rest(source, url, records="$.items", pages=ByCursor())

    settings = {"executor": "inline"}
    return Machine(
        name="m",
        initial="extracting",
        states=(
            State(
                name="extracting",
                task=Run(function=extract, watermark=Incremental(column="n")),
                on=(Transition(event="ok", target="loading"),),
                settings=settings,
                retry={"max_attempts": 8, "interval": "1ms", "jitter": "none"},
            ),
            State(
                name="loading",
                task=Load(to="sqlite:///warehouse.db", table="t", key=("n",)),
                on=(Transition(event="ok", target="done"),),
                settings=settings,
            ),
            State(name="done", final="success"),
        ),
    )


def test_a_read_ends_though_failures_come_more_often_than_records(tmp_path: Path) -> None:
    """
    Batches without records move the place, and nothing else: not the watermark, not the table.
    """
    rows: dict[int, list[Record]] = {0: [{"n": 7}], 9: [{"n": 3}], 19: [{"n": 8}, {"n": 9}]}
    config = load_config(start=tmp_path, environ={})
    with serving(failing(sparse(rows, pages=22), every=5)) as web:
        with Engine(config, machines=[machine(web.url)]) as engine:
            engine.create("m", instance_id="i")
            ended = engine.run(["i"])
        with Reader(config.store) as reader:
            seen = reader.inspect("i")
            with reader.moment() as connection:
                (mark,) = connection.execute("SELECT value FROM watermark").fetchall()

    assert ended == {"i": "done"}
    assert len(web.requests) == 22 + 5, "each page once, and the failures"
    for state in ("extracting", "loading"):
        assert (seen.tallies[1, state].batches, seen.tallies[1, state].records) == (5, 4)
    assert decode(mark[0]) == 9
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as warehouse:
        assert warehouse.execute("SELECT n FROM t ORDER BY n").fetchall() == [
            (3,),
            (7,),
            (8,),
            (9,),
        ]
        ledger = warehouse.execute("SELECT batch, records FROM _statepipe_ledger").fetchall()
    assert ledger == [(0, 1), (1, 0), (2, 1), (3, 0), (4, 2)]
    assert violations(config.store) == []
