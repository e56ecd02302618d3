"""
Pages that are the same, record for record: an API that does not look at what it is asked.
"""

from typing import Any

import pytest

from statepipe.errors import Fatal
from statepipe.io.rest.pages import ByCursor, ByOffset, ByPage, Pages
from statepipe.io.rest.position import ALIKE_MAX
from statepipe.io.rest.source import read_rest
from statepipe.model import Record
from tests.io.reading import read, read_with_crashes, task
from tests.io.web import Reply, Request, as_json, serving

ROWS: list[Record] = [{"n": n} for n in range(7)]


@pytest.mark.parametrize(
    "pages",
    [
        ByPage(),
        ByPage(last="$.pages"),
        ByPage(more="$.more"),
        ByOffset(limit=7),
        ByCursor(path="$.next"),
    ],
    ids=["page", "page, its last", "page, more", "offset", "cursor"],
)
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]], ids=["seven", "one"])
def test_an_api_that_does_not_look_at_what_is_asked_is_noticed_at_once(
    pages: Pages, rows: list[Record]
) -> None:
    """
    The same page for every number would be read for ever, or as often as there are pages.

    A read that is resumed behind the first page notices it as well.
    """
    asked = iter(range(10_000))

    def answer(_: Request) -> Reply:
        number = next(asked)
        facts = {"pages": 3, "more": True, "next": f"c{number}", "at": number}
        return as_json({"items": rows, "total": 3 * len(rows), **facts})

    def reading(batch_size: int, cursor: object = None) -> Any:  # noqa: ANN401  (an iterator of batches)
        source = task(batch_size=batch_size, cursor=cursor)
        return read_rest(source, web.url, records="$.items", pages=pages, total="$.total")

    with serving(answer) as web:
        whole = reading(1000)
        first = next(whole)
        with pytest.raises(Fatal, match=r"the last 2 pages are the same.*=True and resume; noth"):
            next(whole)
        with pytest.raises(Fatal, match="the last 2 pages are the same"):
            next(reading(1, first.cursor))

    assert first.records == rows
    assert len(web.requests) == 3


def test_pages_that_differ_in_one_record_are_not_the_same() -> None:
    """Wherever in the page it is."""

    def answer(request: Request) -> Reply:
        page = int(request.query["page"])
        return as_json([{"n": 0}, {"n": page}, {"n": 0}] if page < 4 else [])

    with serving(answer) as web:
        found = read(lambda source: read_rest(source, web.url, pages=ByPage()))

    assert [record["n"] for record in found[0]] == [0, 1, 0, 0, 2, 0, 0, 3, 0]


def test_a_page_that_comes_twice_further_on_is_read_twice() -> None:
    """Some APIs do that, and go on behind it; a key makes one of both."""

    def answer(request: Request) -> Reply:
        page = int(request.query["page"])
        return as_json([{"n": page - (page > 2), "id": 2 * n} for n in range(3) if page < 5])

    with serving(answer) as web:
        found = read(lambda source: read_rest(source, web.url, pages=ByPage()), batch_size=3)

    assert [record["n"] for record in found[0]] == [1] * 3 + [2] * 6 + [3] * 3


def test_an_api_that_gives_its_last_page_for_every_number_behind_it_is_noticed() -> None:
    """With the third in a row, over any crash."""

    def answer(request: Request) -> Reply:
        return as_json([{"n": min(int(request.query["page"]), 3)}])

    with serving(answer) as web, pytest.raises(Fatal, match="the last 3 pages are the same"):
        read_with_crashes(lambda source: read_rest(source, web.url, pages=ByPage()))

    assert {request.query["page"] for request in web.requests} == {"1", "2", "3", "4", "5"}


def test_pages_of_records_without_an_id_may_be_the_same_if_that_is_said() -> None:
    """Said after the refusal it is enough: the cursor is of the same read."""

    def answer(request: Request) -> Reply:
        return as_json([{"ok": True}] * 2 if int(request.query["page"]) < 5 else [])

    with serving(answer) as web:
        first = next(read_rest(task(batch_size=1), web.url, pages=ByPage()))
        source = task(cursor=first.cursor)
        rest = list(read_rest(source, web.url, pages=ByPage(), repeats=True))

    assert [len(batch.records) for batch in rest] == [2, 2, 2]


def test_pages_that_may_be_the_same_are_not_so_for_ever() -> None:
    """An API that says nothing but this would be read for ever."""
    with (
        serving(lambda _: as_json(ROWS)) as web,
        pytest.raises(Fatal, match=f"the last {ALIKE_MAX + 1} pages are the same"),
    ):
        list(read_rest(task(batch_size=50), web.url, pages=ByPage(), repeats=True))

    assert len({request.query["page"] for request in web.requests}) == ALIKE_MAX + 1
