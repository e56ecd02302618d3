"""
People who tell instances what they wait for: by a signal to one, or an emit with a key to all.

    Senders     the rules by which they do so
"""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from statepipe.errors import Refused
from statepipe.store.codec import encode
from statepipe.store.walk import emissions, signals
from tests.spec.house import PICK, answered
from tests.spec.promises import EVENTS, RULED
from tests.spec.theatre import Theatre

#: So that everything ends: one that is sent "more" goes round once more.
SENT_MAX = 8
#: What was emitted stays: "more" would never end.
EMITTED = ("approved", "arrived")


class Senders(Theatre):
    """Send and emit at any moment: before the wait, in it, after the end; again and again."""

    @rule(pick=PICK, event=st.sampled_from(EVENTS))
    def signal(self, pick: int, event: str) -> None:
        """Send an event; it is kept until the wait, unless the instance has ended."""
        instance = self._any(pick)
        if len(instance.sent) >= SENT_MAX:
            return
        ended = instance.status not in ("ready", "paused") or instance.request in ("cancel", "kill")
        params = {"sent": len(instance.sent)}
        sent = answered(signals.send, self.people, instance.id, event, params, reason=None)
        self._judge(None)
        if ended:
            assert sent is Refused
            return
        assert (sent.instance, sent.seq) == (instance.n, instance.seq)
        assert sent.is_awaited == (instance.state == "approving")

    @rule(key=st.sampled_from(["k0", "k1"]), event=st.sampled_from(EMITTED))
    def emit(self, key: str, event: str) -> None:
        """Emit an event; the first one wakes all that rest for it, and is late for some."""
        if self.cli is None:
            return
        _, _, first, repeats = self.emits.get((event, key), (event, key, b"", -1))
        params = {"emitted": repeats + 1}
        resting = {
            each.n
            for each in self.instances.values()
            if each.key == key and each.is_waiting and repeats < 0
        }
        late = {
            each.n
            for each in self.instances.values()
            if each.key == key and each.waited and each.state != "approving"
        }
        emitted = emissions.emit(self.people, event, key, params, reason=None)
        self.emits[event, key] = (event, key, first or encode(params), repeats + 1)
        if repeats < 0:
            listened = key if event == "arrived" else None
            self.arrived.emitted(listened, len(self.emits), self.clock.now_ms())
        self._judge(None)
        if event == RULED[0] and repeats < 0:
            for each in self.instances.values():
                if each.key == key:
                    each.is_told_too_late(event)
            assert set(emitted.late) == {(n, RULED[1]) for n in late}
        else:
            assert emitted.late == (), "nobody minds, or it was judged"
        assert emitted.repeats == repeats + 1
        assert {n for n, _ in emitted.woken} == resting
        assert not any(self.instances[n].is_waiting for n in resting)
