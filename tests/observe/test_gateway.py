"""A group at a Pushgateway: put there, and taken away again."""

from collections.abc import Iterator

import pytest

from statepipe.errors import Unreachable, UsageError
from statepipe.observe.gateway import Group
from tests.observe.gateways import Gateway, running
from tests.observe.scenery import collected, shown, snapshot


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Run a gateway while a test goes on."""
    with running() as server:
        yield server


def test_a_put_replaces_the_group_with_the_text_format(gateway: Gateway) -> None:
    """PUT, not POST: what an earlier push left there goes."""
    Group(url=gateway.url, job="nightly", instance="ware/house").put(collected(snapshot()))

    (asked,) = gateway.asked
    assert (asked.method, asked.path) == (
        "PUT",
        "/metrics/job/nightly/instance@base64/d2FyZS9ob3VzZQ==",
    )
    assert shown(asked.body)["statepipe_instances machine=m state=one"] == 0


def test_a_delete_names_the_same_group(gateway: Gateway) -> None:
    """And no other: other jobs keep theirs."""
    Group(url=gateway.url, job="nightly").delete()

    assert [each[:2] for each in gateway.asked] == [("DELETE", "/metrics/job/nightly")]


def test_a_gateway_behind_a_password_gets_it(gateway: Gateway) -> None:
    """From a file, in a header; it is in no message and no repr."""
    group = Group(url=gateway.url, job="j", user=("me", "s3cret"))

    group.delete()
    gateway.status = 401
    with pytest.raises(Unreachable) as refused:
        group.put(collected(snapshot()))

    assert [each.authorization for each in gateway.asked] == ["Basic bWU6czNjcmV0"] * 2
    assert "s3cret" not in f"{group!r}{refused.value}{refused.value.next_step}"


def test_a_gateway_that_refuses_is_quoted(gateway: Gateway) -> None:
    """It knows best what it did not like."""
    gateway.status = 400

    with pytest.raises(Unreachable, match="400 Bad Request: as the gateway says"):
        Group(url=gateway.url, job="j").put(collected(snapshot()))


def test_a_gateway_that_is_not_there_is_an_error_of_ours() -> None:
    """With what it means for the group."""
    with Gateway() as gone:
        url = gone.url

    with pytest.raises(Unreachable, match="refused") as refused:
        Group(url=url, job="j").delete()
    assert "still there" in refused.value.meaning


@pytest.mark.parametrize(
    ("url", "job"),
    [
        ("gateway:9091", "j"),
        ("ftp://gateway", "j"),
        ("http://", "j"),
        ("http://gateway:port", "j"),
        ("http://me:s3cret@gateway:9091", "j"),
        ("//me:s3cret@gateway", "j"),
        ("http://gateway:9091", ""),
    ],
)
def test_what_is_no_place_to_push_to_is_refused(url: str, job: str) -> None:
    """Before anything is read; a password in a URL is seen by everybody, and never repeated."""
    with pytest.raises(UsageError) as refused:
        Group(url=url, job=job)

    assert "s3cret" not in str(refused.value)
