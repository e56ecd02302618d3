"""What a command imports, told by a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: What costs start-up time and no reading command may load.
HEAVY = {
    "jsonschema_rs",
    "prometheus_client",
    "pyarrow",
    "rich",
    "sqlite_utils",
    "statepipe.engine",
    "transitions",
}


def called(argv: Sequence[str], *, cwd: Path) -> tuple[list[str], set[str]]:
    """Call a command; return the lines that it printed, and the modules that it has then."""
    program = f"import sys; from statepipe.cli import main; main({argv!r}); print(*sys.modules)"
    *told, loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return told, set(loaded.split())
