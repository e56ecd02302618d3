"""
`statepipe cancel`, `kill`, `pause`, `rewind`: interventions.

Each can say first what it would do; what ends or undoes something asks before; all are
journaled with their reason.
"""

from contextlib import AbstractContextManager
from typing import Any

import click

from statepipe.cli.shared.changes import refuse_changed_rewind
from statepipe.cli.shared.groups import unfinished_of
from statepipe.cli.shared.intervening import intervening
from statepipe.cli.shared.options import (
    DEFINITION,
    command,
    confirm,
    instance_id,
    instance_or_group,
)
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.engine import Engine
from statepipe.errors import DefinitionChanged, Refused
from statepipe.model import Status
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.steering.again import Adopt
from statepipe.runtime.steering.rewinding import rewound
from statepipe.runtime.steering.way import Passage
from statepipe.store.lookups.inspection import Inspection
from statepipe.store.lookups.lookup import Found
from statepipe.units import plural

_ID = click.argument("instance", metavar="ID", callback=instance_id)
_REASON = click.option("--reason", metavar="TEXT", help="Why, for the journal.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@command(
    "cancel",
    changes=True,
    examples=[
        "statepipe cancel ID --reason 'wrong day'",
        "statepipe cancel ID --dry-run",
        "statepipe cancel --group ID --yes",
    ],
)
@instance_or_group("All partitions of this group that have not ended; not those that failed.")
@_REASON
@_DRY_RUN
@_YES
def cancel(
    *, instance: str | None, group: str | None, reason: str | None, dry_run: bool, yes: bool
) -> None:
    """End an instance, also one that has failed; what it has staged is kept for a `resume`."""
    if instance is None:
        assert group is not None
        _cancel_group(group, reason=reason, dry_run=dry_run, yes=yes)
        return
    found = _found(instance)
    _refuse_ended(found, wish="cancel")
    name = shown_id(instance)
    cleanup = found.form.get("on_cancel")
    runs = f", and run {cleanup}" if cleanup else ""
    where = found.failed_state or found.state
    if _only_said(f"cancel {instance} in {where}{_driver(found)}{runs}", dry_run=dry_run):
        return
    confirm(f"cancel {instance}?", yes=yes, again=f"statepipe cancel {name} --yes")
    ended = f"{instance} cancelled in {where}"
    if cleanup:
        at_once, ended = _cancel_and_clean(found, reason=reason)
    else:
        with _engine() as engine:
            at_once = engine.cancel(instance, reason=reason)
    _said(
        instance,
        done=f"{ended}   next: statepipe resume {name}",
        asked=f"{instance}: its driver was asked to cancel it"
        f"   next: statepipe history {name} --follow",
        at_once=at_once,
    )


def _cancel_and_clean(found: Inspection, *, reason: str | None) -> tuple[bool, str]:
    """Cancel, and run the machine's on_cancel here if no live process will; say how it ended."""
    with _driving() as drivers:
        if not drivers.engine.cancel(found.id, reason=reason):
            return False, ""
        try:
            drivers.engine.run([found.id])
        except DefinitionChanged as error:
            name = shown_id(found.id)
            raise DefinitionChanged(
                error.message,
                meaning=f"{found.id} is being cancelled; its on_cancel has not run",
                next_step=f"restore the machine as it was, then: statepipe resume {name};"
                f" or leave on_cancel out: statepipe kill {name}",
            ) from error
    now = _found(found.id)
    if now.status != Status.CANCELLED:
        return True, f"{found.id} is being cancelled; its on_cancel has not ended"
    failed = now.failure
    how = f", and its on_cancel failed: {failed.error_class}: {failed.error}" if failed else ""
    return True, f"{found.id} cancelled in {now.failed_state}{how}"


