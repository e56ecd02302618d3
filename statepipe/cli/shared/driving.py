"""
What run, resume and worker share: an engine, signals, progress, and how it ended.

    driving     open the engine; the first SIGTERM or SIGINT stops it, the second leaves
    Signals     those two, and which of them came
    Drivers     drive instances, say what became of them, return the exit code

A stopped command has released its instances: whoever resumes them need not wait.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, Final

import click

from statepipe.cli.shared.groups import group_facts, group_sentence
from statepipe.cli.shared.loglines import log_lines
from statepipe.cli.shared.oldmachines import OldMachines
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.progress import Progress
from statepipe.cli.shared.render import Output, first_line, shown_id
from statepipe.cli.shared.session import SPARE, Session
from statepipe.cli.shared.systemd import Systemd
from statepipe.clock import Clock, SystemClock
from statepipe.engine import Engine
from statepipe.errors import StatepipeError
from statepipe.model import Status
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.steering.again import Adopt
from statepipe.sharing import DEFAULT_QUEUE
from statepipe.store.reading import Reader
from statepipe.units import plural

EXIT_FAILED: Final = 1
_SHOW_CURSOR: Final = b"\x1b[?25h"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

#: The same signal again so soon is the same wish: `timeout` signals the process, and right after
#: it the group that the process is in.
_SAME_WISH_MS: Final = 500

#: Instances that one call of the engine drives; each turn of its loop asks for all of them.
DRIVEN_AT_ONCE_MAX: Final = 200


class Signals:
    """
    The two signals that end a command.

    Args:
        clock: Time; a test may own it.

    Attributes:
        received: The number of the first one, None so far.
    """

    def __init__(self, clock: Clock) -> None:
        self.received: int | None = None
        self._clock = clock
        self._received_ms = 0
        self._engine: Engine | None = None
        self._before = {number: signal.signal(number, self._heard) for number in _SIGNALS}

    def stop(self, engine: Engine) -> None:
        """Stop this engine at the first signal, at once if it has come."""
        self._engine = engine
        if self.received is not None:
            engine.stop(self.name)

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def name(self) -> str:
        """Its name, such as "SIGTERM"."""
        assert self.received is not None
        return signal.Signals(self.received).name

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        now_ms = self._clock.boot_ms()
        if number == self.received and now_ms < self._received_ms + _SAME_WISH_MS:
            return
        if self.received is not None:
            # Workers hold our lifeline: they and all they started die with us, and what
            # is left is the same as after kill -9. Only the cursor must not stay hidden.
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), _SHOW_CURSOR)
            os._exit(128 + number)
        self.received, self._received_ms = number, now_ms
        if self._engine is not None:
            self._engine.stop(self.name)


class Drivers:
    """
    Drives instances for one command.

    Attributes:
        engine: The open engine.
        out: Where to print.
    """

    def __init__(
        self, engine: Engine, *, out: Output, signals: Signals, progress: Progress
    ) -> None:
        self.engine = engine
        self.out = out
        self._signals = signals
        self._progress = progress
        self._results: list[dict[str, Any]] = []

    @property
    def is_stopped(self) -> bool:
        """True once a signal asked the command to end."""
        return self._signals.received is not None

    def run(self, instance: str) -> int:
        """Drive one instance to its end and return the exit code."""
        statuses = self.engine.run([instance])
        return self.report(statuses)

    def run_group(self, group: str) -> int:
        """Drive a group until its partitions rest and return the exit code."""
        self.engine.groups.run(group)
        return self.report_group(group)

    def resume_group(self, group: str, *, reason: str | None, adopts: bool) -> int:
        """Take a group's failed partitions back to work; else as `run_group`."""
        taken, _ = self.engine.groups.resume(group, reason=reason, adopts=adopts)
        self.out.note(f"{plural(taken, 'partition')} taken back to work")
        return self.report_group(group)

    def resume(
        self,
        ids: Sequence[str],
        *,
        reason: str | None,
        definition: Adopt,
        params: Mapping[str, Any] | None,
        on_refusal: Callable[[str, StatepipeError], None],
        together: bool,
    ) -> dict[str, str]:
        """
        Resume instances, some at a time; return the statuses of those that were reached.

        `on_refusal` is told of one that cannot be resumed, while the others are. If they are to
        begin `together`, a refusal before the first of them has been resumed is raised instead.
        """
        statuses: dict[str, str] = {}
        for start in range(0, len(ids), DRIVEN_AT_ONCE_MAX):
            if self.is_stopped:
                break
            some = ids[start : start + DRIVEN_AT_ONCE_MAX]
            statuses |= self.engine.resume(
                some,
                reason=reason,
                definition=definition,
                params=params,
                on_refusal=None if together and not start else on_refusal,
            )
        return statuses

    def retry(self, instance_id: str, part_id: str, *, reason: str | None) -> dict[str, str]:
        """Let one task of an instance go on; return the status of the instance."""
        statuses = self.engine.retry(instance_id, part_id, reason=reason)
        return {instance_id: statuses[instance_id]}

    def work(self, machines: Sequence[str], *, queues: Sequence[str], until_idle: bool) -> int:
        """Drive whatever is ready and return the exit code."""
        systemd = Systemd(os.environ, clock=SystemClock())
        old = OldMachines(self.engine.outdated, self._warn, clock=SystemClock())
        if not machines:
            self._say_left_out()
        for machine, count in self.engine.left_alone().items():
            self.out.note(
                f"{plural(count, 'instance')} of {machine} left alone: the machine is not the one"
                f" they began with   next: statepipe resume --all --machine {machine} --dry-run"
            )

        def turned() -> None:
            systemd.turned(stopping=self.is_stopped)
            old.turned()

        self.engine.work(
            machines or None,
            queues=queues or (DEFAULT_QUEUE,),
            until_idle=until_idle,
            turned=turned,
        )
        self._progress.close()
        ended = self._progress.ended
        if self.out.is_json:
            ways = (Status.DONE, Status.FAILED, Status.CANCELLED)
            self.out.value({status: ended[status] for status in ways})
        self.out.tell(
            f"{plural(ended[Status.DONE], 'instance')} done, {ended[Status.FAILED]:,} failed"
            + ("   next: statepipe ls --failed" if ended[Status.FAILED] else "")
        )
        return 0 if self._signals.received is None else 128 + self._signals.received

    def _say_left_out(self) -> None:
        for machine, error in self.engine.left_out().items():
            self._warn(f"{machine} is left out: {error.message}", f"statepipe check {machine}")

    def _warn(self, said: str, fix: str) -> None:
        log = logging.getLogger("statepipe")
        self.out.note(f"{said}   next: {fix}")
        if log.hasHandlers():  # or Python prints it
            log.warning("%s", said)

    def report(self, statuses: Mapping[str, str]) -> int:
        """Say what became of each instance, a line each, and return the exit code."""
        self._progress.close()
        with open_reader() as reader:
            results = [_result(reader, name) for name in statuses]
        if self.out.is_json:
            self.out.values(results)
        for each in results:
            self.out.tell(_sentence(each))
        if all(status == Status.DONE for status in statuses.values()):
            return 0
        if self._signals.received is not None and Status.READY in statuses.values():
            return 128 + self._signals.received
        return EXIT_FAILED

    def report_group(self, group: str) -> int:
        """Say what became of a group, in one line, and return the exit code."""
        self._progress.close()
        with open_reader() as reader:
            found = reader.group(group)
        if self.out.is_json:
            self.out.value(group_facts(found))
        self.out.tell(group_sentence(found))
        log = logging.getLogger("statepipe")
        if found.group.finished_at_ms is not None and log.hasHandlers():  # or Python prints it
            level = logging.INFO if found.group.status == Status.DONE else logging.ERROR
            log.log(level, "group %s", group_sentence(found, leads_on=False))
        if found.group.status == Status.DONE:
            return 0
        if self._signals.received is not None and found.group.finished_at_ms is None:
            return 128 + self._signals.received
        return EXIT_FAILED


