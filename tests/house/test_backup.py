"""The backup of docs/operating.md, typed as it stands there: it works, again, and is restored."""

import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.cli import main
from statepipe.sqlite import sqlite3
from tests.house.pages import blocks
from tests.house.repository import ROOT

#: What of the program `sqlite3` the backup uses, where it is not installed.
SQLITE3 = f"""\
#!{sys.executable}
import sqlite3, sys
sqlite3.connect(f"file:{{sys.argv[2]}}?mode=ro", uri=True).execute(sys.argv[3])
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the example, and stand in it; one instance is done, and nothing lies in the stage."""
    for name in [each for each in os.environ if each.startswith("STATEPIPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    assert main(["init", "shop"]) == 0
    monkeypatch.chdir("shop")
    assert main(["run", "orders", "--id", "one"]) == 0
    if shutil.which("sqlite3") is None:
        program = tmp_path / "bin" / "sqlite3"
        program.parent.mkdir()
        program.write_text(SQLITE3, encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return tmp_path / "shop"


def _back_up(to: str) -> subprocess.CompletedProcess[str]:
    """Type the block of the page, into a folder of that name instead of the moment's."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    section = page.partition("\n## Backups\n")[2].partition("\n## ")[0]
    (block,) = (each for each in blocks(section) if each.language == "sh")
    text, times = re.subn(r"\$\(date [^)]*\)", to, block.text)
    assert times == 1, "its folder is not named by the moment"
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)


def test_a_backup_works_every_day_also_of_a_small_store(shop: Path) -> None:
    """Nothing was ever staged as a file; the second copy is of the second day."""
    shutil.rmtree(shop / "checkpoints" / "stage", ignore_errors=True)
    first = _back_up("monday")
    assert main(["run", "orders", "--id", "two"]) == 0
    second = _back_up("tuesday")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    for day, count in (("monday", 1), ("tuesday", 2)):
        copy = shop / "backup" / day / "statepipe.db"
        with closing(sqlite3.connect(copy)) as store:
            assert store.execute("SELECT count(*) FROM instance").fetchone() == (count,)


def test_a_backup_has_what_was_staged_and_is_for_its_owner_alone(shop: Path) -> None:
    """A copy holds what the store holds: records."""
    staged = shop / "checkpoints" / "stage" / "one-0123456789abcdef" / "a"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"rows")

    assert _back_up("monday").returncode == 0

    copy = shop / "backup" / "monday"
    assert (copy / "stage" / "one-0123456789abcdef" / "a").read_bytes() == b"rows"
    for each in (copy, copy / "statepipe.db"):
        assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each


def test_a_backup_that_cannot_be_made_says_so(shop: Path) -> None:
    """Whatever comes after it: cron mails what fails."""
    assert _back_up("monday").returncode == 0

    again = _back_up("monday")

    assert again.returncode != 0
    assert (shop / "backup" / "monday" / "statepipe.db").exists()
