"""The project that the commands are run in."""

from pathlib import Path

import pytest

from tests.cli.project import Project, made


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    """Make a project and stand in its folder; nothing outside has a say."""
    for name in ("STORE", "ENV", "CONFIG", "DEBUG", "LOG_FORMAT", "LOG_FILE", "LOG_LEVEL"):
        monkeypatch.delenv(f"STATEPIPE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return made(tmp_path, capsys)