def _cancel_group(group: str, *, reason: str | None, dry_run: bool, yes: bool) -> None:
    with open_reader() as reader:
        found = reader.group(group)
    unfinished, failed = unfinished_of(found), found.standings.get(Status.FAILED, 0)
    one_by_one = f"statepipe ls --group {shown_id(group)} --failed   # then: statepipe cancel ID"
    if not unfinished:
        left = f"; {plural(failed, 'partition')} failed, each cancelled by its own id"
        raise Refused(
            f"no partition of group {group!r} is unfinished; it is {found.group.status}",
            meaning=f"nothing was changed{left if failed else ''}",
            next_step=one_by_one if failed else f"statepipe inspect {shown_id(group)}",
        )
    what = f"cancel {plural(unfinished, 'partition')} of {group}"
    what += f", and leave {failed:,} that failed" if failed else ""
    if _only_said(what, dry_run=dry_run):
        return
    confirm(f"{what}?", yes=yes, again=f"statepipe cancel --group {shown_id(group)} --yes")
    with _driving() as drivers:
        cancelled, asked = drivers.engine.groups.cancel(group, reason=reason)
        drivers.engine.groups.clean(group)
    out = Session.current().out()
    if out.is_json:
        out.value({"group": group, "cancelled": cancelled, "asked": asked, "left": failed})
        return
    said = f"{plural(cancelled, 'partition')} cancelled"
    said += f", the drivers of {asked:,} were asked to" if asked else ""
    said += f"; {failed:,} that failed before left as they are" if failed else ""
    out.say(f"{said}   next: {one_by_one if failed else f'statepipe inspect {shown_id(group)}'}")


@command(
    "kill",
    changes=True,
    examples=["statepipe kill ID --reason 'it hangs'", "statepipe kill ID --dry-run"],
)
@_ID
@_REASON
@_DRY_RUN
@_YES
def kill(*, instance: str, reason: str | None, dry_run: bool, yes: bool) -> None:
    """End an instance by force: its attempt gets no grace, and on_cancel is left out."""
    found = _found(instance)
    _refuse_ended(found, wish="kill")
    name = shown_id(instance)
    where = found.failed_state or found.state
    left_out = " without its on_cancel" if found.form.get("on_cancel") else ""
    if _only_said(f"kill {instance} in {where}{left_out}{_driver(found)}", dry_run=dry_run):
        return
    confirm(f"kill {instance}{left_out}?", yes=yes, again=f"statepipe kill {name} --yes")
    with _engine() as engine:
        at_once = engine.kill(instance, reason=reason)
    _said(
        instance,
        done=f"{instance} killed in {where}   next: statepipe resume {name}",
        asked=f"{instance}: its driver was asked to kill it   next: statepipe wait {name}",
        at_once=at_once,
    )


@command(
    "pause",
    examples=[
        "statepipe pause ID --reason 'the source is down'",
        "statepipe pause --group ID --yes",
    ],
    changes=True,
)
@instance_or_group("All partitions of this group that have not ended.")
@_REASON
@_DRY_RUN
@click.option("-y", "--yes", is_flag=True, help="With --group: do not ask.")
def pause(
    *, instance: str | None, group: str | None, reason: str | None, dry_run: bool, yes: bool
) -> None:
    """Let an instance rest at its next boundary; `resume` goes on with it."""
    if instance is None:
        assert group is not None
        _pause_group(group, reason=reason, dry_run=dry_run, yes=yes)
        return
    found = _found(instance)
    _refuse_ended(found, wish="pause")
    name = shown_id(instance)
    if _only_said(f"pause {instance} in {found.state}{_driver(found)}", dry_run=dry_run):
        return
    with _engine() as engine:
        at_once = engine.pause(instance, reason=reason)
    _said(
        instance,
        done=f"{instance} paused in {found.state}   next: statepipe resume {name}",
        asked=f"{instance}: its driver was asked to pause it"
        f"   next: statepipe history {name} --follow",
        at_once=at_once,
    )


def _pause_group(group: str, *, reason: str | None, dry_run: bool, yes: bool) -> None:
    with open_reader() as reader:
        found = reader.group(group)
    name, paused = shown_id(group), found.standings.get(Status.PAUSED, 0)
    unfinished = unfinished_of(found) - paused
    if not unfinished:
        raise Refused(
            f"each partition of group {group!r} that has not ended is paused already"
            if paused
            else f"no partition of group {group!r} is unfinished; it is {found.group.status}",
            meaning="nothing was changed",
            next_step=f"statepipe {'unpause --group' if paused else 'inspect'} {name}",
        )
    what = f"pause {plural(unfinished, 'partition')} of {group}"
    if _only_said(what, dry_run=dry_run):
        return
    confirm(f"{what}?", yes=yes, again=f"statepipe pause --group {name} --yes")
    with _engine() as engine:
        done, asked, left = engine.groups.pause(group, reason=reason)
    out = Session.current().out()
    if out.is_json:
        fact = {"group": group, "paused": done, "asked": asked, "left": sum(left.values())}
        out.value({**fact, "left_as": dict(sorted(left.items()))})
        return
    said = f"{plural(done, 'partition')} paused"
    said += f", the drivers of {asked:,} were asked to" if asked else ""
    others = ", ".join(f"{count:,} {are}" for are, count in sorted(left.items()))
    said += f"; left as they are: {others}" if others else ""
    out.say(f"{said}   next: statepipe unpause --group {name}")


