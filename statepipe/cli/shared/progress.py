"""
What is shown while instances are driven: a line a move, and on a terminal a live table.

    Progress.observe    told of each change after its commit
    Progress.close      take the live table away
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from statepipe.cli.shared.render import Output, escape, first_line, moment, silence
from statepipe.model import Change
from statepipe.runtime.driving.drive import Drive
from statepipe.units import format_duration, plural

#: Instances in the live table; beyond it they are only counted.
_SHOWN_MAX: Final = 12

_ENDED: Final = ("done", "failed", "cancelled")


@dataclass(slots=True)
class _Stay:
    """What one instance has done in the state it is in, as far as this process saw."""

    state: str
    batches: int = 0
    records: int = 0
    rejected: int = 0


class Progress:
    """
    Prints what happens to instances.

    Args:
        out: Where to; on a terminal with a live table.
        detailed: A line for every batch as well.
        brief: A line only for what ended or failed.

    Attributes:
        ended: How many instances ended, by status.
    """

    def __init__(self, out: Output, *, detailed: bool, brief: bool = False) -> None:
        self.ended: Counter[str] = Counter()
        self._out = out
        self._detailed = detailed
        self._brief = brief and not detailed
        self._stays: dict[str, _Stay] = {}
        self._live: Any = None
        self._muted = out.quiet

    def observe(self, drive: Drive, change: Change) -> None:
        """Take note of a change that was committed."""
        detail = change.detail
        kind = detail.kind if detail else "move"
        stay = self._stays.get(drive.id)
        if stay is None or stay.state != change.source:
            stay = self._stays[drive.id] = _Stay(change.source)
        if kind == "batch" and detail:
            stay.batches += 1
            stay.records += detail.records or 0
            stay.rejected += detail.rejected or 0
        told = change.status in _ENDED or kind == "retry" or not self._brief
        if self._detailed if kind == "batch" else told:
            self._say(_line(drive, change, stay, kind=kind))
        if change.status in _ENDED:
            self.ended[change.status] += 1
        if kind != "batch":
            del self._stays[drive.id]
            if change.status not in _ENDED and kind == "move":
                self._stays[drive.id] = _Stay(change.state)
        self._show()

    def close(self) -> None:
        """Take the live table away."""
        live, self._live, self._muted = self._live, None, True
        if live is not None:
            with suppress(OSError):  # the terminal has gone, and the table with it
                live.stop()

    def _say(self, line: str) -> None:
        if self._muted:
            return
        if self._live is None:
            self._out.tell(line)
            return
        try:
            self._live.console.print(escape(line), markup=False, highlight=False, soft_wrap=True)
        except OSError:
            silence("stdout")

    def _show(self) -> None:
        if self._muted or not self._out.is_terminal:
            return
        if self._live is None:
            from rich.console import Console  # noqa: PLC0415  (60 ms, for terminals only)
            from rich.live import Live  # noqa: PLC0415  (as above)

            console = Console(no_color=not self._out.color, highlight=False)
            self._live = Live(
                console=console,
                get_renderable=self._table,
                refresh_per_second=8,
                transient=True,
                # What tasks print is caught before it could disturb the table.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _table(self) -> Any:  # noqa: ANN401  (rich's own type)
        """Return what is driven now; called by rich's thread, so it reads a copy."""
        from rich.table import Table  # noqa: PLC0415  (60 ms, for terminals only)
        from rich.text import Text  # noqa: PLC0415  (as above)

        table = Table(box=None, pad_edge=False, show_header=False)
        driven = list(self._stays.copy().items())
        for name, stay in driven[:_SHOWN_MAX]:
            counts = f"{plural(stay.batches, 'batch')}  {plural(stay.records, 'record')}"
            rejected = f"{stay.rejected:,} rejected" if stay.rejected else ""
            cells = (escape(name), escape(stay.state), counts, rejected)
            styles = ("bold", "cyan", "", "yellow")
            pairs = zip(cells, styles, strict=True)
            table.add_row(*(Text(cell, style=style) for cell, style in pairs))
        if len(driven) > _SHOWN_MAX:
            table.add_row(Text(f"and {len(driven) - _SHOWN_MAX:,} more"))
        return table


def _line(drive: Drive, change: Change, stay: _Stay, *, kind: str) -> str:
    detail = change.detail
    where = change.state if change.source == change.state else f"{change.source} -> {change.state}"
    said = []
    if kind == "batch" and detail:
        said += [detail.note or "batch", plural(detail.records or 0, "record")]
    elif kind != change.event:
        said.append(change.event)
    if kind != "batch" and stay.batches:
        said += [plural(stay.batches, "batch"), plural(stay.records, "record")]
        if stay.rejected:
            said.append(f"{stay.rejected:,} rejected")
    if change.took_ms is not None:
        said.append(format_duration(change.took_ms))
    if detail is not None and detail.error_class:
        said.append(f"{detail.error_class}: {first_line(detail.error)}")
    verb = "" if kind == "move" else f"{kind} "
    if kind == "interrupt" and detail is not None and change.event == "wait":
        verb, said = "waits in ", [detail.note] if detail.note else []
    if kind == "interrupt" and change.event == "submit":
        verb, said = "job submitted in ", []
    return f"{moment(change.at_ms)}  {drive.id}  {verb}{where}  {', '.join(said)}".rstrip()
