"""
What `metrics` and `worker --metrics-listen` share: the stores that are collected, the endpoint.

    make_exporter       over the stores that were named, or the project's own
    open_endpoint       serve what an exporter collects
    ProjectMachines     what the machine files imply, read again when they change

Imported only where metrics are served or written: prometheus-client takes 80 ms.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from statepipe import __version__
from statepipe.cli.shared.render import Output
from statepipe.cli.shared.session import here
from statepipe.clock import SystemClock
from statepipe.config import Config
from statepipe.errors import StatepipeError, UsageError
from statepipe.machine.definition import Machine
from statepipe.machine.digest import canonical
from statepipe.machine.loading.loader import find_machine, list_machines, load_machine
from statepipe.machine.loading.template import files_of
from statepipe.machine.taskmachine import task_machines
from statepipe.observe.access import read_users
from statepipe.observe.exporter import Exporter, Source
from statepipe.observe.exposition import negotiated, render
from statepipe.observe.listening import address_of, tls_of
from statepipe.observe.server import Endpoint
from statepipe.observe.shape import Shape, shape_of
from statepipe.runtime.policies import policy_of
from statepipe.store.file.stamp import Environment
from statepipe.store.snapshot import file_sizes, read_snapshot

#: Prometheus gives up after 10 s; all stores together are read in less.
COLLECT_MS_MAX: Final = 6_000


def make_exporter(config: Config, stores: Sequence[str], *, out: Output) -> Exporter:
    """
    Return what collects from `stores`, or from the store of the configuration if none is named.

    Args:
        config: Says where the machine files are; they belong to its own store, or to the only one.
        stores: PATH, or NAME=PATH to be called otherwise than by the path.
        out: Told of stores that cannot be collected.

    Raises:
        UsageError: Two stores have one name.
    """
    named = _named(stores) or {"": config.store}
    most_ms = COLLECT_MS_MAX // len(named)
    clock = SystemClock()
    machines = ProjectMachines(config)
    several = len(named) > 1
    own = config.store.absolute()
    return Exporter(
        [
            Source(
                store=name,
                read=partial(
                    read_snapshot,
                    path,
                    clock=clock,
                    most_ms=most_ms,
                    # Who names stores means them, be they of several environments.
                    environment=None if name else Environment(config.env),
                ),
                size=partial(file_sizes, path),
                shapes=machines.shapes if not several or path.absolute() == own else list,
                targets=list(config.targets) if not several or path.absolute() == own else (),
            )
            for name, path in named.items()
        ],
        version=__version__,
        several=several,
        told=lambda store, reason: out.note(f"metrics: {f'{store}: ' if store else ''}{reason}"),
    )


def open_endpoint(
    exporter: Exporter,
    listen: str,
    *,
    cert: str | None = None,
    key: str | None = None,
    auth_file: str | None = None,
) -> Endpoint:
    """
    Serve what `exporter` collects, until the endpoint is closed.

    Args:
        exporter: What is served.
        listen: HOST:PORT.
        cert: File of a certificate chain, for TLS.
        key: File of its key.
        auth_file: File with the users that may scrape.

    Raises:
        UsageError: The address cannot be listened on, or a file cannot be used.
    """

    def scrape(accept: str) -> tuple[str, bytes]:
        form = negotiated(accept)
        found = exporter.collect(exemplars=form.openmetrics)
        return form.content_type, render(found, openmetrics=form.openmetrics)

    return Endpoint(
        address_of(listen),
        scrape,
        tls=tls_of(cert, key),
        users=read_users(Path(auth_file)) if auth_file else None,
    )


class ProjectMachines:
    """
    The machine files beside a configuration, for the exporter's zeros.

    Args:
        config: Says where they are, and which error classes its policies declare.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[
            Path, tuple[tuple[tuple[int, int], ...], list[Shape | StatepipeError]]
        ] = {}

    def shapes(self) -> list[Shape | StatepipeError]:
        """Return what each file implies, or what is wrong with it; read only if it changed."""
        folder = self._config.machines_dir
        found: list[Shape | StatepipeError] = []
        for name in list_machines(folder):
            try:
                found += self._shapes(find_machine(name, folder))
            except StatepipeError as error:  # it is there twice: the others are shown
                found.append(error)
        return found

    def _shapes(self, path: Path) -> list[Shape | StatepipeError]:
        files = [each.stat() for each in files_of(path)]
        version = tuple((each.st_mtime_ns, each.st_size) for each in files)
        known = self._known.get(path)
        if known is None or known[0] != version:
            known = self._known[path] = (version, self._read(path))
        return known[1]

    def _read(self, path: Path) -> list[Shape | StatepipeError]:
        try:
            machine = load_machine(path)
            return [self._shape(each) for each in (machine, *task_machines(machine))]
        except StatepipeError as error:
            return [error]

    def _shape(self, machine: Machine) -> Shape:
        declared = {
            state.name: policy_of(self._config, machine, state).policy.errors
            for state in machine.acting
        }
        # No series depends on what a contract says, so none is read.
        form = canonical(machine, contract_digests=defaultdict(str))
        return shape_of(form, declared=declared)


def _named(stores: Sequence[str]) -> dict[str, Path]:
    """Return the path of each store by its name: what stands before `=`, or the path itself."""
    named: dict[str, Path] = {}
    for each in stores:
        name, equals, path = each.partition("=")
        if not (equals and name and path):
            name = path = each
        if name in named:
            raise UsageError(
                f"two stores are called {name!r}",
                meaning="nothing was read",
                next_step="--store first=PATH --store second=PATH",
            )
        named[name] = here() / path
    return named
