"""Limits, as commands show them: declared, explained, in use, and waited for."""

from pathlib import Path

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.resources import Resource
from statepipe.store.file.opening import open_store
from statepipe.store.walk import claims, resources, workers
from statepipe.store.walk.presence import Absent
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.resources import End, Want
from statepipe.store.walk.workers import Identity
from tests.cli.project import CONFIG, Project

LIMITS = '[resources.desk]\nslots = 2\nrate = "100/min"\n'


def limited(uses: str = "desk") -> None:
    """Let the project's machine use a resource."""
    path = Path("machines/numbers.toml")
    text = path.read_text(encoding="utf-8")
    extract = f'extract   = {{ run = "numbers_:extract", uses = ["{uses}"] }}'
    path.write_text(text.replace('extract   = "numbers_:extract"', extract), encoding="utf-8")
    Path("statepipe.toml").write_text(CONFIG + LIMITS, encoding="utf-8")


def test_check_finds_a_resource_that_nobody_declared(project: Project) -> None:
    """One that nobody uses is fine."""
    limited("dask")

    said = project.call("check")

    assert said.code == 6
    assert 'state extracting: uses: there is no resource "dask"; did you mean "desk"?' in said.out
    assert project.call("run", "numbers").code == 2
    limited()
    Path("machines/numbers.toml").write_text(
        Path("machines/numbers.toml").read_text(encoding="utf-8").replace("dask", "desk"),
        encoding="utf-8",
    )
    assert project.call("check").code == 0


def test_a_policy_says_what_its_state_uses(project: Project) -> None:
    """With the numbers, and where they stand."""
    limited()

    rows = project.call("policy", "explain", "numbers.extracting", "-o", "json").json

    assert rows[-1]["setting"] == "uses desk"
    assert rows[-1]["value"] == "slots = 2, rate = 100/min"
    assert rows[-1]["from"].endswith("statepipe.toml [resources.desk]")


def test_why_and_top_say_who_holds_the_slots_and_who_waits(project: Project) -> None:
    """By what is stored, while all of them are driven by a live process."""
    limited()
    config = load_config(start=Path.cwd(), environ={})
    with Engine(config) as engine:
        for n in range(4):
            engine.create("numbers", instance_id=f"n{n}")
    store = open_store(config.store, create=False, clock=SystemClock())
    me = workers.register(store, Identity.of_this_process())
    taken = claims.claim_ready(store, me, scope=Scope(), limit=10)
    two = Resource(name="desk", slots=2)
    wants = [Want(each.n, each.epoch, (two,), "thread") for each in taken]
    nobody = Absent()
    resources.settle(store, me, wants, end=None, absent=nobody, room={"thread": 9})

    slot = project.call("why", "n3", "-o", "json").json["because"][0]
    assert slot["code"] == "slot"
    assert slot["text"].startswith("waits for a slot of desk: 2 of 2 held by n0 (process ")
    assert slot["text"].endswith("; 1 wait before it")
    assert slot["facts"]["held_by"] == ["n0", "n1"]
    codes = [each["code"] for each in project.call("why", "n0", "-o", "json").json["because"]]
    assert codes[:2] == ["driven", "attempt"]
    top = project.call("top", "--once")
    assert [line.split() for line in top.out.splitlines() if line.startswith("desk")] == [
        ["desk", "2", "2", "2", "100/min", "-"]
    ]
    (desk,) = project.call("top", "-o", "json").json["resources"]
    assert (desk["held"], desk["waiting"]) == (["n0", "n1"], ["n2", "n3"])

    end = End((), {"desk": store.clock.boot_us() + 90_000_000}, store.clock.boot_id)
    with store.write() as connection:
        end.write(connection)
    closed = project.call("why", "n2", "-o", "json").json["because"][0]
    assert closed["code"] == "closed"
    assert closed["text"].startswith("waits for desk: its server asked to be left alone for")
    workers.stop(store, me)
    store.close()
    assert project.call("top", "-o", "json").json["resources"][0]["held"] == []