@contextmanager
def driving(
    *,
    create: bool,
    detailed: bool = False,
    brief: bool = False,
    concurrency: int | None = None,
) -> Generator[Drivers]:
    """
    Open an engine for one command.

    Args:
        create: Make the store if it is missing.
        detailed: Say every batch, not only every move.
        brief: Say only what ended or failed.
        concurrency: How many instances, and tasks, at a time; None for the engine's choice.

    Raises:
        StoreUnusable, Busy, DefinitionError: As `Engine`.
    """
    out = Session.current().out()
    config = config_here()
    signals = Signals(SystemClock())
    try:
        with log_lines(config, Session.current()) as lines:
            if lines.on_stderr:  # they say all that progress and notes would
                out = replace(out, quiet=True)
            progress = Progress(out, detailed=detailed, brief=brief)
            with Engine(
                config,
                create=create,
                observe=progress.observe,
                log=lines.log,
                pools=Pools(
                    processes=concurrency,
                    threads=concurrency or 32,
                    spare=click.get_current_context().meta.get(SPARE),
                ),
                in_flight_max=concurrency or 64,
            ) as engine:
                signals.stop(engine)
                try:
                    yield Drivers(engine, out=out, signals=signals, progress=progress)
                finally:
                    progress.close()
    finally:
        signals.restore()


def _result(reader: Reader, name: str) -> dict[str, Any]:
    found = reader.inspect(name)
    loaded, rejected = reader.loaded_and_rejected(name)
    failure = found.failure
    return {
        "id": name,
        "status": found.standing,
        "state": found.state,
        "failed_state": found.failed_state,
        "loaded": loaded,
        "rejected": rejected,
        "error_class": failure and failure.error_class,
        "error": failure and failure.error,
        "took_ms": found.updated_at_ms - found.created_at_ms,
    }


def _sentence(result: Mapping[str, Any]) -> str:
    name = shown_id(result["id"])
    counts = f"{plural(result['loaded'], 'record')} loaded, {result['rejected']:,} rejected"
    if result["status"] == Status.DONE:
        what = f"{name} done: {counts}"
        verb = f"quarantine ls {name}" if result["rejected"] else f"history {name}"
    elif result["status"] == Status.FAILED:
        why = f"{result['error_class']}: {first_line(result['error'])}; {counts}"
        what = f"{name} failed in {result['failed_state']}: {why}"
        verb = f"inspect {name}"
    else:
        what = f"{name} {result['status']} in {result['failed_state'] or result['state']}: {counts}"
        verb = f"resume {name}"
    return f"{what}   next: statepipe {verb}"
