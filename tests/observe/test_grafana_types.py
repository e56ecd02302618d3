"""The dashboards, compiled against Grafana's own types by its own compiler."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from statepipe.observe.shipped import BOARDS, board

FOLDER = Path(__file__).parent / "grafana"
PACKAGES = FOLDER / "node_modules"

#: Edits of the Fleet board, each of which Grafana would ignore or stumble over.
SLIPS = {
    "an option that does not exist": ('"graphMode"', '"grapMode"'),
    "a value that is none of an option's": ('"palette-classic"', '"palette-clasic"'),
    "a number out of range": ('"graphTooltip": 1', '"graphTooltip": 7'),
    "text for a number": ('"w": 12', '"w": "12"'),
    "a query's field that does not exist": ('"instant": true', '"instnt": true'),
    "a way of drawing that does not exist": ('"drawStyle": "line"', '"drawStyle": "lines"'),
    "a kind of panel that we do not check": ('"type": "stat"', '"type": "gauge"'),
    "a fixed data source": ('"uid": "${datasource}"', '"uid": "P1809F7CD0C75ACF3"'),
}


def _complaints(boards: Mapping[str, str], folder: Path) -> dict[str, list[str]]:
    """Compile each JSON text as a board; return the compiler's words by name."""
    node = shutil.which("node")
    assert node is not None, "this test needs Node.js. Type: make tools"
    assert (PACKAGES / "@grafana").is_dir(), "Grafana's types are not there. Type: make grafana"
    (folder / "node_modules").symlink_to(PACKAGES)
    for name in ("board.ts", "tsconfig.json"):
        shutil.copy(FOLDER / name, folder)
    for name, text in boards.items():
        program = f'import type {{ Board }} from "./board";\nexport const board: Board = {text};\n'
        (folder / f"{name}.ts").write_text(program, encoding="utf-8")
    said = subprocess.run(
        [node, PACKAGES / "typescript" / "bin" / "tsc", "--pretty", "false", "-p", folder],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    complained = re.findall(r"^(?:(\w+)\.ts\(\S+: )?(error TS.*)", said.stdout, re.MULTILINE)
    assert {name for name, _ in complained} <= set(boards), said.stdout
    assert bool(said.returncode) == bool(complained), said.stdout + said.stderr
    return {name: [words for each, words in complained if each == name] for name in boards}


def test_every_board_is_one_to_grafana(tmp_path: Path) -> None:
    """Names, values and the options of each kind of panel, as Grafana 13 declares them."""
    boards = {each.name: board(each.name) for each in BOARDS}

    found = _complaints(boards, tmp_path)

    assert found == {name: [] for name in boards}


def test_a_slip_in_a_board_is_found(tmp_path: Path) -> None:
    """Otherwise the test above would hold of anything that is JSON."""
    text = board("fleet")
    broken = {f"slip{number}": text.replace(*slip) for number, slip in enumerate(SLIPS.values())}
    assert text not in broken.values()

    found = _complaints(broken, tmp_path)

    silent = [what for what, name in zip(SLIPS, found, strict=True) if not found[name]]
    assert not silent
