"""
docs/metrics.md, read as a reader would: its tables, by their heads.

    rows        the rows of every table that has these heads
    VALUES      the values that a label of a metric can have
"""

import re

from tests.house.repository import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def rows(*heads: str) -> list[list[str]]:
    """Return the cells of all tables with exactly these heads; code marks are kept."""
    head = re.escape(f"| {' | '.join(heads)} |")
    tables = re.findall(rf"^{head}\n\|[- |:]+\|\n((?:\|.*\|\n?)+)", PAGE, flags=re.MULTILINE)
    assert tables, f"no table with the heads {heads}"
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for table in tables
        for line in table.splitlines()
    ]
    assert all(len(row) == len(heads) for row in found), "a row has too many or too few cells"
    return found


def code(cell: str) -> list[str]:
    """Return what stands between ticks."""
    return re.findall(r"`([^`]*)`", cell)


#: By metric and label; labels whose values are names of definitions are not in it.
VALUES = {
    (code(metric)[0], code(label)[0]): frozenset(code(values))
    for label, metric, values in rows("label", "of", "values")
}
