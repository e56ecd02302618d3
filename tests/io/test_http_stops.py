"""
A statepipe that is killed while it POSTs (R1, R4): what a receiver has of it in the end.

The seed decides when somebody is killed; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import base64
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.testing import violations
from tests.crash.processes import BOUND_MS
from tests.io.project import BATCHES, ROWS, kill, make
from tests.io.receiver import Receiver
from tests.io.web import Reply, Request, serving

WORD = "s3cret-word"
BASIC = f"Basic {base64.b64encode(f'me:{WORD}'.encode()).decode()}"

NUMBERS = [{"n": n, "square": n * n} for n in range(BATCHES * ROWS)]


@pytest.fixture(autouse=True)
def _word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", WORD)


class Deadly:
    """
    A receiver that kills who sends: before it takes a request, after, or after the answer.

    Args:
        receiver: What takes the requests.
        rng: Decides when; each of the three comes as often as the others, or once less.
        kills: How often.
    """

    def __init__(self, receiver: Receiver, *, rng: random.Random, kills: int) -> None:
        self._receiver = receiver
        self._rng = rng
        moments = [("after", "before", "answered")[nth % 3] for nth in range(kills)]
        self._ahead = rng.sample(moments, kills)
        self._victim: subprocess.Popen[str] | None = None
        self._countdown = 0
        self._answered = threading.Event()
        self.moments: Counter[str] = Counter()

    def disturb(self, process: subprocess.Popen[str]) -> None:
        """Choose when `process` dies, unless enough have died."""
        if not self._ahead:
            return
        self._answered.clear()
        self._countdown = self._rng.randrange(1, 5)
        self._victim = process
        assert self._answered.wait(BOUND_MS / 1000)
        if process.poll() is None:
            threading.Event().wait(self._rng.uniform(0, 0.01))
            kill(process)

    def __call__(self, request: Request) -> Reply:
        """Answer one request, or kill who asks."""
        self._countdown -= 1
        if self._victim is None or self._countdown:
            return self._receiver(request)
        moment = self._ahead.pop()
        self.moments[moment] += 1
        victim, self._victim = self._victim, None
        if moment == "before":
            kill(victim)
        reply = self._receiver(request) if moment != "before" else Reply(reset=True)
        if moment == "after":
            kill(victim)
        self._answered.set()
        return reply


def send_disturbed(root: Path, receiver: Receiver, *, kills: int, effect: str) -> Counter[int]:
    """Send the numbers while processes are killed; return how often each was taken."""
    seed = int(os.environ.get("STATEPIPE_TEST_SEED", random.SystemRandom().randrange(10**6)))
    sys.stdout.write(f"STATEPIPE_TEST_SEED={seed}\n")
    deadly = Deadly(receiver, rng=random.Random(seed), kills=kills)
    with serving(deadly) as web:
        load = f'effect = "{effect}", auth = ["me", "env:WORD"], parallel = 2'
        project = make(root, warehouse=f"{web.url}/numbers", load=load)
        printed = project.drive(deadly.disturb)
        said = project.call("inspect", "one")[1]

    assert len(printed) == kills + 1, printed
    assert deadly.moments.total() == kills
    assert {request.headers["authorization"] for request in web.requests} == {BASIC}
    assert not any(WORD.encode() in file.read_bytes() for file in root.rglob("*.*"))
    assert f"{BATCHES} of {BATCHES} batches" in said or f"{BATCHES} batches" in said
    assert violations(load_config(start=root, environ={}).store) == []
    assert all(NUMBERS[record["n"]] == record for record in receiver.taken)
    return Counter(record["n"] for record in receiver.taken)


@pytest.mark.timeout(180)
def test_a_receiver_that_honours_keys_has_every_record_once_after_20_kills(tmp_path: Path) -> None:
    """Killed before a request is taken, after it is, and after it was answered."""
    receiver = Receiver()

    taken = send_disturbed(tmp_path / "p", receiver, kills=20, effect="exactly_once")

    assert taken == Counter(range(len(NUMBERS)))
    assert receiver.taken == NUMBERS, "batches came in another order"
    assert len(receiver.keys) == BATCHES
    assert receiver.keys.total() <= BATCHES + 20, "more than one batch a kill was sent again"
    assert receiver.keys.total() > BATCHES, "nothing was ever sent again: the kills missed"


@pytest.mark.timeout(180)
def test_a_careless_receiver_has_every_record_at_least_once(tmp_path: Path) -> None:
    """Never less; and of what is sent again, at most one batch a kill."""
    receiver = Receiver(honours=False)

    taken = send_disturbed(tmp_path / "p", receiver, kills=5, effect="at_least_once")

    assert set(taken) == set(range(len(NUMBERS)))
    assert len(NUMBERS) < taken.total() <= len(NUMBERS) + 5 * ROWS
