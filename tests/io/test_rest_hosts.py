"""
Who is asked, and who is told a credential: the configured origin, and nobody else (R13).
"""

import base64
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from statepipe.errors import Fatal
from statepipe.io.rest.pages import ByCursor, ByLink, ByPage, with_params
from statepipe.io.rest.source import read_rest
from statepipe.observe import redact
from tests.io.reading import task
from tests.io.web import Answering, Reply, Request, Web, as_json, serving

TOKEN = "tok-" + "e9/f+1=" * 3  # with characters that a URL escapes


@pytest.fixture
def other() -> Iterator[Web]:
    """A server that must never be asked."""
    with serving(lambda _: as_json([{"stolen": True}])) as web:
        yield web
        assert web.requests == []


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", TOKEN)


def elsewhere(web: Web, other: Web) -> list[str]:
    """Return addresses that are not the origin of `web`."""
    port = web.url.rpartition(":")[2]
    return [
        f"{other.url}/rows",
        f"http://localhost:{port}/rows",
        f"https://127.0.0.1:{port}/rows",
        f"//127.0.0.2:{port}/rows",
        f"http://127.0.0.1:{port}@{other.url.removeprefix('http://')}/rows",
        f"http://me:pass@127.0.0.1:{port}/rows",
        "ftp://127.0.0.1/rows",
        "file:///etc/passwd",
        "http://[::1/rows",
    ]


def leading(way: str, targets: list[str]) -> Answering:
    """Return an API that leads to the last of `targets`: by a redirect, a header, its body."""

    def answer(_: Request) -> Reply:
        target = targets[-1]
        match way:
            case "redirect":
                return Reply(status=302, headers={"Location": target})
            case "link":
                return as_json({"items": []}, headers={"Link": f'<{target}>; rel="next"'})
            case _:
                return as_json({"items": [], "next": target})

    return answer


@pytest.mark.parametrize("way", ["redirect", "link", "body"])
@pytest.mark.parametrize("nth", range(9))
def test_only_the_configured_origin_is_followed(way: str, nth: int, other: Web) -> None:
    """Scheme, host and port, in redirects and in links: anything else ends the run."""
    targets: list[str] = []
    with serving(leading(way, targets)) as web:
        targets.append(elsewhere(web, other)[nth])
        pages = ByLink("$.next" if way == "body" else None)
        with pytest.raises(Fatal):
            list(read_rest(task(), web.url, records="$.items", pages=pages, auth="env:API_TOKEN"))

    assert len(web.requests) == 1


def test_a_stored_place_on_another_host_is_not_asked(other: Web) -> None:
    """A cursor lies in a store that somebody may have edited."""

    def answer(_: Request) -> Reply:
        return as_json([{"n": 1}, {"n": 2}], headers={"Link": '</2>; rel="next"'})

    with serving(answer) as web:
        cursor = next(read_rest(task(), web.url, pages=ByLink(), auth="env:API_TOKEN")).cursor
        cursor["next"] = f"{other.url}/rows"
        with pytest.raises(Fatal, match="nothing was sent"):
            next(read_rest(task(cursor=cursor), web.url, pages=ByLink(), auth="env:API_TOKEN"))


def test_a_redirect_on_the_same_origin_is_followed_with_credentials() -> None:
    """APIs move their paths."""

    def answer(request: Request) -> Reply:
        if request.path == "/old":
            return Reply(status=308, headers={"Location": "/new?x=1"})
        return as_json([{"n": 1}])

    with serving(answer) as web:
        (batch,) = read_rest(task(), f"{web.url}/old", auth="env:API_TOKEN")

    assert batch.records == [{"n": 1}]
    assert [request.headers["authorization"] for request in web.requests] == [f"Bearer {TOKEN}"] * 2


def test_each_request_waits_for_a_permit_of_its_resource() -> None:
    """Each page, and each redirect on the way to one; without a resource nobody is asked."""
    asked: list[tuple[str, int]] = []

    def answer(request: Request) -> Reply:
        if request.path == "/here":
            return Reply(
                status=307, headers={"Location": f"/there?{urlsplit(request.target).query}"}
            )
        page = int(request.query["page"])
        return as_json([{"n": page}] if page < 3 else [])

    with serving(answer) as web:
        source = task()
        source._acquire = lambda name: asked.append((name, len(web.requests)))
        batches = list(read_rest(source, f"{web.url}/here", pages=ByPage(), resource="desk"))
        assert [record for batch in batches for record in batch.records] == [{"n": 1}, {"n": 2}]
        assert asked == [("desk", number) for number in range(6)]
        list(read_rest(source, f"{web.url}/here", pages=ByPage()))

    assert len(asked) == 6


