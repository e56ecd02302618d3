"""
statepipe: ETL pipelines as explicit state machines, every move one commit in SQLite.

What machines are written with: Batch, Outcome, Task, Throttled, Fatal, Reject; read_csv,
read_jsonl, read_parquet, read_sql, read_rest and its ways of paging. What programs drive them
with: Engine, load_config, Machine and its parts; and look with: Reader, Filter.

Names are imported when they are first used, so that the command line starts fast; the
stub beside this file tells type checkers where each comes from.
"""

from importlib import import_module
from typing import Final

__version__: Final = "0.1.0"

_HOMES: Final = {
    "After": "statepipe.machine.triggers.upstreams",
    "Arriving": "statepipe.machine.triggers.arrivals",
    "BadAnswer": "statepipe.errors",
    "BadParameter": "statepipe.errors",
    "Batch": "statepipe.batch",
    "ByCursor": "statepipe.io.rest.pages",
    "ByLink": "statepipe.io.rest.pages",
    "ByOffset": "statepipe.io.rest.pages",
    "ByPage": "statepipe.io.rest.pages",
    "Child": "statepipe.machine.states.taskgraph",
    "Concurrency": "statepipe.sharing",
    "Dataset": "statepipe.machine.states.datasets",
    "Emitted": "statepipe.machine.triggers.events",
    "Engine": "statepipe.engine",
    "EventRule": "statepipe.machine.events",
    "Fatal": "statepipe.errors",
    "Filter": "statepipe.store.lookups.listing",
    "Graph": "statepipe.machine.states.taskgraph",
    "GraphTask": "statepipe.machine.states.taskgraph",
    "HttpLimits": "statepipe.io.rest.limits",
    "Job": "statepipe.machine.states.jobs",
    "Load": "statepipe.machine.states.tasks",
    "Machine": "statepipe.machine.definition",
    "Outcome": "statepipe.model",
    "Param": "statepipe.machine.parameter",
    "Partition": "statepipe.machine.partition",
    "Policy": "statepipe.policy",
    "Reader": "statepipe.store.reading",
    "Reject": "statepipe.errors",
    "Run": "statepipe.machine.states.tasks",
    "Schedule": "statepipe.machine.triggers.schedules",
    "Sharing": "statepipe.sharing",
    "SqlLimits": "statepipe.io.sql.limits",
    "State": "statepipe.machine.definition",
    "StatepipeError": "statepipe.errors",
    "Task": "statepipe.model",
    "Throttled": "statepipe.errors",
    "Transition": "statepipe.machine.definition",
    "Trigger": "statepipe.machine.triggers.trigger",
    "Validate": "statepipe.machine.states.judging",
    "Wait": "statepipe.machine.states.waits",
    "load_config": "statepipe.config",
    "read_csv": "statepipe.io.files.text",
    "read_jsonl": "statepipe.io.files.text",
    "read_parquet": "statepipe.io.files.parquet",
    "read_rest": "statepipe.io.rest.source",
    "read_sql": "statepipe.io.sql.source",
}

__all__ = [  # noqa: PLE0604  (names of _HOMES, plus the version)
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> object:
    """Import a public name from the module that owns it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'statepipe' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
