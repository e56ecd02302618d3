"""A machine that POSTs: what its end, a rewind and a look at it mean without a ledger."""

import pytest

from statepipe.errors import Refused
from statepipe.machine.states.tasks import Load
from statepipe.runtime.steering.outlook import outlook
from statepipe.store.reading import Reader
from tests.io.receiver import Receiver
from tests.io.scene import GOOD, Make
from tests.io.web import serving


def test_it_is_done_when_every_batch_was_answered(make: Make) -> None:
    """Nobody can be asked what is there, so nothing is sent again, not even what was rejected."""
    receiver = Receiver()
    with serving(receiver) as web:
        scene = make(Load(to=f"{web.url}/x", body="record"), [{"id": float("nan")}], [{"id": 3}])
        assert scene.run() == "done"

    assert receiver.taken == [*GOOD, {"id": 3}]
    assert set(receiver.keys.values()) == {1}
    assert [reason for _, reason in scene.rejects()] == [
        "/id: nan inside cannot be written as JSON"
    ]
    with Reader(scene.path) as reader:
        works = [leg.work for leg in outlook(reader.inspect("i")).legs]
    assert f"post to {web.url}/x" in works


def test_a_rewound_load_comes_under_other_keys(make: Make) -> None:
    """It is another load: a receiver that upserts by the key takes it over what it has."""
    receiver = Receiver()
    with serving(receiver) as web:
        scene = make(Load(to=f"{web.url}/x", key=("id",)))
        scene.run()
        scene.engine.rewind("i", to="extracting", reason="again")
        assert scene.engine.run(["i"]) == {"i": "done"}

    assert receiver.taken == GOOD * 2
    assert receiver.rows(key="id") == GOOD
    assert list(receiver.keys.values()) == [1, 1]


def test_what_was_sent_without_a_key_is_not_sent_again_by_a_rewind(make: Make) -> None:
    """It would be there twice; the error names the address."""
    receiver = Receiver()
    with serving(receiver) as web:
        scene = make(Load(to=f"{web.url}/x"))
        scene.run()

        with pytest.raises(
            Refused, match=f"^1 batch of 'i' was appended to '{web.url}/x', which has no key"
        ):
            scene.engine.rewind("i", to="extracting", reason="again")

    assert receiver.taken == GOOD
