"""
What a machine says of an event that its waits are for: its shape, and what becomes of late ones.

    EventRule       one event
    event_rules     the table `events` of a machine file
    refuse_unawaited    rules of events that no state waits for
    rules_form      what of them counts as the machine
    rule_of         that of one event
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from statepipe.machine.names import check_contract, check_name, check_one_of
from statepipe.machine.reading import at, table_of, text_of
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal

Late = Literal["accept", "quarantine", "drop"]

#: It is kept for the next wait, unless its rule says otherwise.
ACCEPT: Final = "accept"

_KEYS: Final = ("late", "schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRule:
    """
    One event.

    Attributes:
        event: Its name.
        late: What becomes of one that is sent or emitted after an instance's wait for it has
            ended: it is kept for the next wait ("accept"), kept apart and not taken by that
            instance ("quarantine"), or only counted ("drop").
        schema: Path of the JSON Schema that its parameters must keep, or None.
    """

    event: str
    late: Late = ACCEPT
    schema: str | None = None

    def __post_init__(self) -> None:
        """Refuse a bad name, an unknown way with late ones, and no path."""
        check_name("event", self.event)
        check_one_of("late", self.late, get_args(Late))
        if self.schema is not None:
            check_contract(self.schema)


def event_rules(value: object) -> tuple[EventRule, ...]:
    """
    Return what a machine file says of events.

    Raises:
        DefinitionError: A key is unknown, or a value makes no sense.
    """
    rules = []
    for event, said in table_of("events", value).items():
        with at(f"events.{event}"):
            table = table_of(None, said)
            known(table, _KEYS)
            texts: dict[str, Any] = {key: text_of(key, table[key]) for key in table}
            rules.append(EventRule(event=event, **texts))
    return tuple(rules)


def refuse_unawaited(rules: Sequence[EventRule], awaited: Collection[str]) -> None:
    """
    Refuse a rule for an event that no state waits for.

    Raises:
        DefinitionError: There is one.
    """
    for rule in rules:
        if rule.event not in awaited:
            raise refusal(
                f'events: no state waits for "{rule.event}"{did_you_mean(rule.event, awaited)}',
                next_step=f"the events it waits for are {', '.join(sorted(awaited)) or 'none'}",
            )


def rules_form(rules: Sequence[EventRule]) -> dict[str, Any]:
    """Return the part of a canonical form that rules are: their schemas; what is late is policy."""
    schemas = {rule.event: {"schema": rule.schema} for rule in rules if rule.schema is not None}
    return {"events": schemas} if schemas else {}


def rule_of(rules: Sequence[EventRule], event: str) -> EventRule:
    """Return the rule of an event; the plain one if nothing is said of it."""
    return next((rule for rule in rules if rule.event == event), EventRule(event=event))
