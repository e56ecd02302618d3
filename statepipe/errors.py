"""
Every error statepipe raises on purpose: what happened, what it means, what to type next.

    StatepipeError                      exit 1; the root, never raised itself
    ├── UsageError                      exit 2; the request cannot be understood
    │   ├── DefinitionError             a machine or statepipe.toml is wrong
    │   ├── BadParameter                a parameter is unknown, missing or of the wrong type
    │   ├── InstanceExists              the id is taken
    │   │   └── InstancePruned          the id was taken, and its instance is gone
    │   ├── BadToken                    a callback's token is none of this store's
    │   └── Refused                     the instance's state does not allow the request
    ├── NotFound                        exit 3; no such machine, instance or state
    ├── NotDelivered                    exit 1; a notice did not reach its target
    ├── NotAtRest                       exit 124; an instance did not rest within the time given
    ├── NoTransition                    exit 1; the state does not accept the event, or not now
    │   └── GuardError                  a guard could not be evaluated on the facts it was given
    ├── StoreUnusable                   exit 4; the checkpoint store cannot be used
    │   ├── WrongEnvironment            it belongs to another environment than the process
    │   ├── StoreFull                   no space left; nothing was committed
    │   └── StoreInDoubt                a COMMIT failed in a way that tells neither yes nor no
    ├── DefinitionChanged               exit 5; the machine is not the one the instance began with
    ├── Busy                            exit 75; a live process holds the store or the instance
    ├── Fenced                          exit 76; another process has taken the instance over
    ├── Unwritten                       exit 74; the answer cannot be written where it should go
    ├── Unreachable                     exit 1; another server did not answer, refused, or was lost
    └── DataError                       exit 1; data that cannot be kept or used
        ├── ValueRefused                a value that a checkpoint cannot hold, with its path
        ├── StagedDataDamaged           a staged batch is missing or not what was committed
        └── LedgerMismatch              the destination's ledger contradicts the committed plan

    TaskError                           what an attempt failed with; by authors or the runtime
    ├── Throttled                       the other side asks for a pause; retried by policy
    ├── BadAnswer                       it failed, or said nothing to rely on; retried by policy
    ├── Fatal                           never retried
    │   └── SchemaDrift                 a source's records are not of the shape last accepted
    ├── TaskTimeout                     the attempt outlived its timeout and was killed
    ├── TaskCrashed                     the process of the attempt died
    ├── WorkerLost                      the process that drove the instance died
    ├── TaskCancelled                   the attempt was asked to stop
    └── ChildSkipped                    a child machine was not begun: its key is taken

`Reject` is not an error of the run: a task raises it to put one record into quarantine.

    is_full                             what is asked of the system's own: is a disk full?
"""

import errno
from collections.abc import Sequence
from typing import Any, Final


class StatepipeError(Exception):
    """
    The root: a message, its meaning for the data, and the next thing to type.

    Attributes:
        meaning: What the failure means for the data, one sentence.
        next_step: A command or an edit that leads on.
        exit_code: What the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str, *, meaning: str = "", next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.meaning = meaning
        self.next_step = next_step

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling (test runners do it): keyword arguments defeat the default."""
        return _rebuild, (type(self), self.message, self.meaning, self.next_step)


def _rebuild(
    kind: type[StatepipeError], message: str, meaning: str, next_step: str
) -> StatepipeError:
    error = kind.__new__(kind)
    StatepipeError.__init__(error, message, meaning=meaning, next_step=next_step)
    return error


class UsageError(StatepipeError):
    """The request cannot be understood; nothing was done."""

    exit_code = 2


class DefinitionError(UsageError):
    """A machine, a contract or `statepipe.toml` is wrong; nothing was run."""


class BadParameter(UsageError):
    """A parameter is unknown, missing, or not of its declared type."""


class InstanceExists(UsageError):
    """An instance, or a group, of this id is already in the store."""


class InstancePruned(InstanceExists):
    """An instance with this id was in the store and was pruned; ids are not given twice."""


class BadToken(UsageError):
    """The token of a callback was not made by this store, or not wholly handed on."""


class Refused(UsageError):
    """The instance rests in a state that does not allow the request."""


class NotFound(StatepipeError):
    """No such machine, instance or state."""

    exit_code = 3


class NotDelivered(StatepipeError):
    """A notice did not reach its target; nothing else is affected."""


