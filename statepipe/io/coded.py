"""
A column of few different values: each of them once, and for each record which one.

    Coded       such a column, a sequence of its values
    different   the values of any column that must be looked at to know all of them
    filtered    any column without the records that are not wanted, told as runs_of them

Most columns of real data say the same few things again and again. What depends on a value
alone is then found out once for each different one; Parquet and Arrow call it a dictionary.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, compress
from typing import Any, Final, overload

#: Different values that a code of one byte can tell apart.
BYTE_VALUES_MAX: Final = 1 << 8


class Coded(Sequence[Any]):
    """
    A column by codes; not to be changed.

    Attributes:
        values: Its values, each used; of types that nobody can change, since records share them.
        codes: For each record the place of its value; bytes for up to 256 values, two bytes
            each, array("H"), for more.
    """

    __slots__ = ("codes", "values")

    def __init__(self, values: Sequence[Any], codes: "bytes | array[int]") -> None:
        self.values = values
        self.codes = codes

    @classmethod
    def of(cls, values: Sequence[Any], codes: list[int]) -> "Coded":
        """Return the column of `codes`, in one byte each if that is enough."""
        return cls(values, bytes(codes) if len(values) <= BYTE_VALUES_MAX else array("H", codes))

    @classmethod
    def from_bytes(cls, values: Sequence[Any], codes: bytes) -> "Coded":
        """
        Return the column that has these `values` and `code_bytes`.

        Raises:
            ValueError: If there is a code without a value.
        """
        if len(values) <= BYTE_VALUES_MAX:
            if codes.translate(None, bytes(range(len(values)))):
                raise ValueError("a code without a value")
            return cls(values, codes)
        wide = array("H", codes)
        if sys.byteorder == "big":
            wide.byteswap()
        if max(wide, default=0) >= len(values):
            raise ValueError("a code without a value")
        return cls(values, wide)

    def code_bytes(self) -> bytes:
        """Return the codes as they are stored: of two bytes the lower one first."""
        if isinstance(self.codes, bytes):
            return self.codes
        if sys.byteorder == "big":
            wide = self.codes[:]
            wide.byteswap()
            return wide.tobytes()
        return self.codes.tobytes()

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes)

    @overload
    def __getitem__(self, at: int) -> Any: ...  # noqa: ANN401  (a value of a record)
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        """Return one value, or some of them."""
        if isinstance(at, slice):
            return list(map(self.values.__getitem__, self.codes[at]))
        return self.values[self.codes[at]]

    def count(self, value: Any) -> int:  # noqa: ANN401  (whatever may be in a column)
        """Return how many records have a value equal to `value`, or that very one."""
        same = (at for at, each in enumerate(self.values) if each is value or each == value)
        return sum(map(self.codes.count, same))

    def where(self, values: Sequence[bool]) -> list[int]:
        """Return the places of all records with one of the `values` for which True is said."""
        wanted = bytes(values)
        return list(compress(range(len(self.codes)), map(wanted.__getitem__, self.codes)))

    def kept(self, runs: Sequence[slice]) -> "Coded":
        """Return the column of the records in `runs`, which are some."""
        some = b"".join([memoryview(self.codes)[run] for run in runs])
        codes = some if isinstance(self.codes, bytes) else array("H", some)
        used = set(codes)
        if len(used) == len(self.values):
            return Coded(self.values, codes)
        kept = [code in used for code in range(len(self.values))]
        places = list(accumulate(kept, initial=0))
        values = list(compress(self.values, kept))
        if isinstance(codes, bytes):
            return Coded(values, codes.translate(bytes(places[:-1]).ljust(BYTE_VALUES_MAX)))
        return Coded.of(values, list(map(places.__getitem__, codes)))


def different(column: Sequence[Any]) -> Sequence[Any]:
    """Return values of `column`, among which is each that it has: few, if it is coded."""
    return column.values if isinstance(column, Coded) else column


def runs_of(wanted: Sequence[bool]) -> list[slice]:
    """Return the places for which `wanted` says True, as slices."""
    flags = bytes(wanted)
    runs = []
    end = 0
    while (start := flags.find(1, end)) >= 0:
        end = flags.find(0, start)
        if end < 0:
            end = len(flags)
        runs.append(slice(start, end))
    return runs


def filtered(column: Sequence[Any], runs: Sequence[slice]) -> Sequence[Any]:
    """Return `column` without what is not in `runs`, which are some."""
    if isinstance(column, Coded):
        return column.kept(runs)
    return list(chain.from_iterable(column[run] for run in runs))
