"""Machines that depend on each other, as written: what is refused, and what `check` proves."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.checks.upstreams import check
from statepipe.machine.definition import Machine
from statepipe.machine.digest import canonical, describe_changes
from statepipe.machine.graph import mermaid
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.partition import Partition
from statepipe.machine.states.datasets import Dataset, delivered
from statepipe.machine.states.waits import Wait
from statepipe.machine.triggers.arrivals import Arriving
from statepipe.machine.triggers.upstreams import After
from tests.unit.building import written

HOURLY = """\
machine = "hourly"
version = 1
extract = "m:extract"
params.hour = "datetime"
partition = { by = "date", step = "hour" }
"""
DAILY = """\
machine = "daily"
version = 1
initial = "waiting"
params.day = "date"
params.hour = { type = "datetime", required = false }
params.name = { type = "text", default = "x" }
params.n = { type = "int", default = 1 }

[states.waiting]
wait = { dataset = { machine = "hourly", partition = "{params.day}T05" }, timeout = "6h" }
on.ok = "done"

[states.done]
final = "success"

[triggers.on]
after = { machine = "hourly", covers = "day" }
params.day = "{upstream.period}"
"""


def loaded(folder: Path, name: str, text: str, *edits: str) -> Machine:
    """Return the machine of the file, in which every other text is replaced by the next."""
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return load_machine(written(folder, text, name))


def found(daily: Machine, hourly: Machine | None, **others: Machine) -> list[str]:
    """Return what is wrong with what the one needs of the other."""
    return [each.message for each in check(daily, {"daily": daily, "hourly": hourly, **others})]


def test_a_file_says_what_python_says(tmp_path: Path) -> None:
    """A wait for a dataset, a trigger after another machine, and one for files."""
    more = '[triggers.drop]\nfile = "inbox/*.csv"\nstable = "2m"\nparams.day = "{file.stem}"\n'
    daily = loaded(tmp_path, "daily", DAILY + more)

    wait = Wait(
        dataset=Dataset(machine="hourly", kind="partition"), key="{params.day}T05", ms=21_600_000
    )
    assert daily.state("waiting").task == wait
    assert [each.on for each in daily.triggers] == [
        After(machine="hourly", covers="day"),
        Arriving(file="inbox/*.csv", stable_ms=120_000, every_ms=10_000),
    ]
    assert "waits for a partition of hourly, at most 6h" in mermaid(daily)
    assert found(daily, loaded(tmp_path, "hourly", HOURLY)) == []
    assert found(daily, None) == [], "what is broken is told where it is"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (', timeout = "6h"', "", "states.waiting: wait: has no timeout"),
        ("partition = ", "partitions = ", 'unknown key "partitions"; did you mean "partition"?'),
        (', partition = "{params.day}T05"', "", "one of partition, group and watermark"),
        ('"{params.day}T05"', '"{params.dya}T05"', 'did you mean "day"?'),
        ('"{params.day}T05"', '"{params.hour}"', 'no parameter "hour" that every instance has'),
        ('"{params.day}T05"', '"{params.day"', "with parameters in it"),
        ('"{params.day}T05"', '""', "partition is empty"),
        (', timeout = "6h"', ', timeout = "6h", key = "x"', "key belongs to an event"),
        ('covers = "day"', 'covers = "week"', "covers: there is no 'week'"),
        ('covers = "day"', 'cover = "day"', 'did you mean "covers"?'),
        ('machine = "hourly", covers', "covers", 'key "machine" is missing'),
        ('"{upstream.period}"', '"{upstream.partition}"', "there is no 'upstream.partition'"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """By its place, and with what to write instead."""
    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, "daily", DAILY, old, new)

    assert told in refused.value.message


BY_DAY = ('"datetime"', '"date"', ', step = "hour"', "")
MONTHLY = ('"datetime"', '"date"', '"hour"', '"month"')
LISTED = ('"datetime"', '"text"', 'by = "date", step = "hour"', 'by = "list", values = ["a"]')
NONE = ('partition = { by = "date", step = "hour" }\n', "")


@pytest.mark.parametrize(
    ("daily", "hourly", "told"),
    [
        (('"hourly"', '"houly"'), (), "no machine 'houly'; did you mean \"hourly\"?"),
        ((), NONE, "'hourly' does not say what its partitions are"),
        (("partition = ", "group = "), NONE, "'hourly' does not say what its partitions are"),
        (("partition = ", "watermark = "), (), "no source of machine 'hourly' has a watermark"),
        (('covers = "day"', 'watermark = "day"'), (), "no source of machine 'hourly'"),
        ((), BY_DAY, "becomes '2013-02-01T05', which no partition of 'hourly' is"),
        (("}T05", "}"), (), "becomes '2013-02-01', which no partition of 'hourly' is"),
        (("{params.day}T05", "05"), (), "becomes '05', which no partition of 'hourly' is"),
        ((), LISTED, "covers a day, and the partitions of 'hourly' are by list"),
        ((), BY_DAY, "covers a day, and the partitions of 'hourly' are by day"),
        (
            ('covers = "day"', 'partition = "latest"', "{upstream.period}", "{upstream.instance}"),
            LISTED,
            "none of them is later",
        ),
        (
            ('covers = "day"', 'partition = "each"', "upstream.period", "upstream.params.our"),
            (),
            "params.day: machine 'hourly' has no parameter 'our'; did you mean \"hour\"?",
        ),
    ],
)
def test_what_does_not_fit_the_other_machine_is_found(
    tmp_path: Path, daily: tuple[str, ...], hourly: tuple[str, ...], told: str
) -> None:
    """It would wait for ever, or never start."""
    messages = found(
        loaded(tmp_path, "daily", DAILY, *daily), loaded(tmp_path, "hourly", HOURLY, *hourly)
    )

    assert any(told in message for message in messages), messages


@pytest.mark.parametrize(
    ("key", "hourly"),
    [
        ("{params.day}", BY_DAY),
        ("{params.day}", MONTHLY),
        ("2013-02", MONTHLY),
        ("{params.name}", ()),
        ("{params.name}-{params.n}", LISTED),
        ("2013-02-01T23", ()),
        ("a", LISTED),
    ],
)
def test_a_key_that_may_be_one_is_no_finding(
    tmp_path: Path, key: str, hourly: tuple[str, ...]
) -> None:
    """Of its type, or of one that may hold anything."""
    daily = loaded(tmp_path, "daily", DAILY, "{params.day}T05", key, "covers", "watermark")
    other = loaded(tmp_path, "hourly", HOURLY, *hourly)

    assert [each for each in found(daily, other) if "becomes" in each] == []


def test_machines_that_wait_for_each_other_are_found(tmp_path: Path) -> None:
    """By whatever they wait, and however many are between them; those outside are not told."""
    daily = loaded(tmp_path, "daily", DAILY)
    hourly = loaded(
        tmp_path, "hourly", HOURLY + '[triggers.t]\nafter = { machine = "weekly" }\n',
        'params.hour = "datetime"', 'params.hour = { type = "datetime", required = false }',
    )  # fmt: skip
    weekly = loaded(tmp_path, "weekly", DAILY, '"daily"', '"weekly"', '"hourly"', '"daily"')
    after = loaded(tmp_path, "after", DAILY, '"daily"', '"after"')
    others = {"weekly": weekly, "after": after}

    for machine in (daily, hourly, weekly):
        known = {"daily": daily, "hourly": hourly, **others}
        said = [each.message for each in check(machine, known)]
        assert any("begin: daily -> hourly -> weekly -> daily" in each for each in said), said
    said = [each.message for each in check(after, {"daily": daily, "hourly": hourly, **others})]
    assert said == []


def test_a_machine_that_waits_for_itself_is_found(tmp_path: Path) -> None:
    """By a trigger, or for the partition that it is; another of its own may be waited for."""
    text = DAILY.replace('"hourly"', '"daily"').replace("}T05", "}") + 'partition.by = "date"\n'
    text = 'partition.by = "date"\n' + text.replace('partition.by = "date"\n', "")
    selfish = loaded(tmp_path, "daily", text)
    said = [each.message for each in check(selfish, {"daily": selfish})]

    assert any("waits for the partition that it is itself" in each for each in said)
    assert any("begin: daily -> daily" in each for each in said)
    text = text[: text.index("[triggers")].replace("{params.day}", "{params.name}")
    patient = loaded(tmp_path, "daily", text)
    assert check(patient, {"daily": patient}) == []


@pytest.mark.parametrize(
    ("how", "value", "expected"),
    [
        (Partition(by="date"), dt.date(2013, 2, 8), ("2013-02-08", "2013-02-08")),
        (Partition(by="date", step="month"), dt.date(2013, 2, 1), ("2013-02", "2013-02-01")),
        (Partition(by="date", step="month"), dt.date(2013, 2, 2), None),
        (Partition(by="int", width=10), 20, ("20", "20")),
        (Partition(by="int", width=10), 21, None),
        (Partition(by="list", values=("a", "b")), "b", ("b", "b")),
        (Partition(by="list", values=("a", "b")), "c", None),
        (Partition(by="list", source="m:keys"), "c", ("c", "c")),
    ],
)
def test_parameters_are_a_partition_if_they_are_all_of_it(
    how: Partition, value: object, expected: tuple[str, str] | None
) -> None:
    """Its key, and its parameter as text."""
    assert delivered(Partition(**{**_said(how), "param": "at"}), {"at": value}) == expected
    assert delivered(Partition(**{**_said(how), "param": "at"}), {}) is None


def test_an_end_that_is_not_the_partitions_own_makes_none() -> None:
    """Half a day has the same beginning."""
    how = Partition(by="date", step="hour", param="at", until="to")
    at = dt.datetime(2013, 2, 8, 5, tzinfo=dt.UTC)
    key = ("2013-02-08T05", "2013-02-08T05:00:00+00:00")

    assert delivered(how, {"at": at, "to": at + dt.timedelta(hours=1)}) == key
    assert delivered(how, {"at": at, "to": at + dt.timedelta(hours=2)}) is None


def test_another_dataset_is_a_change(tmp_path: Path) -> None:
    """What is waited for is told; how long is not, and triggers are not."""
    old, new = (
        canonical(loaded(tmp_path, "daily", DAILY), contract_digests={}),
        canonical(
            loaded(tmp_path, "daily", DAILY, "partition = ", "group = ", '"6h"', '"7h"'),
            contract_digests={},
        ),
    )

    assert describe_changes(old, new) == [
        "the dataset of \"waiting\" was 'partition:hourly' and is 'group:hourly'"
    ]


def _said(how: Partition) -> dict[str, Any]:
    return {name: getattr(how, name) for name in ("by", "step", "width", "values", "source")}
