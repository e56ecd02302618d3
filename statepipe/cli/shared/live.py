"""
A page of tables that is drawn again and again on a terminal, until somebody has seen enough.

    watch       draw it until SIGINT or SIGTERM

rich is imported with this module, which is imported only for a terminal.
"""

import signal
from collections.abc import Callable, Sequence
from threading import Event
from types import FrameType
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from statepipe.cli.shared.render import Table, escape, rich_table

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def watch(page: Callable[[], tuple[str, Sequence[Table]]], *, every_ms: int, color: bool) -> int:
    """
    Draw what `page` returns, over and over; return the exit code of the signal that ends it.

    The screen is given back as it was, also when `page` raises.

    Args:
        page: Returns a line and the tables below it.
        every_ms: How long to rest between two looks, in milliseconds.
        color: False for no colours.
    """
    ended = Event()
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        ended.set()

    before = {number: signal.signal(number, hear) for number in _SIGNALS}
    console = Console(no_color=not color, highlight=False)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not ended.is_set():
                line, tables = page()
                live.update(_drawn(line, tables, width=console.width), refresh=True)
                ended.wait(every_ms / 1000)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + heard[0]


def _drawn(line: str, tables: Sequence[Table], *, width: int) -> RenderableType:
    parts: list[RenderableType] = [Text(escape(line))]
    for table in tables:
        escaped = table._replace(rows=[[escape(cell) for cell in row] for row in table.rows])
        parts += [Text(""), rich_table(escaped.fitted(width))]
    return Group(*parts)
