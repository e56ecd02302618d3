"""The README, done as it is written: its quickstart works, its picture is the machine's."""

from pathlib import Path

from statepipe.machine.graph import mermaid
from statepipe.machine.loading.loader import load_machine
from tests.house.pages import Block, blocks, play
from tests.house.repository import ROOT

PAGE = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[Block]:
    return [block for block in blocks(PAGE) if block.language == language]


def test_the_quickstart_works_exactly_as_written(tmp_path: Path) -> None:
    """A newcomer's first ten minutes are these blocks, typed in this order."""
    play(PAGE, tmp_path)

    assert (tmp_path / "warehouse.db").exists()


def test_the_quickstart_is_ten_lines_of_machine_and_ten_of_python() -> None:
    """It stays a quickstart."""
    for language in ("toml", "python"):
        (block,) = _blocks(language)
        assert len(block.text.splitlines()) <= 10


def test_the_picture_is_the_machine_that_ships() -> None:
    """A picture that is drawn by hand is of what somebody meant."""
    (picture,) = _blocks("mermaid")

    assert picture.text.strip() == mermaid(load_machine(ROOT / "machines" / "flights.toml")).strip()
