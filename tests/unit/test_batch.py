"""A batch whose records are made when somebody asks for them is a batch like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from statepipe.batch import Batch


class Counted(Sequence[dict[str, Any]]):
    """Two records; counts how often they were made."""

    def __init__(self) -> None:
        self.made = 0

    def __len__(self) -> int:
        return 2

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401  (nobody asks)
        raise NotImplementedError

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.made += 1
        return iter([{"a": 1}, {"a": 2}])


def test_the_records_are_made_once_and_only_if_asked_for() -> None:
    """And what is done to them stays done."""
    lying = Counted()
    batch = Batch.deferred(lying, cursor=7)

    assert batch.untouched is lying
    assert lying.made == 0
    batch.records.append({"a": 3})
    batch.records[0]["a"] = 9
    untouched: object = batch.untouched
    assert untouched is batch.records
    assert batch.records == [{"a": 9}, {"a": 2}, {"a": 3}]
    assert lying.made == 1


def test_it_is_equal_to_one_with_the_same_records() -> None:
    """It says the same, and can be made into another."""
    plain = Batch([{"a": 1}, {"a": 2}], cursor=7)

    assert Batch.deferred(Counted(), cursor=7) == plain
    assert repr(Batch.deferred(Counted(), cursor=7)) == repr(plain)
    assert replace(Batch.deferred(Counted(), cursor=7), cursor=8) == Batch(plain.records, 8)
    assert not hasattr(Batch.deferred(Counted(), cursor=7), "record")
