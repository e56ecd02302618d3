"""Upcasters for tests, found by their names in a call."""

from typing import Any

from statepipe import Fatal, Reject


def from_v1(record: dict[str, Any]) -> dict[str, Any]:
    """Version 2 says cents and a currency where version 1 said euros."""
    if record["euros"] == 13:
        raise Reject(record, "nobody knows what it was")
    if record["euros"] == 14:
        raise KeyError("rate")
    record["cents"] = record.pop("euros") * 100
    record["currency"] = "EUR"
    record.get("tags", []).append("old")
    return record


def from_v2(record: dict[str, Any]) -> dict[str, Any]:
    """Version 3 has both in one field."""
    return {"id": record["id"], "price": f"{record['cents']} {record['currency']}"}


def nothing(_record: dict[str, Any]) -> None:
    """Forget to return."""


def hang_up(_record: dict[str, Any]) -> None:
    """Fail for a reason that is not the record's."""
    raise ConnectionError("gone")


def give_up(_record: dict[str, Any]) -> None:
    """Fail for good."""
    raise Fatal("the table of rates is missing")
