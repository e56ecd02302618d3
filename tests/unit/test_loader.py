"""Machine files: both forms, the same objects as from Python, and every mistake by its place."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import DefinitionError, NotFound
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.parameter import Param
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.tasks import Load, Run
from tests.house.repository import ROOT
from tests.unit.building import ORDERS, as_toml, machines, written

SHORT = """\
machine = "flights"
version = 1
why = "Kept apart."
extract = "flights:extract"
validate = { contract = "contracts/flight.json" }
transform = "flights:transform"
load = { to = "sqlite:///warehouse.db", table = "flights", key = ["id"] }
"""


def ok(target: str) -> tuple[Transition, ...]:
    """Return the transitions of a state that says only where `ok` leads."""
    return (Transition(event="ok", target=target),)


def test_a_key_of_the_short_form_is_named_once(tmp_path: Path) -> None:
    """It is that of the long form, which names it too."""
    path = written(tmp_path, SHORT.replace('key = ["id"]', "key = 1"), "flights")

    with pytest.raises(DefinitionError, match=r"flights\.toml: load: key is 1, not a list"):
        load_machine(path)


def test_the_short_form_is_the_six_states_of_the_pipeline(tmp_path: Path) -> None:
    """Seven lines of TOML are the machine one would build by hand."""
    expected = Machine(
        name="flights",
        initial="extracting",
        why="Kept apart.",
        states=(
            State(name="extracting", task=Run(function="flights:extract"), on=ok("validating")),
            State(
                name="validating",
                task=Validate(contract="contracts/flight.json"),
                on=ok("transforming"),
            ),
            State(name="transforming", task=Run(function="flights:transform"), on=ok("loading")),
            State(
                name="loading",
                task=Load(to="sqlite:///warehouse.db", table="flights", key=("id",)),
                on=ok("done"),
            ),
            State(name="done", final="success"),
            State(name="failed", final="failure"),
        ),
    )

    assert load_machine(written(tmp_path, SHORT, "flights")) == expected


def test_the_long_form_says_branches_guards_limits_and_settings(tmp_path: Path) -> None:
    """Every key of the long form ends in its field."""
    machine = load_machine(written(tmp_path, ORDERS))

    assert (machine.version, machine.initial, machine.deadline_ms) == (3, "extracting", 21_600_000)
    assert machine.params == (Param(name="day", type="date", default="today", required=False),)
    extracting = machine.state("extracting")
    assert (extracting.retry, dict(extracting.settings)) == ("transient", {"timeout": "20m"})
    assert machine.state("validating").on == (
        Transition(event="ok", target="loading", when="records > 0"),
        Transition(event="ok", target="done"),
        Transition(event="invalid", target="cleaning", max_visits=2),
        Transition(event="error", target="failed"),
        Transition(event="timeout", target="failed"),
    )


@settings(max_examples=50)
@given(machine=machines())
def test_a_machine_built_in_python_is_the_one_its_file_describes(machine: Machine) -> None:
    """Written as TOML and loaded again, any machine is equal to itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened(as_toml(machine)))

        assert load_machine(Path("m.toml")) == machine


def test_the_short_form_takes_settings_and_leaves_steps_out(tmp_path: Path) -> None:
    """A step may be a table; one that is not named is not there."""
    text = """\
machine = "m"
extract = { run = "m:extract", timeout = "5m", retry = "transient" }
load = { to = "sqlite:///x.db", table = "t", batch_size = 50 }
"""

    machine = load_machine(written(tmp_path, text, "m"))

    assert [state.name for state in machine.states] == ["extracting", "loading", "done", "failed"]
    assert machine.state("extracting").retry == "transient"
    assert machine.state("extracting").on_event("ok")[0].target == "loading"
    assert machine.state("loading").task == Load(to="sqlite:///x.db", table="t")
    assert dict(machine.state("loading").settings) == {"batch_size": 50}


def test_a_machine_and_its_ends_name_who_is_told(tmp_path: Path) -> None:
    """One name or a list; the short form has the machine's key only."""
    short = load_machine(written(tmp_path, 'notify = "oncall"\n' + SHORT, "flights"))
    text = ORDERS.replace('final = "failure"', 'final = "failure"\nnotify = ["oncall", "team"]')
    long = load_machine(written(tmp_path, text))

    assert short.notify == ("oncall",)
    assert (long.notify, long.state("failed").notify) == ((), ("oncall", "team"))


