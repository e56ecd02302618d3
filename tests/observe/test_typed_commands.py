"""What alerts and panels tell people to type is a command that exists."""

import re

import pytest

from statepipe.observe import shipped
from tests.house.commands import missing
from tests.observe.queries import panels, rules


def _typed() -> set[str]:
    texts = [
        *(rule["annotations"]["description"] for rule in rules() if "annotations" in rule),
        *(panel["description"] for each in shipped.BOARDS for panel in panels(each.name)),
    ]
    return {call for text in texts for call in re.findall(r"`(statepipe [^`]+)`", text)}


@pytest.mark.parametrize("call", sorted(_typed()))
def test_what_people_are_told_to_type_exists(call: str) -> None:
    """In the middle of the night nobody looks up what the option was called."""
    filled = re.sub(r"\{\{[^}]*\}\}", "orders", call)

    assert not missing(filled)
