"""
The parameters of one instance: what was given, checked against what the machine declares.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from statepipe.errors import BadParameter
from statepipe.machine.definition import Machine
from statepipe.machine.parameter import Param
from statepipe.machine.scalars import convert
from statepipe.suggest import did_you_mean


def bind_params(
    machine: Machine,
    given: Mapping[str, Any],
    *,
    today: dt.date,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """
    Return a value for every declared parameter, in the order they are declared.

    Args:
        machine: Whose parameters.
        given: Text, `Unread` if it was typed (`-p key=value`), or typed values
            (`-p key:=json`, Python).
        today: The day that the default "today" stands for.
        without: Parameters that get their values from elsewhere.

    Raises:
        BadParameter: If a parameter is unknown, missing, or not of its type.
    """
    declared = {param.name: param for param in machine.params if param.name not in without}
    for name in given:
        if name not in declared:
            raise BadParameter(
                f'machine "{machine.name}" has no parameter "{name}"{did_you_mean(name, declared)}',
                meaning="no instance was created",
                next_step=_declares(machine),
            )
    return {name: _bound(machine, param, given, today=today) for name, param in declared.items()}


def _bound(machine: Machine, param: Param, given: Mapping[str, Any], *, today: dt.date) -> Any:  # noqa: ANN401 - any plain value
    if param.required and param.name not in given:
        raise BadParameter(
            f'parameter "{param.name}" of machine "{machine.name}" is missing',
            meaning="no instance was created",
            next_step=_give(machine, param),
        )
    value = given.get(param.name, param.default)
    if value is None and not param.required:
        return None
    try:
        return convert(param.type, value, today=today)
    except ValueError as error:
        raise BadParameter(
            f'parameter "{param.name}" of machine "{machine.name}" {error}',
            meaning="no instance was created",
            next_step=f"-p {param.name}=…   # type {param.type}",
        ) from None


def _give(machine: Machine, param: Param) -> str:
    how = machine.partition
    if how is not None and param.name in (how.param, how.until):
        return f"--partition FIRST..LAST, or -p {param.name}=…   # type {param.type}"
    return f"-p {param.name}=…   # type {param.type}"


def _declares(machine: Machine) -> str:
    if not machine.params:
        return f"it takes no parameters: statepipe run {machine.name}"
    return "its parameters are " + ", ".join(
        f"{each.name} ({each.type})" for each in machine.params
    )
