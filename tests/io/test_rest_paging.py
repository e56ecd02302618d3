"""
The ways of paging: every record once, whatever is cut off where, and never in circles.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from statepipe.errors import BadAnswer, DefinitionError, Fatal
from statepipe.io.rest.pages import (
    AllAtOnce,
    ByCursor,
    ByLink,
    ByOffset,
    ByPage,
    Pages,
    with_params,
)
from statepipe.io.rest.source import read_rest
from statepipe.model import Record, Task
from statepipe.store.codec import decode, encode
from tests.io.reading import read, read_with_crashes, task
from tests.io.web import Answering, Reply, Request, as_json, serving

ROWS: list[Record] = [{"n": n} for n in range(7)]


def by_page(request: Request) -> Reply:
    """Two rows a page, from page 1 on."""
    start = 2 * int(request.query["page"]) - 2
    return as_json({"items": ROWS[start : start + 2]})


def by_page_that_tells(request: Request) -> Reply:
    """The same, but it says how many pages there are, and there is nothing behind them."""
    page = int(request.query["page"])
    if page > 4:
        return as_json({}, status=404)
    facts = {"pages": 4, "more": page < 4}
    return as_json({"items": ROWS[2 * page - 2 : 2 * page], **facts})


def by_offset(request: Request) -> Reply:
    """At most two rows a page, however many are asked for."""
    start, limit = int(request.query["offset"]), min(2, int(request.query["limit"]))
    if start >= len(ROWS):
        return as_json({"items": [], "total": len(ROWS), "more": False})
    rows = ROWS[start : start + limit]
    return as_json({"items": rows, "total": len(ROWS), "more": start + limit < len(ROWS)})


def by_cursor(request: Request) -> Reply:
    """A cursor of an odd kind, null at the end."""
    start = int(request.query.get("after", "at/0&=").removeprefix("at/").removesuffix("&="))
    following = f"at/{start + 2}&=" if start + 2 < len(ROWS) else None
    return as_json({"items": ROWS[start : start + 2], "next": following})


def by_last_record(request: Request) -> Reply:
    """Go on behind a record, which is how some APIs page."""
    start = int(request.query["behind"]) + 1 if "behind" in request.query else 0
    return as_json({"items": ROWS[start : start + 2], "more": start + 2 < len(ROWS)})


def by_header(request: Request) -> Reply:
    """A Link header with more than the next page in it, relative."""
    start = int(request.query.get("start", "0"))
    links = [
        f'</rows?start=0>; rel="first", </rows?start={start + 2}>; title="a;b"; rel="last next"'
    ]
    headers = {"Link": links[0]} if start + 2 < len(ROWS) else {}
    return as_json({"items": ROWS[start : start + 2]}, headers=headers)


def by_link(request: Request) -> Reply:
    """A whole link in the body."""
    start = int(request.query.get("start", "0"))
    link = f"http://{request.headers['host']}/rows?start={start + 2}#x"
    return as_json(
        {"items": ROWS[start : start + 2], "next": link if start + 2 < len(ROWS) else ""}
    )


WAYS: dict[str, tuple[Answering, Pages]] = {
    "page": (by_page, ByPage()),
    "page, its last": (by_page_that_tells, ByPage(last="$.pages")),
    "page, more": (by_page_that_tells, ByPage(more="$.more")),
    "offset": (by_offset, ByOffset()),
    "offset, more": (by_offset, ByOffset(limit=5, more="$.more")),
    "cursor": (by_cursor, ByCursor("after", "$.next")),
    "last record": (by_last_record, ByCursor("behind", "$.items[-1].n", more="$.more")),
    "Link": (by_header, ByLink()),
    "link in the body": (by_link, ByLink("$.next")),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_record_comes_once_and_in_order(way: str) -> None:
    """Undisturbed, with a crash after each page, and with pages gathered in larger batches."""
    answer, pages = WAYS[way]
    with serving(answer) as web:

        def rows(source: Task) -> Any:  # noqa: ANN401  (an iterator of batches)
            return read_rest(source, f"{web.url}/rows", records="$.items", pages=pages)

        whole = read(rows)
        asked = len(web.requests)
        cut = read_with_crashes(rows)
        large = [len(batch.records) for batch in rows(task(batch_size=3))]

    assert whole == cut == (ROWS, [])
    assert asked in (4, 5)
    assert large == [4, 3]


def test_one_answer_may_be_all() -> None:
    """Without a way of paging there is one request, and a resume behind it asks nothing."""
    with serving(lambda _: as_json(ROWS)) as web:
        (batch,) = read_rest(task(), web.url)
        again = list(read_rest(task(cursor=batch.cursor), web.url))

    assert batch.records == ROWS
    assert again == []
    assert len(web.requests) == 1


def test_a_batch_is_made_of_whole_pages() -> None:
    """A cursor inside a page would rely on the page to be the same when it is asked for again."""
    with serving(by_cursor) as web:
        batches = list(
            read_rest(
                task(batch_size=1), web.url, records="$.items", pages=ByCursor("after", "$.next")
            )
        )

    assert [batch.cursor["pages"] for batch in batches] == [1, 2, 3, 4]
    assert [batch.cursor["records"] for batch in batches] == [2, 4, 6, 7]
    assert [batch.cursor["next"] for batch in batches] == ["at/2&=", "at/4&=", "at/6&=", None]


def test_pages_before_a_failure_are_committed_first() -> None:
    """The attempt ends with the error, and its pages are not asked for again."""

    def answer(request: Request) -> Reply:
        return by_page(request) if request.query["page"] != "3" else as_json({}, status=503)

    with serving(answer) as web:
        source = read_rest(task(batch_size=100), web.url, records="$.items", pages=ByPage())
        batch = next(source)
        with pytest.raises(BadAnswer, match="503 Service Unavailable"):
            next(source)

    assert batch.records == ROWS[:4]
    assert batch.cursor["next"] == 3


def loop(length: int, *, lead_in: int) -> Answering:
    """Cursors that, after `lead_in` pages, go round and round."""

    def answer(request: Request) -> Reply:
        at = int(request.query.get("cursor", "0"))
        ahead = at + 1 if at < lead_in + length else lead_in + 1
        return as_json({"items": [{"n": len(request.target) + at}], "next_cursor": str(ahead)})

    return answer


@pytest.mark.parametrize(
    ("length", "lead_in"), [(1, 0), (2, 0), (1, 9), (5, 20), (16, 3), (17, 0), (40, 50)]
)
def test_cursors_that_go_round_are_noticed_over_any_crash(length: int, lead_in: int) -> None:
    """
    A crash after each page: what notices it is in the cursor, and the cursor does not grow.

    A circle of up to 16 pages is noticed when it closes, a longer one in bounded time.
    """
    with serving(loop(length, lead_in=lead_in)) as web:

        def go_on_for_ever() -> None:
            cursor = None
            while True:
                source = task(batch_size=1, cursor=cursor)
                (batch,) = islice(
                    read_rest(source, web.url, records="$.items", pages=ByCursor()), 1
                )
                cursor = batch.cursor
                assert len(encode(cursor)) < 400

        with pytest.raises(Fatal, match="leads back"):
            go_on_for_ever()

    pages = len(web.requests)
    assert pages <= (lead_in + length + 1 if length <= 16 else 3 * (lead_in + length) + 1)


def test_a_link_that_leads_to_itself_is_noticed() -> None:
    """Even the first page's, whose address is the configured one."""

    def answer(request: Request) -> Reply:
        return as_json([{"n": 1}], headers={"Link": f'<{request.target}>; rel="next"'})

    with serving(answer) as web, pytest.raises(Fatal, match="leads back"):
        list(read_rest(task(), f"{web.url}/rows", pages=ByLink()))

    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("body", "pages", "reason"),
    [
        ({"items": ROWS, "total": 8}, AllAtOnce(), "the pages end after 7 of 8 records"),
        ({"items": [], "total": 8}, ByPage(), "the pages end after 0 of 8 records"),
        ({"items": [], "total": 8}, ByOffset(), "there is more, it says, but the page is empty"),
        ({"items": ROWS}, AllAtOnce(), r"\$.total is missing, not a number"),
        ({"items": ROWS, "total": "7"}, AllAtOnce(), r"\$.total is of type str"),
        ({"items": ROWS, "total": True}, AllAtOnce(), r"\$.total is of type bool"),
        ({"items": None, "total": 7}, AllAtOnce(), r"\$.items is of type NoneType, not a list"),
        ({"error": "later"}, AllAtOnce(), r'\$.items is missing, not a list.*"later"'),
        ({"items": ROWS, "total": 7}, ByPage(more="$.more"), r"\$.more is missing, neither true"),
        ({"items": ROWS, "total": 7}, ByPage(last="$.last"), r"\$.last is missing, not a number"),
        ({"items": ROWS, "total": 7, "next": [1]}, ByCursor(path="$.next"), "list, not a cursor"),
        ({"items": ROWS, "total": 7, "next": 1}, ByLink("$.next"), "int, not a link"),
        (
            {"items": ROWS, "total": 7, "more": True, "next": None},
            ByCursor(path="$.next", more="$.more"),
            "there is more, it says, but no cursor",
        ),
        ({"items": ROWS, "total": 7, "next": "x" * 20_000}, ByCursor(path="$.next"), "16384 char"),
    ],
)
def test_an_answer_that_contradicts_itself_is_not_taken(
    body: object, pages: Pages, reason: str
) -> None:
    """It is asked for again, by policy: nothing of it is committed, and it is never an end."""
    with serving(lambda _: as_json(body)) as web:
        source = task()
        with pytest.raises(BadAnswer, match=reason):
            list(read_rest(source, web.url, records="$.items", pages=pages, total="$.total"))

    assert source._rejects == []


