"""Secrets: replaced wherever text is stored, written or shown, however they are spelled or cut."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.observe import redact
from statepipe.observe.redact import beginning, end, hide, redacted

TOKEN = "s3cr3t/t\\k'n\"+Ünd@"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let no test hide anything from another."""
    redact.forget()
    yield
    redact.forget()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:hunter2@db/orders", "postgresql://***@db/orders"),
        ("at postgresql://ann:p@ss@db:5432/x?y=1", "at postgresql://***@db:5432/x?y=1"),
        ("redis://:hunter2@cache:6379/0", "redis://***@cache:6379/0"),
        ("https://ghp_0123456789@github.com/x", "https://***@github.com/x"),
        ("'https://a:b@c/d', 'https://e/f@g'", "'https://***@c/d', 'https://e/f@g'"),
        ("Authorization: Basic YW5uOmh1bnRlcjI=", "Authorization: ***"),
        ("{'Authorization': 'Bearer abc', 'a': 1}", "{'Authorization': '***', 'a': 1}"),
        ("[(b'authorization', b'Token abc')]", "[(b'authorization', b'***')]"),
        ('{"proxy-authorization": "Digest a=\'b\'"}', '{"proxy-authorization": "***"}'),
        ("sent bearer abcdef.ghijkl-mnop", "sent bearer ***"),
        ("password=hunter2 user=ann", "password=*** user=ann"),
        (
            "db?password=env:PG&x=1 password=file:/run/pg",
            "db?password=env:PG&x=1 password=file:/run/pg",
        ),
        ("PGPASSWORD=hunter2", "PGPASSWORD=***"),
        ("SERVER=x;PWD=hunter2;UID=ann", "SERVER=x;PWD=***;UID=ann"),
        ('{"user": "ann", "password": "hun ter2"}', '{"user": "ann", "password": "***"}'),
        ("Config(api_key='abc', n=1)", "Config(api_key='***', n=1)"),
        ('"{\\"client_secret\\": \\"abc\\"}"', '"{\\"client_secret\\": \\"***"}"'),
        ("GET /v1?access_token=abc&page=2", "GET /v1?access_token=***&page=2"),
        ("GET /v1?token=abc&page=2", "GET /v1?token=***&page=2"),
    ],
)
def test_what_looks_like_a_secret_is_replaced(text: str, shown: str) -> None:
    """Nobody has to name these: URLs, headers and settings give themselves away."""
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8080/users/ann@example.org",
        "unexpected token: '}' at line 7",
        "mail ann@example.org about 12:30",
        "KeyError: 'pieces'",
        "the authorization failed",
        "https://example.org/a?b=c#d",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """A log in which half is hidden helps nobody."""
    assert redacted(text) == text


@pytest.mark.parametrize(
    "spelled",
    [
        TOKEN,
        json.dumps(TOKEN),
        json.dumps(TOKEN, ensure_ascii=False),
        repr(TOKEN),
        repr(TOKEN.encode()),
        quote(TOKEN),
        quote(TOKEN, safe=""),
        base64.b64encode(TOKEN.encode()).decode(),
    ],
)
def test_a_hidden_value_is_found_in_every_spelling(spelled: str) -> None:
    """Libraries quote, escape and encode what they are given."""
    hide(TOKEN)

    shown = redacted(f"before {spelled} after")

    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert redact.MASK in shown
    assert "s3cr3t" not in shown


def test_of_a_key_with_several_lines_each_line_is_hidden() -> None:
    """Output is kept line by line."""
    hide("-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n")

    assert redacted("x hkiG9w0BAQEFAASC y") == "x *** y"


def test_the_longer_of_two_secrets_wins() -> None:
    """Otherwise the rest of it would be shown."""
    hide("hunter")
    hide("hunter2hunter2")

    assert redacted("it is hunter2hunter2") == "it is ***"


def test_what_stands_in_every_other_word_is_not_hidden() -> None:
    """A secret of three letters would make every text unreadable."""
    hide("the")

    assert redacted("the other") == "the other"


def test_whoever_asked_is_told_of_what_is_hidden_before_it_can_be_printed() -> None:
    """A worker process tells its driver, which stores what the worker prints."""
    told: list[str] = []
    hide("first one")
    redact.on_hide(told.append)

    hide("second one")
    hide("second one")

    assert told == ["second one"]
    assert redact.hidden() == ["first one", "second one"]
    assert redact.hidden(since=1) == ["second one"]


@given(
    before=st.integers(0, 60),
    after=st.integers(0, 60),
    at=st.integers(1, 140),
    secret=st.sampled_from(["hunter2hunter2", "pg://ann:topsecret@db", "password=topsecret"]),
)
def test_a_cut_leaves_no_part_of_a_secret(before: int, after: int, at: int, secret: str) -> None:
    """Long texts are cut, at the end or at the beginning, wherever that happens to be."""
    hide("hunter2hunter2")
    text = "." * before + f" {secret} " + "." * after

    for shown in (beginning(text, chars_max=at), end(text, chars_max=at)):
        left = shown.replace(redact.MASK, "").replace("password=", "").strip(" .")
        assert left in "pg://@db"


def test_many_secrets_in_a_row_are_cut_as_one() -> None:
    """What is replaced makes room, and nothing raw may move into it."""
    hide("hunter2hunter2")
    text = "hunter2hunter2" * 1_000

    for shown in (beginning(text, chars_max=1_000), end(text, chars_max=1_000)):
        assert set(shown) == {"*"}


@pytest.mark.parametrize(
    "piece", ["://", "://a:", "password", "authorization:", '"password": "', "bearer ", "\\"]
)
def test_no_text_takes_long(piece: str) -> None:
    """Tasks print what they like; a pattern must not go back over it again and again."""
    assert redacted(piece * 20_000)
