"""
What leads from page to page, misshapen: it is no page, and never taken for the end.
"""

import pytest

from statepipe.errors import BadAnswer
from statepipe.io.rest.pages import ByCursor, ByLink, ByPage, Pages
from statepipe.io.rest.source import read_rest
from tests.io.reading import task
from tests.io.web import Reply, Request, as_json, serving

TWICE = "the key 'x' is there twice"


@pytest.mark.parametrize(
    ("body", "pages", "reason"),
    [
        (
            b'{"items": [], "meta": {"next": "a", "x": 1, "x": 1}}',
            ByCursor(path="$.meta.next"),
            TWICE,
        ),
        (b'{"items": [], "meta": {"next": "/a", "x": 1, "x": 1}}', ByLink("$.meta.next"), TWICE),
        (b'{"items": [], "meta": {"more": 1, "x": 1, "x": 1}}', ByPage(more="$.meta.more"), TWICE),
        (b'{"items": [], "meta": {"last": 1, "x": 1, "x": 1}}', ByPage(last="$.meta.last"), TWICE),
        (
            b'{"items": [{"id": 1}, {"id": 2, "x": 1, "x": 1}]}',
            ByCursor(path="$.items[-1].id"),
            TWICE,
        ),
        (b'{"items": [], "x": 1, "x": 2}', ByCursor(), TWICE),
        (b'{"items": [], "next_cursor": NaN}', ByCursor(), "NaN is not JSON"),
    ],
)
def test_what_cannot_be_read_is_not_the_end(body: bytes, pages: Pages, reason: str) -> None:
    """An object with a key twice was taken for one without a cursor, and the read for whole."""
    source = task()
    with serving(lambda _: Reply(body=body)) as web, pytest.raises(BadAnswer, match=reason):
        list(read_rest(source, web.url, records="$.items", pages=pages))

    assert source._rejects == []
    assert len(web.requests) == 1


BEHIND = ByCursor(param="behind", path="$.items[-1].id")


@pytest.mark.parametrize("last", [{"n": 2}, {"id": None}, {"id": ""}, 7, None], ids=str)
def test_a_last_record_without_an_id_is_not_the_end(last: object) -> None:
    """Who goes on behind a record ends with an empty list; where this page ends nobody knows."""
    source = task()
    with (
        serving(lambda _: as_json({"items": [{"id": 1}, last]})) as web,
        pytest.raises(BadAnswer, match="the last item has nothing to go on behind"),
    ):
        list(read_rest(source, web.url, records="$.items", pages=BEHIND))

    assert source._rejects == []


def test_who_goes_on_behind_a_record_ends_with_an_empty_list() -> None:
    """Nothing else says so, and nothing need."""

    def answer(request: Request) -> Reply:
        return as_json({"items": [] if "behind" in request.query else [{"id": 1}, {"id": 2}]})

    with serving(answer) as web:
        (batch,) = read_rest(task(), web.url, records="$.items", pages=BEHIND)

    assert batch.records == [{"id": 1}, {"id": 2}]
    assert [request.query for request in web.requests] == [{}, {"behind": "2"}]


@pytest.mark.parametrize("pages", [ByCursor(path="$.next"), ByLink("$.next")], ids=str)
def test_half_a_surrogate_pair_leads_nowhere(pages: Pages) -> None:
    """It can be neither sent nor kept, so the page that it came with does not count."""
    with (
        serving(lambda _: as_json({"items": [{"n": 1}], "next": "/\ud800"})) as web,
        pytest.raises(BadAnswer, match=r"\$.next holds half a surrogate pair"),
    ):
        list(read_rest(task(batch_size=1), web.url, records="$.items", pages=pages))
