"""Partitions: what a definition may say of them, and which ones a range stands for."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import BadParameter, DefinitionError
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.parameter import Param
from statepipe.machine.partition import PARTITIONS_MAX, Partition, Slice, chosen
from tests.unit.building import acting, pipeline, to, written

TODAY = dt.date(2013, 2, 8)
DAY, END = Param(name="day", type="date"), Param(name="end", type="date")
N, M = Param(name="n", type="int"), Param(name="m", type="int")
HOUR, TEXT = Param(name="hour", type="datetime"), Param(name="text")


def asked(how: Partition, *wanted: str, params: tuple[Param, ...] = (DAY,)) -> list[Slice]:
    """Return the partitions that `wanted` names."""
    bound = how.bound_to(params)
    param = next(each for each in params if each.name == bound.param)
    return chosen(bound, param, wanted, listed=bound.values, today=TODAY)


def keys(how: Partition, *wanted: str, params: tuple[Param, ...] = (DAY,)) -> list[str]:
    """Return their keys."""
    return [each.key for each in asked(how, *wanted, params=params)]


def test_a_range_of_days_has_its_first_and_its_last() -> None:
    """And a key alone, and "today", are days as well."""
    by_day = Partition(by="date")

    assert keys(by_day, "2013-02-27..2013-03-01") == ["2013-02-27", "2013-02-28", "2013-03-01"]
    assert asked(by_day, "2013-02-04", "today") == [
        Slice("2013-02-04", dt.date(2013, 2, 4)),
        Slice("2013-02-08", TODAY),
    ]


def test_months_and_hours_know_where_they_end() -> None:
    """The end is where the next one begins, over the turn of the year and of the day."""
    by_month = Partition(by="date", step="month", param="day", until="end")
    by_hour = Partition(by="date", step="hour")

    assert asked(by_month, "2013-12..2014-01", params=(DAY, END)) == [
        Slice("2013-12", dt.date(2013, 12, 1), dt.date(2014, 1, 1)),
        Slice("2014-01", dt.date(2014, 1, 1), dt.date(2014, 2, 1)),
    ]
    assert asked(by_hour, "2013-02-04T23..2013-02-05T00", params=(HOUR,)) == [
        Slice("2013-02-04T23", dt.datetime(2013, 2, 4, 23, tzinfo=dt.UTC)),
        Slice("2013-02-05T00", dt.datetime(2013, 2, 5, 0, tzinfo=dt.UTC)),
    ]


def test_numbers_lie_on_a_grid_so_that_a_slice_has_one_key() -> None:
    """Whole slices, whatever the range begins and ends with; also below zero."""
    by_number = Partition(by="int", width=1000, param="n", until="m")

    assert asked(by_number, "1500..2999", params=(N, M)) == [
        Slice("1000", 1000, 2000),
        Slice("2000", 2000, 3000),
    ]
    assert keys(by_number, "-1..0", params=(N, M)) == ["-1000", "0"]


def test_a_listed_set_is_asked_for_by_key_by_range_and_as_a_whole() -> None:
    """In the order it is listed in; a key may look like a range."""
    listed = Partition(by="list", values=("ewr", "a..b", "jfk", "lga"))

    assert keys(listed, "lga", "ewr", params=(TEXT,)) == ["lga", "ewr"]
    assert keys(listed, "ewr..jfk", params=(TEXT,)) == ["ewr", "a..b", "jfk"]
    assert keys(listed, "a..b", params=(TEXT,)) == ["a..b"]
    assert keys(listed, "..", params=(TEXT,)) == ["ewr", "a..b", "jfk", "lga"]
    assert keys(listed, "jfk..", params=(TEXT,)) == ["jfk", "lga"]
    assert asked(Partition(by="list", values=(7, 8)), "8", params=(N,)) == [Slice("8", 8)]


@pytest.mark.parametrize(
    ("how", "wanted", "said"),
    [
        (Partition(by="date"), (), "no partition is named"),
        (Partition(by="date"), ("2013-02-30",), "partition '2013-02-30' is not a date such as"),
        (Partition(by="date"), ("2013-02-04..soon",), "partition 'soon' is not a date such as"),
        (Partition(by="date"), ("2013-02-04..",), "not a date"),
        (Partition(by="date"), ("2013-02-05..2013-02-04",), "goes backwards"),
        (Partition(by="date"), ("2013-02-04..2013-02-06", "2013-02-05"), "named twice"),
        (Partition(by="date"), ("1900-01-01..2000-01-01",), "36,525 partitions are too many"),
        (Partition(by="date", step="month"), ("2013-13",), "month must be in"),
        (Partition(by="date", step="month"), ("2013-02-01",), "-01' is not a month"),
        (Partition(by="date", until="end"), ("9999-12-31",), "9999-12-31"),
        (Partition(by="int", width=10), ("1.5",), "not a whole number"),
        (Partition(by="int", width=1), ("9" * 30,), "beyond 64 bits"),
        (Partition(by="int", width=1), ("0..10000",), "10,001 partitions are too many"),
        (Partition(by="date", step="hour"), ("2013-02-04",), "-04' is not an hour"),
        (Partition(by="date", step="hour"), ("2013-02-04T05:30",), "not an hour"),
        (Partition(by="date", step="hour"), ("2013-02-04T05+01:00",), "not an hour"),
        (Partition(by="list", values=("a", "b")), ("c",), "there is no partition 'c'"),
        (Partition(by="list", values=("a", "b")), ("b..a",), "goes backwards"),
        (Partition(by="list", values=("a", "b")), ("a", "a"), "named twice"),
    ],
)
def test_what_names_no_partitions_is_refused(
    how: Partition, wanted: tuple[str, ...], said: str
) -> None:
    """Before anything is created, with what is wrong."""
    with pytest.raises(BadParameter, match=said) as refused:
        asked(how, *wanted, params=_fitting(how))

    assert refused.value.meaning == "no group was made"
    assert refused.value.next_step


def test_the_most_partitions_that_a_group_may_have_are_as_many() -> None:
    """One fewer than are refused."""
    by_number = Partition(by="int", width=1)

    assert len(keys(by_number, f"1..{PARTITIONS_MAX}", params=(N,))) == PARTITIONS_MAX


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ({"by": "week"}, "by: there is no 'week'"),
        ({"by": "date", "step": ""}, "step: there is no ''"),
        ({"by": "date", "step": "week"}, "step: there is no 'week'"),
        ({"by": "date", "width": 3}, 'width belongs to by = "int"'),
        ({"by": "date", "values": ["a"]}, 'values belongs to by = "list"'),
        ({"by": "date", "source": "m:f"}, 'source belongs to by = "list"'),
        ({"by": "int", "step": "day", "width": 3}, 'step belongs to by = "date"'),
        ({"by": "int"}, "width is None"),
        ({"by": "int", "width": 0}, "width is 0"),
        ({"by": "int", "width": True}, "width is True"),
        ({"by": "list"}, "either values or a source"),
        ({"by": "list", "values": ["a"], "source": "m:f"}, "either values or a source"),
        ({"by": "list", "values": "abc"}, "values is 'abc', not a list"),
        ({"by": "list", "values": ["a"], "until": "m"}, "have no end"),
        ({"by": "list", "source": "f"}, "does not name a function"),
        ({"by": "date", "tolerate": "5"}, "tolerate: '5' is not a share"),
        ({"by": "date", "tolerate": -1}, "tolerate is -1"),
        ({"by": "date", "tolerate": 0.05}, "tolerate is 0.05"),
    ],
)
def test_what_contradicts_itself_is_refused(said: dict[str, Any], refusal: str) -> None:
    """Each key belongs to one kind, and each value is one."""
    with pytest.raises(DefinitionError, match=refusal):
        Partition(**said)


@pytest.mark.parametrize(
    ("how", "params", "refusal"),
    [
        (Partition(by="date"), (), "0 parameters are of type date"),
        (Partition(by="date"), (DAY, END), "2 parameters are of type date"),
        (Partition(by="date", step="hour"), (DAY,), "0 parameters are of type datetime"),
        (Partition(by="date", param="dya"), (DAY,), 'there is no parameter "dya"'),
        (Partition(by="date", param="n"), (DAY, N), 'parameter "n" is of type int, not date'),
        (Partition(by="date", until="n"), (DAY, N), 'parameter "n" is of type int, not date'),
        (Partition(by="date", param="day", until="day"), (DAY,), "both the beginning and the end"),
        (Partition(by="list", values=(1,)), (TEXT,), "a key is 1, not text"),
        (Partition(by="list", values=("a", "a")), (TEXT,), "'a' is listed twice"),
        (Partition(by="list", values=("",)), (TEXT,), "printable characters"),
        (Partition(by="list", values=("a\nb",)), (TEXT,), "printable characters"),
        (Partition(by="list", values=("x" * 81,)), (TEXT,), "printable characters"),
    ],
)
def test_a_partition_needs_a_parameter_that_fits(
    how: Partition, params: tuple[Param, ...], refusal: str
) -> None:
    """Which one is plain if there is only one; a machine is refused when it is built."""
    with pytest.raises(DefinitionError, match=refusal):
        how.bound_to(params)


def test_a_machine_file_says_it_as_python_does(tmp_path: Path) -> None:
    """With the parameter found; and the mistakes by their place."""
    text = (
        'machine = "m"\nversion = 1\nextract = "m:f"\n[params]\nday = "date"\n'
        '[partition]\nby = "date"\ntolerate = "5%"\n'
    )
    machine = load_machine(written(tmp_path, text, "m"))

    assert machine.partition == Partition(by="date", step="day", param="day", tolerate="5%")
    for old, new, said in [
        ("tolerate", "tolerates", 'partition: unknown key "tolerates"; did you mean "tolerate"?'),
        ('by = "date"\n', "", 'partition: key "by" is missing'),
        ('by = "date"', "by = 3", "partition: by: there is no 3"),
        ('"5%"', '"5%"\nparam = 3', "partition: param is 3, not text"),
    ]:
        with pytest.raises(DefinitionError) as refused:
            load_machine(written(tmp_path, text.replace(old, new), "m"))
        assert said in str(refused.value)


def test_how_many_may_fail_is_a_number_or_a_share_of_them() -> None:
    """A share is rounded down: 15 % of six days is none."""
    assert Partition(by="date", tolerate=2).tolerated(3) == 2
    assert [Partition(by="date", tolerate="15%").tolerated(n) for n in (6, 7, 100)] == [0, 1, 15]


def test_a_machine_without_partitions_has_none() -> None:
    """They are not made up from its parameters."""
    assert pipeline(acting("a", to("done"))).partition is None


def _fitting(how: Partition) -> tuple[Param, ...]:
    if how.step == "hour":
        return (HOUR,)
    if how.by == "date":
        return (DAY, END) if how.until else (DAY,)
    return (N,) if how.by == "int" else (TEXT,)
