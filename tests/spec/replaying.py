"""
A machine whose source, contract, map and destination reject records, and a project with it.

    Project     a folder, and what tests ask of it
    LOOPING     the same machine, which reads its source once more if little of it is clean
"""

from pathlib import Path
from typing import Any

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.steering.replaying import Choice
from statepipe.sqlite import sqlite3
from statepipe.store.reading import Reader

CONFIG = 'store = "statepipe.db"\n[policies.default]\nexecutor = "inline"\nbatch_size = 3\n'

MACHINE = """\
machine = "m"
extract = { run = "m:extract", watermark = "id" }
validate = { contract = "c.json" }
transform = "m:book"
load = { to = "sqlite:///w.db", table = "t", key = ["id"] }
"""

#: Each round yields 6 records; `n` and `code` are what may be wrong with them.
CODE = """\
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statepipe import Batch, Reject

HERE = Path(__file__).parent
AT = datetime(2026, 2, 8, tzinfo=UTC)

def extract(task):
    records = [{"id": n, "n": 99 if n == 2 else n, "code": "?" if n == 4 else "A",
                "at": AT, "price": Decimal("1.10")} for n in range(6)]
    for start in range(task.cursor or 0, 6, 3):
        task.reject({"line": start}, "no record")
        yield Batch(records[start:start + 3], cursor=start + 3)

def book(task, batch):
    for record in batch.records:
        if (HERE / "broken").exists():
            raise RuntimeError("broken")
        if record["code"] == "?" and not (HERE / "mended").exists():
            raise Reject(record, "no such code")
        assert record["at"] == AT and type(record["price"]) is Decimal, record
    return [{**record, "at": record["at"].isoformat()} for record in batch.records]
"""

STRICT = '{"properties": {"n": {"maximum": 50}}}'


#: So few clean records that it reads its source once more.
LOOPING = """\
machine = "m"
initial = "extracting"

[states.extracting]
run = "m:extract"
on.ok = "validating"

[states.validating]
contract = "c.json"
on.ok = [{ to = "booking", when = "records > 1" }, { to = "extracting", max_visits = 2 }]

[states.booking]
run = "m:book"
on.ok = "loading"

[states.loading]
load = { to = "sqlite:///w.db", table = "t" }
on.ok = "done"

[states.done]
final = "success"
"""


class Project:
    """A folder with one machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "statepipe.db"
        (folder / "machines").mkdir()
        (folder / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
        for name, text in (("m.toml", MACHINE), ("m.py", CODE), ("c.json", STRICT)):
            self.write(name, text)

    def write(self, name: str, text: str = "") -> None:
        """Write a file of the machine."""
        (self.folder / "machines" / name).write_text(text, encoding="utf-8")

    def engine(self, **options: Any) -> Engine:  # noqa: ANN401  (Engine's own)
        """Open an engine."""
        return Engine(load_config(start=self.folder, environ={}), **options)

    def run(self, name: str = "a") -> str:
        """Drive an instance to its end; return how it ended."""
        with self.engine() as engine:
            engine.create("m", instance_id=name)
            return engine.run([name])[name]

    def replay(self, name: str = "a", **choice: Any) -> dict[str, str]:  # noqa: ANN401  (Choice's own)
        """Replay what is chosen, drive it to its end, and return how it ended."""
        with self.engine() as engine:
            return engine.run(engine.replay(name, Choice(**choice), reason="mended"))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query of the store says."""
        with Reader(self.store) as reader, reader.moment() as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return found

    def loaded(self) -> list[tuple[Any, ...]]:
        """Return what the warehouse has."""
        connection = sqlite3.connect(self.folder / "w.db")
        try:
            return list(connection.execute("SELECT id, n FROM t ORDER BY id"))
        finally:
            connection.close()

    def rejects(self, name: str = "a") -> dict[str, Any]:
        """Return the records in quarantine, by the names of their rejects."""
        with Reader(self.store) as reader:
            return {each.id: each.record for each in reader.rejected(name)}
