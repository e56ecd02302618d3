"""
What the cells of one column of a file of text mean.

    Meaning.of    the values of some cells; what came before is not converted again
    Convert       the text of a cell -> its value
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

Convert = Callable[[str], Any]

#: Cells whose values are remembered for each column, from page to page.
_REMEMBERED_MAX: Final = 10_000

#: Records may share values of these types: nobody can change one.
_SHARED: Final = frozenset(
    {type(None), str, int, float, bool, Decimal, date, datetime, time, timedelta, UUID}
)


class Meaning:
    """
    How the cells of one column become values.

    Args:
        convert: What turns a cell into its value; text stays text without one.
        nulls: Cells that mean None.

    Attributes:
        is_shared: May records have one value together? It is known once `of` has returned.
    """

    def __init__(self, convert: Convert | None, nulls: frozenset[str]) -> None:
        self._convert = convert
        self._nulls = nulls
        self._known: dict[str, Any] = {}
        self.is_shared = True

    def of(self, cells: Sequence[str]) -> Sequence[Any]:
        """Return the values of `cells`; raises what the conversion raises."""
        if self._convert is None and self._nulls.isdisjoint(cells):
            return cells
        if self.is_shared:
            try:
                return list(map(self._known.__getitem__, cells))
            except KeyError:
                self._learn(cells)
            return self.of(cells)
        return [self._value(cell) for cell in cells]

    def _learn(self, cells: Sequence[str]) -> None:
        """Remember what `cells` mean, unless records must not share it."""
        if len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
        new = {cell: self._value(cell) for cell in set(cells).difference(self._known)}
        self.is_shared = _SHARED.issuperset(map(type, new.values()))
        self._known.update(new)

    def _value(self, cell: str) -> Any:  # noqa: ANN401  (whatever the column holds)
        if cell in self._nulls:
            return None
        return cell if self._convert is None else self._convert(cell)
