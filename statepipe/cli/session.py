"""
The common options as given; `cli.places` finds the configuration and the store by them.
"""

import os
from dataclasses import dataclass
from typing import Final

import click

from statepipe.cli.render import Output

FORMATS: Final = ("table", "json", "jsonl")


@dataclass(slots=True, kw_only=True)
class Session:
    """
    One call of the command line. Filled in while the options are parsed.

    Attributes:
        store: The store as given, or None.
        env: The environment as given, or None.
        config: The configuration file as given, or None.
        output: "table", "json" or "jsonl"; None is "table".
        quiet: True to say nothing but the answer.
        no_color: True for no colours.
        debug: True to print tracebacks of defects.
    """

    store: str | None = None
    env: str | None = None
    config: str | None = None
    output: str | None = None
    quiet: bool = False
    no_color: bool = False
    debug: bool = False

    @classmethod
    def current(cls) -> "Session":
        """Return the session of the command that is running."""
        return click.get_current_context().find_root().ensure_object(cls)

    def out(self) -> Output:
        """Return where and how to print."""
        return Output(
            form=self.output or "table",
            quiet=self.quiet,
            color=not self.no_color and not os.environ.get("NO_COLOR"),
        )
