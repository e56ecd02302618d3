"""
The stage that schedules play on: a store, two places for processes, and the judging of each step.

    Theatre     everything but the rules, which are `test_model.py`'s and `senders.py`'s
"""

from hypothesis.stateful import invariant

from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.states import of_state
from statepipe.runtime.reasons.story import told
from statepipe.store import liveness
from statepipe.store.questions.evidence import gathered
from tests.spec.house import House
from tests.spec.machines import MODEL
from tests.spec.processes import AT_ONCE_MAX, Play, Process
from tests.spec.promises import RULED, Instance, Moment, Row, Wake

#: After so many steps `why` is asked; it takes longer than most of them.
WHY_EACH = 6

_ROWS = """
SELECT instance, seq, epoch, generation, at_ms, kind, event, source, target, attempt, error_class,
       note
  FROM journal
 WHERE n > ?
 ORDER BY n
"""
_WAKES = """
SELECT n, wake_at_ms, wake_delay_ms, wake_boot_ms, wake_boot_id
  FROM instance
 WHERE wake_boot_id IS NOT NULL
"""
_NOW = """
SELECT id, n, status, state, epoch, seq, generation, attempt, lost, batches, worker,
       iif(forced AND request = 'cancel', 'kill', request), failed_state, entered_at_ms,
       wake_at_ms, wake_delay_ms, wake_boot_ms, wake_boot_id
  FROM instance
 ORDER BY n
"""
_STAGED = """
SELECT i.n, b.visit, count(*)
  FROM instance i
  JOIN batch b ON b.instance = i.n AND b.generation = i.generation AND b.state = i.state
 GROUP BY i.n, b.visit
"""
_SENT = "SELECT instance, seq, event, taken_seq FROM signal ORDER BY instance, seq"
_WAITED = """
SELECT w.instance, w.event, w.key, w.late
  FROM waited w
  JOIN instance i ON i.n = w.instance AND i.generation = w.generation
 ORDER BY w.instance
"""
_LATE = "SELECT instance, event, key, generation FROM late_event ORDER BY instance, n"
_EMITTED = "SELECT event, key, params, repeats FROM emitted ORDER BY n"


