"""
What a kind of trigger has to say; everything else is the same for all of them.

    Kind        three functions: where it begins, what is due, what a period holds
    Asked       what they are given
    Due         what is due, and where to go on
    Occasion    one thing to start an instance for

A kind starts and writes nothing, and remembers nothing that matters but its position, which the
store keeps: plain JSON of its own. It may be asked twice, or by two processes at once, and one
of the answers is thrown away then. An occasion that comes again under the same key starts
nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from statepipe.machine.triggers.trigger import Trigger
from statepipe.store.triggers.deciding import GROUP


class Asked(NamedTuple):
    """
    What is asked about.

    Attributes:
        name: The trigger's, with its machine: "orders.nightly".
        trigger: Its definition; `on` is of the kind's own class.
        now_ms: The wall clock.
        connection: Of the store, for reading by its own modules.
        boot_ms: The boot clock, for how long a thing has been so.
        memory: The kind's own, for as long as one process looks; None if it looks only once.
        most: How many occasions it may find, at least 1.
    """

    name: str
    trigger: Trigger
    now_ms: int
    connection: Any
    boot_ms: int = 0
    memory: dict[str, Any] | None = None
    most: int = GROUP


class Occasion(NamedTuple):
    """One thing to start an instance for: what names it for ever, and what its places stand for."""

    key: str  # 1..1,000 characters
    facts: Mapping[str, Any]  # plain values, by the place: "event.key"


class Due(NamedTuple):
    """
    What one look finds.

    Attributes:
        occasions: What is due, in order; `Asked.most` at most, the others at the next look.
        position: Where to go on after these; nothing is written if it is where it was.
        look_at_ms: When there may be more by the wall clock: now if there is; None if only
            something that is written into the store can change that.
        passed: How many occasions were passed over on the way.
        note: Which and why, for people; None if none were.
        error: Why it could not look; None if it could.
    """

    occasions: Sequence[Occasion]
    position: Any
    look_at_ms: int | None
    passed: int = 0
    note: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    One kind of trigger.

    Attributes:
        begin: The position of one that is seen for the first time: from now on.
        look: What is due after a position.
        between: The occasions of a period of the wall clock, both ends included, in order;
            without an end if that is None.
    """

    begin: Callable[[Asked], Any]
    look: Callable[[Asked, Any], Due]
    between: Callable[[Asked, int, int | None], Iterator[Occasion]]
