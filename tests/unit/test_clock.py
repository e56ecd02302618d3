"""The boot clock: one for all processes of a machine."""

import shutil
import subprocess
import sys

import pytest

from statepipe.clock import SystemClock

_AHEAD_S = 100_000
_READ = "from statepipe.clock import SystemClock; print(SystemClock().boot_ms())"
_UNSHARE = ("unshare", "--user", "--map-root-user", "--time", "--boottime", str(_AHEAD_S))


def _has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _has_namespaces(), reason="needs time namespaces that people may make")
@pytest.mark.parametrize("ahead", [(), _UNSHARE])
def test_another_time_namespace_has_the_same_boot_clock(ahead: tuple[str, ...]) -> None:
    """Or a worker in it would take over from all that live, and be thought to live for days."""
    before_ms = SystemClock().boot_ms()

    said = subprocess.run(
        [*ahead, sys.executable, "-c", _READ], check=True, capture_output=True, text=True
    )

    assert before_ms <= int(said.stdout) <= SystemClock().boot_ms()
