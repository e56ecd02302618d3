"""
Calls of `statepipe` that a text tells people to type, looked up in the command line itself.

    missing     what a call names that does not exist
"""

import re
import shlex

import click

from statepipe.cli import statepipe

_OPTION = re.compile(r"--[a-z][a-z-]+")


def missing(call: str) -> list[str]:
    """Return the commands and options of `call`, a line from `statepipe` on, that do not exist."""
    words = shlex.split(call, comments=True)[1:]
    context = click.Context(statepipe)
    found: click.Command = statepipe
    for word in words:
        if not isinstance(found, click.Group):
            break
        if word.startswith("-"):
            continue
        inner = found.get_command(context, word)
        if inner is None:
            return [word]
        found = inner
    known = {name for param in found.params for name in param.opts} | {"--help", "--version"}
    return sorted(set(_OPTION.findall(" ".join(words))) - known)
