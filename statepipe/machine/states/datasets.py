"""
Another machine's data, as a machine names it: a partition of it, a group, or its watermark.

    Dataset         of which machine, and what of it
    dataset_of      what the table of a wait says of one, and the key
    delivered       which partition the parameters of an instance are, and its value as text
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from statepipe.filling import said
from statepipe.machine.names import check_name, check_one_of
from statepipe.machine.partition import Partition, key_of
from statepipe.machine.reading import needed, table_of, text_of
from statepipe.tables import known, refusal

Kind = Literal["partition", "group", "watermark"]

_EXAMPLE: Final = '{ dataset = { machine = "orders_hourly", partition = "{params.hour}" }, … }'


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """
    What is waited for of another machine.

    Attributes:
        machine: Its name.
        kind: "partition": an instance of that partition is done. "group": that group is done.
            "watermark": all its sources have reached that value, or passed it.
    """

    machine: str
    kind: Kind

    def __post_init__(self) -> None:
        """Refuse what is no name of a machine, and a kind that is none."""
        check_name("dataset: machine", self.machine)
        check_one_of("dataset", self.kind, get_args(Kind))

    @property
    def name(self) -> str:
        """What the store calls it."""
        return f"{self.kind}:{self.machine}"


def dataset_of(value: object) -> tuple[Dataset, str]:
    """
    Return the dataset that a table describes, and the text that says which key of it.

    Raises:
        DefinitionError: It describes none.
    """
    table = table_of("dataset", value)
    known(table, ("machine", *get_args(Kind)))
    needed(table, ("machine",))
    kinds: list[Kind] = [kind for kind in get_args(Kind) if kind in table]
    if len(kinds) != 1:
        raise refusal("dataset must have one of partition, group and watermark", next_step=_EXAMPLE)
    (kind,) = kinds
    key = text_of(kind, table[kind])
    if not key:
        raise refusal(f"{kind} is empty", next_step=_EXAMPLE)
    return Dataset(machine=text_of("machine", table["machine"]), kind=kind), key


def delivered(partition: Partition, params: Mapping[str, Any]) -> tuple[str, str] | None:
    """
    Return the key of the partition that these parameters are, and its parameter's value as text.

    However the instance was made: one that was started with `-p day=…` is that day's partition
    as one of a group is. None if they are no whole partition.
    """
    key = key_of(partition, params)
    return None if key is None else (key, in_utc(params[str(partition.param)]))


def in_utc(value: object) -> str:
    """Return a parameter's value as text, a moment in UTC whatever its offset."""
    return said(value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value)
