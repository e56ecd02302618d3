"""`check`: each defect is found, with its state and its remedy; a sound machine has none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.errors import DefinitionError, NotFound
from statepipe.machine.checks.checker import check
from statepipe.machine.checks.findings import Finding
from statepipe.machine.definition import Machine, State
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.parameter import Param
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.watermark import Incremental
from tests.house.repository import ROOT
from tests.unit.building import KINDS, acting, orders, pipeline, to


def others_of(*machines: Machine) -> Callable[[str], Machine]:
    """Return what finds one of `machines`, and no other."""
    known = {each.name: each for each in machines}

    def find(name: str) -> Machine:
        if name not in known:
            raise NotFound(f"no {name}", meaning="nothing was run", next_step="write it")
        return known[name]

    return find


def found(
    machine: Machine, kinds: dict[str, str] = KINDS, others: tuple[Machine, ...] = ()
) -> list[Finding]:
    """Check `machine` with functions of the given kinds, and contracts and policies in order."""
    return check(
        machine,
        functions=lambda run: kinds.get(run.reference, "call"),
        contracts=lambda _path: None,
        tables=lambda _load: None,
        policies=lambda _machine, _state: None,
        machines=others_of(machine, *others),
    )


def messages(
    machine: Machine, kinds: dict[str, str] = KINDS, others: tuple[Machine, ...] = ()
) -> list[tuple[str, str | None, str]]:
    """Return severity, state and message of each finding."""
    return [(each.severity, each.state, each.message) for each in found(machine, kinds, others)]


def test_sound_machines_have_no_findings(tmp_path: Path) -> None:
    """The example of the design, and the machine that ships."""
    flights = load_machine(ROOT / "machines" / "flights.toml")

    assert found(orders(tmp_path)) == []
    assert found(flights, {"flights:extract": "source", "flights:transform": "map"}) == []


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Load(to="https://h/x"), "is at least once: a request whose answer was lost is sent"),
        (Load(to="HTTPS://h/x"), "is at least once"),
        (Load(to="http://h/x", effect="at_least_once"), ""),
        (Load(to="http://h/x", effect="exactly_once"), "says exactly_once, which cannot be proved"),
        (Load(to="env:HOOK"), ""),
        (Load(to="sqlite:///w.db", table="t", effect="exactly_once"), ""),
        (Run(function="m:f", effect="exactly_once"), "after a crash its function runs again"),
        (Run(function="m:f", effect="at_least_once"), ""),
    ],
)
def test_what_no_ledger_makes_exactly_once_is_warned_of_unless_it_says_so(
    task: Load | Run, said: str
) -> None:
    """A warning, because only the author can know what the other side does."""
    machine = pipeline(acting("a", to("b")), State(name="b", task=task, on=(to("done"),)))

    findings = found(machine, {"m:f": "map" if isinstance(task, Run) else "source"})

    warned = [each for each in findings if each.severity == "warning"]
    assert [(each.severity, each.state) for each in warned] == [("warning", "b")] * bool(said)
    assert all(said in each.message and "at_least_once" in each.fix for each in warned)


def _incremental(key: tuple[str, ...], mode: str = "", **lookback: int) -> Machine:
    source = State(
        name="a",
        task=Run(function="m:source", watermark=Incremental(column="at", **lookback)),
        on=(to("b"),),
    )
    load = Load(to="sqlite:///w.db", table="t", key=key, mode=mode)
    return pipeline(source, State(name="b", task=load, on=(to("done"),)))


def test_a_watermark_needs_a_source_and_a_lookback_a_key() -> None:
    """Otherwise nothing would move it, or rows would be loaded twice."""
    kinds = {"m:source": "source"}

    assert messages(_incremental(("id",), lookback=5), kinds) == []
    assert messages(_incremental(()), kinds) == []
    (twice,) = messages(_incremental((), lookback_ms=5), kinds)
    assert twice[:2] == ("warning", "a")
    assert '"b" appends: rows that are read again are loaded twice' in twice[2]
    (gone,) = messages(_incremental(("id",), mode="replace", lookback=5), kinds)
    assert gone[:2] == ("warning", "a")
    assert '"b" replaces: what was loaded before goes' in gone[2]
    assert ("error", "a", "has a watermark, and its function is no source") in messages(
        _incremental(("id",)), {"m:source": "map"}
    )


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            [('on = { ok = "extracting" }', "")],
            [("error", "cleaning", '"ok" has no target')],
        ),
        (
            [('{ to = "cleaning", max_visits = 2 }', '"cleaning"')],
            [
                (
                    "error",
                    "cleaning",
                    "the cycle cleaning -> extracting -> validating -> cleaning has no bound",
                )
            ],
        ),
        (
            [('on.invalid = { to = "cleaning", max_visits = 2 }', "")],
            [("error", "cleaning", 'cannot be reached from "extracting"')],
        ),
        (
            [('[{ to = "loading", when = "records > 0" }, "done"]', '["loading", "done"]')],
            [
                (
                    "error",
                    "validating",
                    'on.ok: "done" is never taken; the target before it always is',
                )
            ],
        ),
        (
            [(', "done"]', "]")],
            [("warning", "validating", "on.ok: if no guard holds the event leads nowhere")],
        ),
        (
            [('empty = "done"', 'empty = "loading"'), ("orders:extract", "orders:fetch")],
            [
                (
                    "error",
                    "validating",
                    "validates batches, and there is a path to it on which no state makes any",
                ),
                (
                    "error",
                    "loading",
                    "loads batches, and there is a path to it on which no state makes any",
                ),
            ],
        ),
        (
            [('on = { ok = "extracting" }', 'on = { ok = "cleaning" }')],
            [
                ("error", "cleaning", "reaches no final state except by failing"),
                ("error", "cleaning", "the cycle cleaning -> cleaning has no bound"),
            ],
        ),
    ],
)
def test_each_defect_is_found(
    tmp_path: Path, edits: list[tuple[str, str]], expected: list[tuple[str, str | None, str]]
) -> None:
    """Exactly the findings that the edit brings about."""
    assert messages(orders(tmp_path, *edits)) == expected


def test_a_guard_of_no_parameter_is_found() -> None:
    """It could be decided for no instance; of a result nobody knows before it is there."""
    guards = ("params.dya == 1 or result.rows > 0", "params.day == 2 and records > 0")
    state = acting(
        "a",
        *(to("done", when=each) for each in guards),
        to("done", event="empty", when=guards[0]),
        to("failed"),
    )
    machine = replace(pipeline(state), params=(Param(name="day", type="int"),))

    (told,) = [each for each in messages(machine) if each[2].startswith("guard `")]
    assert told[:2] == ("error", "a")
    assert told[2].startswith(f"guard `{guards[0]}` looks at a parameter that is not declared:")
    assert told[2].endswith('"dya"; did you mean "day"?')


def test_every_finding_says_how_to_mend_it(tmp_path: Path) -> None:
    """A fix beside each message."""
    machine = orders(tmp_path, ('{ to = "cleaning", max_visits = 2 }', '"cleaning"'))

    assert found(machine)[0].fix == (
        'give one of its transitions max_visits, for example { to = "cleaning", max_visits = 2 }'
    )


def test_a_machine_that_cannot_fail_is_found() -> None:
    """Errors that lead to success tell nobody that something went wrong."""
    machine = pipeline(acting("a", to("done"), to("done", "error"), to("done", "timeout")))

    assert messages(machine) == [("error", "a", "has no way to fail")]


def test_a_machine_that_cannot_succeed_is_warned_of() -> None:
    """It is legal, and hardly ever meant."""
    machine = Machine(name="m", initial="a", states=(acting("a", to("failed")),))

    assert messages(machine) == [("warning", None, "no final state of kind success can be reached")]


def test_a_source_that_failed_has_fed_nobody() -> None:
    """The path through `error` of a source is a path without batches."""
    load = State(name="b", task=Load(to="sqlite:///x.db", table="t"), on=(to("done"),))
    machine = pipeline(acting("a", to("b"), to("b", "error")), load)

    assert [each[1:] for each in messages(machine, {"m:f": "source"})] == [
        ("b", "loads batches, and there is a path to it on which no state makes any")
    ]


def test_a_source_after_a_step_without_batches_feeds_what_follows() -> None:
    """A call before the source, and a call between source and load, do no harm."""
    machine = pipeline(
        acting("a", to("b"), run="m:prepare"),
        acting("b", to("c"), run="m:extract"),
        acting("c", to("d"), run="m:report"),
        State(name="d", task=Load(to="sqlite:///x.db", table="t"), on=(to("done"),)),
    )

    assert messages(machine, {"m:extract": "source"}) == []


@pytest.mark.parametrize(("kind", "sound"), [("call", True), ("map", False), ("source", False)])
def test_every_version_that_is_accepted_is_looked_at(kind: str, *, sound: bool) -> None:
    """Its schema is read, and its function must take one record."""
    read: list[str] = []
    judge = Validate(contract="o@2.json", accepts=(1, 2), upcast={1: "m:newer"})
    machine = pipeline(
        acting("a", to("b"), run="orders:extract"),
        State(name="b", task=judge, on=(to("done"),)),
    )

    findings = check(
        machine,
        functions=lambda run: {**KINDS, "m:newer": kind}[run.reference],
        contracts=read.append,
        tables=lambda _load: None,
        policies=lambda _machine, _state: None,
        machines=others_of(),
    )

    assert read == ["o@2.json", "o@1.json"]
    assert [(each.state, each.message) for each in findings] == [
        ("b", "m:newer, the upcaster of version 1, is no function of one record")
    ][sound:]


@pytest.mark.parametrize(("kind", "sound"), [("source", True), ("map", False), ("call", False)])
def test_drift_is_watched_and_raw_data_kept_of_a_source_only(
    tmp_path: Path, kind: str, *, sound: bool
) -> None:
    """Elsewhere it would be said and never done."""
    keys = 'drift = { removed = "halt" }\nraw = "keep"'
    machine = orders(tmp_path, ('timeout = "20m"', keys))

    findings = found(machine, {**KINDS, "orders:extract": kind})

    told = [each.message for each in findings if "of a source" in each.message]
    none = "of a source, and orders:extract is none"
    assert told == ([] if sound else [f"drift is watched {none}", f"raw data is kept {none}"])


def test_functions_contracts_and_policies_that_fail_are_findings() -> None:
    """What the callables raise is told by state; one defect does not hide another."""
    machine = pipeline(
        acting("a", to("b")),
        State(name="b", task=Validate(contract="c.json"), on=(to("c"),)),
        State(
            name="c",
            task=Load(to="sqlite:///w.db", table="t", contract="t.json"),
            on=(to("done"),),
        ),
    )

    def functions(run: Run) -> str:
        raise DefinitionError(f"{run.reference} is not there", next_step="write it")

    def contracts(path: str) -> None:
        raise DefinitionError(f"{path} is no JSON", next_step="mend it")

    def tables(load: Load) -> None:
        raise DefinitionError(f"{load.contract} has no properties", next_step="name some")

    def policies(_machine: Machine, state: State) -> None:
        raise DefinitionError(f"no policy for {state.name}", next_step="add it")

    findings = check(
        machine,
        functions=functions,
        contracts=contracts,
        tables=tables,
        policies=policies,
        machines=others_of(),
    )

    assert [(each.state, each.message, each.fix) for each in findings] == [
        ("a", "m:f is not there", "write it"),
        ("a", "no policy for a", "add it"),
        ("b", "c.json is no JSON", "mend it"),
        ("b", "no policy for b", "add it"),
        ("c", "t.json has no properties", "name some"),
        ("c", "no policy for c", "add it"),
    ]
