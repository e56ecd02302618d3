"""
From a real store through the exporter to a socket, and what it costs those who write.
"""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.observe.exporter import Exporter, Source
from statepipe.observe.exposition import render
from statepipe.observe.listening import Address
from statepipe.observe.server import Endpoint
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.snapshot import file_sizes, read_snapshot
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.testing import ManualClock
from tests.observe.scenery import shown

#: More than the buffers of two sockets hold, so that whoever sends it has to wait.
LARGE = b"#" * 64 * 1024 * 1024

HOSTILE = ['quo"te', "back\\slash", "new\nline", "brace}{", 'le="1"', "ünï©ode", "x" * 190]


def _exporter(path: Path) -> Exporter:
    clock = ManualClock()
    read = partial(read_snapshot, path, clock=clock, most_ms=5_000)
    source = Source(store="", read=read, size=partial(file_sizes, path), shapes=list)
    return Exporter([source], version="1", told=lambda _, reason: pytest.fail(reason))


def _scraped(exporter: Exporter) -> dict[str, float]:
    return shown(render(exporter.collect(exemplars=True), openmetrics=False))


def _fail(task: Task) -> None:
    """Fail as no policy ever heard of, with a text that nobody wants in a label."""
    name = "".join(each for each in task.params["how"] if each.isalnum())
    raise type(f"Error{name}{task.instance[-6:]}", (Exception,), {})(task.params["how"] * 3)


def _machine() -> Machine:
    fails = Run(function=_fail)
    ok = Transition(event="ok", target="done")
    inline = {"executor": "inline"}
    return Machine(
        name="m",
        initial="one",
        states=(State(name="one", task=fails, on=(ok,), settings=inline), _DONE),
        params=(Param(name="how"),),
    )


_DONE = State(name="done", final="success")


@contextmanager
def _engine(folder: Path) -> Iterator[Engine]:
    with Engine(load_config(start=folder, environ={}), machines=[_machine()]) as engine:
        yield engine


@pytest.mark.parametrize(
    "count",
    [
        2_000,
        pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
def test_no_id_error_or_parameter_makes_a_series(tmp_path: Path, count: int) -> None:
    """Instances that all fail differently, and nothing new to store for ever."""
    with _engine(tmp_path) as engine:
        new = [
            NewInstance(f"{hostile}{number:06}", encode({"how": hostile}))
            for number in range(count)
            for hostile in [HOSTILE[number % len(HOSTILE)]]
        ]
        steering.create(
            engine._store,
            machine="m",
            definition=engine._program("m").definition,
            initial="one",
            instances=new,
        )
        exporter = _exporter(engine._store.path)
        before = _scraped(exporter)

        engine.work(until_idle=True)

        after = _scraped(exporter)

    assert after.keys() == before.keys()
    assert after["statepipe_errors_total error_class=other machine=m state=one"] == count
    assert after["statepipe_instances_finished_total machine=m result=failed"] == count
    assert after["statepipe_instances machine=m state=failed"] == count


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Make a store with one instance in it."""
    with _engine(tmp_path) as engine:
        engine.create("m", params={"how": "x"})
        path = engine._store.path
    with closing(open_store(path, create=False, clock=ManualClock())) as opened:
        yield opened


def test_a_scrape_holds_no_snapshot_while_it_is_sent(store: Store) -> None:
    """A client that takes its time must not make the WAL grow: it can be emptied meanwhile."""
    exporter = _exporter(store.path)
    collected = Event()

    def scrape(_accept: str) -> tuple[str, bytes]:
        body = render(exporter.collect(exemplars=True), openmetrics=False)
        collected.set()
        return "text/plain", body + LARGE

    with store.write() as connection:
        connection.execute("UPDATE store SET created_at_ms = created_at_ms + 1")
    with Endpoint(Address("127.0.0.1", 0), scrape) as endpoint:
        place = urlsplit(endpoint.url)
        with closing(socket.create_connection((place.hostname, place.port), timeout=5)) as slow:
            slow.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert collected.wait(5)
            first = slow.recv(100)

            emptied = store.checkpoint_wal(above_bytes=0)

    assert first.startswith(b"HTTP/1.0 200 OK")
    assert emptied
    assert file_sizes(store.path) == (store.path.stat().st_size, 0)


def test_a_scrape_goes_on_while_somebody_writes(store: Store) -> None:
    """And sees all of each commit, or nothing of it."""
    exporter = _exporter(store.path)

    with store.write() as connection:
        connection.execute("UPDATE transition_count SET taken = taken + 1")
        seen = _scraped(exporter)

    created = "statepipe_transitions_total event=create machine=m source= target=one"
    assert seen[created] == 1
    assert _scraped(exporter)[created] == 2


def test_an_id_that_is_served_as_an_exemplar_is_escaped(store: Store) -> None:
    """It comes from whoever made the instance."""
    with _engine(store.path.parent.parent) as engine:
        hostile = 'a"} 1\nstatepipe_workers 99\\'
        engine.create("m", params={"how": "x"}, instance_id=hostile)
        engine.run([hostile])
    exporter = _exporter(store.path)
    place = Endpoint(
        Address("127.0.0.1", 0),
        lambda _: ("text/plain", render(exporter.collect(exemplars=True), openmetrics=True)),
    )
    with place:
        client = http.client.HTTPConnection(urlsplit(place.url).netloc, timeout=5)
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()

    assert 'instance="a\\"} 1\\nstatepipe_workers 99\\\\"' in text
    assert "\nstatepipe_workers 99" not in text
