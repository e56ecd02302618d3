"""workers ls, unpause, queues, priorities and keys from the command line; what systemd hears."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from statepipe.cli.shared.oldmachines import LOOK_MS, OldMachines
from statepipe.cli.shared.systemd import Systemd
from statepipe.store.questions.outdated import Outdated
from statepipe.testing import ManualClock
from tests.cli.project import Project, until

SHARED = """
[machines.numbers]
{said}
"""


def settings(project: Project, said: str) -> None:
    """Say something of the machine in statepipe.toml."""
    path = project.root / "statepipe.toml"
    path.write_text(path.read_text(encoding="utf-8") + SHARED.format(said=said), encoding="utf-8")


@contextmanager
def worker(project: Project, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a worker as a process of its own until the block ends; stopped by SIGTERM then."""
    process = project.spawn("worker", *options)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def posts(project: Project) -> list[dict[str, Any]]:
    """Return what `workers ls` says."""
    said = project.call("workers", "ls", "-o", "json")
    assert said.code == 0
    listed: list[dict[str, Any]] = said.json
    return listed


def test_a_worker_says_what_it_drives_and_that_it_lives(project: Project) -> None:
    """Its machines and queues, how many at a time, and which instances; by its process."""
    project.call("start", "numbers", "--id", "one", "-p", "slow:=true")
    with worker(project, "--concurrency", "3", "--queue", "default", "--queue", "heavy") as process:
        until(lambda: bool((found := posts(project)) and found[0]["drives"]))
        (post,) = posts(project)
        table = project.call("workers", "ls", "--alive").out
        (project.root / "machines" / "go").touch()

    assert post["pid"] == process.pid
    assert (post["life"], post["death"], post["is_here"]) == ("alive", None, True)
    assert (post["machines"], post["queues"]) == (["numbers"], ["default", "heavy"])
    assert (post["concurrency"], post["drives"], post["instances"]) == (3, 1, ["one"])
    assert post["slots"] == {}
    assert "its process exists, and it renews its lease" in table
    assert "1 of 3" in table


def test_a_worker_that_was_killed_is_dead_at_once_and_one_that_sleeps_is_not(
    project: Project,
) -> None:
    """By its process and its lease, not by how long nothing was heard of it."""
    project.call("start", "numbers", "--id", "one", "-p", "slow:=true")
    with worker(project) as process:
        project.begun()
        process.send_signal(signal.SIGSTOP)
        (asleep,) = posts(project)
        process.kill()
        process.wait()
        (dead,) = posts(project)
        said = project.call("workers", "ls").out

    assert asleep["life"] == "alive"
    assert (dead["life"], dead["death"], dead["drives"]) == ("dead", "gone", 1)
    assert dead["known_by"] == "its process is gone"
    assert "its process is gone" in said
    assert project.call("workers", "ls", "--alive", "-o", "json").json == []


def test_nobody_is_said_as_well(project: Project) -> None:
    """With what to type."""
    project.call("start", "numbers")

    assert "no process drives instances" in project.call("workers", "ls").err


def test_a_queue_that_nobody_works_on_is_seen_wherever_one_looks(project: Project) -> None:
    """In `workers ls`, `why` and `doctor`, each with the command that helps; which then does."""
    settings(project, 'queue = "heavy"')
    project.call("start", "numbers", "--id", "one")

    project.call("worker", "--until-idle")
    doctor = project.call("doctor")
    with worker(project):
        until(lambda: "alive" in [each["life"] for each in posts(project)])
        why = project.call("why", "one")
    listed = project.call("workers", "ls")

    assert "1 instance is ready in queue heavy, and nobody works on it" in doctor.out
    assert "is of queue 'heavy', which no process that is alive works on" in why.out
    assert "statepipe worker --queue heavy" in listed.err
    assert project.call("worker", "--queue", "heavy", "--until-idle").code == 0
    assert project.call("inspect", "one", "-o", "json").json["status"] == "done"