def by_offset_in_pages_of_its_own(request: Request) -> Reply:
    """Three rows a page, whatever `limit` is."""
    start = int(request.query["offset"])
    return as_json({"items": ROWS[start : start + 3]})


@pytest.mark.parametrize("pages", [ByOffset(limit=2), ByOffset(limit=1)], ids=["2", "1"])
def test_more_records_than_were_asked_for_are_not_taken(pages: Pages) -> None:
    """Whether the API counts by its own pages or by `limit`, it does not say."""
    with (
        serving(by_offset_in_pages_of_its_own) as web,
        pytest.raises(BadAnswer, match=r"has 3 records, and \d were asked for.*limit=3"),
    ):
        list(read_rest(task(), web.url, records="$.items", pages=pages))

    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "pages", [ByOffset(limit_param=None, limit=2), ByOffset(limit=3)], ids=["none", "3"]
)
def test_an_api_with_pages_of_its_own_size_gives_each_record_once(pages: Pages) -> None:
    """The next offset is behind all that came."""
    with serving(by_offset_in_pages_of_its_own) as web:

        def rows(source: Task) -> Any:  # noqa: ANN401  (an iterator of batches)
            return read_rest(source, web.url, records="$.items", pages=pages)

        assert read(rows) == (ROWS, [])

    assert [request.query["offset"] for request in web.requests] == ["0", "3", "6", "7"]
    assert ("limit" in web.requests[0].query) == (pages == ByOffset(limit=3))


