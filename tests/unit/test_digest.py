"""Is it still the machine the instance began with: what counts, and how a change is told."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from statepipe.machine.definition import Machine
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.loading.loader import load_machine
from tests.unit.building import ORDERS, machines, orders, written

CONTRACTS = {
    f"contracts/{name}.json": "aa"
    for name in ("order", "other", "a b", "order@1", "order@2", "order@3")
}
VERSIONED = (
    'contract = "contracts/order.json"',
    'contract = "contracts/order@3.json"\naccepts = [1, 3]\nupcast = { "1" = "orders:from_v1" }',
)


def form(folder: Path, *edits: tuple[str, str]) -> dict[str, Any]:
    """Return the canonical form of the edited machine."""
    return canonical(orders(folder, *edits), contract_digests=CONTRACTS)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("version = 3", "version = 4"), ["version was 3 and is 4"]),
        (
            ('initial = "extracting"', 'initial = "cleaning"'),
            ["initial was 'extracting' and is 'cleaning'"],
        ),
        (
            ('[states.failed]\nfinal = "failure"', '[states.parked]\nfinal = "failure"'),
            ['state "parked" was added'],
        ),
        (
            ("cleaning", "mending"),
            [
                'state "cleaning" was removed',
                'state "mending" was added',
                (
                    'transition "invalid" of "validating" went to "cleaning" at most 2 times'
                    ' and now goes to "mending" at most 2 times'
                ),
            ],
        ),
        (
            (
                'on = { ok = "validating", empty = "done" }',
                'on = { ok = "loading", empty = "done" }',
            ),
            ['transition "ok" of "extracting" went to "validating" and now goes to "loading"'],
        ),
        ((', empty = "done"', ""), ['transition "empty" of "extracting" was removed']),
        (
            ('empty = "done" }', 'empty = "done", late = "failed" }'),
            ['transition "late" of "extracting" was added, to "failed"'],
        ),
        (
            ("max_visits = 2", "max_visits = 3"),
            [
                (
                    'transition "invalid" of "validating" went to "cleaning" at most 2 times'
                    ' and now goes to "cleaning" at most 3 times'
                )
            ],
        ),
        (
            ("records > 0", "records > 9"),
            [
                (
                    'transition "ok" of "validating" went to "loading" when records > 0,'
                    ' else "done" and now goes to "loading" when records > 9, else "done"'
                )
            ],
        ),
        (
            ('run = "orders:clean"', 'run = "orders:scrub"'),
            ["the function of \"cleaning\" was 'orders:clean' and is 'orders:scrub'"],
        ),
        (
            ('contract = "contracts/order.json"', 'contract = "contracts/other.json"'),
            [
                (
                    "the contract of \"validating\" was 'contracts/order.json'"
                    " and is 'contracts/other.json'"
                )
            ],
        ),
        (
            ('contract = "contracts/order.json"', 'run = "orders:judge"'),
            [
                (
                    "the task of \"validating\" was contract 'contracts/order.json'"
                    " and is run 'orders:judge'"
                )
            ],
        ),
        (
            ('table = "orders"', 'table = "orders_2"'),
            ["the table of \"loading\" was 'orders' and is 'orders_2'"],
        ),
        (
            ('key = ["order_id"]', 'key = ["id"]'),
            ["the key of \"loading\" was ['order_id'] and is ['id']"],
        ),
        (
            ('key = ["order_id"]', 'key = ["order_id"], mode = "replace"'),
            ["the mode of \"loading\" was 'upsert' and is 'replace'"],
        ),
        (
            ('key = ["order_id"]', 'key = ["order_id"], contract = "contracts/order.json"'),
            ["the contract of the table of \"loading\" was None and is 'contracts/order.json'"],
        ),
        (
            ('default = "today"', 'default = "2013-02-04"'),
            ["default of parameter \"day\" was 'today' and is '2013-02-04'"],
        ),
        (
            ("[states.extracting]", 'limit = "int"\n[states.extracting]'),
            ['parameter "limit" was added'],
        ),
        (
            ('[states.done]\nfinal = "success"', '[states.done]\nfinal = "failure"'),
            ['final state "done" was of kind success and is of kind failure'],
        ),
        (
            ('[states.done]\nfinal = "success"', '[states.done]\nrun = "m:f"'),
            ['state "done" is no longer final'],
        ),
    ],
)
def test_a_change_that_counts_is_told_in_plain_words(
    tmp_path: Path, edit: tuple[str, str], said: list[str]
) -> None:
    """Each edit has another digest, and exactly the sentences that describe it."""
    old, new = form(tmp_path), form(tmp_path, edit)

    assert describe_changes(old, new) == said
    assert digest(old) != digest(new)


def test_a_contract_with_another_content_is_another_machine(tmp_path: Path) -> None:
    """The path alone does not say what records must look like."""
    machine = orders(tmp_path)
    old = canonical(machine, contract_digests=CONTRACTS)
    new = canonical(machine, contract_digests={"contracts/order.json": "bb"})

    assert describe_changes(old, new) == [
        'contract "contracts/order.json" of "validating" has another content'
    ]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            ("accepts = [1, 3]", "accepts = [1, 2, 3]"),
            ['version 2 of the contract of "validating" is accepted now'],
        ),
        (
            ("orders:from_v1", "orders:from_old"),
            [
                (
                    'the upcaster of version 1 of the contract of "validating"'
                    " was 'orders:from_v1' and is 'orders:from_old'"
                )
            ],
        ),
    ],
)
def test_versions_that_are_accepted_count(
    tmp_path: Path, edit: tuple[str, str], said: list[str]
) -> None:
    """Each is told by its number, whichever way it changed."""
    more = ('{ "1"', '{ "2" = "orders:from_v2", "1"')
    edits = (edit, more) if "[1, 2, 3]" in edit[1] else (edit,)
    old, new = form(tmp_path, VERSIONED), form(tmp_path, VERSIONED, *edits)

    assert describe_changes(old, new) == said
    assert describe_changes(new, old) == [
        each.replace("is accepted now", "is no longer accepted").replace(
            "was 'orders:from_v1' and is 'orders:from_old'",
            "was 'orders:from_old' and is 'orders:from_v1'",
        )
        for each in said
    ]


def test_an_older_version_with_another_content_is_another_machine(tmp_path: Path) -> None:
    """What it lets through would be made newer."""
    machine = orders(tmp_path, VERSIONED)
    old = canonical(machine, contract_digests=CONTRACTS)
    new = canonical(machine, contract_digests={**CONTRACTS, "contracts/order@1.json": "bb"})

    assert describe_changes(old, new) == [
        'version 1 of the contract of "validating" has another content'
    ]


@pytest.mark.parametrize(
    "edit",
    [
        ('retry = "transient"', "retry = { max_attempts = 9 }"),
        (
            'contract = "contracts/order.json"',
            'contract = "contracts/order.json"\nmax_rejects = "5%"',
        ),
        ('timeout = "20m"', 'timeout = "1h"\nexecutor = "thread"\nbatch_size = 5'),
        ('timeout = "20m"', 'timeout = "20m"\nuses = ["crm-api"]'),
        ('deadline = "6h"', 'deadline = "7h"\nwhy = "for people"  # and a comment'),
        (
            'on = { ok = "extracting" }',
            'on = { timeout = "failed", ok = "extracting", error = "failed" }',
        ),
        ('run = "orders:clean"', 'run = "orders:clean"\neffect = "at_least_once"'),
    ],
)
def test_what_may_change_between_crash_and_resume_does_not_count(
    tmp_path: Path, edit: tuple[str, str]
) -> None:
    """Policy, use, deadline, `why`, comments, the order of keys, and what is implied anyway."""
    assert digest(form(tmp_path)) == digest(form(tmp_path, edit))


def test_the_order_of_states_does_not_count(tmp_path: Path) -> None:
    """Tables of the file may be moved about."""
    head, *states = ORDERS.split("\n[states.")
    moved = "\n[states.".join([head, *reversed(states)])
    machine = load_machine(written(tmp_path, moved))

    assert digest(canonical(machine, contract_digests=CONTRACTS)) == digest(form(tmp_path))


@settings(max_examples=50)
@given(old=machines(), new=machines())
def test_there_is_a_sentence_exactly_if_the_digests_differ(old: Machine, new: Machine) -> None:
    """No change goes unsaid, and nothing is said of equal machines."""
    one = canonical(old, contract_digests=CONTRACTS)
    other = canonical(new, contract_digests=CONTRACTS)

    assert bool(describe_changes(one, other)) == (digest(one) != digest(other))


def test_another_way_of_writing_definitions_down_is_told(tmp_path: Path) -> None:
    """A store of another release may hold a form that says the same otherwise."""
    old = form(tmp_path)

    assert describe_changes(old, {**old, "form": 0}) == [
        "the definition is written down in another form"
    ]


def test_a_mode_that_the_key_says_anyway_changes_nothing(tmp_path: Path) -> None:
    """Writing down what was so before is no other machine; nor are digests of old releases."""
    said = form(tmp_path, ('key = ["order_id"]', 'key = ["order_id"], mode = "upsert"'))

    assert said == form(tmp_path)
    assert "mode" not in said["states"]["loading"]["task"]


def test_of_a_post_the_body_counts_but_not_what_is_declared_and_no_credential(
    tmp_path: Path,
) -> None:
    """Another body is cut into other requests; a credential is renewed while instances run."""

    def posting(more: str) -> dict[str, Any]:
        load = f'load = {{ to = "https://h/x"{more} }}'
        return form(
            tmp_path,
            ('load = { to = "sqlite:///shop.db", table = "orders", key = ["order_id"] }', load),
        )

    plain = posting("")

    assert posting(', effect = "exactly_once", auth = "env:A", body = "array"') == plain
    assert describe_changes(plain, posting(', body = "record"')) == [
        "the body of \"loading\" was 'array' and is 'record'"
    ]


def test_the_contract_of_a_table_counts_and_what_is_done_about_its_columns_does_not(
    tmp_path: Path,
) -> None:
    """A load that refused a column goes on when its author says "add"."""
    made = ('key = ["order_id"]', 'key = ["order_id"], contract = "contracts/order.json"')
    adds = (made[0], made[1] + ', columns = "add"')
    machine = orders(tmp_path, made)
    old = canonical(machine, contract_digests=CONTRACTS)
    new = canonical(machine, contract_digests={"contracts/order.json": "bb"})

    assert form(tmp_path, made) == form(tmp_path, adds)
    assert describe_changes(old, new)[-1] == (
        'contract "contracts/order.json" of the table of "loading" has another content'
    )