def test_a_worker_that_began_before_a_machine_changed_is_seen_wherever_one_looks(
    project: Project,
) -> None:
    """In `workers ls`, `why` and `doctor`; one that began since drives what it leaves alone."""
    began = f"process {{}} on {socket.gethostname()} began before numbers changed"
    project.call("start", "numbers", "--id", "zero")
    with worker(project) as process:
        until(lambda: "alive" in [each["life"] for each in posts(project)])
        before = posts(project)
        file = project.root / "machines" / "numbers.toml"
        file.write_text(file.read_text(encoding="utf-8").replace("version = 1", "version = 2"))
        project.call("start", "numbers", "--id", "one")
        why, doctor = project.call("why", "one"), project.call("doctor")
        listed, after = project.call("workers", "ls"), posts(project)
        assert project.call("worker", "--until-idle").code == 0
    began = began.format(process.pid)

    assert [each["outdated"] for each in before] == [[]]
    assert [each["outdated"] for each in after] == [["numbers"]]
    for said in (why.out, doctor.out, listed.err):
        assert began in said
        assert f"stop process {process.pid} and start it again" in said
    assert "left it alone so far" not in why.out
    assert project.call("inspect", "one", "-o", "json").json["status"] == "done"


def test_a_worker_says_once_that_a_machine_has_changed() -> None:
    """It looks now and then only, and again for others."""
    clock = ManualClock()
    there: list[Outdated] = []
    said: list[str] = []
    asked: list[int] = []

    def outdated() -> list[Outdated]:
        asked.append(clock.boot_ms())
        return there

    old = OldMachines(outdated, lambda text, _: said.append(text), clock=clock)
    there.append(Outdated("m", "here", 7))
    old.turned()
    assert asked == []

    for _ in range(3):
        clock.advance(LOOK_MS)
        old.turned()
        old.turned()
    assert len(asked) == 3
    assert said == ["process 7 on here began before m changed, and leaves alone what began since"]

    there.append(Outdated("n", "here", 7))
    clock.advance(LOOK_MS)
    old.turned()
    assert [each.split(",")[0] for each in said] == [
        "process 7 on here began before m changed",
        "process 7 on here began before n changed",
    ]


@pytest.mark.parametrize("name", ["Heavy", "a b", "heavy;", "a" * 65])
def test_a_queue_is_called_by_a_name(project: Project, name: str) -> None:
    """What is none is refused before anything is driven."""
    said = project.call("worker", "--queue", name, "--until-idle")

    assert said.code == 2
    assert "is not the name of a queue" in said.err


def test_starting_more_than_may_be_ready_is_busy(project: Project) -> None:
    """75, nothing is made, and the way out is a worker."""
    settings(project, "ready_max = 2")
    for name in ("one", "two"):
        assert project.call("start", "numbers", "--id", name).code == 0

    for verb in ("start", "run"):
        said = project.call(verb, "numbers", "--id", "three")
        assert said.code == 75
        assert "2 instances of 'numbers' are ready" in said.err
        assert "statepipe worker --machine numbers" in said.err
    assert project.call("inspect", "three").code == 3
    project.call("worker", "--until-idle")
    assert project.call("run", "numbers", "--id", "three").code == 0


def test_an_instance_whose_key_is_taken_is_not_made(project: Project) -> None:
    """With `skip`: exit 0 and a word, as with --if-exists skip."""
    settings(project, 'concurrency = { key = "{params.count}", behavior = "skip" }')
    project.call("start", "numbers", "--id", "one")

    said = project.call("start", "numbers", "--id", "two")
    taken = project.call("start", "numbers", "--id", "one", "--if-exists", "skip")
    other = project.call("start", "numbers", "--id", "three", "-p", "count=6")

    assert (said.code, said.out) == (0, "")
    assert "as many instances of numbers as its concurrency allows have this key" in said.err
    assert "one exists; nothing was done" in taken.err
    assert other.code == 0
    assert project.call("start", "numbers", "-o", "json").json == {"id": None}
    assert project.call("run", "numbers", "-o", "json").json == []


