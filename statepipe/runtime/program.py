"""
A machine made ready to be driven: rules compiled, policies merged, calls prepared.

    Program         one machine, by the number of its definition in the store
    Part            one acting state of it: what runs there, under which policy
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from statepipe.machine.table import Table
from statepipe.policy import Policy

Work = Literal["run", "validate", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    One acting state, ready to be called.

    Attributes:
        work: What is done there.
        policy: The merged policy of the state.
        policy_digest: Names `policy` in the journal.
        call: The part of every call to `perform` that does not change.
    """

    work: Work
    policy: Policy
    policy_digest: str
    call: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """
    One machine as this process knows it.

    Attributes:
        name: The machine's name.
        definition: The number of its definition in the store.
        table: Its rules.
        parts: Its acting states by name.
        policies: Bodies (JSON) of the parts' policies, by digest.
        deadline_ms: How long an instance may take in all, None for no bound.
    """

    name: str
    definition: int
    table: Table
    parts: Mapping[str, Part]
    policies: Mapping[str, str]
    deadline_ms: int | None
