"""
The partitions that somebody asks for, as the parameters of an instance each.

    partition_of    what a machine says of its partitions
    sliced          key and parameters of each of them
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from sys import stderr
from typing import Any

from statepipe.errors import BadParameter, DefinitionError
from statepipe.machine.definition import Machine
from statepipe.machine.params import bind_params
from statepipe.machine.partition import PARTITIONS_MAX, Partition, chosen
from statepipe.runtime.tasks.functions import resolve


def partition_of(machine: Machine) -> Partition:
    """
    Return what a machine says of its partitions.

    Raises:
        DefinitionError: It says nothing.
    """
    if machine.partition is None:
        raise DefinitionError(
            f'machine "{machine.name}" does not say what its partitions are',
            meaning="nothing was created",
            next_step='say so in its file: [partition], and by = "date"',
        )
    return machine.partition


def sliced(
    machine: Machine,
    wanted: Sequence[str],
    *,
    params: Mapping[str, Any],
    today: dt.date,
    machines_dir: Path,
) -> list[tuple[str, dict[str, Any]]]:
    """
    Return key and parameters of each partition that `wanted` names.

    Args:
        machine: Whose partitions.
        wanted: Keys and ranges, as for `chosen`.
        params: Values of the other parameters.
        today: The day that "today" stands for.
        machines_dir: Where the function is that lists them, if there is one.

    Raises:
        BadParameter: As `bind_params` and `chosen`; or a value is given for a parameter
            that each partition has its own value of.
        DefinitionError: The machine has no partitions, or its function cannot list them.
    """
    how = partition_of(machine)
    own = {name for name in (how.param, how.until) if name is not None}
    for name in own & params.keys():
        raise BadParameter(
            f'parameter "{name}" of machine "{machine.name}" is what its partitions are by',
            meaning="nothing was created",
            next_step=f"leave -p {name} out, and say --partition FIRST..LAST",
        )
    bound = bind_params(machine, params, today=today, without=own)
    listed = how.values if how.source is None else _asked(how.source, bound, machines_dir)
    param = next(param for param in machine.params if param.name == how.param)
    found = []
    for key, value, until in chosen(how, param, wanted, listed=listed, today=today):
        values = {**bound, param.name: value}
        if how.until is not None:
            values[how.until] = until
        found.append((key, {each.name: values[each.name] for each in machine.params}))
    return found


def _asked(
    source: str | Callable[..., Iterable[Any]], bound: Mapping[str, Any], machines_dir: Path
) -> Sequence[Any]:
    """Ask the author's function for the keys; no store is needed for that, and none is open."""
    function = resolve(source, machines_dir) if isinstance(source, str) else source
    name = source if isinstance(source, str) else getattr(source, "__name__", "the source")
    try:
        with redirect_stdout(stderr):  # standard output is for the answer
            keys = function(bound)
            listed = None if isinstance(keys, str) else list(islice(keys, PARTITIONS_MAX + 1))
    except Exception as error:
        raise _useless(name, f"{type(error).__name__}: {error}") from error
    if listed is None or len(listed) > PARTITIONS_MAX:
        what = "a text" if listed is None else f"more than {PARTITIONS_MAX:,} keys"
        raise _useless(name, f"it returned {what}")
    return listed


def _useless(name: str, why: str) -> DefinitionError:
    return DefinitionError(
        f"{name} cannot say what the partitions are: {why}",
        meaning="nothing was created",
        next_step=f"correct {name} until it returns the keys, given the other parameters",
    )
