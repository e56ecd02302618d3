"""
A redirect that asks for a pause: it is followed after that, and not before (RFC 9110, 10.2.3).
"""

from collections.abc import Callable

import pytest

from statepipe.errors import TaskCancelled, Throttled
from statepipe.io.rest.http import Connection
from statepipe.io.rest.limits import HttpLimits
from statepipe.io.rest.source import read_rest
from statepipe.testing import ManualClock
from tests.io.reading import task
from tests.io.web import Reply, Request, Web, as_json, serving


def leading_on(pause: str) -> Callable[[Request], Reply]:
    """Return an API that leads from /export to /ready, after a pause."""

    def answer(request: Request) -> Reply:
        if request.path == "/export":
            headers = {"Location": "/ready", "Retry-After": pause}
            return Reply(status=303, headers=headers)
        return as_json([{"n": 1}])

    return answer


def connection(web: Web, clock: ManualClock, stop: Callable[[], None]) -> Connection:
    """Return one that has two minutes for a page."""
    return Connection(web.url, auth=None, headers={}, limits=HttpLimits(), stop=stop, clock=clock)


def test_a_redirect_is_followed_after_the_pause_that_it_asks_for() -> None:
    """Within the attempt: who begins again would be led on again."""
    clock, asked = ManualClock(), []
    began_ms = clock.boot_ms()
    answer = leading_on("7")

    def noting(request: Request) -> Reply:
        asked.append((request.path, clock.boot_ms() - began_ms))
        return answer(request)

    def four_seconds() -> None:
        clock.advance(4_000)

    with serving(noting) as web, connection(web, clock, four_seconds) as api:
        page = api.get(f"{web.url}/export")

    assert page.url == f"{web.url}/ready"
    assert asked == [("/export", 0), ("/ready", 8_000)]


def test_who_is_asked_to_stop_meanwhile_stops() -> None:
    """The pause may be long."""
    clock = ManualClock()

    def stop() -> None:
        raise TaskCancelled

    with (
        serving(leading_on("7")) as web,
        connection(web, clock, stop) as api,
        pytest.raises(TaskCancelled),
    ):
        api.get(f"{web.url}/export")

    assert [request.path for request in web.requests] == ["/export"]


@pytest.mark.parametrize("pause", ["120", "86400"])
def test_a_pause_that_a_request_may_not_take_is_one_between_two_attempts(pause: str) -> None:
    """It is kept in the store then, over any crash."""
    with (
        serving(leading_on(pause)) as web,
        pytest.raises(Throttled, match=rf"/export: it leads on, and .* pause of {pause} s") as said,
    ):
        list(read_rest(task(), f"{web.url}/export"))

    assert said.value.retry_after == float(pause)
    assert [request.path for request in web.requests] == ["/export"]


@pytest.mark.parametrize("pause", ["0", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_a_redirect_that_asks_for_no_pause_is_followed_at_once(pause: str) -> None:
    """Nor for one that is over."""
    with serving(leading_on(pause)) as web:
        (batch,) = read_rest(task(), f"{web.url}/export")

    assert batch.records == [{"n": 1}]
