"""
What an acting state does: the author's function, a contract, a load, a job; others, or a wait.

    Run         the author's function
    Validate    records are judged by a contract; see `judging`
    Load        records go to a destination; exactly once, unless it is HTTP
    Job         a job that is done elsewhere; see `jobs`
    Wait        nothing runs until an event or a time comes; see `waits`
    Graph       several tasks that need each other's results; see `taskgraph`
    Child       another machine; see `taskgraph`
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from statepipe.drift import ACTIONS, KINDS
from statepipe.effects import BODIES, EFFECTS, Auth, contradiction
from statepipe.machine.names import (
    check_auth,
    check_contract,
    check_function,
    check_load,
    check_one_of,
    is_reference,
    reference_of,
)
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.waits import Wait
from statepipe.machine.states.watermark import Incremental
from statepipe.tables import refusal

_COLUMNS: Final = ("add", "refuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    The author's function.

    Attributes:
        function: "module:name", or the function itself for a machine built in Python.
        watermark: Of a source that reads only what is new: which column says so, or None.
        drift: What to do if the shape of a source's records drifts: "warn", "quarantine" or
            "halt", or one of them by kind of drift, a kind that is not said being "warn".
            None if nobody watches.
        effect: "exactly_once" or "at_least_once", if it has effects outside; "" if it has
            none, or does not say.
        raw: "keep" if what a source has staged is kept once an instance is done, until it is
            pruned; None if it is given back then, as all others' is.
    """

    function: str | Callable[..., Any]
    watermark: Incremental | None = None
    drift: str | Mapping[str, str] | None = None
    effect: str = ""
    raw: str | None = None

    def __post_init__(self) -> None:
        """Refuse what names no function, and what says of it what nobody knows."""
        check_function(self.function)
        if isinstance(self.drift, Mapping):
            for kind, action in self.drift.items():
                check_one_of("drift", kind, KINDS)
                check_one_of(f"drift.{kind}", action, ACTIONS)
            object.__setattr__(self, "drift", MappingProxyType(dict(self.drift)))
        elif self.drift is not None:
            check_one_of("drift", self.drift, ACTIONS)
        if self.effect:
            check_one_of("effect", self.effect, EFFECTS)
        if self.raw is not None:
            check_one_of("raw", self.raw, ("keep",))

    @property
    def reference(self) -> str:
        """The function as text, "module:name"; what a definition's digest contains."""
        return reference_of(self.function)

    @property
    def actions(self) -> Mapping[str, str] | None:
        """What to do by kind of drift; None if nobody watches."""
        if self.drift is None:
            return None
        said = dict.fromkeys(KINDS, self.drift) if isinstance(self.drift, str) else self.drift
        return {kind: said.get(kind, "warn") for kind in KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    Put every record into a destination.

    Attributes:
        to: The destination as a URL, for example "sqlite:///warehouse.db". A password in
            it, or all of it, is a reference: "env:NAME" or "file:/path".
        table: Name of the table there; "" for an address that records are POSTed to.
        key: Columns that name a row: rows are upserted by them. Empty: rows are appended.
        mode: "append", "upsert", or "replace": in the end, in place of what the table had.
        contract: Path of the JSON Schema that the table is made from, or None to make it
            from the first batch.
        columns: What to do about a table that lacks columns of the contract: "add" them, or
            "refuse" it; "" without a contract.
        effect: "exactly_once" or "at_least_once", declared; "" for what the destination
            is by itself. See `statepipe.effects`.
        body: What the body of a POST is: "array", "lines" or "record"; "" is "array".
        auth: Credentials of a POST, by reference, as `read_rest` takes them.
    """

    to: str
    table: str = ""
    key: tuple[str, ...] = ()
    mode: str = ""
    contract: str | None = None
    columns: str = ""
    effect: str = ""
    body: str = ""
    auth: Auth = None

    def __post_init__(self) -> None:
        """Refuse empty names, a password, and what contradicts the rest; complete the mode."""
        mode = check_load(self.to, table=self.table, key=self.key, mode=self.mode)
        object.__setattr__(self, "mode", mode)
        self._complete_columns()
        if self.effect:
            check_one_of("effect", self.effect, EFFECTS)
        if self.body:
            check_one_of("body", self.body, BODIES)
        check_auth(self.auth)
        if isinstance(self.auth, Mapping):
            object.__setattr__(self, "auth", MappingProxyType(dict(self.auth)))
        if is_reference(self.to):
            return  # what it leads to is held against the rest where it is followed
        wrong = contradiction(
            self.to,
            table=self.table,
            replaces=mode == "replace",
            effect=self.effect,
            body=self.body,
            auth=self.auth,
        )
        if wrong is not None:
            raise refusal(wrong.message, next_step=wrong.next_step)

    @property
    def contracts(self) -> tuple[str, ...]:
        """The paths of all schemas it needs."""
        return () if self.contract is None else (self.contract,)

    def _complete_columns(self) -> None:
        """Refuse a contract of no table, and `columns` of no contract; complete the latter."""
        if self.contract is None:
            if self.columns:
                raise refusal(
                    "columns says what to do about a contract, and there is none",
                    next_step='contract = "contracts/order.json"',
                )
            return
        check_contract(self.contract)
        if not self.table:
            raise refusal(
                "contract says what columns a table has, and there is no table",
                next_step="remove contract; a state of its own judges records by it",
            )
        columns = self.columns or "refuse"
        check_one_of("columns", columns, _COLUMNS)
        object.__setattr__(self, "columns", columns)


AnyTask: TypeAlias = Run | Validate | Load | Job | Wait | Graph | Child
