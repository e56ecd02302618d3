"""One delivery by each of the three ways; apprise by its own JSON service, on loopback."""

import json
import sys
from pathlib import Path

import pytest

from statepipe.notify import Target
from statepipe.observe.notices.body import Occasion, body_of
from statepipe.observe.notices.delivery import REASON_CHARS_MAX, deliver
from statepipe.observe.notices.letter import Letter, Undelivered
from tests.observe.receiving import Receiver, receiving, status

#: apprise reads all of its services when it is first used, one with an old module of Python's.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

OCCASION = Occasion(
    event="failed",
    at_ms=1,
    store="s",
    env=None,
    machine="orders",
    version=1,
    instance="monday",
    state="loading",
    target_state="failed",
    attempt=1,
    error_class="ValueError",
    error="no",
)
LETTER = Letter("the-key", body_of(OCCASION, key="the-key"))

URL = Target(name="oncall", url="env:ONCALL")
WEBHOOK = Target(name="oncall", webhook="env:ONCALL")


def given(target: Target, address: str | None, *, timeout_ms: int = 5_000) -> None:
    """Deliver to `target` at `address`."""
    deliver(target, LETTER, address=address, root=Path.cwd(), timeout_ms=timeout_ms)


def refused(target: Target, address: str | None) -> str:
    """Deliver, and return why that failed."""
    with pytest.raises(Undelivered) as failure:
        given(target, address)
    return str(failure.value)


def json_url(receiver: Receiver) -> str:
    """Return the URL by which apprise reaches a receiver, with a login and a secret path."""
    return f"json://ann:hunter2@127.0.0.1:{receiver.port}/secret-path?method=POST"


def test_each_way_delivers(tmp_path: Path) -> None:
    """A program, a POST, and whatever apprise reaches."""
    program = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    told = tmp_path / "told"
    command = Target(name="oncall", command=(sys.executable, "-c", program, str(told)))
    with receiving() as receiver:
        given(command, None, timeout_ms=20_000)
        given(WEBHOOK, receiver.url)
        given(URL, json_url(receiver))

    assert told.read_text(encoding="ascii") == LETTER.body
    posted, service = receiver.requests
    assert posted.body.decode() == LETTER.body
    said = json.loads(service.body)
    assert (said["title"], said["type"]) == ("statepipe: failed", "failure")
    assert said["message"].splitlines()[0] == (
        "orders: monday failed in loading on attempt 1: ValueError: no"
    )
    assert said["message"].splitlines()[-1] == "notice: the-key"


def test_a_service_that_refuses_is_a_failure_with_its_reason_and_without_its_url(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The URL is a secret, and apprise's log goes nowhere but into the reason."""
    with receiving(status("500 Internal Server Error")) as receiver:
        why = refused(URL, json_url(receiver))

    assert "500" in why
    seen = why + caplog.text + "".join(capfd.readouterr())
    assert "hunter2" not in seen
    assert "secret-path" not in seen


def test_a_service_that_is_not_there_is_a_failure() -> None:
    """Whatever the library below raises."""
    with receiving() as receiver:
        url = json_url(receiver)

    why = refused(URL, url)
    assert "onnection" in why
    assert "hunter2" not in why


@pytest.mark.parametrize("url", ["hunter2", "", "nosuch://hunter2", "slack://hunter2"])
def test_what_is_no_url_of_a_service_is_said_and_not_repeated(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """`add` says so by its result alone."""
    why = refused(URL, url)

    assert why == "what its reference leads to is no URL that apprise knows"
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("address", ["hunter2", "ftp://hunter2", "http://", "http://a/hunter2 x"])
def test_what_is_no_url_of_a_webhook_is_said_and_not_repeated(address: str) -> None:
    """It was read from where a reference points, and nobody has looked at it before."""
    why = refused(WEBHOOK, address)

    assert why.startswith("what the reference of the webhook leads to is ")
    assert "hunter2" not in why


def test_without_apprise_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    monkeypatch.delitem(sys.modules, "statepipe.observe.notices.services", raising=False)

    assert "pip install 'statepipe[notify]'" in refused(URL, "json://localhost")


def test_a_reason_is_short() -> None:
    """It is kept with the notice."""
    with receiving(status("500 " + "x" * 10_000)) as receiver:
        assert len(refused(WEBHOOK, receiver.url)) <= REASON_CHARS_MAX
