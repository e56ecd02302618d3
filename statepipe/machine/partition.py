"""
How the input of a machine falls into partitions: independent slices, an instance each.

    Partition       what they are by, and which parameter each of them gets
    Slice           one of them: its key, and the values of its parameters
    chosen          those that somebody asks for

Dates and numbers lie on a grid: each slice begins where the one before it ends, so the same
slice has the same key whatever range it was asked for in. A listed set has the keys it lists.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, get_args

from statepipe.errors import BadParameter, DefinitionError
from statepipe.machine.names import check_limit, check_one_of, is_function_name
from statepipe.machine.parameter import Param
from statepipe.machine.scalars import convert
from statepipe.tables import refusal
from statepipe.units import parse_share

By = Literal["date", "int", "list"]
Step = Literal["hour", "day", "month"]

#: How many partitions one group may have: they are created in one transaction.
PARTITIONS_MAX: Final = 10_000
KEY_CHARS_MAX: Final = 80

#: Between the first and the last of a range, both of which belong to it.
_TO: Final = ".."
_HOW: Final = "--partition FIRST..LAST, both included"
_KEY_TYPES: Final = ("text", "int", "date", "datetime")
_MONTHS: Final = 12
_HOURS: Final = 24
_NUMBER_MAX: Final = 2**63
#: Today does not matter to keys that a definition lists.
_ANY_DAY: Final = dt.date(2000, 1, 1)


class Slice(NamedTuple):
    """One partition: its key as text, the value of `param`, and that of `until`."""

    key: str
    value: Any
    until: Any = None  # where the next one begins; None in a listed set


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """
    How the input falls into partitions.

    Attributes:
        by: "date", "int", or "list".
        param: The parameter that gets where a partition begins, or its key of a listed set.
            None is the only parameter of a type that fits.
        until: The parameter that gets where it ends, exclusive; or None.
        step: Of dates: "hour" (UTC, a datetime), "day" or "month". None is "day".
        width: Of numbers: how many belong to one partition; 0 is one of them.
        values: Of a listed set: the keys.
        source: The same, asked for when a group is made: "module:name", or the function
            itself, which is given the other parameters and returns the keys.
        tolerate: How many partitions of a group may fail and the group still be done: a
            number, or a share of them, such as "5%".

    Raises:
        DefinitionError: If they contradict each other, or say nothing.
    """

    by: By
    param: str | None = None
    until: str | None = None
    step: Step | None = None
    width: int | None = None
    values: tuple[Any, ...] = ()
    source: str | Callable[[Mapping[str, Any]], Iterable[Any]] | None = None
    tolerate: int | str = 0

    def __post_init__(self) -> None:
        """Refuse keys that belong to another kind, and numbers out of range; complete it."""
        check_one_of("by", self.by, get_args(By))
        owners = {
            "step": "date",
            "width": "int",
            "values": "list",
            "source": "list",
        }
        for key, owner in owners.items():
            if getattr(self, key) not in (None, ()) and self.by != owner:
                raise refusal(
                    f'{key} belongs to by = "{owner}", and by is "{self.by}"',
                    next_step=f'remove {key}, or say by = "{owner}"',
                )
        check_limit("tolerate", self.tolerate, of="partitions")
        match self.by:
            case "date":
                object.__setattr__(self, "step", "day" if self.step is None else self.step)
                check_one_of("step", self.step, get_args(Step))
            case "int":
                self._check_width()
            case "list":
                self._check_list()

    def bound_to(self, params: Sequence[Param]) -> "Partition":
        """
        Return it complete: with its parameter found, and its keys of that type.

        Raises:
            DefinitionError: If a parameter is not declared, or is of another type.
        """
        declared = {param.name: param for param in params}
        wanted = {"date": ("date",), "int": ("int",), "list": _KEY_TYPES}[self.by]
        if self.step == "hour":
            wanted = ("datetime",)
        fitting = [
            param.name for param in params if param.type in wanted and param.name != self.until
        ]
        name = self.param
        if name is None:
            if len(fitting) != 1:
                raise refusal(
                    f"partition: {len(fitting)} parameters are of type {' or '.join(wanted)}",
                    next_step='say which one gets the key: param = "day", and declare it in'
                    " [params]",
                )
            (name,) = fitting
        for key, given in (("param", name), ("until", self.until)):
            if given is not None and given not in declared:
                raise refusal(
                    f'partition.{key}: there is no parameter "{given}"',
                    next_step=f'declare it under [params]: {given} = "{wanted[0]}"',
                )
            if given is not None and declared[given].type not in wanted:
                raise refusal(
                    f'partition.{key}: parameter "{given}" is of type {declared[given].type},'
                    f" not {' or '.join(wanted)}",
                    next_step=f'{given} = "{wanted[0]}"',
                )
        if name == self.until:
            raise refusal(
                f'partition: "{name}" cannot get both the beginning and the end',
                next_step="declare another parameter for until",
            )
        values = tuple(each.value for each in _listed(self.values, declared[name]))
        return replace(self, param=name, values=values)

    def tolerated(self, total: int) -> int:
        """Return how many of `total` partitions may fail."""
        if isinstance(self.tolerate, int):
            return self.tolerate
        return int(parse_share(self.tolerate) * total)

    def _check_width(self) -> None:
        if type(self.width) is not int or not 1 <= self.width < _NUMBER_MAX:
            raise refusal(f"width is {self.width!r}, not a number from 1", next_step="width = 1000")

    def _check_list(self) -> None:
        if self.until is not None:
            raise refusal(
                "until says where a partition ends, and those of a list have no end",
                next_step="remove until",
            )
        if not isinstance(self.values, list | tuple):
            raise refusal(f"values is {self.values!r}, not a list", next_step='values = ["a", "b"]')
        object.__setattr__(self, "values", tuple(self.values))
        if bool(self.values) == (self.source is not None):
            raise refusal(
                "a list has either values or a source of them",
                next_step='values = ["a", "b"], or source = "module:function"',
            )
        named = self.source
        if isinstance(named, str) and not is_function_name(named):
            raise refusal(
                f"{named!r} does not name a function", next_step='source = "module:function"'
            )


def chosen(
    partition: Partition,
    param: Param,
    wanted: Sequence[str],
    *,
    listed: Sequence[Any],
    today: dt.date,
) -> list[Slice]:
    """
    Return the partitions that `wanted` names, in order.

    Args:
        partition: How the input falls into them; complete.
        param: The parameter that gets the key.
        wanted: Keys, and ranges of them, "A..B", both of which belong to it. Of dates and
            numbers these are all partitions that something from A to B belongs to, each of
            them whole; of a listed set, those from A to B as they are listed, and without
            A or B from the first, or to the last.
        listed: The keys of a listed set.
        today: The day that "today" stands for.

    Raises:
        BadParameter: One is no key, a range is empty or goes backwards, a partition is named
            twice, or there are none, or too many.
        DefinitionError: The listed keys are none.
    """
    if partition.by == "list":
        slices = _chosen_of(_listed(listed, param), wanted)
    else:
        slices = _chosen_on(_Grid(partition), wanted, today=today)
    if not slices and wanted:
        raise _unfit("the list of partitions is empty", next_step="nothing is to be done now")
    if not slices:
        raise _unfit("no partition is named", next_step="--partition 2013-02-04..2013-02-10")
    seen: set[str] = set()
    for each in slices:
        if each.key in seen:
            raise _unfit(f"partition {each.key!r} is named twice", next_step="name it once")
        seen.add(each.key)
    return slices


def key_of(partition: Partition, params: Mapping[str, Any]) -> str | None:
    """Return the key of the partition that an instance with `params` is; None if it is none."""
    value = params.get(str(partition.param))
    if value is None:
        return None
    if partition.by == "list":
        listed = value in partition.values or partition.source is not None
        return (value.isoformat() if isinstance(value, dt.date) else str(value)) if listed else None
    grid = _Grid(partition)
    text = {"month": "%Y-%m", "hour": "%Y-%m-%dT%H"}.get(str(partition.step))
    moment = value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value
    try:
        number = grid.number(f"{moment:{text}}" if text else str(moment), today=_ANY_DAY)
        found = grid.slice(number)
    except (ValueError, OverflowError):
        return None
    until = params.get(partition.until) if partition.until else None
    return found.key if (found.value, found.until) == (value, until) else None


class _Grid:
    """Partitions of dates or numbers: each has a number, and so has whatever is in it."""

    def __init__(self, partition: Partition) -> None:
        self._step = partition.step
        self._width = partition.width or 1
        self._ends = partition.until is not None

    def number(self, text: str, *, today: dt.date) -> int:
        """Return the number of the partition that `text` belongs to; ValueError if it is none."""
        match self._step:
            case None:
                number: int = convert("int", text, today=today)
                if abs(number) >= _NUMBER_MAX:
                    raise ValueError("is beyond 64 bits")
                return number // self._width
            case "day":
                day: dt.date = convert("date", text, today=today)
                return day.toordinal()
            case "month":
                return _month(text)
            case "hour":
                return _hour(text)

    def slice(self, number: int) -> Slice:
        """Return partition `number`; OverflowError or ValueError if there is none."""
        until = self._begin(number + 1) if self._ends else None
        begin = self._begin(number)
        key = str(begin)
        if self._step == "month":
            key = f"{begin:%Y-%m}".rjust(7, "0")
        elif self._step == "hour":
            key = begin.isoformat()[:13]
        return Slice(key, begin, until)

    def _begin(self, number: int) -> Any:  # noqa: ANN401 a date, a datetime or an int
        match self._step:
            case None:
                return number * self._width
            case "day":
                return dt.date.fromordinal(number)
            case "month":
                return dt.date(number // _MONTHS, number % _MONTHS + 1, 1)
            case "hour":
                day = dt.date.fromordinal(number // _HOURS)
                return dt.datetime.combine(day, dt.time(number % _HOURS), dt.UTC)


def _month(text: str) -> int:
    year, dash, month = text.partition("-")
    if not (dash and text.isascii() and year.isdigit() and month.isdigit()):
        raise ValueError(f'is {text!r}, not a month such as "2013-02"')
    first = dt.date(int(year), int(month), 1)
    return first.year * _MONTHS + first.month - 1


def _hour(text: str) -> int:
    wanted = f'is {text!r}, not an hour in UTC such as "2013-02-04T05"'
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wanted) from None
    if "T" not in text or moment != moment.replace(minute=0, second=0, microsecond=0, tzinfo=None):
        raise ValueError(wanted)
    return moment.toordinal() * _HOURS + moment.hour


def _chosen_on(grid: _Grid, wanted: Sequence[str], *, today: dt.date) -> list[Slice]:
    slices: list[Slice] = []
    for text in wanted:
        begin, is_range, end = text.partition(_TO)
        try:
            first = _number_on(grid, begin, today=today)
            last = _number_on(grid, end, today=today) if is_range else first
            if last < first:
                raise _unfit(
                    f"the range {text!r} goes backwards", next_step=f"--partition {end}..{begin}"
                )
            if len(slices) + last - first >= PARTITIONS_MAX:
                raise _too_many(len(slices) + last - first + 1)
            slices += map(grid.slice, range(first, last + 1))
        except (ValueError, OverflowError) as error:
            raise _unfit(f"partition {text!r}: {error}", next_step=_HOW) from None
    return slices


def _number_on(grid: _Grid, key: str, *, today: dt.date) -> int:
    try:
        return grid.number(key, today=today)
    except ValueError as error:
        said = str(error).replace(f"is {key!r}, not ", "is not ", 1)
        raise _unfit(f"partition {key!r} {said}", next_step=_HOW) from None


def _chosen_of(listed: Sequence[Slice], wanted: Sequence[str]) -> list[Slice]:
    places = {each.key: place for place, each in enumerate(listed)}

    def place_of(key: str) -> int:
        if key not in places:
            some = ", ".join(list(places)[:10]) + (", …" if len(places) > 10 else "")  # noqa: PLR2004 (a line of them)
            raise _unfit(f"there is no partition {key!r}", next_step=f"there are {some or 'none'}")
        return places[key]

    slices: list[Slice] = []
    for text in wanted:
        begin, is_range, end = text.partition(_TO)
        if text in places or not is_range:  # a key may have two dots in it
            slices.append(listed[place_of(text)])
            continue
        first = place_of(begin) if begin else 0
        last = place_of(end) if end else len(listed) - 1
        if last < first and listed:
            raise _unfit(
                f"the range {text!r} goes backwards: {end} is listed before {begin}",
                next_step=f"--partition {end}..{begin}",
            )
        slices += listed[first : last + 1]
    if len(slices) > PARTITIONS_MAX:
        raise _too_many(len(slices))
    return slices


def _listed(values: Iterable[Any], param: Param) -> list[Slice]:
    """Return the keys of a listed set, each a value of its parameter's type."""
    slices = []
    seen: set[str] = set()
    for value in values:
        try:
            typed = convert(param.type, value, today=_ANY_DAY)
        except ValueError as error:
            raise _bad_key(f"partition: a key {error}") from None
        key = typed.isoformat() if isinstance(typed, dt.date) else str(typed)
        if not (0 < len(key) <= KEY_CHARS_MAX and key.isprintable()):
            raise _bad_key(
                f"partition: the key {key!r} is not 1..{KEY_CHARS_MAX} printable characters"
            )
        if key in seen:
            raise _bad_key(f"partition: the key {key!r} is listed twice")
        seen.add(key)
        slices.append(Slice(key, typed))
    return slices


def _bad_key(message: str) -> DefinitionError:
    return refusal(message, next_step='each key once, of the type of its parameter: ["a", "b"]')


def _too_many(count: int) -> BadParameter:
    return _unfit(
        f"{count:,} partitions are too many for one group; it may have {PARTITIONS_MAX:,}",
        next_step="choose a shorter range, or wider partitions, and make several groups",
    )


def _unfit(message: str, *, next_step: str) -> BadParameter:
    return BadParameter(message, meaning="no group was made", next_step=next_step)
