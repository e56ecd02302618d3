"""The pages of docs/: every example runs, every command and option they name exists."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from statepipe import notify, policy
from statepipe.cli import COMMANDS
from statepipe.machine.partition import PARTITIONS_MAX, Partition
from statepipe.notify import EVENTS, EVENTS_DEFAULT, PLACEHOLDERS, Target
from statepipe.observe.notices.body import Occasion, body_of, read
from statepipe.policy import Policy, policy_fields
from statepipe.units import parse_duration_ms
from tests.house.commands import missing
from tests.house.pages import blocks, play
from tests.house.repository import ROOT, files

PAGES = [
    path
    for path in files()
    if path.suffix == ".md" and (path.parts[0] == "docs" or len(path.parts) <= 2)
]
PLAYED = [Path("docs/guide.md"), Path("docs/operating.md"), Path("docs/walk.md")]

_QUOTED = re.compile(r"`(statepipe [^`]+)`")
_TYPED = re.compile(r"^(?:\$ |ExecStart=\S*/)?(statepipe .+)$", flags=re.MULTILINE)


def _read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _commands(page: str) -> set[str]:
    """Return every call of `statepipe` in the page, in its text and in its blocks."""
    typed = "\n".join(block.text for block in blocks(page))
    return {
        *_QUOTED.findall(re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)),
        *_TYPED.findall(typed),
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PLAYED, ids=str)
def test_every_example_of_a_page_works(page: Path, tmp_path: Path) -> None:
    """Files are written, programs run, commands typed, in the order of the page."""
    play(_read(page), tmp_path)


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ printf 'a\\nb'\nb\na\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ true  # exits 1\n```\n",
        "```python\nassert False\n```\n",
        "```toml\nkey = 1\n```\n",
    ],
)
def test_an_example_that_does_not_hold_is_found(page: str, tmp_path: Path) -> None:
    """Otherwise all of the above would be true of any page."""
    with pytest.raises(AssertionError):
        play(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_a_page_names_exists(page: Path) -> None:
    """Commands and options are looked up in the command line itself."""
    for call in _commands(_read(page)):
        assert not missing(call), call


def test_every_command_is_in_the_docs() -> None:
    """What is not written down is not there for those who read."""
    named = {shlex.split(call)[1] for page in PAGES for call in _commands(_read(page))}

    assert set(COMMANDS) <= named


def test_every_setting_is_in_the_guide_with_its_default() -> None:
    """The table of policy keys is the one that the loader has, with the same defaults."""
    guide = _read(Path("docs/guide.md"))
    table = re.search(r"^\| key \| means \| default \|\n(.*?)\n\n", guide, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [line.strip("| ").split(" | ") for line in table[1].splitlines()[1:]]
    said = {key.strip("`"): _value(key.strip("`"), default) for key, _, default in rows}
    retries = said.pop("retries")

    assert {"retries", *said} == set(policy._KEYS)
    given = {key: value for key, value in said.items() if value}
    assert Policy(**policy_fields(given)) == Policy()
    silent = ["max_elapsed", "heartbeat", "batch_size_min"]
    assert [key for key, value in said.items() if value is None] == silent
    assert retries == Policy().max_attempts - 1


def test_every_setting_of_a_target_is_in_the_guide_with_its_default() -> None:
    """And every event that it may be told of."""
    section = _section(Path("docs/guide.md"), "## Who is told")
    said = {row[0].strip("`"): row[2] for row in _cells(section) if len(row) == 3}
    events = "".join(row[0] for row in _cells(section) if len(row) == 2)
    default = Target(name="x", url="env:X")

    assert tuple(said) == tuple(notify._KEYS)
    assert set(re.findall(r"`(\w+)`", events)) == set(EVENTS)
    for key in ("timeout", "stalled_after"):
        assert parse_duration_ms(said[key]) == getattr(default, f"{key}_ms")
    assert "Without `on` these are `failed`, `retries_exhausted` and `stalled`" in section
    assert EVENTS_DEFAULT == ("failed", "retries_exhausted", "stalled")


def test_every_key_of_a_partition_is_in_the_guide_with_its_default() -> None:
    """In the order of the class; what has a default has it there."""
    section = _section(Path("docs/guide.md"), "## Partitions and backfills")
    rows = {key.strip("`"): default.strip("`") for key, _, default in _cells(section)}
    default = Partition(by="date")

    assert list(rows) == [field.name for field in fields(Partition)]
    assert (rows["step"], rows["tolerate"]) == (default.step, str(default.tolerate))
    assert f"more than {PARTITIONS_MAX:,}" in section


def test_every_key_of_a_notice_is_in_the_operators_page_and_no_other() -> None:
    """Receivers are written by that table."""
    section = _section(Path("docs/operating.md"), "## Telling people")
    rows = {row[0]: row[1] for row in _cells(section) if len(row) == 2}
    body = read(body_of(Occasion(event="test", at_ms=0, store="", env=None), key="k"))

    assert re.findall(r"`(\w+)`", "".join(rows)) == list(body)
    assert rows["`format`"] == str(body["format"])
    for word in PLACEHOLDERS:
        assert f"_{word.upper()}`" in section


def test_every_promise_and_fact_that_is_named_by_number_is_explained() -> None:
    """Whoever reads one in a comment finds it on one page; the page has no others."""
    number = re.compile(r"\b[RF][1-9][0-9]?\b")
    page = _read(Path("docs/reliability.md"))
    explained = set(re.findall(r"^\| ([RF]\d+) ", page, flags=re.MULTILINE))
    named: set[str] = set()
    for path in files():
        if path.suffix == ".py" and path.parts[0] in ("statepipe", "tests"):
            named.update(number.findall(_read(path)))

    assert named == explained


def _section(page: Path, heading: str) -> str:
    """Return the text below a heading of the second rank."""
    return _read(page).partition(f"\n{heading}\n")[2].partition("\n## ")[0]


def _cells(text: str) -> list[list[str]]:
    """Return the cells of every table line whose first cell begins with code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _value(key: str, text: str) -> object:
    """Return a cell of the table as people would write it in TOML."""
    if key == "errors":
        return re.findall(r"`(\w+)`", text)
    if text == "none":
        return None
    if text.isdigit():
        return int(text)
    return float(text) if key == "backoff_rate" else text