def test_records_that_are_removed_while_they_are_read_are_not_missed() -> None:
    """The lowest total that was named is what must come."""

    def answer(request: Request) -> Reply:
        page = int(request.query["page"])
        return as_json({"items": ROWS[2 * page - 2 : 2 * page], "total": 9 - page})

    with serving(answer) as web:
        pages = list(read_rest(task(), web.url, records="$.items", pages=ByPage(), total="$.total"))

    assert sum(len(page.records) for page in pages) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"url": "/other"},
        {"params": {"day": "2026-11-03"}},
        {"records": "$.rows"},
        {"pages": ByPage("p")},
        {"total": "$.total"},
    ],
    ids=str,
)
def test_a_cursor_of_another_read_is_refused(change: dict[str, Any]) -> None:
    """Page 3 of something else is not where this one goes on."""
    facts = {"url": "/rows", "records": "$.items", "pages": ByPage(), "params": {"day": "x"}}
    with serving(by_page) as web:

        def reading(cursor: object, **changed: Any) -> Any:  # noqa: ANN401  (whatever is passed on)
            given: dict[str, Any] = {**facts, **changed}
            url = web.url + given.pop("url")
            return read_rest(task(cursor=cursor), url, **given)

        cursor = next(reading(None)).cursor
        with pytest.raises(Fatal, match="rewind"):
            next(reading(cursor, **change))
        assert next(reading(cursor)).records == ROWS[2:4]


@pytest.mark.parametrize("cursor", [0, [], {}, {"offset": 1}, "x"], ids=repr)
def test_a_foreign_cursor_is_refused(cursor: object) -> None:
    """Before anything is asked."""
    with pytest.raises(Fatal, match="not made by read_rest"):
        list(read_rest(task(cursor=cursor), "http://127.0.0.1:1/"))


def test_parameters_are_sent_as_apis_read_them() -> None:
    """Those of the address stay, a list is sent as several, None not at all."""
    seen = with_params("http://h/p?a=1&b=2&e=", {"b": [3, 4], "c": True, "d": None, "f": "ä &"})

    assert seen == "http://h/p?a=1&e=&b=3&b=4&c=true&f=%C3%A4+%26"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ByPage(last="pages"),
        lambda: ByPage(start="1"),  # type: ignore[arg-type]  # as people write it
        lambda: ByOffset(limit="2"),  # type: ignore[arg-type]
        lambda: ByCursor(path=7),  # type: ignore[arg-type]
        lambda: next(read_rest(task(), "http://h", pages="next")),  # type: ignore[arg-type]
        lambda: next(read_rest(task(), "http://h", pages=ByPage)),  # type: ignore[arg-type]
        lambda: next(read_rest(task(), "http://h", records="items")),
        lambda: ByCursor(path="$.a..b"),
        lambda: ByLink("$[x]"),
        lambda: ByOffset(limit=0),
    ],
    ids=["page", "start", "size", "number", "text", "class", "records", "cursor", "link", "offset"],
)
def test_a_way_of_paging_that_cannot_work_is_refused_when_it_is_made(
    make: Callable[[], object],
) -> None:
    """Not in the middle of the night."""
    with pytest.raises(DefinitionError):
        make()


def test_a_path_without_its_root_is_told_what_to_write() -> None:
    """In the message, which is all that a history shows."""
    with pytest.raises(DefinitionError, match=r"no path into .*; did you mean \"\$\.data\.items\""):
        ByPage(last="data.items")


def test_a_cursor_is_plain_data() -> None:
    """It goes through a checkpoint as it is."""
    with serving(by_page) as web:
        cursor = next(read_rest(task(), web.url, records="$.items", pages=ByPage())).cursor

    assert decode(encode(cursor)) == cursor
