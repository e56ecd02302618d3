"""
What every call of a job that is done elsewhere has in common.

    job_call    its functions, as their executor needs them, and its times
"""

from collections.abc import Callable
from typing import Any

from statepipe.machine.states.jobs import Job
from statepipe.machine.states.tasks import Run


def job_call(job: Job, named: Callable[[Run], str | Callable[..., Any]]) -> dict[str, Any]:
    """Return the part of a job's calls that does not change; `named` readies a function."""
    functions: dict[str, Any] = {"cancel": None}
    functions |= {key: named(Run(function=each)) for key, each in job.functions.items()}
    return {"job": functions, "every_ms": job.every_ms, "job_ms": job.timeout_ms}
