"""Callbacks from outside: by the command line, and over HTTP to a worker."""

import json
from collections.abc import Generator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cli.project import Project, until

MACHINE = """\
machine = "asks"
version = 1
initial = "begin"

[states.begin]
run = "asks_:begin"
on  = { ok = "outside" }

[states.outside]
wait = { callback = true, timeout = "2d" }
on   = { callback = "done" }

[states.done]
final = "success"
"""

FUNCTIONS = '''
"""Hand the token to the outside: a file."""

from pathlib import Path

from statepipe import Task


def begin(task: Task) -> None:
    """Write the token where the test reads it."""
    path = Path(__file__).parent / "token"
    path.with_suffix(".new").write_text(task.callback_token or "")
    path.with_suffix(".new").rename(path)
'''


@pytest.fixture
def asks(project: Project) -> Project:
    """A project with a machine that waits to be called back."""
    folder = project.root / "machines"
    (folder / "asks.toml").write_text(MACHINE, encoding="utf-8")
    (folder / "asks_.py").write_text(FUNCTIONS, encoding="utf-8")
    return project


def token(asks: Project) -> str:
    """Return the token, once it was handed out."""
    path = asks.root / "machines" / "token"
    until(path.exists)
    return path.read_text(encoding="utf-8")


def standing(asks: Project) -> str:
    """Return what the instance is doing."""
    return str(asks.call("inspect", "one", "-o", "json").json["status"])


def test_the_command_line_calls_back(asks: Project) -> None:
    """By the token alone; twice is once; a forged one is refused and not repeated."""
    asks.call("start", "asks", "--id", "one")
    asks.call("worker", "--until-idle")

    forged = asks.call("callback", f"{token(asks)}x")
    assert forged.code == 2
    assert "the token is none of this store's" in forged.err
    assert token(asks) not in forged.err
    first = asks.call("callback", token(asks), "-p", "rows:=7", "-o", "json")
    assert first.json == {"id": "one", "event": "callback", "awaited": True, "repeated": False}
    second = asks.call("callback", token(asks), "-p", "rows:=7")
    assert "one was told of callback by this token before; once counts" in second.out
    other = asks.call("callback", token(asks), "-p", "rows:=8")
    assert (other.code, "used before" in other.err) == (2, True)

    assert asks.call("resume", "one").code == 0
    assert asks.call("metrics", "verify").code == 0
    assert "callback: called back for begin" in asks.call("history", "one").out


@pytest.fixture
def address(asks: Project) -> Generator[str]:
    """Where a worker takes callbacks; the worker is stopped by the test."""
    asks.call("start", "asks", "--id", "one")
    worker = asks.spawn("worker", "--callbacks-listen", "127.0.0.1:0")
    assert worker.stderr is not None
    line = worker.stderr.readline()
    assert line.startswith("taking callbacks at http://127.0.0.1:"), line
    yield urlsplit(line.split()[-1]).netloc
    worker.terminate()
    out, err = worker.communicate(timeout=60)
    assert token(asks) not in line + out + err


def post(address: str, body: Any, path: str = "/callbacks", **headers: str) -> tuple[int, Any]:  # noqa: ANN401 whatever JSON holds
    """Return what a POST is answered with."""
    connection = HTTPConnection(address, timeout=30)
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, body=text, headers=headers)
    answer = connection.getresponse()
    said = answer.status, json.loads(answer.read())
    connection.close()
    return said


def test_a_worker_is_called_back(asks: Project, address: str) -> None:
    """Each refusal has its status, and says why; none repeats the token or changes anything."""
    real = token(asks)
    until(lambda: standing(asks) == "waiting")
    refusals = [
        (403, "none of this store's", post(address, {"token": f"{real}x"})),
        (403, "none of this store's", post(address, {}, Authorization="Bearer cb1.e30.e30")),
        (404, "is for no event", post(address, {"token": real, "event": "ok"})),
        (404, "there is /callbacks", post(address, {"token": real}, path="/")),
        (400, "no JSON", post(address, b"{")),
        (400, "no object", post(address, [])),
        (400, "unknown field 'tokn'", post(address, {"tokn": real})),
        (400, "token is missing", post(address, {})),
        (400, "params is missing, or of another type", post(address, {"token": real, "params": 3})),
        (413, "131,072 bytes at most", post(address, b" " * 131_073)),
    ]
    for status, why, (code, said) in refusals:
        assert code == status, said
        assert why in said["error"], said
        assert real not in json.dumps(said)
    connection = HTTPConnection(address, timeout=30)
    connection.request("GET", "/callbacks")
    assert connection.getresponse().status == 405
    connection.close()
    assert standing(asks) == "waiting"

    call = {"token": real, "params": {"rows": 7}}
    assert post(address, call) == (200, {"event": "callback", "repeated": False})
    until(lambda: standing(asks) == "done")
    assert post(address, call) == (200, {"event": "callback", "repeated": True})
    assert post(address, {"params": {"rows": 8}}, Authorization=f"Bearer {real}")[0] == 409


def test_tokens_go_nowhere_in_plain(asks: Project) -> None:
    """Beyond this machine callbacks are taken over TLS, or not at all."""
    asks.call("start", "asks", "--id", "one")

    refused = asks.call("worker", "--callbacks-listen", "0.0.0.0:0", "--until-idle")
    alone = asks.call("worker", "--callbacks-tls-key", "x.pem")

    assert (refused.code, alone.code) == (2, 2)
    assert "tokens would go there in plain" in refused.err
    assert "nothing to encrypt" in alone.err
