"""The guard against the WAL-reset bug: commits share it, a checkpoint has it alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import Busy
from statepipe.store.file.walguard import WalGuard

_HOLD = """
import sys
from pathlib import Path
from statepipe.clock import SystemClock
from statepipe.store.file.walguard import WalGuard
guard = WalGuard(Path(sys.argv[1]), clock=SystemClock(), wait_ms=1_000)
with getattr(guard, sys.argv[2])():
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
sys.stdin.readline()
"""

Hold = Callable[[str], Callable[[], None]]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[WalGuard]:
    """Make a guard that waits 50 ms."""
    made = WalGuard(tmp_path / "s.db", clock=SystemClock(), wait_ms=50)
    yield made
    made.close()


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Let another process hold the lock; what comes back lets it go."""
    with ExitStack() as stack:

        def held(how: str) -> Callable[[], None]:
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _HOLD, str(tmp_path / "s.db"), how],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(child.kill)
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            say, listen = child.stdin, child.stdout

            def free() -> None:
                say.write("\n")
                say.flush()
                assert listen.readline() == "free\n"

            return free

        yield held


def test_commits_of_several_processes_go_on_together(guard: WalGuard, hold: Hold) -> None:
    """And no checkpoint meets them."""
    free = hold("shared")

    with guard.shared():
        pass
    with guard.exclusive() as alone:
        assert not alone
    free()
    with guard.exclusive() as alone:
        assert alone


def test_a_commit_waits_for_a_checkpoint_and_not_for_ever(guard: WalGuard, hold: Hold) -> None:
    """The one that was stopped in the middle is named by its lock file."""
    free = hold("exclusive")

    with pytest.raises(Busy, match="50 ms") as told, guard.shared():
        raise AssertionError("a checkpoint is under way")
    assert "s.db-guard" in told.value.next_step
    with guard.exclusive() as alone:
        assert not alone
    free()
    with guard.shared():
        pass


def test_a_process_that_dies_leaves_no_lock(guard: WalGuard, tmp_path: Path) -> None:
    """The kernel takes it back with the descriptor."""
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "s.db"), "exclusive"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        child.kill()

    with guard.shared():
        pass


def test_two_guards_of_one_process_are_two(guard: WalGuard, tmp_path: Path) -> None:
    """Closing one does not release the other's lock, as a POSIX lock would be."""
    other = WalGuard(tmp_path / "s.db", clock=SystemClock(), wait_ms=20)

    with guard.shared():
        other.close()
        third = WalGuard(tmp_path / "s.db", clock=SystemClock(), wait_ms=20)
        with third.exclusive() as alone:
            assert not alone
        third.close()


@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_an_error_under_the_lock_gives_it_back(guard: WalGuard, how: str, tmp_path: Path) -> None:
    """A failed commit must not hold up every checkpoint after it."""
    with pytest.raises(KeyError), getattr(guard, how)():
        raise KeyError
    other = WalGuard(tmp_path / "s.db", clock=SystemClock(), wait_ms=20)
    with other.exclusive() as alone:
        assert alone
    other.close()
