"""
A real PostgreSQL for tests: a cluster of its own, on a free port of the loopback interface.

    Cluster         made by initdb in a temporary folder; started, stopped, killed, removed
    Cluster.url     an address, with the password written into it
    Cluster.owner   a connection of the superuser
    binaries        where Debian, or PATH, has the server's programs

The server refuses to run as root, so root runs it as `postgres`, or else as `nobody`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

from tests.crash.processes import until

PASSWORD: Final = "correct horse battery staple"

USER: Final = "loader"

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    # Nothing here cuts the power: what the kernel has, a crash of the server leaves. With
    # it, each start after a crash would sync a thousand files.
    "fsync": "off",
}


class Cluster:
    """A server and its data, until `remove`; `settings` win over those of tests."""

    def __init__(self, **settings: str) -> None:
        self._settings = {**_SETTINGS, **settings}
        self.folder = Path(tempfile.mkdtemp(prefix="statepipe-pg-"))
        self.log = self.folder / "log"
        self._bin = binaries()
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._as = _somebody()
        if self._as:
            os.chown(self.folder, self._as.pw_uid, self._as.pw_gid)
        word = self.folder / "password"
        word.write_text(PASSWORD, encoding="utf-8")
        if self._as:
            os.chown(word, self._as.pw_uid, self._as.pw_gid)
        self._run(
            "initdb",
            f"--pgdata={self._data}",
            f"--username={USER}",
            f"--pwfile={word}",
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        )
        self.port = 0

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        self.port = self.port or _free_port()
        settings = {**self._settings, "port": self.port, "unix_socket_directories": self.folder}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # The server ends when we do, whatever we end by.
                [
                    "setpriv",
                    "--pdeathsig=QUIT",
                    self._bin / "postgres",
                    f"-D{self._data}",
                    *(f"-c{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity(),
            )
        until(self._is_ready, f"the server; see {self.log}")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; `immediate` is a crash: nothing is finished or written back."""
        if self._process is not None:
            self._run("pg_ctl", "stop", f"--pgdata={self._data}", f"--mode={mode}", "--wait")
            self._process.wait(timeout=30)
            self._process = None

    def remove(self) -> None:
        """Stop the server and remove its data."""
        with suppress(subprocess.SubprocessError):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, *, port: int = 0, password: str = PASSWORD, **options: str) -> str:
        """Return the address of the database, with what else libpq is told."""
        said = f"postgresql://{USER}:{quote(password)}@127.0.0.1:{port or self.port}/postgres"
        asked = "&".join(f"{name}={quote(value)}" for name, value in options.items())
        return f"{said}?{asked}" if asked else said

    def socket(self, **options: str) -> str:
        """Return the address of the server's socket, where nobody is asked for a password."""
        asked = {"host": str(self.folder), "port": str(self.port), "user": USER, **options}
        said = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
        return f"postgresql:///postgres?{said}"

    def owner(self, **options: Any) -> psycopg.Connection:  # noqa: ANN401  (psycopg's own)
        """Return a connection of the superuser, in autocommit and without a password."""
        asked = {"host": self.folder, "port": self.port, "user": USER, "dbname": "postgres"}
        return psycopg.connect(**{**asked, **options}, autocommit=True)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text("utf-8")[-2_000:]
        try:
            self.owner(connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self._bin / program, *map(str, arguments)],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            **self._identity(),
        )

    def _identity(self) -> dict[str, Any]:
        if self._as is None:
            return {}
        return {"user": self._as.pw_uid, "group": self._as.pw_gid, "extra_groups": []}


def binaries() -> Path:
    """Return the folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    on_path = shutil.which("initdb")
    assert found or on_path, "no PostgreSQL server is installed; type: sudo make tools"
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


@contextmanager
def running() -> Iterator[Cluster]:
    """Yield a cluster that runs, and remove it."""
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def _version(initdb: Path) -> int:
    return int(initdb.parent.parent.name)


def _somebody() -> pwd.struct_passwd | None:
    """Return whom to run the server as; None for ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    msg = "neither postgres nor nobody is a user of this machine"
    raise AssertionError(msg)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