def test_redirects_that_go_round_end() -> None:
    """Five, then no more."""
    with (
        serving(lambda _: Reply(status=301, headers={"Location": "/"})) as web,
        pytest.raises(Fatal, match="more than 5"),
    ):
        list(read_rest(task(), web.url))

    assert len(web.requests) == 5


def test_credentials_come_in_every_form_that_apis_want(tmp_path: Path) -> None:
    """A bearer token, a password, a header, a parameter; from the environment or a file."""
    (tmp_path / "secret").write_text(f" {TOKEN}\n", encoding="utf-8")
    reference = f"file:{tmp_path}/secret"
    pair = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    with serving(lambda _: as_json([])) as web:
        for auth in (
            "env:API_TOKEN",
            reference,
            ("me", "env:API_TOKEN"),
            {"X-Api-Key": reference},
            {"?api_key": reference},
            None,
        ):
            list(read_rest(task(), f"{web.url}/rows?a=1", auth=auth))

    bearer, from_file, basic, header, parameter, none = web.requests
    assert (
        bearer.headers["authorization"] == from_file.headers["authorization"] == f"Bearer {TOKEN}"
    )
    assert basic.headers["authorization"] == f"Basic {pair}"
    assert header.headers["x-api-key"] == TOKEN
    assert parameter.query == {"a": "1", "api_key": TOKEN}
    assert none.query == {"a": "1"}
    assert "authorization" not in none.headers
    assert none.headers["user-agent"].startswith("statepipe ")


