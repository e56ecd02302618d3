"""
`statepipe graph MACHINE`: the machine as a picture, in text, or what bounds a run of it.
"""

import click

from statepipe.cli.shared.longest import show_path, show_suggestions
from statepipe.cli.shared.options import command, duration_ms, instance_id
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.errors import UsageError
from statepipe.machine.graph import dot, mermaid
from statepipe.runtime.catalog import Catalog


@command(
    "graph",
    examples=[
        "statepipe graph flights",
        "statepipe graph flights --format dot | dot -Tsvg > flights.svg",
        "statepipe graph flights --instance flights-20130208-1f2e3d4c",
        "statepipe graph flights --critical-path --since 4w",
    ],
)
@click.argument("machine", metavar="MACHINE")
@click.option("--format", "form", type=click.Choice(["mermaid", "dot"]), default="mermaid")
@click.option(
    "--instance", metavar="ID", callback=instance_id, help="Mark the state this one is in."
)
@click.option("--critical-path", "path", is_flag=True, help="Show what bounds a run instead.")
@click.option("--suggest", is_flag=True, help="Say what may make a run shorter instead.")
@click.option("--since", default="8w", show_default=True, metavar="DURATION", help="Runs how old.")
def graph(
    *, machine: str, form: str, instance: str | None, path: bool, suggest: bool, since: str
) -> None:
    """
    Draw a machine as a Mermaid state diagram, or as a Graphviz digraph.

    --critical-path and --suggest rest on the medians of what ended well since then.
    """
    out = Session.current().out()
    definition = Catalog(config_here()).machine(machine)
    if path and suggest:
        raise UsageError(
            "--critical-path and --suggest are two answers",
            meaning="nothing was read",
            next_step=f"statepipe graph {machine} --suggest",
        )
    if path or suggest:
        since_ms = SystemClock().now_ms() - duration_ms(since, option="--since")
        show = show_suggestions if suggest else show_path
        show(out, definition, since_ms=since_ms)
        return
    current = None if instance is None else _state_of(instance, machine)
    # "cancelled" and "cancelling" are in no machine; what was cancelled is where it would go on.
    text = (mermaid if form == "mermaid" else dot)(definition, current)
    if out.is_json:
        out.value({"machine": machine, "format": form, "current": current, "text": text})
    else:
        out.raw(text.rstrip("\n"))


def _state_of(instance: str, machine: str) -> str:
    with open_reader() as reader:
        found = reader.inspect(instance)
    if found.machine != machine:
        raise UsageError(
            f"{instance!r} is an instance of {found.machine!r}, not of {machine!r}",
            meaning="nothing was drawn",
            next_step=f"statepipe graph {found.machine} --instance {shown_id(instance)}",
        )
    ended = found.status == "cancelled" or found.is_being_cancelled
    return found.resume_state if ended else found.state