class Theatre(House):
    """What every rule needs, and what must hold after each of them."""

    def __init__(self) -> None:
        super().__init__(MODEL)
        self.instances: dict[int, Instance] = {}
        self.emits: dict[tuple[str, str], tuple[str, str, bytes, int]] = {}
        self.told: list[tuple[int, int, str, str]] = []
        self.seen = self.steps = 0

    def bury(self, slot: int) -> None:
        """Throw a process away; what it was told must be in the journal for ever (R1)."""
        process = self.slots[slot]
        if process is not None:
            self.told += process.told
        super().bury(slot)

    def _act(self, slot: int, pick: int, act: str) -> None:
        """Let a task ask for the commit of its next batch, or end."""
        play = self.pick(slot, pick, state="extracting" if act == "batch" else None)
        if play is None:
            return
        if act == "batch":
            play.batch()
            return
        instance = self._instance(play)
        if play.call["epoch"] == instance.epoch:
            instance.ended(act, self.clock.boot_ms())
        play.finish(act)

    # ---- what must hold ---------------------------------------------------------------

    @invariant()
    def every_row_is_as_the_model_says(self) -> None:
        """Compare each instance; and the store's own rules."""
        if self.cli is None:
            return
        rows = self.cli.connection.execute(_NOW).fetchall()
        counted = self.cli.connection.execute(_STAGED).fetchall()
        staged = {(n, visit): count for n, visit, count in counted}
        assert len(rows) == len(self.instances)
        for row in rows:
            model = self.instances[row[1]]
            wake = None if row[-1] is None else Wake(*row[-4:])
            assert row[:-4] == (
                model.id,
                model.n,
                model.status,
                model.state,
                model.epoch,
                model.seq,
                model.generation,
                model.attempt,
                model.lost,
                model.batches,
                model.holder,
                model.request,
                model.failed_state,
                model.entered_at_ms,
            )
            assert wake == model.wake, "a timer is set once"
            if model.state == "extracting":
                assert staged.get((model.n, model.visit), 0) == model.batches, (
                    "no batch lost or doubled"
                )
        sent = [
            (each.n, one.seq, one.event, one.taken_seq)
            for each in self.instances.values()
            for one in each.sent
        ]
        assert self.cli.connection.execute(_SENT).fetchall() == sent, "taken once, by order"
        emitted = self.cli.connection.execute(_EMITTED).fetchall()
        assert emitted == list(self.emits.values()), "the first one wins"

    @invariant()
    def each_emit_is_late_for_those_whose_wait_had_ended(self) -> None:
        """Who may miss something is known, and who has missed it, once each."""
        if self.cli is None:
            return
        event, rule = RULED
        models = self.instances.values()
        asking = [(each.n, event, each.key, rule) for each in models if each.waited]
        assert self.cli.connection.execute(_WAITED).fetchall() == asking
        late = [(each.n, *row) for each in models for row in each.late]
        assert self.cli.connection.execute(_LATE).fetchall() == late

    @invariant()
    def no_more_use_the_resource_than_it_has_slots(self) -> None:
        """Count attempts of live processes, of those too that were overtaken and do not know."""
        at_once = sum(
            play.call["state"] == "extracting" and not play.future.done()
            for process in self.slots
            if process is not None
            for play in process.plays
        )
        assert at_once <= AT_ONCE_MAX

    @invariant()
    def everything_has_a_reason(self) -> None:
        """`why` answers whatever has happened, of an instance and of its states; one in turn."""
        self.steps += 1
        if self.cli is None or not self.instances or self.steps % WHY_EACH:
            return
        model = self._any(self.seen)
        state = ("extracting", "deciding", "approving", "failed")[self.seen % 4]
        known = gathered(self.cli.connection, model.id, state=state, clock=self.clock)
        now_ms = self.clock.now_ms()
        for said in (reasons(known, now_ms=now_ms), of_state(known, state, now_ms=now_ms)):
            assert said, f"{model.id} in {model.state}, {model.status}, {state}"
            assert len({each.code for each in said}) == len(said)
        assert all(told(row) for row in known.journal.rows)

    # ---- inside -----------------------------------------------------------------------

    def _any(self, pick: int) -> Instance:
        return list(self.instances.values())[pick % len(self.instances)]

    def _instance(self, play: Play) -> Instance:
        return next(i for i in self.instances.values() if i.id == play.call["instance"])

    def _moment(self, process: Process | None) -> Moment:
        assert self.cli is not None
        lives = {
            worker.n: worker.boot_id == self.clock.boot_id
            and worker.pid in self.pids
            and worker.deadline_boot_ms > self.clock.boot_ms()
            for worker in liveness.workers(self.cli.connection)
        }
        return Moment(
            self.clock.now_ms(),
            self.clock.boot_ms(),
            self.clock.boot_id,
            None if process is None else process.worker.n,
            lambda n: lives.get(n, False),
            process is not None and process.ending,
            {n: Wake(*wake) for n, *wake in self.cli.connection.execute(_WAKES)},
            {each.key: self._emitted(each.key) for each in self.instances.values()},
        )

    def _emitted(self, key: str) -> list[str]:
        return [event for event, of in self.emits if of == key]

    def _judge(self, process: Process | None) -> Moment:
        """Judge what the journal has got since the last look."""
        assert self.cli is not None
        for slot in self.slots:
            for play in [] if slot is None else slot.plays:
                if play.future in slot.timed_out and play.future.done():  # type: ignore[union-attr]  # it is there by now
                    slot.timed_out.remove(play.future)  # type: ignore[union-attr]  # it is there by now
                    if play.call["epoch"] == self._instance(play).epoch:
                        self._instance(play).ended("timeout", self.clock.boot_ms())
        at = self._moment(process)
        for row in self.cli.connection.execute(_ROWS, (self.seen,)).fetchall():
            self.seen += 1
            self.instances[row[0]].apply(Row(*row), at)
        sql = "SELECT instance, seq, event, target FROM journal"
        journal = set(self.cli.connection.execute(sql))
        told = self.told + [each for slot in self.slots if slot for each in slot.told]
        assert journal.issuperset(told), "acknowledged, and not there"
        return at

    def _judge_call(self, play: Play) -> None:
        """An attempt goes on exactly after the last commit."""
        instance = self._instance(play)
        if play.future.done() or play.call["epoch"] != instance.epoch:
            return
        cursor = play.call["cursor"]
        assert play.call["attempt"] == instance.attempt + 1
        assert play.call["next"] == instance.batches
        assert cursor == (instance.batches or None)
