"""
Whom the HTTP destination sends to, and whom it tells a credential: nobody else (R13).
"""

import base64
import logging
import ssl
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import DataError, DefinitionError
from statepipe.io.destinations import open_destination
from statepipe.io.loads import Landed
from statepipe.io.rest.destination import HttpDestination
from tests.io.receiver import Receiver
from tests.io.warehouse import batch
from tests.io.web import Reply, Web, as_json, serving

TOKEN = "tok-" + "e9/f+1=" * 3  # with characters that a URL escapes


def load(web: Web, auth: Any = None) -> Landed:  # noqa: ANN401  (any credentials)
    """Send one batch and return what came of it."""
    address = f"{web.url}/orders"
    with closing(HttpDestination(address, name=address, auth=auth)) as target:
        return target.load(batch())


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("env:API_TOKEN", "authorization", f"Bearer {TOKEN}"),
        (
            ("me", "env:API_TOKEN"),
            "authorization",
            f"Basic {base64.b64encode(f'me:{TOKEN}'.encode()).decode()}",
        ),
        ({"X-Api-Key": "env:API_TOKEN"}, "x-api-key", TOKEN),
    ],
)
def test_credentials_are_sent_and_are_in_no_error_and_no_log(
    auth: Any,  # noqa: ANN401  (whatever is passed on)
    header: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even if the receiver repeats all that it was told."""
    monkeypatch.setenv("API_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    said = as_json({"you": value, "token": TOKEN}, status=403)
    with serving(lambda _: said) as web, pytest.raises(DataError, match="403") as refusal:
        load(web, auth=auth)

    assert web.requests[0].headers[header] == value
    for text in (str(refusal.value), repr(refusal.value.__context__), caplog.text):
        assert TOKEN not in text
        assert value not in text


def test_a_credential_that_is_missing_is_named_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By where it should have been."""
    monkeypatch.delenv("API_TOKEN", raising=False)
    with (
        serving(Receiver()) as web,
        pytest.raises(DataError, match="API_TOKEN is unset; nothing was sent"),
    ):
        load(web, auth="env:API_TOKEN")

    assert web.requests == []


def test_an_address_that_is_a_secret_is_called_by_its_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A webhook's path is its password; nothing says it."""
    with serving(lambda _: Reply(status=404)) as web:
        address = f"{web.url}/hooks/T0000/{'x' * 24}"
        monkeypatch.setenv("HOOK", address)
        target = open_destination("env:HOOK", base_dir=tmp_path)
        with closing(target), pytest.raises(DataError) as refusal:
            target.load(batch())

    assert str(refusal.value) == "cannot load: POST env:HOOK: 404 Not Found"
    assert web.requests[0].path.startswith("/hooks/T0000")


def test_a_receiver_that_cannot_prove_who_it_is_is_sent_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate that nobody vouches for is no passing failure; one that is known works."""
    pem = Path(__file__).parent / "loopback.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with serving(Receiver(), tls=tls) as web:
        with pytest.raises(DataError, match="certificate verify failed"):
            load(web)
        assert web.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert load(web).records == 3


@pytest.mark.parametrize(
    ("to", "more", "words"),
    [
        ("https://h/x", {"table": "t"}, "an address to POST to has none"),
        ("https://h/x", {"replace": True}, "cannot be taken back"),
        ("https://me@h/x", {}, "the address has a user in it"),
        ("sqlite:///w.db", {}, "is missing"),
        ("sqlite:///w.db", {"table": "t", "body": "lines"}, "body is for records that are POSTed"),
        ("sqlite:///w.db", {"table": "t", "auth": "env:X"}, "auth is for records"),
        ("sqlite:///w.db", {"table": "t", "effect": "at_least_once"}, "exactly once by its ledger"),
    ],
)
def test_what_contradicts_the_address_is_refused_where_a_reference_is_followed(
    to: str, more: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machine file could not know; nothing is opened."""
    monkeypatch.setenv("WHERE_TO", to)
    with pytest.raises(DefinitionError, match=words) as refusal:
        open_destination("env:WHERE_TO", base_dir=tmp_path, **more)

    assert str(refusal.value).startswith("env:WHERE_TO: ")


def test_a_missing_httpx2_is_an_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says which."""
    monkeypatch.setitem(sys.modules, "statepipe.io.rest.destination", None)

    with pytest.raises(DataError, match="needs httpx2") as refusal:
        open_destination("https://h/x", base_dir=tmp_path)

    assert refusal.value.next_step == 'pip install "statepipe[http]"'
