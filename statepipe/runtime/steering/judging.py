"""
Whether what is sent with an event has the shape that a machine wants, and may come late.

    judged      of one machine
"""

from collections.abc import Mapping
from typing import Any

from statepipe.errors import BadParameter, DefinitionError, NotFound
from statepipe.io.contract import Contract
from statepipe.machine.events import EventRule, rule_of
from statepipe.runtime.catalog import Catalog
from statepipe.store.file.connection import Store
from statepipe.store.walk import emissions


def judged(
    catalog: Catalog, machine: str, event: str, params: Mapping[str, Any], *, store: Store
) -> str:
    """
    Return what becomes of a late `event` of a machine, once its parameters were judged.

    Raises:
        BadParameter: They break the event's schema; the message says where, and how.
        DefinitionError, NotFound: It has a schema, and that, or the machine, cannot be read.
    """
    rule = _rule(catalog, machine, event, store=store)
    if rule.schema is not None:
        contract = Contract.load(catalog.machines_dir / rule.schema)
        for entry in contract.judge([dict(params)]).rejects:
            raise BadParameter(
                f"the parameters of {event!r} break {rule.schema}:"
                f" {entry['path'] or '/'}: {entry['message']}",
                meaning="nothing was changed",
                next_step=f"send what {catalog.machines_dir / rule.schema} describes",
            )
    return rule.late


def _rule(catalog: Catalog, machine: str, event: str, *, store: Store) -> EventRule:
    """Return the rule as the file has it now; the plain one for a machine without a file."""
    try:
        return rule_of(catalog.machine(machine).events, event)
    except (NotFound, DefinitionError):
        # Who sends may have no machines at hand; unless they are needed to judge.
        if machine in emissions.judges(store.connection, event):
            raise
        return EventRule(event=event)
