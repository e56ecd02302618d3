"""The repository as a newcomer finds it: its top level, its links, its commands, its records."""

import re
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "checkpoints",
    "docs",
    "machines",
    "pyproject.toml",
    "statepipe",
    "tests",
}

CHANGELOG_ORDER = [
    "Checkpoint files",
    "Security",
    "Removed",
    "Deprecated",
    "Added",
    "Changed",
    "Fixed",
]

RECORD_PARTS = [
    "Decision",
    "Why",
    "What we gave up",
    "How we would notice it was wrong",
    "Status",
]

PAGES = [path for path in files() if path.suffix == ".md"]
RECORDS = [path for path in PAGES if path.parts[:2] == ("docs", "decisions")]

_LINK = re.compile(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
_FENCED = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)


def _read(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", _read("Makefile"), flags=re.MULTILINE))


def test_the_top_level_holds_what_the_design_says_and_nothing_else() -> None:
    """A newcomer's first look is the top level; everything in it earns its place."""
    found = {path.parts[0] for path in files()}

    assert found <= TOP_LEVEL, f"not in the design: {sorted(found - TOP_LEVEL)}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    """A page that points nowhere is worse than one that says nothing."""
    targets = [
        target.partition("#")[0]
        for target in _LINK.findall(_FENCED.sub("", _read(page)))
        if not re.match(r"[a-z]+:|#", target)
    ]

    for target in targets:
        assert (ROOT / page.parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_command_of_a_page_is_a_target(page: Path) -> None:
    """Who copies a command from the docs gets what the docs say."""
    text = _read(page)
    typed = re.findall(r"^\s*(?:\$ )?make ([a-z]+)", "\n".join(_FENCED.findall(text)), re.MULTILINE)
    quoted = re.findall(r"`make ([a-z]+)`", text)

    assert {*typed, *quoted} <= _targets()


def test_every_make_target_explains_itself() -> None:
    """`make` alone prints the list, so each target has its line in it."""
    explained = set(re.findall(r"^([a-z]+):.*?## \S", _read("Makefile"), flags=re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", _read("Makefile"), flags=re.MULTILINE)

    assert phony is not None
    assert explained == _targets() == set(phony[1].split())


def test_ci_runs_what_people_run() -> None:
    """One definition of green: CI calls the target everybody has, and that contains the tests."""
    check = re.search(r"^check: ([a-z ]+?) *##", _read("Makefile"), flags=re.MULTILINE)

    assert check is not None
    assert check[1].split()[-1] == "test", "the tests come last, so that their summary does"
    assert re.search(r"^make check\b", _read(".ci/run"), flags=re.MULTILINE)


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    """The newest section is Unreleased, and sections stand in the house's order."""
    releases = re.split(r"^## ", _read("CHANGELOG.md"), flags=re.MULTILINE)[1:]

    assert releases[0].startswith("[Unreleased]")
    for release in releases:
        sections = re.findall(r"^### (.+)$", release, flags=re.MULTILINE)
        assert sections == [name for name in CHANGELOG_ORDER if name in sections]


def test_decisions_are_numbered_without_gaps() -> None:
    """A number that is missing or used twice hides a record."""
    numbers = [int(path.name[:4]) for path in RECORDS]

    assert numbers == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_decision_record_is_one_screen_with_five_parts(record: Path) -> None:
    """What, why, the price, the alarm, the standing: read in a minute."""
    text = _read(record)

    assert text.startswith(f"# {record.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == RECORD_PARTS
    assert len(text.splitlines()) <= 45
