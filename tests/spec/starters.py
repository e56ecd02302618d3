"""
What starts by itself: two workers look at triggers and a person steers them, at any moment.

    Starters    the rules by which they do so, and what must hold of occasions
"""

import random
from typing import Any, ClassVar
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from statepipe.errors import Refused
from statepipe.machine.definition import Machine
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.triggers.asking import missing, named
from statepipe.runtime.triggers.steering import Triggers
from statepipe.runtime.triggers.watch import Watch
from statepipe.store.triggers import deciding
from tests.spec.house import PICK, SLOTS, House, answered
from tests.spec.occasions import Listener
from tests.spec.playing import HOWS

_STARTED = """
SELECT t.machine || '.' || t.name, t.position, o.key, i.n
  FROM machine_trigger t
  LEFT JOIN occasion o ON o.trigger = t.n
  LEFT JOIN instance i ON i.id = o.instance
"""
# Whom a person starts comes without a word.
_BEGUN = "SELECT count(*) FROM journal WHERE seq = 1 AND note IS NOT NULL"


class Starters(House):
    """
    Look, pause, go on, fill in the past; die around a decision, or be overtaken before it.

    Attributes:
        periods_ms: How far back a person asks for occasions that were missed.
        started_max: So many instances, and nobody asks for more.
        triggers: The model of each, by its whole name.
    """

    periods_ms: ClassVar[tuple[int, ...]]
    started_max: ClassVar[int]

    def __init__(self, *machines: Machine, triggers: dict[str, Listener]) -> None:
        super().__init__(*machines)
        self.triggers = triggers
        self.declared = False
        self.person = Triggers(
            self.scene.catalog,
            clock=self.clock,
            observers=Observers(),
            rng=random.Random(0),
            store=lambda: self.people,
            program_of=lambda name: next(p for p in self._programs() if p.name == name),
        )

    def noticed(self) -> None:
        """Take over what was started, once the model of its trigger has decided the same."""

    # ---- what happens -----------------------------------------------------------------

    @rule(slot=SLOTS)
    def look(self, slot: int) -> None:
        """Let a worker look; after it nothing is left that it should have started."""
        self._watch(slot).turn()
        self._decide_all()

    # ---- faults -----------------------------------------------------------------------

    @rule(slot=SLOTS, nth=st.integers(1, 5), how=st.sampled_from(HOWS))
    def crash_in_a_look(self, slot: int, nth: int, how: str) -> None:
        """Kill a worker around a commit of its look, or let its disk fail there."""
        self._watch(slot)
        if not self.boot(slot).look_and_die(nth=nth, how=how):
            self._decide_all()
        self.bury(slot)
        for name, (position, keys) in self._started().items():
            self.triggers[name].decide_until(keys, position, self.clock.now_ms())
        self.noticed()

    @rule(slot=SLOTS, pick=st.none() | PICK)
    def be_overtaken_in_a_look(self, slot: int, pick: int | None) -> None:
        """Between a look and its decision another worker decides, or a person pauses a trigger."""
        watch, other = self._watch(slot), self._watch(1 - slot)
        decide = deciding.decide
        meanwhile = [True]

        def slow(*args: Any, **kwargs: Any) -> deciding.Decided | None:  # noqa: ANN401  (as it is called)
            if meanwhile and meanwhile.pop():
                if pick is None:
                    other.turn()
                else:
                    self.pause(pick=pick)
            return decide(*args, **kwargs)

        with mock.patch.object(deciding, "decide", slow):
            watch.turn()
        self._decide_all()

    # ---- people -----------------------------------------------------------------------

    @precondition(lambda self: self.declared)
    @rule(pick=PICK)
    def pause(self, pick: int) -> None:
        """Pause a trigger, unless it is paused."""
        self._steer(pick, paused=True)

    @precondition(lambda self: self.declared)
    @rule(pick=PICK)
    def unpause(self, pick: int) -> None:
        """Let a trigger go on: what came meanwhile is decided upon with the next look."""
        self._steer(pick, paused=False)

    @precondition(lambda self: self.declared and self._begun() < self.started_max)
    @rule(pick=PICK, back=PICK, is_over=st.booleans())
    def backfill(self, pick: int, back: int, *, is_over: bool) -> None:
        """Start what a period of the past has not had, paused or not; no occasion has two."""
        name = self._name(pick)
        now_ms = self.clock.now_ms()
        from_ms = now_ms - self.periods_ms[back % len(self.periods_ms)]
        period = {"from_ms": from_ms, "until_ms": now_ms - is_over * self.periods_ms[0]}
        machine, trigger = named(self.scene.catalog, name)
        found = missing(machine, trigger, self.people.connection, **period, now_ms=now_ms)
        made = self.person.backfill(name, found.occasions, reason="a person")
        model = self.triggers[name]
        asked = model.between(**period)
        assert len(made.started) == len(asked - model.had)
        model.had |= asked
        self.noticed()

    # ---- what must hold ---------------------------------------------------------------

    @invariant()
    def each_occasion_has_one_instance(self) -> None:
        """Compare what was started with what must have been, and count the instances."""
        if self.declared:
            for name, (position, keys) in self._started().items():
                model = self.triggers[name]
                assert (keys, position) == (model.had, model.position), name

    # ---- inside -----------------------------------------------------------------------

    def _watch(self, slot: int) -> Watch:
        """Return what a worker looks with; what the first one sees of triggers begins then."""
        watch = self.boot(slot).watch
        if not self.declared:
            self.declared = True
            for model in self.triggers.values():
                model.begin(self.clock.now_ms())
        return watch

    def _decide_all(self) -> None:
        for model in self.triggers.values():
            model.decide_all(self.clock.now_ms())
        self.noticed()

    def _steer(self, pick: int, *, paused: bool) -> None:
        name = self._name(pick)
        model = self.triggers[name]
        steer = self.person.pause if paused else self.person.unpause
        answer = answered(steer, name, reason="a person")
        assert answer is (Refused if model.paused == paused else None)
        model.paused = paused

    def _go_on(self) -> None:
        for pick in range(len(self.triggers)):
            self._steer(pick, paused=False)

    def _name(self, pick: int) -> str:
        return list(self.triggers)[pick % len(self.triggers)]

    def _begun(self) -> int:
        ((count,),) = self.people.connection.execute(_BEGUN).fetchall()
        return int(count)

    def _started(self) -> dict[str, tuple[int, set[str]]]:
        """Return how far each trigger has come, and the keys that have an instance of their own."""
        started: dict[str, tuple[int, set[str]]] = {}
        numbers = set()
        for name, position, key, n in self.people.connection.execute(_STARTED):
            _, keys = started.setdefault(name, (int(position), set()))
            if key is not None:
                assert n is not None, "what was started is there"
                assert n not in numbers, "and started once"
                numbers.add(n)
                keys.add(key)
        assert self._begun() == len(numbers), "and none without an occasion"
        return started
