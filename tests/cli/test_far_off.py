"""Values far off: each is refused in the house form, and none hangs or is called a defect."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.project import Project

BELLS = """
machine = "bells"
initial = "ringing"
[states.ringing]
wait = { for = "1ms" }
on.ok = "done"
[states.done]
final = "success"
[triggers.noon]
schedule = "0 12 * * *"
"""
HUGE = str(10**22)


@pytest.mark.parametrize(
    "argv",
    [
        "stats --since 99999999999w",
        "stats --since 999999999999999999999999999999w",
        "graph numbers --critical-path --since 99999999999w",
        "ls --since 99999999999999w",
        "resume --failed --dry-run --since 99999999999999w",
        "prune --older-than 99999999999999w",
        f"prune --older-than 1d --keep-last {HUGE}",
        f"watermark show --limit {HUGE}",
        f"watermark rewind numbers --to {HUGE} --reason x",
        f"history one --limit {HUGE}",
        f"logs one --limit {HUGE}",
        f"logs one --attempt {HUGE}",
        f"staged show one extracting --limit {HUGE}",
        f"quarantine show one --limit {HUGE}",
        f"quarantine show one --visit {HUGE}",
        "triggers test bells.noon --at 9999-12-31",
        "triggers test bells.noon --at 0001-01-01",
        "triggers test bells.noon --at 0001-01-01T00:00:00+05:00",
        "triggers test bells.noon --at 9999-12-31T23:00:00-05:00",
        "triggers backfill bells.noon --from 0001-01-01 --to 0001-01-02 --dry-run",
        "triggers backfill bells.noon --from 9999-12-30 --to 9999-12-31 --dry-run",
        "cancel one --yes --reason \udcff",
        "ls --state \udcff",
        "\udcff",
        "start numbers -p count:=" + 100_000 * "[",
        "emit \udcff",
    ],
)
def test_what_is_far_off_is_refused(project: Project, argv: str) -> None:
    """Exit 2, three lines, and nothing changed."""
    Path("machines/bells.toml").write_text(BELLS, encoding="utf-8")
    project.call("start", "numbers", "--id", "one")

    said = project.call(*argv.split(" "))

    assert said.code == 2, said.err
    assert [line.split(":")[0].strip() for line in said.err.splitlines()] == [
        "statepipe", "meaning", "next"
    ]  # fmt: skip
    assert "\\udcff is not UTF-8" in said.err or "\udcff" not in argv
    assert project.call("inspect", "one", "-o", "json").json["status"] == "ready"


def test_statistics_begin_with_the_store(project: Project) -> None:
    """However far back they look: before its first row there is nothing to be asked for."""
    project.call("run", "numbers")

    (said, *_) = project.call("stats", "--since", "5000w", "-o", "json").json

    assert len(said["weeks"]) <= 2


def test_a_folder_that_has_gone_is_named(project: Project) -> None:
    """It is the caller's, and no defect; help needs no folder."""
    gone = project.root / "gone"
    gone.mkdir()
    text = (
        "import os, sys; sys.path.insert(0, os.getcwd()); from statepipe.cli import main;"
        f" os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); sys.exit(main(sys.argv[1:]))"
    )

    def call(*argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", text, *argv],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

    said = call("ls")
    assert (said.returncode, said.stderr.count("\n")) == (2, 3)
    assert "the folder that this was started in is not there any more" in said.stderr
    gone.mkdir()
    assert call("ls", "--help").returncode == 0
