"""
What executors tell the loop, and how the loop answers.

An attempt runs in a thread or process of its own and asks: commit this batch, give me
that input. Each question is a `Question` in the loop's inbox; the attempt waits on it
until the loop has answered, which for a batch means: until its commit was acknowledged.

    Question    a request of an attempt
    Finished    the end of one
    Inbox       both, in the order they came
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from statepipe.errors import TaskCancelled
from statepipe.policy import ExecutorKind
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.output.capture import Capture


class Question:
    """
    One request of an attempt, waiting for its answer.

    Attributes:
        drive: The instance the attempt belongs to.
        attempt_id: Which of its attempts asks.
        request: What `perform` asked, as in `attempts.py`.
    """

    __slots__ = ("_answer", "_answered", "_refusal", "attempt_id", "drive", "request")

    def __init__(self, drive: Drive, attempt_id: int, request: Mapping[str, Any]) -> None:
        self.drive = drive
        self.attempt_id = attempt_id
        self.request = request
        self._answer: Any = None
        self._refusal: BaseException | None = None
        self._answered = threading.Event()

    def answer(self, value: object) -> None:
        """Let the attempt go on with `value`."""
        self._answer = value
        self._answered.set()

    def refuse(self, error: BaseException | None = None) -> None:
        """Let the attempt end: by `error`, or because it was asked to stop."""
        self._refusal = error or TaskCancelled("the attempt was asked to stop")
        self._answered.set()

    def wait(self) -> Any:  # noqa: ANN401  (plain data of any type)
        """
        Return the answer, once there is one.

        Raises:
            TaskCancelled: If the attempt must stop.
        """
        self._answered.wait()
        if self._refusal is not None:
            raise self._refusal
        return self._answer

    @property
    def is_answered(self) -> bool:
        """True once `wait` would return at once."""
        return self._answered.is_set()

    @property
    def is_of_its_current_attempt(self) -> bool:
        """False if the attempt that asks is no longer the one under way."""
        return self.drive.attempt_id == self.attempt_id and self.drive.future is not None


class Finished:
    """
    An attempt that ends; a callback of its future, which puts it into the inbox.

    Attributes:
        drive: The instance it belongs to.
        attempt_id: Which of its attempts it is.
        future: How it ended, once it has.
        executor: Which kind runs it and then has a slot free again.
        capture: What it has printed and logged.
        took_ms: How long it took, once the loop has taken note of it.
    """

    __slots__ = ("_inbox", "attempt_id", "capture", "drive", "executor", "future", "took_ms")

    def __init__(
        self,
        drive: Drive,
        executor: ExecutorKind,
        capture: Capture,
        inbox: "Inbox",
        future: Future[Mapping[str, Any]] | None = None,
    ) -> None:
        self.drive = drive
        self.attempt_id = drive.attempt_id
        if future is not None:
            self.future = future
        self.executor = executor
        self.capture = capture
        self.took_ms: int | None = None
        self._inbox = inbox

    def __call__(self, future: Future[Mapping[str, Any]]) -> None:
        """Tell the loop."""
        self.future = future
        self._inbox.put(self)


class Inbox:
    """What has been told and not yet heard; `put` is for any thread, the rest for the loop's."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Question | Finished] = SimpleQueue()
        self._kept: list[Question | Finished] = []
        self._is_closed = False
        self.put = self._queue.put

    def ask(self, drive: Drive, attempt_id: int, request: Mapping[str, Any]) -> Any:  # noqa: ANN401  (plain data)
        """
        Ask the loop and wait for its answer; for the executors' threads.

        Raises:
            TaskCancelled: If the attempt must stop, or nobody will answer any more.
        """
        question = Question(drive, attempt_id, request)
        self.put(question)
        if self._is_closed:  # it may have come too late to be refused with the others
            question.refuse()
        return question.wait()

    def keep(self, message: Question | Finished) -> None:
        """Hear `message` again, with the next `take`."""
        self._kept.append(message)

    @property
    def has_kept(self) -> bool:
        """True if something is to be heard again."""
        return bool(self._kept)

    def take(self, *, wait_ms: int, limit: int) -> list[Question | Finished]:
        """Return what has come, at most `limit`; wait up to `wait_ms` if there is nothing."""
        messages, self._kept = self._kept, []
        try:
            if not messages and wait_ms:
                messages.append(self._queue.get(timeout=wait_ms / 1000))
            while len(messages) < limit:
                messages.append(self._queue.get_nowait())
        except Empty:
            pass
        return messages

    def refuse_all(self) -> None:
        """Let nobody wait, now or later, for an answer that will not come."""
        self._is_closed = True
        for message in self.take(wait_ms=0, limit=self._queue.qsize() + len(self._kept)):
            if isinstance(message, Question):
                message.refuse()
