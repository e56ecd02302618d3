"""
A machine to fork instances of, with batches in rows and in files, and a project with it.

    Project     a folder, and what tests ask of it
    LOOPING     the same machine, which reads its source in two rounds
"""

from pathlib import Path
from typing import Any

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.sqlite import sqlite3
from statepipe.store.reading import Reader

CONFIG = """\
store = "statepipe.db"
[policies.default]
executor = "inline"
batch_size = 4
max_attempts = 1
"""

MACHINE = """\
machine = "m"
extract = { run = "m:extract", watermark = "id" }
transform = "m:book"
load = { to = "sqlite:///w.db", table = "t" }

[params]
plus = { type = "int", default = 0 }
"""

LOOPING = """\
machine = "m"
initial = "extracting"

[params]
plus = { type = "int", default = 0 }

[states.extracting]
run = "m:extract"
on.ok = "transforming"

[states.transforming]
run = "m:book"
on.ok = [{ to = "extracting", max_visits = 1 }, { to = "loading" }]

[states.loading]
load = { to = "sqlite:///w.db", table = "t" }
on.ok = "done"

[states.done]
final = "success"
"""

#: The second batch of the source, and what is made of it, is too large for a row.
CODE = """\
import random
from pathlib import Path
from statepipe import Batch

HERE = Path(__file__).parent

def extract(task):
    (HERE / f"asked by {task.instance}").touch()
    first = 0 if task.watermark is None else task.watermark + 1
    for start in range(task.cursor or first, 12, 4):
        big = random.Random(1).randbytes(30_000).hex() if start == 4 else ""
        yield Batch([{"id": n, "text": big} for n in range(start, start + 4)], cursor=start + 4)

def book(task, batch):
    if (HERE / "broken").exists():
        raise RuntimeError("broken")
    plus = task.params["plus"]
    return [{"id": each["id"] + plus, "text": each["text"], "by": task.instance}
            for each in batch.records]
"""

ALL = list(range(12))


class Project:
    """A folder with one machine, made unless it is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "statepipe.db"
        if not (folder / "machines").exists():
            (folder / "machines").mkdir(parents=True)
            (folder / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
            self.write("m.toml", MACHINE)
            self.write("m.py", CODE)

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

    def fail(self) -> None:
        """Let instance `a` fail in `transforming`, and mend the cause."""
        self.write("broken")
        assert self.run() == "failed"
        (self.folder / "machines" / "broken").unlink()

    def fork(self, name: str = "a", **options: Any) -> str:  # noqa: ANN401  (as of `fork`)
        """Fork an instance and return the id of the new one, which nobody drives yet."""
        with self.engine() as engine:
            return engine.copies.fork(name, **options)

    def drive(self, *names: str) -> list[str]:
        """Drive instances to their end; return how each ended."""
        with self.engine() as engine:
            return list(engine.run(names).values())

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query of the store says."""
        with Reader(self.store) as reader, reader.moment() as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return found

    def loaded(self, by: str) -> list[int]:
        """Return what the warehouse has of what an instance has transformed."""
        connection = sqlite3.connect(self.folder / "w.db")
        try:
            sql = "SELECT id FROM t WHERE by = ? ORDER BY id"
            return [id_ for (id_,) in connection.execute(sql, (by,))]
        finally:
            connection.close()

    def files(self) -> list[str]:
        """Return the names of all staged files, with their folders."""
        stage = self.folder / "stage"
        return sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file())

    def is_asked(self, by: str) -> bool:
        """Return whether an instance has asked the source."""
        return (self.folder / "machines" / f"asked by {by}").exists()