@pytest.mark.parametrize(
    "auth", ["env:API_TOKEN", ("me", "env:API_TOKEN"), {"?key": "env:API_TOKEN"}]
)
@pytest.mark.parametrize("status", [200, 401, 429, 500, 302])
def test_a_credential_is_in_no_error_no_cursor_and_no_log(
    auth: Any,  # noqa: ANN401  (whatever is passed on)
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even if the API repeats all it was told, in its body, its links and its redirects."""
    caplog.set_level(logging.DEBUG)

    def answer(request: Request) -> Reply:
        secret = request.headers.get("authorization", "").removeprefix("Bearer ")
        said = {"you": request.target, "sent": secret, "token": TOKEN}
        if status == 302:
            location = request.target.replace("/rows", "http://127.0.0.2/rows")
            return as_json(said, status=302, headers={"Location": location})
        number = int(request.query.get("page", "1"))
        link = with_params(request.target, {"page": number + 1})
        return as_json(
            {"items": [{"n": number}, {"n": number}], **said},
            status=status,
            headers={"Link": f'<{link}>; rel="next"'} if number < 3 else {},
        )

    seen = ""
    with serving(answer) as web:
        source = read_rest(task(), f"{web.url}/rows", records="$.items", pages=ByLink(), auth=auth)
        try:
            seen = repr([batch.cursor for batch in source])
        except Exception as error:  # noqa: BLE001  (any is what is looked at)
            seen = f"{error!r} {error.__cause__!r} {error.__context__!r}"

    assert len(web.requests) == (3 if status == 200 else 1)
    if isinstance(auth, dict):
        assert [request.query["key"] for request in web.requests] == [TOKEN] * len(web.requests)
    for text in (seen, caplog.text):
        assert text
        assert TOKEN not in text
        assert base64.b64encode(f"me:{TOKEN}".encode()).decode() not in text
        assert "e9%2Ff" not in text


def test_a_cursor_that_is_a_credential_is_refused() -> None:
    """It would be stored."""
    with (
        serving(lambda _: as_json({"items": [], "next_cursor": f"x{TOKEN}"})) as web,
        pytest.raises(Fatal, match="holds a credential") as refusal,
    ):
        list(read_rest(task(), web.url, records="$.items", pages=ByCursor(), auth="env:API_TOKEN"))

    assert TOKEN not in str(refusal.value)


@pytest.mark.parametrize("way", ["link", "redirect"])
def test_a_link_that_repeats_a_credential_of_another_form_is_refused(way: str) -> None:
    """It would be stored; the message says what to write if the API wants it there."""

    def answer(_: Request) -> Reply:
        where = f"/2?access_token={quote(TOKEN)}"
        if way == "redirect":
            return Reply(status=302, headers={"Location": where})
        return as_json([], headers={"Link": f'<{where}>; rel="next"'})

    with serving(answer) as web, pytest.raises(Fatal, match="auth=") as refusal:
        list(read_rest(task(), web.url, pages=ByLink(), auth="env:API_TOKEN"))

    assert "e9" not in str(refusal.value)
    assert len(web.requests) == 1


def test_an_api_that_cannot_prove_who_it_is_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate that nobody vouches for is no passing failure; one that is known works."""
    pem = Path(__file__).parent / "loopback.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with serving(lambda _: as_json([{"n": 1}]), tls=tls) as web:
        with pytest.raises(Fatal, match="certificate verify failed"):
            list(read_rest(task(), web.url, auth="env:API_TOKEN"))
        assert web.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        (batch,) = read_rest(task(), web.url, auth="env:API_TOKEN")

    assert batch.records == [{"n": 1}]


def test_a_short_secret_does_not_hide_every_other_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in every page number."""
    monkeypatch.setenv("API_TOKEN", "2")

    def answer(request: Request) -> Reply:
        return as_json({"items": [], "next": None if "p" in request.query else "/rows?p=2"})

    with serving(answer) as web:
        pages = ByLink("$.next")
        list(read_rest(task(), web.url, records="$.items", pages=pages, auth="env:API_TOKEN"))

    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"auth": "s3cret-itself"}, "must be given by reference"),
        ({"auth": ("me", "s3cret-itself")}, "must be given by reference"),
        ({"auth": {"X-Key": "s3cret-itself"}}, "must be given by reference"),
        ({"auth": "env:NOT_SET"}, "NOT_SET is unset"),
        ({"auth": "env:EMPTY"}, "is empty"),
        ({"auth": "env:TWO_LINES"}, "no header can carry"),
        ({"auth": "file:secret.txt"}, "its path is not absolute"),
        ({"auth": "file:/does/not/exist"}, "No such file"),
        ({"auth": "file:/dev/zero"}, "no header can carry"),
        ({"headers": {"Authorization": "Bearer s3cret-itself"}}, "go into auth="),
        ({"headers": {"X-Trace": "a\r\nX-Evil: b"}}, "no header can carry"),
    ],
    ids=str,
)
def test_a_credential_that_cannot_be_used_is_refused_before_anything_is_sent(
    given: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its value is not in the message."""
    monkeypatch.setenv("EMPTY", " ")
    monkeypatch.setenv("TWO_LINES", "s3cret-itself\nsecond")
    with serving(lambda _: as_json([])) as web, pytest.raises(Fatal, match=reason) as refusal:
        list(read_rest(task(), web.url, **given))

    assert web.requests == []
    assert "s3cret-itself" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "h/x",
        "",
        "http://",
        "http://me:s3cret@h/x",
        "http://h:99999/",
        "http://h\n/",
        "http://h/?" + "x" * 100_000,
    ],
    ids=range(8),
)
def test_an_address_that_is_none_is_fatal(url: str) -> None:
    """Or that holds a password."""
    with pytest.raises(Fatal) as refusal:
        list(read_rest(task(), url))

    assert "s3cret" not in str(refusal.value)


def test_the_process_hides_what_was_resolved() -> None:
    """Logs and pages of other parts hide what this one resolves."""
    redact.forget()
    with serving(lambda _: as_json([])) as web:
        list(read_rest(task(), web.url, auth="env:API_TOKEN"))

    assert redact.hidden() == [TOKEN]
    redact.forget()


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What curl does: http_proxy and no_proxy count."""
    with (
        serving(lambda _: as_json([{"by": "proxy"}])) as proxy,
        serving(lambda _: as_json([])) as web,
    ):
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        (batch,) = read_rest(task(), "http://api.example.invalid/rows")

        list(read_rest(task(), web.url))

    assert batch.records == [{"by": "proxy"}]
    assert [request.target for request in proxy.requests] == ["http://api.example.invalid/rows"]
    assert len(web.requests) == 1
