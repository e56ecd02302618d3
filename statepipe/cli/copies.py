"""
`statepipe restart` and `fork`: new instances made of another one, which stays as it is.
"""

import click

from statepipe.cli.shared.driving import Drivers, driving
from statepipe.cli.shared.options import DEFINITION, command, instance_id, parsed_params
from statepipe.cli.shared.render import shown_id
from statepipe.runtime.steering.again import Adopt

_ID = click.argument("instance", metavar="ID", callback=instance_id)
_SET = click.option(
    "-p",
    "--set",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="In place of the parameter it had: text, or KEY:=JSON.",
)
_NEW_ID = click.option(
    "--id", "name", metavar="ID", callback=instance_id, help="Of the new one; else one is made."
)
_NO_RUN = click.option("--no-run", is_flag=True, help="Make it, print its id; a worker drives it.")
_DETAILED = click.option("--detailed", is_flag=True, help="Say every batch.")


@command(
    "restart",
    changes=True,
    logs=True,
    examples=[
        "statepipe restart ID",
        "statepipe restart ID -p day=2013-02-08 --reason 'the file was late'",
        "statepipe restart ID --id monday-again --no-run",
    ],
)
@_ID
@_SET
@_NEW_ID
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@_NO_RUN
@_DETAILED
def restart(
    *,
    instance: str,
    params: tuple[str, ...],
    name: str | None,
    reason: str | None,
    no_run: bool,
    detailed: bool,
) -> int:
    """
    Make an instance with the parameters of another one, and drive it from the start.

    It is of the machine as it is now; the other one stays as it is.
    """
    given = parsed_params(params, option="--set")
    with driving(create=False, detailed=detailed) as drivers:
        made = drivers.engine.copies.restart(instance, params=given, new_id=name, reason=reason)
        return _told(drivers, made) if no_run else drivers.run(made)


@command(
    "fork",
    changes=True,
    logs=True,
    examples=[
        "statepipe fork ID --at transforming --reason 'with the new rates'",
        "statepipe fork ID --set limit:=10 --id trial --reason 'why does it fail'",
        "statepipe fork ID --at loading --definition latest --no-run --reason 'another table'",
    ],
)
@_ID
@click.option("--at", metavar="STATE", help="One it was in; else where it rests, or failed.")
@_SET
@_NEW_ID
@DEFINITION
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the journal.")
@_NO_RUN
@_DETAILED
def fork(
    *,
    instance: str,
    at: str | None,
    params: tuple[str, ...],
    name: str | None,
    definition: Adopt,
    reason: str,
    no_run: bool,
    detailed: bool,
) -> int:
    """
    Make an instance that goes on from a state another one was in, and drive it.

    It begins with the results and with copies of the staged batches that the other one had when
    it last entered that state; the other one stays as it is.
    """
    given = parsed_params(params, option="--set")
    with driving(create=False, detailed=detailed) as drivers:
        made = drivers.engine.copies.fork(
            instance,
            at=at,
            params=given,
            new_id=name,
            adopts=definition == "latest",
            reason=reason,
        )
        return _told(drivers, made) if no_run else drivers.run(made)


def _told(drivers: Drivers, made: str) -> int:
    """Say that an instance was made, as `start` does."""
    if drivers.out.is_json:
        drivers.out.value({"id": made})
    else:
        drivers.out.say(made)
        drivers.out.note(f"next: statepipe worker   # or: statepipe resume {shown_id(made)}")
    return 0