@command(
    "rewind",
    changes=True,
    examples=[
        "statepipe rewind ID --to transforming --dry-run",
        "statepipe rewind ID --to transforming --reason 'rates were wrong' --yes",
        "statepipe rewind ID --to validating --definition latest --yes",
    ],
)
@_ID
@click.option("--to", required=True, metavar="STATE", help="A state it was in before.")
@DEFINITION
@_REASON
@_DRY_RUN
@_YES
def rewind(
    *, instance: str, to: str, definition: Adopt, reason: str | None, dry_run: bool, yes: bool
) -> None:
    """Put an instance back into an earlier state; everything after is done again."""
    with open_reader() as reader:
        found = reader.inspect(instance)
        if definition == "pinned":
            refuse_changed_rewind(reader, instance, to=to)
    _refuse_impossible(found, to=to)
    name = shown_id(instance)
    loaded = sum(done for _, done in found.planned.values())
    again = f"; {plural(loaded, 'loaded batch')} will be upserted again" if loaded else ""
    here = found.failed_state or found.state
    if _only_said(f"rewind {instance} from {here} to {to}{again}", dry_run=dry_run):
        return
    confirm(
        f"rewind {instance} from {here} to {to}?",
        yes=yes,
        again=f"statepipe rewind {name} --to {to} --yes",
    )
    with _engine() as engine:
        engine.rewind(instance, to=to, reason=reason, definition=definition)
    _said(
        instance,
        done=f"{instance} rewound to {to}   next: statepipe resume {name}",
        asked="",
        at_once=True,
    )


def _engine() -> AbstractContextManager[Engine]:
    return intervening(config_here(), create=False)


def _driving() -> AbstractContextManager[Any]:
    # What drives costs 80 ms of import, which the other interventions need not pay.
    from statepipe.cli.shared.driving import driving  # noqa: PLC0415  (imported when used)

    return driving(create=False)


def _found(instance: str) -> Inspection:
    with open_reader() as reader:
        return reader.inspect(instance)


def _driver(found: Inspection) -> str:
    if found.standing != "running" or found.holder is None:
        return ""
    return f", driven by process {found.holder.pid}, which would be asked to"


def _refuse_ended(found: Inspection, *, wish: str) -> None:
    if found.status == Status.FAILED and wish != "pause":
        return
    if found.status in Status.FINISHED or (wish == "pause" and found.status == Status.PAUSED):
        raise Refused(
            f"instance {found.id!r} is already {found.status}",
            meaning="nothing was changed",
            next_step=f"statepipe inspect {shown_id(found.id)}",
        )


def _refuse_impossible(found: Inspection, *, to: str) -> None:
    """Say no before anybody is asked; the engine checks again when it commits."""
    config = config_here()
    where = Found(
        n=found.n,
        id=found.id,
        machine=found.machine,
        definition=0,
        seq=found.seq,
        status=found.status,
        state=found.state,
        failed_state=found.failed_state,
    )
    loaded: dict[str, int] = {}
    for (state, _, _), (_, done) in found.planned.items():
        loaded[state] = loaded.get(state, 0) + done
    rewound(
        [Passage(*row) for row in found.steps],
        found=where,
        machine=Catalog(config).machine(found.machine),
        form=found.form,
        to=to,
        loaded=loaded,
        is_staged=lambda stay: (stay.state, stay.generation, stay.visit) in found.staged,
    )


def _only_said(what: str, *, dry_run: bool) -> bool:
    """Say what would happen if this is all that is wanted; return True if it is."""
    if dry_run:
        Session.current().out().would(what)
    return dry_run


def _said(instance: str, *, done: str, asked: str, at_once: bool) -> None:
    out = Session.current().out()
    if out.is_json:
        with open_reader() as reader:
            found = reader.inspect(instance)
        out.value(
            {
                "id": instance,
                "done": at_once,
                "status": found.standing,
                "state": found.state,
                "request": found.request,
            }
        )
    else:
        out.say(done if at_once else asked)