def test_a_priority_is_given_when_an_instance_is_made(project: Project) -> None:
    """And one that is none is refused."""
    project.call("start", "numbers", "--id", "last")
    project.call("start", "numbers", "--id", "first", "--priority", "9")
    assert project.call("start", "numbers", "--priority", "101").code == 2

    said = project.call("worker", "--until-idle", "--concurrency", "1")

    ended = [line for line in said.out.splitlines() if "loading -> done" in line]
    assert ["first" in ended[0], "last" in ended[1]] == [True, True], said.out


def test_unpause_lets_a_paused_instance_go_on(project: Project) -> None:
    """It is ready then; a dry run changes nothing, and one that is not paused is refused."""
    project.call("start", "numbers", "--id", "one")
    refused = project.call("unpause", "one")
    project.call("pause", "one")
    dry = project.call("unpause", "one", "--dry-run")
    assert project.call("inspect", "one", "-o", "json").json["status"] == "paused"

    said = project.call("unpause", "one", "--reason", "it is back", "-o", "json")

    assert refused.code == 2
    assert "'one' is ready, not paused" in refused.err
    assert "would unpause one in extracting" in dry.out
    assert said.json == {"id": "one", "status": "ready", "state": "extracting"}
    project.call("worker", "--until-idle")
    assert project.call("inspect", "one", "-o", "json").json["status"] == "done"


def _heard(listener: socket.socket) -> list[str]:
    heard = []
    while True:
        try:
            heard.append(listener.recv(100).decode())
        except BlockingIOError:
            return heard


@contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)  # noqa: FBT003  (the library's signature)
        yield listener


def test_systemd_hears_that_a_worker_is_ready_lives_and_ends(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real worker: READY once it turns, WATCHDOG while it does, STOPPING when it is to end."""
    address = str(tmp_path / "notify")
    project.call("start", "numbers")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    heard: list[str] = []

    def hears(what: str, times: int = 1) -> bool:
        heard.extend(_heard(listener))
        return heard.count(what) >= times

    with _listening(address) as listener:
        with worker(project):
            until(lambda: hears("WATCHDOG=1", times=3))
            assert heard[0] == "READY=1"
        until(lambda: hears("STOPPING=1"))

    assert heard.count("READY=1") == 1


def test_the_watchdog_is_fed_by_turns_and_by_nothing_else() -> None:
    """Twice in the time it is given; an address may be abstract, and nobody need listen."""
    clock = ManualClock()
    name = f"statepipe-test-{os.getpid()}"
    environ = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "10000000"}
    systemd = Systemd(environ, clock=clock)
    systemd.turned(stopping=False)  # nobody listens yet
    with _listening(f"\0{name}") as listener:
        for _ in range(3):
            systemd.turned(stopping=False)
        assert _heard(listener) == []
        clock.advance(5_000)
        systemd.turned(stopping=False)
        assert _heard(listener) == ["WATCHDOG=1"]
        systemd.turned(stopping=True)
        systemd.turned(stopping=True)
        assert _heard(listener) == ["STOPPING=1"]
        Systemd({**environ, "WATCHDOG_PID": "1"}, clock=clock).turned(stopping=False)
        assert _heard(listener) == ["READY=1"]
        Systemd({}, clock=clock).turned(stopping=False)
        assert _heard(listener) == []


def test_what_systemd_has_no_room_for_is_said_again() -> None:
    """A READY that is lost would have the unit killed for never having started."""
    name = f"statepipe-test-{os.getpid()}"
    environ = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "10000000"}
    systemd = Systemd(environ, clock=ManualClock())
    with _listening(f"\0{name}") as listener:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
            others.setblocking(False)  # noqa: FBT003  (the library's signature)
            with suppress(BlockingIOError):
                while True:  # until it has no room
                    others.sendto(b"RELOADING=1", f"\0{name}")
        systemd.turned(stopping=False)
        assert set(_heard(listener)) == {"RELOADING=1"}
        systemd.turned(stopping=False)
        systemd.turned(stopping=False)
        assert _heard(listener) == ["READY=1", "WATCHDOG=1"]
