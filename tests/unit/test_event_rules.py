"""What a machine file says of events: read, refused, checked, and what of it counts."""

from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.events import EventRule
from tests.unit.test_waits import loaded

RULE = '[events.approved]\nlate = "drop"\nschema = "contracts/approved@1.json"\n\n[states.done]'
PLACE = "[states.done]"


def test_a_file_says_what_python_says(tmp_path: Path) -> None:
    """By event; nothing is said of the others."""
    machine = loaded(tmp_path, PLACE, RULE)

    rule = EventRule(event="approved", late="drop", schema="contracts/approved@1.json")
    assert machine.events == (rule,)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('late = "drop"', 'late = "later"', "events.approved: late"),
        ('late = "drop"', "late = 3", "late is 3, not text"),
        ('late = "drop"', 'lat = "drop"', 'did you mean "late"'),
        ('"contracts/approved@1.json"', '""', "events.approved"),
        ("[events.approved]", "[events.aproved]", 'no state waits for "aproved"; did you mean'),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """By its place, and with what to write instead."""
    assert old in RULE

    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, PLACE, RULE.replace(old, new))

    assert told in refused.value.message
    assert refused.value.next_step


def test_a_schema_counts_as_the_machine_and_lateness_is_policy(tmp_path: Path) -> None:
    """A machine without schemas keeps the digest it had."""
    plain = canonical(loaded(tmp_path), contract_digests={})
    late = canonical(
        loaded(tmp_path, PLACE, '[events.approved]\nlate = "drop"\n\n[states.done]'),
        contract_digests={},
    )
    first = canonical(loaded(tmp_path, PLACE, RULE), contract_digests={})
    second = canonical(loaded(tmp_path, PLACE, RULE.replace("@1", "@2")), contract_digests={})

    assert digest(plain) == digest(late)
    assert describe_changes(plain, first) == ['schema of event "approved" was added']
    (said,) = describe_changes(first, second)
    assert said.endswith("was 'contracts/approved@1.json' and is 'contracts/approved@2.json'")
