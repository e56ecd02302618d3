"""`statepipe doctor`: what is wrong is a finding with a way out, whoever asks."""

import errno
import os
from unittest.mock import Mock

import pytest

from statepipe.store.file import disk
from tests.cli.project import Project


def test_the_doctor_tells_a_full_disk_from_a_forbidden_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking who may write there leads nowhere if there is no room."""
    project.call("run", "numbers")
    for code, fix in {errno.ENOSPC: "df -h", errno.EACCES: "ls -ld"}.items():
        monkeypatch.setattr(disk, "fsync_us", Mock(side_effect=OSError(code, os.strerror(code))))

        said = project.call("doctor")

        assert said.code == 4
        assert f"{os.strerror(code)}\n" in said.out
        assert f"fix: {fix} {project.root}" in said.out
