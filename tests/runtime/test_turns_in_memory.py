"""The lines in which instances wait in memory for an executor."""

from statepipe.runtime.driving.turns import Turns


class Waiter:
    """As much of a drive as a line asks for."""

    def __init__(self, name: str, machine: int, priority: int = 0) -> None:
        self.name = name
        self.priority = priority
        self.program = self
        self.definition = machine


def test_in_memory_machines_take_turns_as_in_the_store() -> None:
    """Priority, then machines in turn, then age; whoever hurries goes before all of them."""
    turns = Turns()
    waiters = [Waiter(f"a{n}", 1) for n in range(4)] + [Waiter("b0", 2), Waiter("c0", 3, -1)]
    waiters += [Waiter("b1", 2), Waiter("high", 1, 9)]
    assert not turns
    for waiter in waiters:
        turns.put(waiter)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    gone, never = waiters[1], Waiter("never", 7)
    assert turns.forget(gone)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    assert not turns.forget(never)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    for name in ("wish", "later wish"):
        turns.hurry(Waiter(name, 1))  # type: ignore[arg-type]  # the wrong type, or keywords in a dict

    taken = []
    while turns:
        first = turns.first
        assert turns.take() is first
        taken.append(first.name)  # type: ignore[attr-defined]  # untyped, or private

    assert taken == ["later wish", "wish", "high", "a0", "b0", "a2", "b1", "a3", "c0"]
