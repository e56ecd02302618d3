"""
`statepipe init FOLDER`: a runnable example, its data, its contract and its test.
"""

import os
from dataclasses import replace
from pathlib import Path

import click

from statepipe.cli.example import FILES
from statepipe.cli.shared.options import command
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.errors import UsageError


@command("init", examples=["statepipe init demo", "cd demo && statepipe run orders"])
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
def init(*, folder: Path) -> None:
    """Make FOLDER with a machine, its functions, contract, data and test, ready to run."""
    _refuse_used(folder)
    try:
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}",
            meaning="the example is incomplete; what was there before is unchanged",
            next_step="statepipe init ANOTHER_FOLDER   # one that you may write",
        ) from error
    out = replace(Session.current().out(), address=())  # what leads on is in another project
    if out.is_json:
        out.value({"folder": str(folder), "files": list(FILES)})
        return
    for name in FILES:
        out.say(str(folder / name))
    into = "" if folder.resolve() == Path.cwd() else f"cd {shown_id(str(folder))} && "
    out.note(f"next: {into}statepipe run orders   # its test: pytest tests")


def _refuse_used(folder: Path) -> None:
    if not folder.exists():
        return
    if folder.is_dir() and not os.listdir(folder):  # noqa: PTH208  (one question, no Path each)
        return
    what = "is not empty" if folder.is_dir() else "is a file"
    raise UsageError(
        f"{folder} {what}",
        meaning="nothing was written: an example never goes over what is there",
        next_step="statepipe init NEW_FOLDER",
    )