def test_error_and_timeout_lead_to_failed_unless_something_certain_is_said(
    tmp_path: Path,
) -> None:
    """A limit that is used up still leaves a way to fail."""
    text = ORDERS.replace(
        'on = { ok = "extracting" }',
        'on = { ok = "extracting", error = { to = "extracting", max_visits = 3 },'
        ' timeout = "loading" }',
    )

    cleaning = load_machine(written(tmp_path, text)).state("cleaning")

    assert [each.target for each in cleaning.on_event("error")] == ["extracting", "failed"]
    assert [each.target for each in cleaning.on_event("timeout")] == ["loading"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = 3", "versoin = 3", ': unknown key "versoin"; did you mean "version"?'),
        ("version = 3", "version = 0", ": version is 0, not 1 or more"),
        ("version = 3", 'version = "3"', ": version is '3', not 1 or more"),
        ('machine = "orders"', "", ': key "machine" is missing'),
        ('machine = "orders"', 'machine = "Orders"', ": machine: 'Orders' is not a name"),
        ('machine = "orders"', 'machine = "order"', ': machine is "order", but the file is called'),
        ('initial = "extracting"', "", ': key "initial" is missing'),
        (
            'initial = "extracting"',
            'initial = "extract"',
            ': initial: there is no state "extract"; did you mean "extracting"?',
        ),
        ('initial = "extracting"', 'initial = "done"', ': initial: state "done" is final'),
        ('initial = "extracting"', 'extract = "m:f"', '"extract" belongs to the short form'),
        ('deadline = "6h"', 'deadline = "soon"', ": deadline: 'soon' is not a duration"),
        ('deadline = "6h"', 'deadline = "0s"', ": deadline is 0 ms, outside"),
        ('type = "date"', 'type = "dat"', ": params.day: type is 'dat'; did you mean \"date\"?"),
        ('default = "today"', "default = 3", ": params.day: default is 3, not a date"),
        ('default = "today"', "min = 3", ': params.day: unknown key "min"'),
        (
            'default = "today"',
            'default = "today", required = true',
            ": params.day: a parameter with a default is never required",
        ),
        (
            'run = "orders:extract"',
            'rum = "orders:extract"',
            ': states.extracting: unknown key "rum"; did you mean "run"?',
        ),
        ('run = "orders:extract"', "", ": states.extracting: must have exactly one of run"),
        (
            'run = "orders:extract"',
            'run = "orders.extract"',
            ": states.extracting: run: 'orders.extract' does not name a function",
        ),
        (
            'run = "orders:extract"',
            'run = "../x:f"',
            ": states.extracting: run: '../x:f' does not name a function",
        ),
        (
            'run = "orders:extract"',
            'run = "m:f"\ncontract = "c.json"',
            ": states.extracting: must have exactly one of run",
        ),
        (
            'run = "orders:extract"',
            'run = "m:f"\ntasks.a = { run = "m:g" }',
            ": states.extracting: must have exactly one of run, contract, load, wait, job, tasks",
        ),
        (
            'run = "orders:extract"',
            'wait = { event = "x" }',
            ": states.extracting: wait: has no timeout: it could wait for ever",
        ),
        (
            'timeout = "20m"',
            "uses = 3",
            ": states.extracting: uses is 3, neither a name nor a list of names",
        ),
        (
            'timeout = "20m"',
            'uses = ["crm", "crm"]',
            ': states.extracting: uses: resource "crm" is there twice',
        ),
        (
            'final = "failure"',
            'final = "failure"\nuses = "crm"',
            ': states.failed: state "failed" is final: nothing runs in it',
        ),
        (
            'final = "failure"',
            'final = "failure"\nnotify = 3',
            ": states.failed: notify is 3, neither a name nor a list of names",
        ),
        (
            'timeout = "20m"',
            'notify = "oncall"',
            ': states.extracting: state "extracting" has notify and is not final',
        ),
        ("version = 3", 'notify = "On call"', ": notify: 'On call' is not a name"),
        (
            'timeout = "20m"',
            'raw = "kept"',
            ": states.extracting: raw: there is no 'kept'; did you mean \"keep\"?",
        ),
        (
            'timeout = "20m"',
            'drift = "halts"',
            ": states.extracting: drift: there is no 'halts'; did you mean \"halt\"?",
        ),
        (
            'timeout = "20m"',
            'drift = { new = "warn" }',
            ": states.extracting: drift: there is no 'new'",
        ),
        (
            'timeout = "20m"',
            "drift = { added = 1 }",
            ": states.extracting: drift.added: there is no 1",
        ),
        (
            'contract = "contracts/order.json"',
            'contract = "contracts/order.json"\ndrift = "warn"',
            ': states.validating: key "drift" belongs to a state that runs a source',
        ),
        ('timeout = "20m"', "timeout = 20", "timeout is 20; a duration carries its unit"),
        ('retry = "transient"', "retry = 3", ": states.extracting: retry is 3, neither"),
        ('retry = "transient"', "retry = { max = 3 }", 'unknown key "max"'),
        (
            'empty = "done"',
            'empty = "dine"',
            ': states.extracting.on.empty: there is no state "dine"; did you mean "done"?',
        ),
        ('empty = "done"', "empty = 3", ": states.extracting: on.empty: is 3, not a table"),
        ('empty = "done"', "empty = []", ": states.extracting: on.empty: leads nowhere"),
        ('empty = "done"', 'Empty = "done"', ": on.Empty: event: 'Empty' is not a name"),
        ('empty = "done"', 'cancel = "done"', '"cancel" and "cancelled" are reserved'),
        ('empty = "done"', 'empty = "cancelled"', '"cancel" and "cancelled" are reserved'),
        (
            "max_visits = 2",
            "max_visit = 2",
            ': on.invalid: unknown key "max_visit"; did you mean "max_visits"?',
        ),
        ("max_visits = 2", "max_visits = 0", ": on.invalid: max_visits is 0, outside 1..1000000"),
        (
            "records > 0",
            "recods > 0",
            ': states.validating: on.ok: guard `recods > 0`, column 1: unknown name "recods"',
        ),
        (
            'contract = "contracts/order.json"',
            'contract = "../order.json"',
            'contract "../order.json" leaves the folder of the machines',
        ),
        ('table = "orders", ', "", ': states.loading: load: key "table" is missing'),
        (
            'table = "orders"',
            'tabel = "orders"',
            'load: unknown key "tabel"; did you mean "table"?',
        ),
        ('key = ["order_id"]', 'key = ["a", "a"]', "load: key names a column twice: a, a"),
        ('key = ["order_id"]', "key = [1]", "load: key is 1, not text"),
        ('key = ["order_id"]', "key = 1", "load: key is 1, not a list of columns"),
        ('table = "orders"', "table = 1", "load: table is 1, not text"),
        ('default = "today"', 'required = "no"', ": params.day: required is 'no'"),
        ('final = "success"', 'final = "sucess"', "final is 'sucess'; did you mean \"success\"?"),
        (
            'final = "success"',
            'final = "success"\non.ok = "failed"',
            'state "done" is final: nothing runs in it',
        ),
        ('final = "failure"', 'final = "success"', 'state "failed" must be final, of kind'),
        ("[states.done]", "[states.cancelled]", '"cancelled" is reserved: every machine has it'),
        ("[states.done]", '[states."a b"]', ": states.a b: state: 'a b' is not a name"),
        ("[states.done]", "[states.done", ": is not TOML: Expected ']'"),
    ],
)
def test_a_mistake_is_named_by_file_key_and_remedy(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """The message begins with the file; a next step always follows."""
    assert old in ORDERS
    path = written(tmp_path, ORDERS.replace(old, new, 1))

    with pytest.raises(DefinitionError) as refusal:
        load_machine(path)

    assert refusal.value.message.startswith(f"{path}: ")
    assert said in refusal.value.message
    assert refusal.value.next_step


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    """As tomllib found it, in the house form."""
    path = written(tmp_path, 'machine = "orders"\nversion 3\n')

    with pytest.raises(DefinitionError) as refusal:
        load_machine(path)

    assert refusal.value.message == (
        f"{path}: is not TOML: Expected '=' after a key in a key/value pair (at line 2, column 9)"
    )


def test_what_is_no_machine_file_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, too deep, too large, empty: each by its name."""
    with pytest.raises(NotFound, match="there is no file"):
        load_machine(tmp_path / "gone.toml")
    with pytest.raises(DefinitionError, match="cannot be read: Is a directory"):
        load_machine(tmp_path)
    path = tmp_path / "m.toml"
    for data, said in (
        (b"a = 1\nb = '\xff'", r"is not UTF-8 \(line 2\)"),
        (b"a = " + b"[" * 100_000, "is nested too deep|is not TOML"),
        (b"#" * 1_000_001, "is larger than 1,000,000 bytes"),
        (b"\xef\xbb\xbfmachine = 'm'", "begins with a byte order mark"),
        (b"", 'key "machine" is missing'),
        (b'machine = "m"', 'key "extract" is missing'),
        (b"a = " + b"9" * 5_000, "is not TOML"),
    ):
        path.write_bytes(data)
        with pytest.raises(DefinitionError, match=said):
            load_machine(path)


@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_machine_or_a_refusal(data: bytes) -> None:
    """No other error escapes the loader."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened(data))

        with pytest.raises(DefinitionError):
            load_machine(Path("m.toml"))


def test_the_machine_that_ships_is_sound() -> None:
    """machines/flights.toml loads, in six states."""
    machine = load_machine(ROOT / "machines" / "flights.toml")

    assert [state.name for state in machine.states] == [
        "extracting",
        "validating",
        "transforming",
        "loading",
        "done",
        "failed",
    ]


def opened(data: str | bytes) -> object:
    """Return a stand-in for `Path.open` that gives `data`: hypothesis and files are slow."""
    content = data.encode() if isinstance(data, str) else data
    return lambda _path, _mode: io.BytesIO(content)
