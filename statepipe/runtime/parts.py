"""
What runs in an acting state of a machine, as its executor needs to know it.

    part_of     of one state: its work, its policy, and what is the same in each call
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from statepipe.config import Config
from statepipe.machine.callbacks import calls_back
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.waits import Wait
from statepipe.policy import Policy
from statepipe.runtime.brood import Brood
from statepipe.runtime.policies import policy_of
from statepipe.runtime.program import Part
from statepipe.runtime.tasks.functions import importable, refuse_missing
from statepipe.runtime.tasks.jobcalls import job_call
from statepipe.store.stage.directory import INLINE_BYTES_MAX


def part_of(
    config: Config,
    machine: Machine,
    state: State,
    *,
    store_id: str,
    stage_dir: Path,
    brood: Callable[[Machine, State], Brood],
) -> Part:
    """
    Return what runs in `state`.

    Args:
        config: Where the files are, and the policies.
        machine: The machine.
        state: One of its acting states.
        store_id: Names the store to destinations.
        stage_dir: Where its batches are staged.
        brood: Gives what the children of a state are whose work others do.

    Raises:
        DefinitionError: A function is not there, or a policy is wrong.
    """
    policy = policy_of(config, machine, state).policy
    call: dict[str, Any] = {
        "machine": machine.name,
        "state": state.name,
        "task": state.name,
        "shares": policy.parallel > 1 and policy.executor != "inline",
        "stage_dir": str(stage_dir),
        "inline_bytes_max": INLINE_BYTES_MAX,
        "machines_dir": str(config.machines_dir),
    }
    named = partial(
        _function, policy=policy, of=f"{machine.name}.{state.name}", folder=config.machines_dir
    )
    match state.task:
        case Run() as run:
            is_cleanup = state is machine.on_cancel
            call |= {"task": "on_cancel"} if is_cleanup else {}
            call |= {"work": "cancel" if is_cleanup else "run", "function": named(run)}
            call |= {"drift": run.actions}
            call |= {"incremental": run.watermark and run.watermark.to_dict()}
        case Validate() as judge:
            call |= {"work": "validate", **_contract(judge, config.machines_dir)}
        case Load() as load:
            call |= {"work": "load", "load": _destination(load, config, store_id=store_id)}
        case Graph() | Child():
            call = {"work": "children", "brood": brood(machine, state)}
        case Job() as job:
            call |= {"work": "job", **job_call(job, named)}
        case Wait() as wait:
            call = {"work": "wait", "events": wait.events, "wait_ms": wait.ms}
            call |= {"key_of": wait.key_of if wait.key else None, "until": wait.until}
            call |= {"dataset": wait.dataset and wait.dataset.name}
    return Part(
        work=call["work"],
        policy=policy,
        policy_digest=policy.digest,
        call=call,
        uses=tuple(config.resources[each] for each in sorted(state.uses)),
        calls_back=calls_back(machine, state),
    )


def _function(run: Run, *, policy: Policy, of: str, folder: Path) -> str | Callable[..., Any]:
    """Return a function as its executor needs it; refuse one that is not there."""
    function = run.function
    if policy.executor == "process" and not isinstance(function, str):
        function = importable(run.reference, of=of)
    if isinstance(function, str):
        refuse_missing(function, folder)
    return function


def _contract(judge: Validate, folder: Path) -> dict[str, Any]:
    for function in judge.upcast.values():
        refuse_missing(function, folder)
    return {
        "contract": str(folder / judge.contract),
        "older": [
            {
                "version": each.version,
                "contract": str(folder / each.contract),
                "upcast": list(each.upcast),
            }
            for each in judge.older
        ],
        "max_rejects": judge.max_rejects,
    }


def _destination(load: Load, config: Config, *, store_id: str) -> dict[str, Any]:
    return {
        "to": load.to,
        "table": load.table,
        "key": list(load.key),
        "replace": load.mode == "replace",
        "effect": load.effect,
        "body": load.body,
        "auth": dict(load.auth) if isinstance(load.auth, Mapping) else load.auth,
        "contract": load.contract and str(config.machines_dir / load.contract),
        "adds": load.columns == "add",
        "base_dir": str(config.root),
        "store_id": store_id,
    }
