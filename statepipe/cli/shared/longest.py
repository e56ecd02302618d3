"""
What bounds a run of a machine, shown: `graph --critical-path` and `--suggest`.
"""

from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import Output
from statepipe.errors import DefinitionError
from statepipe.machine.definition import Machine
from statepipe.machine.states.tasks import Run
from statepipe.runtime.criticalpath import (
    Median,
    Medians,
    Stretch,
    critical_path,
    measured,
    suggestions,
    whole,
)
from statepipe.runtime.tasks.functions import kind_of, resolve
from statepipe.store.questions.durations import weeks
from statepipe.units import format_duration, plural

_NOTHING = "nothing of it ended well in that time: run it first, or look further back with --since"


def show_path(out: Output, machine: Machine, *, since_ms: int) -> None:
    """Print the longest way through `machine`, and what of the whole each state takes."""
    medians = _medians(machine, since_ms)
    path = critical_path(machine, medians)
    all_ms = sum(each.ms for each in path if each.task is None)
    rows = [
        {
            "state": each.state,
            "task": each.task,
            "median_ms": each.took.ms,
            "of": each.took.of,
            "elements": each.elements,
            "rounds": each.rounds,
            "takes_ms": each.ms if each.took.of else None,
            "_state": each.state if each.task is None else "",
            "_task": each.task or "",
            "_median": _shown(each.took),
            "_takes": _takes(each),
            "_share": f"{each.ms / all_ms:.0%}" if each.task is None and all_ms else "",
            "_of": f"{each.took.of:,}",
        }
        for each in path
    ]
    heads = ["STATE", "TASK", "MEDIAN", "TAKES", "SHARE", "OF"]
    out.rows(heads, rows, cells=["_state", "_task", "_median", "_takes", "_share", "_of"])
    if not medians:
        out.note(_NOTHING)
        return
    took = whole(machine, medians)
    out.note(
        f"medians of what ended well; a whole run takes {_shown(took)},"
        f" median of {plural(took.of, 'run')}"
    )


def show_suggestions(out: Output, machine: Machine, *, since_ms: int) -> None:
    """Print what may make a run of `machine` shorter; it imports the functions."""
    folder = config_here().machines_dir

    def kind(run: Run) -> str:
        try:
            return kind_of(resolve(run.reference, folder))
        except DefinitionError:
            return ""

    medians = _medians(machine, since_ms)
    found = suggestions(machine, medians, kinds=kind)
    if out.is_json:
        out.values(
            [
                {"state": each.state, "text": each.text, "saves_ms": each.saves_ms, "of": each.of}
                for each in found
            ]
        )
        return
    for each in found:
        out.raw(
            f"{each.text} (saves up to {format_duration(each.saves_ms)}, median of {each.of:,})"
        )
    if not found:
        out.note("nothing stands out" if medians else _NOTHING)


def _medians(machine: Machine, since_ms: int) -> Medians:
    with open_reader() as reader:
        return measured(weeks(reader, since_ms=since_ms), machine.name)


def _shown(took: Median) -> str:
    return "-" if took.ms is None else format_duration(took.ms)


def _takes(stretch: Stretch) -> str:
    if stretch.elements is None or stretch.took.ms is None:
        return _shown(stretch.took)
    return f"{format_duration(stretch.ms)} ({stretch.elements:.0f} elements)"