class NotAtRest(StatepipeError):
    """What was waited for did not come within the time given; nothing was changed."""

    exit_code = 124


class NoTransition(StatepipeError):
    """The machine allows no move: unknown event, no guard that holds, or a visit limit reached."""


class GuardError(NoTransition):
    """A guard names a fact that is not there, or compares what cannot be compared."""


class StoreUnusable(StatepipeError):
    """The checkpoint store is missing, foreign, newer, damaged, replaced or read-only."""

    exit_code = 4


class WrongEnvironment(StoreUnusable):
    """The checkpoint store belongs to another environment than the process does."""


class StoreFull(StoreUnusable):
    """The file system has no room; the whole group was rolled back."""


class StoreInDoubt(StoreUnusable):
    """A COMMIT failed so that nobody can say whether it landed; the process must end."""


class DefinitionChanged(StatepipeError):
    """The machine on disk is not the one the instance began with; nothing was changed."""

    exit_code = 5


class Busy(StatepipeError):
    """A live process holds the store's write lock or drives the instance."""

    exit_code = 75


class Fenced(StatepipeError):
    """The instance was taken over; the late write was refused whole."""

    exit_code = 76


class Unwritten(StatepipeError):
    """The answer of a command cannot be written where it should go; what it did is done."""

    exit_code = 74


class Unreachable(StatepipeError, ConnectionError):
    """
    Another server (a destination's, a Pushgateway) did not answer, refused, or was lost.

    The store is as it was. Policies match it as the `ConnectionError` that it is.
    """


class DataError(StatepipeError):
    """Data that cannot be kept, read back, or trusted."""


class ValueRefused(DataError):
    """A value that a checkpoint cannot hold exactly; the message names its path."""


class StagedDataDamaged(DataError):
    """A staged batch is missing, torn, or not the one that was committed."""


class LedgerMismatch(DataError):
    """The destination says it has another batch under this number."""


class TaskError(Exception):
    """What an attempt fails with. Authors may raise it; policies match it by class name."""


class Throttled(TaskError):
    """
    The other side asks for a pause.

    Attributes:
        retry_after: Seconds until it may be asked again, or None if it did not say.
            It always wins over the pause the policy computes.
    """

    def __init__(self, message: str = "throttled", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadAnswer(TaskError, ConnectionError):
    """The other side failed, or its answer is cut, malformed or contradicts itself."""


class Fatal(TaskError):
    """A failure that no retry can mend."""


class SchemaDrift(Fatal):
    """
    A source's records are not of the shape last accepted, and `drift` says to halt then.

    Attributes:
        drifts: What drifted, each as (kind, column, was, now, action).
    """

    def __init__(self, message: str, drifts: Sequence[tuple[str, ...]] = ()) -> None:
        super().__init__(message)
        self.drifts = drifts


class TaskTimeout(TaskError, TimeoutError):
    """The attempt outlived its timeout; it and everything it started were killed."""


class TaskCrashed(TaskError):
    """The attempt's process died: a signal, an exit, or memory that ran out."""


class WorkerLost(TaskError):
    """The process that drove the instance died again and again without any progress."""


class TaskCancelled(TaskError):
    """The attempt was asked to stop: a cancel, a pause, or a graceful shutdown."""


class ChildSkipped(TaskError):
    """A child machine was not begun: its key is taken, and `behavior` is "skip"."""


#: Classes that an error counts as in metrics without being declared in a policy.
ENGINE_ERRORS: Final = (
    "Throttled",
    "Fatal",
    "SchemaDrift",
    "TaskTimeout",
    "TaskCrashed",
    "TaskCancelled",
    "ChildSkipped",
    "WorkerLost",
    "DeadlineExceeded",
    "ValueRefused",
    "StagedDataDamaged",
    "LedgerMismatch",
    "DataError",
    "NoTransition",
)


class Reject(Exception):
    """
    Put one record into quarantine and go on with the others.

    Raised by a task that is called once per batch, it rejects the whole batch's
    offending record; see `Batch.rejects` for rejecting several.
    """

    def __init__(self, record: dict[str, Any], reason: str) -> None:
        super().__init__(reason)
        self.record = record
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling: the default would call us again with the reason alone."""
        return type(self), (self.record, self.reason)


def is_full(error: OSError) -> bool:
    """Return True if there was no room: on the disk, or left of the user's."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
