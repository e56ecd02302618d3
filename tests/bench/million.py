"""
A store as it is after years: 20 machines, a million instances, five million journal rows.

    build       make it; some minutes and a gigabyte
    MACHINES    the names of the machines

Definitions are written by the engine. Instances and their journal are written by SQL, since
driving a million takes longer than anybody waits; figures are then worked out from them, and
`violations` has nothing to say.
"""

from pathlib import Path
from typing import Final

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_store
from statepipe.store.metrics.recount import fill
from statepipe.testing import ManualClock

MACHINES: Final = tuple(f"machine_{number:02d}" for number in range(20))
_STATES: Final = ("extracting", "validating", "transforming", "loading")

#: When the oldest was created, and how far apart they are.
_BEGAN_MS: Final = 1_700_000_000_000
_APART_MS: Final = 30_000

#: One in so many failed, waits to be driven, or was cancelled; all others are done.
_FAILED, _READY, _CANCELLED = 200, 1_000, 5_000

_INSTANCES: Final = f"""
WITH RECURSIVE one(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < :instances),
     each AS (SELECT n, {_BEGAN_MS} + n * {_APART_MS} AS at,
                     CASE WHEN n % {_READY} = 0 THEN 'ready'
                          WHEN n % {_CANCELLED} = 1 THEN 'cancelled'
                          WHEN n % {_FAILED} = 3 THEN 'failed'
                          ELSE 'done' END AS status FROM one)
INSERT INTO instance (n, id, definition, params, created_at_ms, epoch, seq, generation, status,
                      state, attempt, lost, batches, failed_state, error_class, error,
                      entered_at_ms, updated_at_ms, finished_at_ms, change)
SELECT n, 'i-' || n, 1 + n % {len(MACHINES)}, x'80', at, status <> 'ready',
       CASE status WHEN 'ready' THEN 1 WHEN 'cancelled' THEN 2 WHEN 'failed' THEN 4 ELSE 6 END, 1,
       status, CASE status WHEN 'ready' THEN 'extracting' ELSE status END, 0, 0, 0,
       CASE WHEN status IN ('failed', 'cancelled') THEN 'extracting' END,
       CASE status WHEN 'failed' THEN 'ConnectionError' END,
       CASE status WHEN 'failed' THEN 'the other side hung up' END,
       at, at + 1, CASE WHEN status <> 'ready' THEN at + 20000 END, 'create'
  FROM each
"""

_JOURNAL: Final = (
    """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target)
SELECT n, 1, 0, 1, created_at_ms, 'create', 'create', '', 'extracting' FROM instance
""",
    """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, ended)
SELECT n, 2, 1, 1, finished_at_ms, 'cancel', 'cancel', 'extracting', 'cancelled', 'cancelled'
  FROM instance
 WHERE status = 'cancelled'
""",
    """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target,
                     waited_ms)
SELECT n, 2, 1, 1, created_at_ms + n % 5000, 'claim', 'claim', 'extracting', 'extracting', n % 5000
  FROM instance
 WHERE status IN ('done', 'failed')
""",
    """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, task,
                     attempt, took_ms, policy, error_class, error, error_kind)
SELECT n, 3, 1, 1, created_at_ms + 9000, 'retry', 'error', 'extracting', 'extracting', 'extracting',
       1, n % 3000, 'p', 'ConnectionError', 'the other side hung up', 'ConnectionError'
  FROM instance
 WHERE status = 'failed'
""",
    """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, task,
                     attempt, took_ms, policy, error_class, error, error_kind, stayed_ms, ended)
SELECT n, 4, 1, 1, finished_at_ms, 'move', 'error', 'extracting', 'failed', 'extracting', 2,
       n % 3000, 'p', 'ConnectionError', 'the other side hung up', 'ConnectionError', 20000,
       'failed'
  FROM instance
 WHERE status = 'failed'
""",
    *(
        f"""
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, task,
                     attempt, took_ms, policy, stayed_ms, ended)
SELECT n, {step + 3}, 1, 1, created_at_ms + {(step + 1) * 5_000}, 'move', 'ok', '{source}',
       '{target}', '{source}', 1, (n * {step + 7}) % 4900, 'p', 5000,
       {"'done'" if target == "done" else "NULL"}
  FROM instance
 WHERE status = 'done'
"""
        for step, (source, target) in enumerate(zip(_STATES, (*_STATES[1:], "done"), strict=True))
    ),
)


def nothing(task: Task) -> None:
    """Do nothing."""
    del task


def machine(name: str) -> Machine:
    """Return a machine with the states of the short form."""
    targets = (*_STATES[1:], "done")
    acting = [
        State(
            name=state,
            task=Run(function=nothing),
            on=(Transition(event="ok", target=target),),
            settings={"executor": "inline"},
        )
        for state, target in zip(_STATES, targets, strict=True)
    ]
    done = State(name="done", final="success")
    return Machine(name=name, initial=_STATES[0], states=(*acting, done))


def engine(folder: Path) -> Engine:
    """Return an engine that knows the machines."""
    machines = [machine(name) for name in MACHINES]
    return Engine(load_config(start=folder, environ={}), machines=machines, in_flight_max=1_000)


def build(folder: Path, *, instances: int = 1_000_000) -> Path:
    """Make the store in `folder`, which is new; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with engine(folder) as writes:
        for name in MACHINES:
            writes._program(name)
        path = writes._store.path
    store = open_store(path, create=False, clock=ManualClock(now_ms=_BEGAN_MS))
    connection: sqlite3.Connection = store.connection
    connection.execute("PRAGMA synchronous = OFF")  # built once, and again if that fails
    with store.write():
        connection.execute("INSERT INTO policy VALUES ('p', '{\"max_attempts\": 2}')")
        connection.execute(_INSTANCES, {"instances": instances})
    for sql in _JOURNAL:
        with store.write():
            connection.execute(sql)
        store.checkpoint_wal()
    with store.write():
        connection.execute(
            "INSERT INTO transition_count (machine, source, event, target, taken)"
            " SELECT d.machine, j.source, j.event, j.target, count(*) FROM journal j"
            " JOIN instance i ON i.n = j.instance JOIN definition d ON d.n = i.definition"
            " WHERE j.kind IN ('create', 'move', 'cancel') GROUP BY 1, 2, 3, 4"
        )
        fill(connection)
    store.close()
    return path
