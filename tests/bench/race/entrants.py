"""
Who runs the race: each a command that reads the same file and fills a table called flights.

    ENTRANTS        all of them, the plain script first
    Entrant.run     once into an empty warehouse: what it took, and what it left there
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.race.data import CANCELLED, Data, python_with
from tests.bench.race.measure import Measured, measured
from tests.bench.race.warehouses import Warehouse

HERE: Final = Path(__file__).parent
CONTRACT: Final = HERE.parents[2] / "machines" / "contracts" / "flight.json"
#: Nobody takes a tenth of it for a year of departures.
BOUND_S: Final = 600

#: What suits dicts, and what suits tables.
BATCH_SIZES: Final = {"rows": 10_000, "columns": 45_000}

_DLT: Final = ("dlt[sqlalchemy,postgres]==1.31.0", "pyarrow==26.0.1")
_POLARS: Final = (
    *("polars==2.1.0", "pyarrow==26.0.1"),
    *("adbc-driver-sqlite==1.13.0", "adbc-driver-postgresql==1.13.0"),
)

_MACHINE: Final = """\
machine = "race"
version = 1

extract   = {{ run = "race_{path}:extract", batch_size = {batch_size} }}
validate  = {{ contract = "contracts/flight.json", parallel = 2 }}
transform = {{ run = "race_{path}:transform", parallel = 2 }}
load      = {{ to = "{to}", table = "flights", key = ["id"], parallel = 2 }}

[params]
flights  = {{ type = "text" }}
airlines = {{ type = "text" }}
"""

#: A command, and the folder to run it in, for the data and the address of the warehouse.
Command = Callable[[Data, str], list[str | Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """
    One way to do the job.

    Attributes:
        name: For tables.
        command: What is run, in a folder of its own.
        path: Of statepipe, "rows" or "columns"; None for others.
        is_slow: It runs in the first round only.
    """

    name: str
    command: Command
    path: str | None = None
    is_slow: bool = False

    def run(self, data: Data, warehouse: Warehouse, *, folder: Path) -> Measured:
        """
        Run it in `folder`, which is made; see that all departures were handled.

        Raises:
            AssertionError: If it failed, or put aside what it should not have.
        """
        folder.mkdir()
        if self.path is not None:
            project(folder, path=self.path, to=warehouse.machine_address)
        command = self.command(data, warehouse.address)
        os.sync()  # what the one before left to be written is not on this one's account
        took = measured(command, cwd=folder, environ=_environ(warehouse), bound_s=BOUND_S)
        if self.path is None:
            with (folder / "rejected.csv").open("rb") as file:
                assert sum(1 for _ in file) == CANCELLED
        else:
            assert f" {CANCELLED:,} rejected" in (folder / "output.log").read_text("utf-8")
        return took


def project(folder: Path, *, path: str, to: str, batch_size: int | None = None) -> None:
    """Make `folder` one in which `statepipe run race` works; `path` is "rows" or "columns"."""
    machines = folder / "machines"
    shutil.copytree(HERE / "machines", machines, ignore=shutil.ignore_patterns("__pycache__"))
    (machines / "contracts").mkdir()
    shutil.copy(CONTRACT, machines / "contracts")
    text = _MACHINE.format(path=path, batch_size=batch_size or BATCH_SIZES[path], to=to)
    (machines / "race.toml").write_text(text, encoding="utf-8")
    (folder / "statepipe.toml").write_text('store = "statepipe.db"\n', encoding="utf-8")


def statepipe(data: Data, _to: str) -> list[str | Path]:
    """Return the command that runs the machine of a `project`."""
    command = Path(sys.executable).with_name("statepipe")
    given = ("-p", f"flights={data.flights}", "-p", f"airlines={data.airlines}")
    return [command, "run", "race", "--id", "it", *given]


def _peer(name: str, *arguments: str, packages: tuple[str, ...] = ()) -> Command:
    def command(data: Data, to: str) -> list[str | Path]:
        python = python_with(packages) if packages else Path(sys.executable)
        return [python, HERE / "peers" / name, *arguments, *data, to]

    return command


def _judged(data: Data, to: str) -> list[str | Path]:
    return [*_peer("plain.py")(data, to), CONTRACT]


ENTRANTS: Final = (
    Entrant(name="plain", command=_peer("plain.py")),
    Entrant(name="plain, contract", command=_judged),
    Entrant(name="statepipe, dicts", command=statepipe, path="rows"),
    Entrant(name="statepipe, columns", command=statepipe, path="columns"),
    Entrant(name="dlt, rows", command=_peer("dlt_race.py", "rows", packages=_DLT), is_slow=True),
    Entrant(name="dlt, Arrow", command=_peer("dlt_race.py", "arrow", packages=_DLT)),
    Entrant(name="polars + ADBC", command=_peer("polars_race.py", packages=_POLARS)),
)


def _environ(warehouse: Warehouse) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **warehouse.environ}
