"""
The stage that schedules play on: a store, two places for processes, and the judging of each step.

    Theatre     what the rules of `test_model.py` and `senders.py` need, over those of `starters.py`
"""

from hypothesis.stateful import invariant

from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.states import of_state
from statepipe.runtime.reasons.story import told
from statepipe.store import liveness
from statepipe.store.codec import decode
from statepipe.store.questions.evidence import gathered
from tests.runtime.triggered import at_ms
from tests.spec.machines import FOLLOWER, KEYS, MODEL, PARTITION
from tests.spec.occasions import DAY_MS, HOUR_MS, Emits, Partitions, Years
from tests.spec.processes import AT_ONCE_MAX, Play, Process
from tests.spec.promises import RULED, Instance, Moment, Row, Wake
from tests.spec.starters import Starters

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
_WHO = """
SELECT i.id, d.machine, i.params
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.n = ?
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


class Theatre(Starters):
    """What every rule needs, and what must hold after each of them."""

    periods_ms = (HOUR_MS, DAY_MS, 400 * DAY_MS)
    started_max = 5

    def __init__(self) -> None:
        self.arrived = Emits()
        self.delivered = Partitions()
        triggers = {
            "model.on-arrived": self.arrived,
            "model.yearly": Years(catchup="last"),
            "follower.on-model": self.delivered,
        }
        super().__init__(MODEL, FOLLOWER, triggers=triggers)
        self.clock.set_wall(at_ms("2023-12-31T23:30:00Z"))
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

    def noticed(self) -> None:
        """As `Starters`: what was started is judged as everything is."""
        self._judge(None)

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
        rows = self.people.connection.execute(_NOW).fetchall()
        counted = self.people.connection.execute(_STAGED).fetchall()
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
        assert self.people.connection.execute(_SENT).fetchall() == sent, "taken once, by order"
        emitted = self.people.connection.execute(_EMITTED).fetchall()
        assert emitted == list(self.emits.values()), "the first one wins"

    @invariant()
    def each_emit_is_late_for_those_whose_wait_had_ended(self) -> None:
        """Who may miss something is known, and who has missed it, once each."""
        if self.cli is None:
            return
        event, rule = RULED
        models = self.instances.values()
        asking = [(each.n, event, each.key, rule) for each in models if each.waited]
        assert self.people.connection.execute(_WAITED).fetchall() == asking
        late = [(each.n, *row) for each in models for row in each.late]
        assert self.people.connection.execute(_LATE).fetchall() == late

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
        known = gathered(self.people.connection, model.id, state=state, clock=self.clock)
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
        lives = {
            worker.n: worker.boot_id == self.clock.boot_id
            and worker.pid in self.pids
            and worker.deadline_boot_ms > self.clock.boot_ms()
            for worker in liveness.workers(self.people.connection)
        }
        return Moment(
            self.clock.now_ms(),
            self.clock.boot_ms(),
            self.clock.boot_id,
            None if process is None else process.worker.n,
            lambda n: lives.get(n, False),
            process is not None and process.ending,
            {n: Wake(*wake) for n, *wake in self.people.connection.execute(_WAKES)},
            {each.key: self._emitted(each.key) for each in self.instances.values()},
        )

    def _emitted(self, key: str) -> list[str]:
        return [event for event, of in self.emits if of == key]

    def _judge(self, process: Process | None) -> Moment:
        """Judge what the journal has got since the last look."""
        for slot in self.slots:
            for play in [] if slot is None else slot.plays:
                if play.future in slot.timed_out and play.future.done():  # type: ignore[union-attr]  # it is there by now
                    slot.timed_out.remove(play.future)  # type: ignore[union-attr]  # it is there by now
                    if play.call["epoch"] == self._instance(play).epoch:
                        self._instance(play).ended("timeout", self.clock.boot_ms())
        at = self._moment(process)
        for row in self.people.connection.execute(_ROWS, (self.seen,)).fetchall():
            self.seen += 1
            self._play(Row(*row), at)
        sql = "SELECT instance, seq, event, target FROM journal"
        journal = set(self.people.connection.execute(sql))
        told = self.told + [each for slot in self.slots if slot for each in slot.told]
        assert journal.issuperset(told), "acknowledged, and not there"
        return at

    def _play(self, row: Row, at: Moment) -> None:
        if row.kind == "create":
            self._born(row)
            return
        instance = self.instances[row.instance]
        instance.apply(row, at)
        if row.kind == "rewind":
            self.delivered.undone(instance.id)
        elif (row.kind, row.target, instance.key) == ("move", "done", PARTITION):
            listened = instance.key if instance.machine == MODEL.name else None
            self.delivered.done(listened, instance.id, row.at_ms)

    def _born(self, row: Row) -> None:
        """Take over an instance; what a trigger starts is given what its occasion says."""
        assert (row.seq, row.epoch, row.generation) == (1, 0, 1)
        ((name, machine, params),) = self.people.connection.execute(_WHO, (row.instance,))
        key = decode(params)["key"]
        self.instances[row.instance] = Instance(name, row.instance, machine, key, row.at_ms)
        if row.note is not None:
            trigger, occasion = row.note.removeprefix("trigger ").split(", ")
            assert occasion in self.triggers[trigger].had, "it is one of its occasions"
            assert trigger.split(".")[0] == machine
            assert key == (occasion if occasion in KEYS else KEYS[1])

    def _judge_call(self, play: Play) -> None:
        """An attempt goes on exactly after the last commit."""
        instance = self._instance(play)
        if play.future.done() or play.call["epoch"] != instance.epoch:
            return
        cursor = play.call["cursor"]
        assert play.call["attempt"] == instance.attempt + 1
        assert play.call["next"] == instance.batches
        assert cursor == (instance.batches or None)
