"""
`make demo`: a real week of flights, killed twice with SIGKILL, resumed, and compared.

Everything happens in `build/demo`, made anew each time. What is printed after a `$` is
what you could type there yourself. The last step loads the same week undisturbed and
fails unless both warehouses hold the same rows and both quarantines the same records.
"""

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DEMO = PROJECT / "build" / "demo"
ID = "week-6"

CONFIG = """\
# Small batches, so that there is a midway to be killed in.
[machines.flights.states.extracting]
batch_size = 400
"""


def main() -> None:
    """Tell the story; exit 1 if it ends otherwise than it should."""
    undisturbed = make_folder("undisturbed")
    disturbed = make_folder("disturbed")

    say("A run, killed with SIGKILL while it validates.")
    killed_in("validating", disturbed, "run", "flights", "--id", ID)
    say("What is left: the last commit.")
    type_in(disturbed, "ls")
    type_in(disturbed, "inspect", ID)

    say("It goes on from there, and is killed again, while it loads.")
    killed_in("loading", disturbed, "resume", ID)
    say("It goes on from there, and ends.")
    type_in(disturbed, "resume", ID)

    say("The journal: every move, and every batch, was one commit.")
    type_in(disturbed, "history", ID)
    say("The records that were rejected, by reason.")
    type_in(disturbed, "quarantine", "ls", ID)

    say("The same week once more, undisturbed.")
    type_in(undisturbed, "run", "flights", "--id", ID, "--quiet")
    compare(disturbed, undisturbed)


def make_folder(name: str) -> Path:
    """Return a new project folder with the flights machine in it."""
    folder = DEMO / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PROJECT / "machines", folder / "machines")
    (folder / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    return folder


def killed_in(state: str, folder: Path, *arguments: str) -> None:
    """Run a command and kill it with SIGKILL once two batches of `state` are committed."""
    print(f"$ statepipe {shlex.join(arguments)}", flush=True)
    process = subprocess.Popen(  # noqa: S603  (our own command)
        [sys.executable, "-m", "statepipe", *arguments], cwd=folder, env=environment()
    )
    try:
        while batches_in(state, folder) < 2:  # noqa: PLR2004  (midway: neither the first nor the last)
            if process.poll() is not None:
                sys.exit(f"demo: it ended with {process.returncode} before it could be killed")
            threading.Event().wait(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    print(f"\n    *** kill -9 {process.pid}, while {state} ***", flush=True)


def batches_in(state: str, folder: Path) -> int:
    """Return how many batches of `state` the store says are committed."""
    store = folder / "checkpoints" / "statepipe.db"
    if not store.exists():
        return 0
    try:
        connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
        try:
            sql = "SELECT count(*) FROM journal WHERE kind = 'batch' AND source = ?"
            count: int = connection.execute(sql, (state,)).fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return 0  # it is being made right now
    return count


def type_in(folder: Path, *arguments: str) -> None:
    """Run a command to its end; the demo ends if it fails."""
    print(f"$ statepipe {shlex.join(arguments)}", flush=True)
    done = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "statepipe", *arguments],
        cwd=folder,
        env=environment(),
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"demo: statepipe {arguments[0]} ended with {done.returncode}")


def environment() -> dict[str, str]:
    """Return the environment without what would point a command elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("STATEPIPE_")}


def compare(disturbed: Path, undisturbed: Path) -> None:
    """Fail unless both folders hold the same rows and the same rejects."""
    found, expected = (facts_of(folder) for folder in (disturbed, undisturbed))
    rows, rejected = len(expected[0]), sum(count for _, count in expected[1])
    if found != expected or rows + rejected != lines_in_source():
        sys.exit("demo: FAILED: the disturbed run did not end like the undisturbed one")
    say(
        f"Equal: {rows:,} rows loaded once each and {rejected:,} in quarantine,"
        f" of {lines_in_source():,} records read; after two kills as after none."
    )


def facts_of(folder: Path) -> tuple[list[tuple[object, ...]], list[tuple[str, int]]]:
    """Return the warehouse's rows, sorted, and the number of rejects by reason."""
    warehouse = sqlite3.connect(folder / "warehouse.db")
    store = sqlite3.connect(folder / "checkpoints" / "statepipe.db")
    try:
        rows = warehouse.execute("SELECT * FROM flights ORDER BY id").fetchall()
        sql = "SELECT reason, sum(count) FROM rejected GROUP BY reason ORDER BY reason"
        return rows, store.execute(sql).fetchall()
    finally:
        warehouse.close()
        store.close()


def lines_in_source() -> int:
    """Return how many records the source file has; its first line is the header."""
    with (PROJECT / "machines" / "data" / "flights.csv").open(encoding="utf-8") as lines:
        return sum(1 for _ in lines) - 1


def say(text: str) -> None:
    """Print what comes next."""
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    main()
