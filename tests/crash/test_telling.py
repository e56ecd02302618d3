"""
People are told exactly once though the process is killed, or twice under one key.

The outbox is written in the commit that causes a notice, so a kill loses none; only between
sending it and writing that down can a kill make it go out again.
"""

import random
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash import processes
from tests.observe.receiving import Receiver, receiving

MODULE = "tests.crash.telling"

#: Delivers, and kills whoever started it before that can be written down; once.
_TELL_AND_KILL = 'cat >> told; echo >> told; test -e killed && exit; touch killed; kill -9 "$PPID"'


def settings(folder: Path, target: str) -> None:
    """Let `oncall` be reached by `target`."""
    text = f'[notify.oncall]\n{target}\non = ["failed"]\ntimeout = "1s"\n'
    (folder / "statepipe.toml").write_text(text, encoding="utf-8")


def done(folder: Path, *arguments: str) -> processes.Ended:
    """Run one process to its end."""
    return processes.ended(processes.start(folder, *arguments, module=MODULE))


def outbox(folder: Path) -> list[tuple[Any, ...]]:
    """Return the notices, as they were committed."""
    with closing(open_reader(folder / "checkpoints" / "statepipe.db")) as store:
        sql = "SELECT key, tries, outcome FROM notice ORDER BY n"
        return [tuple(row) for row in store.execute(sql)]


def keys(receiver: Receiver) -> list[str]:
    """Return the keys that arrived."""
    return [request.headers["idempotency-key"] for request in receiver.requests]


def test_killed_between_the_commit_and_the_sending_it_is_sent_once(tmp_path: Path) -> None:
    """By whoever comes next; and not again by those after."""
    with receiving() as receiver:
        settings(tmp_path, f'webhook = "{receiver.url}"')
        killed = done(tmp_path, "run", "one", "--die")
        assert killed.code == -signal.SIGKILL
        ((key, tries, outcome),) = outbox(tmp_path)
        assert (tries, outcome, keys(receiver)) == (0, None, [])

        first, second = done(tmp_path, "send"), done(tmp_path, "send")

        assert (first.code, second.code) == (0, 0)
        assert keys(receiver) == [key]
    assert outbox(tmp_path) == [(key, 1, "sent")]
    assert violations(tmp_path / "checkpoints" / "statepipe.db") == []


def test_killed_between_the_sending_and_the_record_it_is_sent_again_under_its_key(
    tmp_path: Path,
) -> None:
    """Once more, after the lease of the dead; receivers tell it by the key."""
    settings(tmp_path, f"command = ['sh', '-c', '{_TELL_AND_KILL}']")
    killed = done(tmp_path, "run", "one")
    assert killed.code == -signal.SIGKILL
    assert [row[1:] for row in outbox(tmp_path)] == [(1, None)]

    processes.until(lambda: _is_sent(tmp_path), "the lease of the dead to pass")
    done(tmp_path, "send")

    ((key, tries, outcome),) = outbox(tmp_path)
    told = (tmp_path / "told").read_text(encoding="ascii").splitlines()
    assert (tries, outcome) == (2, "sent")
    assert len(told) == 2
    assert len(set(told)) == 1
    assert f'"key": "{key}"' in told[0]


@pytest.mark.parametrize("seed", [1])
def test_killed_at_any_moment_everybody_is_told_and_hardly_anybody_twice(
    tmp_path: Path, seed: int
) -> None:
    """At most once more for each kill: there is one delivery at a time to a target."""
    rng = random.Random(seed)
    kills = 4
    names = [f"i{n}" for n in range(5 * kills)]
    with receiving() as receiver:
        settings(tmp_path, f'webhook = "{receiver.url}"')
        for round_ in range(kills):
            some = names[5 * round_ : 5 * (round_ + 1)]
            before = len(receiver.requests) + rng.randrange(6)
            process = processes.start(tmp_path, "run", *some, module=MODULE)
            processes.until(
                lambda: len(receiver.requests) >= before or process.poll() is not None,  # noqa: B023 of this round
                "it to tell",
            )
            process.kill()
            processes.ended(process)
        processes.until(lambda: _is_sent(tmp_path), "everything to be sent")

        arrived = Counter(keys(receiver))
    committed = [key for key, _, _ in outbox(tmp_path)]
    assert set(arrived) == set(committed)
    assert sum(arrived.values()) <= len(committed) + kills
    assert violations(tmp_path / "checkpoints" / "statepipe.db") == []


def _is_sent(folder: Path) -> bool:
    """Let another process send what it may; True once nothing is left."""
    assert done(folder, "send").code == 0
    return all(outcome == "sent" for _, _, outcome in outbox(folder))
