"""
The kills of this suite again, at every statement where CI leaves some out.
"""

import pytest

from tests.io.conformance import test_protocol, test_replace
from tests.io.warehouse import Warehouse

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

_T = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'b'))"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("key", "table"), [((), ""), ((), _T), (("id",), _T)])
def test_a_load_killed_at_any_statement(
    warehouse: Warehouse, *, after: bool, key: tuple[str, ...], table: str
) -> None:
    """No statement is left out."""
    warehouse.stride = 1

    test_protocol.test_a_load_killed_at_any_statement_lands_once(
        warehouse, after=after, key=key, table=table
    )


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("table", ["", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"])
def test_a_replacement_killed_at_any_statement(
    warehouse: Warehouse, *, after: bool, table: str
) -> None:
    """No statement is left out."""
    warehouse.stride = 1

    test_replace.test_a_replacement_killed_at_any_statement_is_whole_or_absent(
        warehouse, after=after, table=table
    )
