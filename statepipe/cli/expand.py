"""
`statepipe expand`: the machines that templates make, and what each of them says.
"""

from pathlib import Path
from typing import Any, Final

import click

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.session import Session
from statepipe.errors import NotFound, UsageError
from statepipe.machine.digest import digest
from statepipe.machine.loading.loader import find_machine
from statepipe.machine.loading.template import expanded, members, name_of, templates
from statepipe.runtime.catalog import Catalog
from statepipe.suggest import did_you_mean

_SHOWN: Final = 12


@command(
    "expand",
    examples=["statepipe expand", "statepipe expand replicate --print > machines.toml"],
)
@click.argument("template", metavar="[TEMPLATE]", required=False)
@click.option("--print", "prints", is_flag=True, help="Each machine in full, as TOML.")
def expand(*, template: str | None, prints: bool) -> None:
    """List the machines that templates make of their files of values, with their digests."""
    out = Session.current().out()
    config = config_here()
    catalog = Catalog(config)
    made: list[dict[str, Any]] = []
    for each in _chosen(template, config.machines_dir):
        for path in members(each):
            find_machine(path.stem, config.machines_dir)  # refuses one that is there twice
            machine = catalog.machine(path.stem)
            facts: dict[str, Any] = {
                "template": name_of(each),
                "machine": machine.name,
                "file": str(path.relative_to(config.machines_dir)),
                "digest": digest(catalog.form(machine)),
            }
            made.append(facts | ({"table": expanded(each, path)} if prints else {}))
    if not prints or out.is_json:
        out.rows(
            ["TEMPLATE", "MACHINE", "FILE", "DIGEST"],
            [{**one, "_digest": one["digest"][:_SHOWN]} for one in made],
            cells=["template", "machine", "file", "_digest"],
        )
        return
    write = _writer()
    for one in made:
        out.raw(f"# {one['file']}, digest {one['digest']}\n{write(one['table'])}")


def _chosen(name: str | None, machines_dir: Path) -> list[Path]:
    found = {name_of(each): each for each in templates(machines_dir)}
    if name is None:
        return list(found.values())
    if name in found:
        return [found[name]]
    raise NotFound(
        f"there is no template {name!r} in {machines_dir}{did_you_mean(name, found)}",
        meaning="nothing was read",
        next_step=f"write {machines_dir / name}.template.toml",
    )


def _writer() -> Any:  # noqa: ANN401  (the function of a library that may be absent)
    try:
        from tomli_w import dumps  # noqa: PLC0415  (an extra)
    except ImportError:
        raise UsageError(
            "what writes TOML is not installed",
            meaning="nothing was printed",
            next_step="pip install 'statepipe[templates]', or -o json",
        ) from None
    return dumps
