"""Quantities as people write them: what they are worth, and what is none."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.units import parse_share


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("5%", Fraction(1, 20)),
        ("0%", Fraction(0)),
        ("100 %", Fraction(1)),
        ("0.5%", Fraction(1, 200)),
    ],
)
def test_a_share_is_exact(text: str, share: Fraction) -> None:
    """A limit of 5% of 20 records is one record, whatever a float makes of it."""
    assert parse_share(text) == share


@given(st.decimals(0, 100, places=3))
def test_every_share_that_can_be_written_is_read(percent: object) -> None:
    """From nothing to everything."""
    assert parse_share(f"{percent}%") == Fraction(str(percent)) / 100


@pytest.mark.parametrize("text", ["5", "%", "-5%", "100.1%", "1e1%", "5 %%", "५%", ".5%", "nan%"])
def test_what_is_no_share_is_refused_with_an_example(text: str) -> None:
    """Rather a refusal than a limit nobody meant."""
    with pytest.raises(ValueError, match=r'is not a share; write "5%"'):
        parse_share(text)
