"""
`statepipe retry ID --task NAME`: let one task of an instance go on that has not done its work.
"""

import click

from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.errors import NotFound, Refused
from statepipe.model import Status
from statepipe.runtime.steering.outlook import at_hand
from statepipe.store.lookups.parts import Part
from statepipe.suggest import did_you_mean


@command(
    "retry",
    changes=True,
    examples=[
        "statepipe retry orders-7 --task enrich",
        'statepipe retry orders-7 --task "read[3]" --reason "the file is there now"',
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("--task", "name", required=True, metavar="NAME", help="Which, as inspect names it.")
@click.option("--reason", metavar="TEXT", help="Why, for the journal.")
@click.option("--detailed", is_flag=True, help="Say every batch.")
def retry(*, instance: str, name: str, reason: str | None, detailed: bool) -> int:
    """
    Let one task of a state with several go on, with fresh attempts; the others stay as they are.

    If its instance failed for it, that goes on as well once the task is done.
    """
    with open_reader() as reader:
        found = reader.inspect(instance)
        part = _part(instance, name, found.parts)
        if part not in at_hand(found):
            again = f"statepipe rewind {shown_id(instance)} --to {part.state}"
            if found.resume_state == part.state:  # it was rewound, or came back, and begins anew
                again = f"statepipe resume {shown_id(instance)}"
            raise Refused(
                f"{name} is a task of an earlier stay of {instance!r} in {part.state}",
                meaning="nothing was changed: nobody waits for the task any more",
                next_step=f"{again}   # does all of it again",
            )
    from statepipe.cli.shared.driving import driving  # noqa: PLC0415  (80 ms that an error need not pay)

    with driving(create=False, detailed=detailed) as drivers:
        return drivers.report(drivers.retry(instance, part.id, reason=reason))


def _part(instance: str, name: str, parts: tuple[Part, ...]) -> Part:
    names = [each.task for each in parts]
    if elements := [each for each in names if each.startswith(f"{name}[")]:
        raise NotFound(
            f"task {name!r} of {instance!r} works on a list, and each element is retried alone",
            meaning="nothing was changed",
            next_step=f"statepipe retry {shown_id(instance)} --task {shown_id(elements[0])}",
        )
    if name not in names:
        raise NotFound(
            f"no task {name!r} of {instance!r} has begun{did_you_mean(name, names)}",
            meaning="nothing was changed",
            next_step=f"statepipe ls --parts-of {shown_id(instance)}",
        )
    part = parts[names.index(name)]
    if part.status not in (Status.FAILED, Status.CANCELLED, Status.PAUSED):
        raise Refused(
            f"task {name} of {instance!r} is {part.status}",
            meaning="nothing was changed",
            next_step=f"statepipe ls --parts-of {shown_id(instance)}",
        )
    return part
