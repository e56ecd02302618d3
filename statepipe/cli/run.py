"""
`statepipe run`, `start` and `worker`: create instances, drive them.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from statepipe.cli.shared.driving import Drivers, driving
from statepipe.cli.shared.options import command, instance_id, parsed_params
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import Output, shown_id
from statepipe.cli.shared.session import Session
from statepipe.errors import DefinitionError, NotFound, UsageError
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.steering.creating import IfExists
from statepipe.runtime.triggers.listening import Listening
from statepipe.sharing import DEFAULT_QUEUE, PRIORITY_MAX, queue_name

_PARAM = click.option(
    "-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Text, or KEY:=JSON."
)
_ID = click.option(
    "--id", "name", metavar="ID", callback=instance_id, help="Its id; one is made otherwise."
)
_PRIORITY = click.option(
    "--priority",
    type=click.IntRange(-PRIORITY_MAX, PRIORITY_MAX),
    metavar="N",
    help="The higher goes first; the machine's, or 0, otherwise.",
)
_REASON = click.option("--reason", metavar="TEXT", help="Why, for the journal.")
_IF_EXISTS = click.option(
    "--if-exists",
    type=click.Choice(["fail", "attach", "skip"]),
    default="fail",
    show_default=True,
    help="If the id is taken.",
)
_PARTITION = click.option(
    "--partition",
    "partitions",
    multiple=True,
    metavar="A..B",
    help="An instance for each of these, both included; a key alone is one; repeat.",
)
_GROUP = click.option(
    "--group", metavar="ID", callback=instance_id, help="Id of the group they make."
)


def _queues(
    _context: click.Context, _option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    for name in names:
        try:
            queue_name("--queue", name)
        except DefinitionError as error:
            raise click.UsageError(f"{error.message}: {error.next_step}") from None
    return names


class _Wanted(NamedTuple):
    """What is to be created, as the options of `run` and `start` say it."""

    machine: str
    params: Mapping[str, Any]
    name: str | None  # of the instance, or of the group
    partitions: tuple[str, ...]  # none for an instance of its own
    if_exists: IfExists
    reason: str | None
    priority: int | None


@command(
    "run",
    logs=True,
    examples=[
        "statepipe run flights",
        "statepipe run orders -p day=2013-02-08 -p limit:=10",
        "statepipe run orders --id orders-2013-02-08 --if-exists attach",
        "statepipe run flights_by_day --partition 2013-02-04..2013-02-10 --max-parallel 2",
    ],
)
@click.argument("machine", metavar="MACHINE")
@_PARAM
@_ID
@_PARTITION
@_GROUP
@click.option(
    "--max-parallel", type=click.IntRange(1, 1_024), metavar="N", help="Partitions at a time."
)
@_IF_EXISTS
@_PRIORITY
@_REASON
@click.option("--detailed", is_flag=True, help="Say every batch.")
def run(  # noqa: PLR0913  (one argument an option)
    *,
    machine: str,
    params: tuple[str, ...],
    name: str | None,
    partitions: tuple[str, ...],
    group: str | None,
    max_parallel: int | None,
    if_exists: IfExists,
    priority: int | None,
    reason: str | None,
    detailed: bool,
) -> int:
    """
    Create an instance of MACHINE and drive it until it ends; exits 1 if it failed.

    With --partition, a group of instances; exits 1 unless the group is done.
    """
    _refuse_mixed(name, partitions, group, max_parallel)
    given = parsed_params(params)
    wanted = _Wanted(machine, given, name or group, partitions, if_exists, reason, priority)
    with driving(
        create=True, detailed=detailed, brief=bool(partitions), concurrency=max_parallel
    ) as drivers:
        made = _create(drivers, wanted)
        if made is None:
            _say_none(drivers.out, is_group=bool(partitions))
            return 0
        return drivers.run_group(made) if partitions else drivers.run(made)


@command(
    "start",
    logs=True,
    examples=[
        "statepipe start flights",
        "statepipe start orders -p day=2013-02-08 --id one",
        "statepipe start flights_by_day --partition 2013-02-04..2013-02-10",
    ],
)
@click.argument("machine", metavar="MACHINE")
@_PARAM
@_ID
@_PARTITION
@_GROUP
@_IF_EXISTS
@_PRIORITY
@_REASON
def start(
    *,
    machine: str,
    params: tuple[str, ...],
    name: str | None,
    partitions: tuple[str, ...],
    group: str | None,
    if_exists: IfExists,
    priority: int | None,
    reason: str | None,
) -> None:
    """Create an instance of MACHINE, or a group, and print its id; a worker drives it."""
    _refuse_mixed(name, partitions, group, None)
    given = parsed_params(params)
    wanted = _Wanted(machine, given, name or group, partitions, if_exists, reason, priority)
    with driving(create=True) as drivers:
        made = _create(drivers, wanted)
    if drivers.out.is_json:
        drivers.out.value({"group" if partitions else "id": made})
    elif made is not None:
        drivers.out.say(made)
        resume = ("--group " if partitions else "") + shown_id(made)
        drivers.out.note(f"next: statepipe worker   # or: statepipe resume {resume}")


@command(
    "worker",
    logs=True,
    examples=[
        "statepipe worker",
        "statepipe worker --machine flights --concurrency 4",
        "statepipe worker --queue heavy --concurrency 1",
        "statepipe worker --until-idle",
        "statepipe worker --metrics-listen 127.0.0.1:9464",
        "statepipe worker --callbacks-listen 127.0.0.1:8765",
        "statepipe worker --log-format json",
    ],
)
@click.option(
    "-m", "--machine", "machines", multiple=True, metavar="NAME", help="Only this; repeat."
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    callback=_queues,
    help=f"Only states of this queue; repeat. {DEFAULT_QUEUE!r} otherwise.",
)
@click.option("--concurrency", type=click.IntRange(1, 1_024), help="Instances at a time.")
@click.option(
    "--until-idle", is_flag=True, help="Return once nothing is ready, or to be tried again."
)
@click.option("--detailed", is_flag=True, help="Say every batch.")
@click.option("--metrics-listen", metavar="HOST:PORT", help="Serve metrics meanwhile.")
@click.option("--metrics-tls-cert", metavar="FILE", help="As of `metrics serve`.")
@click.option("--metrics-tls-key", metavar="FILE", help="As of `metrics serve`.")
@click.option("--metrics-auth-file", metavar="FILE", help="As of `metrics serve`.")
@click.option("--callbacks-listen", metavar="HOST:PORT", help="Take callbacks meanwhile.")
@click.option("--callbacks-tls-cert", metavar="FILE", help="Certificate chain, PEM.")
@click.option("--callbacks-tls-key", metavar="FILE", help="Its key, PEM.")
def worker(  # noqa: PLR0913  (one argument an option)
    *,
    machines: tuple[str, ...],
    queues: tuple[str, ...],
    concurrency: int | None,
    until_idle: bool,
    detailed: bool,
    metrics_listen: str | None,
    metrics_tls_cert: str | None,
    metrics_tls_key: str | None,
    metrics_auth_file: str | None,
    callbacks_listen: str | None,
    callbacks_tls_cert: str | None,
    callbacks_tls_key: str | None,
) -> int:
    """Drive whatever is ready, new or left behind by a dead process, until SIGTERM."""
    guards = (metrics_tls_cert, metrics_tls_key, metrics_auth_file)
    with (
        driving(create=_starts_itself(), detailed=detailed, concurrency=concurrency) as drivers,
        _watched(metrics_listen, *guards),
        _called_back(callbacks_listen, callbacks_tls_cert, callbacks_tls_key),
    ):
        return drivers.work(machines, queues=queues, until_idle=until_idle)


def _starts_itself() -> bool:
    """Return True if some machine has a trigger: a worker makes the store for it."""
    return Listening(Catalog(config_here())).is_any


@contextmanager
def _watched(
    listen: str | None, cert: str | None, key: str | None, auth_file: str | None
) -> Generator[None]:
    """Serve the metrics of the store while the block runs, if an address was given."""
    if listen is None:
        if cert or key or auth_file:
            raise UsageError(
                "nothing is served, so there is nothing to guard",
                meaning="nothing was driven",
                next_step="--metrics-listen 127.0.0.1:9464",
            )
        yield
        return
    # prometheus-client takes 80 ms, for those alone who serve.
    from statepipe.cli.shared.exporting import make_exporter, open_endpoint  # noqa: PLC0415  (imported when used)

    out = Session.current().out()
    exporter = make_exporter(config_here(), (), out=out)
    with open_endpoint(exporter, listen, cert=cert, key=key, auth_file=auth_file) as endpoint:
        out.note(f"serving {endpoint.url}/metrics")
        yield


@contextmanager
def _called_back(listen: str | None, cert: str | None, key: str | None) -> Generator[None]:
    if listen is None and not (cert or key):
        yield
        return
    # http.server and ssl take 40 ms, for those alone who serve.
    from statepipe.cli.shared.callbacks import taking  # noqa: PLC0415  (imported when used)

    with taking(listen, cert, key):
        yield


def _refuse_mixed(
    name: str | None, partitions: tuple[str, ...], group: str | None, max_parallel: int | None
) -> None:
    if partitions and name is not None:
        raise click.UsageError("partitions have ids of their own; --group names what they make")
    if not partitions and (group is not None or max_parallel is not None):
        raise click.UsageError("--group and --max-parallel go with --partition")


def _create(drivers: Drivers, wanted: _Wanted) -> str | None:
    engine, name = drivers.engine, wanted.name
    if wanted.partitions:
        made = engine.groups.create(
            wanted.machine,
            wanted.partitions,
            params=wanted.params,
            group_id=name,
            if_exists=wanted.if_exists,
            reason=wanted.reason,
            priority=wanted.priority,
        )
    else:
        made = engine.create(
            wanted.machine,
            params=wanted.params,
            instance_id=name,
            if_exists=wanted.if_exists,
            reason=wanted.reason,
            priority=wanted.priority,
        )
    if made is None:
        drivers.out.note(_nothing_made(wanted))
    return made


def _say_none(out: Output, *, is_group: bool) -> None:
    """Say in JSON that nothing was run."""
    if out.is_json and is_group:
        out.value({"group": None})
    elif out.is_json:
        out.values([])


def _is_there(name: str) -> bool:
    with open_reader() as reader:
        try:
            reader.inspect(name)
        except NotFound:
            return False
    return True


def _nothing_made(wanted: _Wanted) -> str:
    """Say why nothing was made: it exists, or its key is taken."""
    name = wanted.name
    which = f"next: statepipe inspect {shown_id(name)}" if name else ""
    if wanted.partitions or (name is not None and _is_there(name)):
        return f"{name or 'the group'} exists; nothing was done   {which}".rstrip()
    return (
        f"nothing was made: as many instances of {wanted.machine} as its concurrency allows have"
        f" this key   next: statepipe ls --machine {wanted.machine}"
    )
