"""
A trigger that listens to another machine: what it has done is there.

    After       one instance for each of its instances, partitions, groups, or periods
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, get_args

from statepipe.machine.names import check_name, check_one_of
from statepipe.machine.triggers.periods import Coarser, Period
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

Which = Literal["each", "latest"]

_PARAM: Final = re.compile(r"upstream\.params\.([^.{}]+)")
_EXAMPLE: Final = 'after = { machine = "orders_hourly", partition = "each" }'

#: What a text of a parameter may name, by what is listened to; and the parameters of the instance.
_PLACES: Final = {
    "instance": ("upstream.instance",),
    "partition": ("upstream.partition", "upstream.instance"),
    "group": ("upstream.group",),
    "covers": ("upstream.period",),
    "watermark": ("upstream.period", "upstream.watermark"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """
    One instance for each of what another machine has done; at most one of these is given.

    Attributes:
        machine: Its name.
        partition: "each" partition once; or only the "latest": one that is later than all
            before, so that what is loaded once more, or late, starts nothing.
        covers: Each day, or each month, of which all partitions are there.
        group: "each" group of partitions that is done, once.
        watermark: Each hour, day or month that all its watermarks have passed.

    Without any of them: each instance that is done, once.
    """

    kind: ClassVar[str] = "after"

    machine: str
    partition: Which | None = None
    covers: Coarser | None = None
    group: Literal["each"] | None = None
    watermark: Period | None = None

    def __post_init__(self) -> None:
        """Refuse a bad name, two forms at once, and a form that is none."""
        check_name("after: machine", self.machine)
        said = [form for form in FORMS if getattr(self, form) is not None]
        if len(said) > 1:
            raise refusal(f"after has both {said[0]} and {said[1]}", next_step=_EXAMPLE)
        for form, choices in FORMS.items():
            if getattr(self, form) is not None:
                check_one_of(f"after: {form}", getattr(self, form), choices)

    @property
    def form(self) -> str:
        """Which of them it is; "instance" without any."""
        return next((form for form in FORMS if getattr(self, form) is not None), "instance")

    @property
    def said(self) -> str:
        """It in a few words, for people."""
        form = self.form
        if form == "instance":
            return f"after {self.machine}"
        return f"after {self.machine}, {form} {getattr(self, form)}"

    @property
    def identity(self) -> dict[str, Any]:
        """What of it makes it another one."""
        said = {"machine": self.machine, "form": self.form}
        return said if self.form == "instance" else said | {"which": getattr(self, self.form)}

    def place_error(self, place: str) -> str | None:
        """Return why `place` can stand in no text of a parameter; None if it can."""
        places = ("upstream.machine", *_PLACES[self.form])
        if place in places or (_PARAM.fullmatch(place) and self.has_params):
            return None
        more = (*places, "upstream.params.NAME") if self.has_params else places
        return f"there is no {place!r}{did_you_mean(place, places)}; there is " + ", ".join(more)

    @property
    def has_params(self) -> bool:
        """True if there is one instance whose parameters are known."""
        return self.form in {"instance", "partition", "group"}


def upstream_param(place: str) -> str | None:
    """Return the upstream's parameter that a place names; None if it names none."""
    found = _PARAM.fullmatch(place)
    return found and found[1]


FORMS: Final[dict[str, tuple[str, ...]]] = {
    "partition": get_args(Which),
    "covers": get_args(Coarser),
    "group": ("each",),
    "watermark": get_args(Period),
}
