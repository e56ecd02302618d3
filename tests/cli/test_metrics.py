"""`statepipe metrics`, and the endpoint of a worker: as they are typed."""

import http.client
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from statepipe.sqlite import sqlite3
from tests.cli.project import Project, until
from tests.observe.gateways import Gateway, running
from tests.observe.scenery import shown

DONE = "statepipe_instances_finished_total machine=numbers result=done"

_SERVING = re.compile(r"serving (https?://\S+)/metrics")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Run a gateway while a test goes on."""
    with running() as server:
        yield server


def _dumped(project: Project, *options: str) -> dict[str, float]:
    said = project.call("metrics", "dump", *options)
    assert said.code == 0, said.err
    return shown(said.out.encode())


def _url(process: "subprocess.Popen[str]") -> str:
    """Return where a process that was just started serves."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := _SERVING.search(line):
            return found[1]
    raise AssertionError("it ended without serving")


def _get(url: str, path: str = "/metrics") -> bytes:
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    with closing(client):
        client.request("GET", path)
        return client.getresponse().read()


def _tamper(project: Project, sql: str) -> None:
    with closing(sqlite3.connect(project.root / "statepipe.db")) as connection:
        connection.execute(sql)
        connection.commit()


# What is dumped

SEVERAL = """\
machine = "several"
version = 1
initial = "doing"

[states.doing]
tasks.first = "numbers_:extract"
tasks.second = { run = "numbers_:transform", needs = "first" }
on = { ok = "done" }

[states.done]
final = "success"
"""


def test_a_dump_has_what_every_process_counted(project: Project) -> None:
    """Three processes that are long gone, and nothing of them is lost."""
    for _ in range(3):
        assert project.call("run", "numbers").code == 0

    seen = _dumped(project)

    assert seen[DONE] == 3
    assert seen["statepipe_records_total direction=rejected machine=numbers state=validating"] == 3


def test_a_machine_that_never_ran_is_there_at_zero(project: Project) -> None:
    """Its file is enough, as soon as there is a store."""
    project.call("run", "numbers")
    text = (project.root / "machines" / "numbers.toml").read_text(encoding="utf-8")
    other = text.replace('machine = "numbers"', 'machine = "other"')
    (project.root / "machines" / "other.toml").write_text(other, encoding="utf-8")

    seen = _dumped(project)

    failed = "statepipe_instances_finished_total machine=other result=failed"
    assert seen[failed] == 0
    assert seen["statepipe_errors_total error_class=other machine=other state=loading"] == 0


def test_a_task_that_never_ran_is_there_at_zero(project: Project) -> None:
    """It is counted as a machine of its own, and no machine file is called so."""
    project.call("run", "numbers")
    (project.root / "machines" / "several.toml").write_text(SEVERAL, encoding="utf-8")

    seen = _dumped(project)

    labels = "error_class=other machine=several/doing/second state=second"
    assert seen[f"statepipe_errors_total {labels}"] == 0


def test_a_machine_file_that_is_wrong_is_said_and_hides_nothing(project: Project) -> None:
    """People edit them at any time."""
    project.call("run", "numbers")
    (project.root / "machines" / "broken.toml").write_text("machine = ", encoding="utf-8")

    said = project.call("metrics", "dump")

    assert said.code == 0
    assert shown(said.out.encode())[DONE] == 1
    assert "broken.toml" in said.err


def test_a_machine_that_is_there_twice_is_said_and_hides_nothing(project: Project) -> None:
    """As one whose file is wrong: the others are there at zero, also those that never ran."""
    project.call("start", "numbers")
    folder = project.root / "machines"
    text = (folder / "numbers.toml").read_text(encoding="utf-8")
    other = text.replace('machine = "numbers"', 'machine = "other"')
    (folder / "other.toml").write_text(other, encoding="utf-8")
    for path in ("twice.toml", "twice/twice.toml", "twice.template.toml"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text('machine = "twice"', encoding="utf-8")

    said = project.call("metrics", "dump")

    assert said.code == 0
    assert 'machine="other"' in said.out
    assert 'machine "twice" is there twice: ' in said.err


def test_a_dump_without_a_store_fails_and_makes_none(project: Project) -> None:
    """Zeros of a store that is not there would look as if it had been emptied."""
    said = project.call("metrics", "dump")

    assert said.code == 4
    assert "no checkpoint store" in said.err
    assert not (project.root / "statepipe.db").exists()


def test_a_file_is_replaced_whole_or_not_at_all(project: Project) -> None:
    """node_exporter may read it at any moment; a failed dump leaves what was there."""
    project.call("run", "numbers")

    said = project.call("metrics", "dump", "--file", "statepipe.prom")
    first = (project.root / "statepipe.prom").read_bytes()
    (project.root / "statepipe.db").unlink()
    failed = project.call("metrics", "dump", "--file", "statepipe.prom")

    assert (said.code, said.out, said.err) == (0, "", "")
    assert shown(first)[DONE] == 1
    assert failed.code == 4
    assert (project.root / "statepipe.prom").read_bytes() == first


@pytest.mark.parametrize("name", ["statepipe.db", "-"])
def test_a_dump_takes_the_place_of_its_own_files_only(project: Project, name: str) -> None:
    """Not of the store; and a file called "-" is what nobody wants."""
    project.call("run", "numbers", "--id", "one")

    said = project.call("metrics", "dump", "--file", name)

    assert said.code == 2
    assert not (project.root / "-").exists()
    assert [each["id"] for each in project.call("ls", "--all", "-o", "json").json] == ["one"]


def test_a_dump_as_json_is_json(project: Project) -> None:
    """Only JSON goes to standard output where JSON was asked for."""
    project.call("run", "numbers")

    said = project.call("metrics", "dump", "-o", "json")

    assert shown(said.json["text"].encode())[DONE] == 1


def test_several_stores_are_dumped_by_name(project: Project) -> None:
    """The name, or the path where none is given."""
    project.call("run", "numbers")
    project.call("run", "numbers", "--store", "second.db")

    seen = _dumped(project, "--store", "first=statepipe.db", "-s", "second.db")

    assert seen[f"{DONE} store=first"] == 1
    assert seen[f"{DONE} store=second.db"] == 1


def test_two_stores_of_one_name_are_refused(project: Project) -> None:
    """Their series could not be told apart."""
    said = project.call("metrics", "dump", "--store", "a=x.db", "--store", "a=y.db")

    assert said.code == 2
    assert "two stores are called 'a'" in said.err


# What is served


def test_a_served_store_is_scraped_until_sigterm(project: Project) -> None:
    """Loopback by default; any free port where the port is 0."""
    project.call("run", "numbers")
    with project.spawn("metrics", "serve", "--listen", "127.0.0.1:0") as process:
        url = _url(process)

        assert shown(_get(url))[DONE] == 1
        assert _get(url, "/healthz") == b"ok\n"
        project.call("run", "numbers")
        assert shown(_get(url))[DONE] == 2

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_of_several_stores_one_that_is_broken_is_said_and_the_others_are_served(
    project: Project,
) -> None:
    """On standard error once, and in a metric for as long as it lasts."""
    project.call("run", "numbers")
    (project.root / "bad.db").write_bytes(b"no store" * 1_000)
    stores = ("--store", "good=statepipe.db", "--store", "bad=bad.db")
    with project.spawn("metrics", "serve", *stores, "--listen", "127.0.0.1:0") as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        url = _url(process)
        before, after = shown(_get(url)), shown(_get(url))
        process.terminate()
        _, err = process.communicate(timeout=10)

    errors = "statepipe_exporter_errors_total store=bad"
    assert after[f"{DONE} store=good"] == 1
    assert after[errors] - before[errors] == 1
    assert not any("store=bad" in series and "machine=" in series for series in after)
    assert first.startswith("metrics: bad: ")
    assert "metrics: bad: " not in err


def test_a_worker_serves_the_metrics_of_its_store(project: Project) -> None:
    """While it drives; no second process is needed where one always runs."""
    project.call("start", "numbers", "-p", "slow:=true")
    options = ("--metrics-listen", "127.0.0.1:0", "--concurrency", "3")
    with project.spawn("worker", *options) as process:
        url = _url(process)
        project.begun()
        seen = shown(_get(url))
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM

    assert seen["statepipe_workers"] == 1
    assert seen["statepipe_worker_slots"] == 3
    assert seen["statepipe_worker_slots_in_use"] == 1
    assert seen["statepipe_instances machine=numbers state=extracting"] == 1


@pytest.mark.parametrize(
    "argv",
    [
        ("metrics", "serve", "--listen", ":9464"),
        ("metrics", "serve", "--tls-cert", "cert.pem"),
        ("metrics", "serve", "--auth-file", "users"),
        ("metrics", "serve", "--listen", "127.0.0.1:0", "--tls-cert", "x", "--tls-key", "y"),
        ("worker", "--metrics-auth-file", "users"),
        ("worker", "--metrics-listen", "9464"),
        ("metrics", "push", "gateway:9091"),
        ("metrics", "push", "http://gateway:9091", "--hold", "soon"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_served(
    project: Project, argv: tuple[str, ...]
) -> None:
    """With the way to say it."""
    project.call("run", "numbers")

    said = project.call(*argv)

    assert said.code == 2
    assert "next:" in said.err


# What is pushed


def test_a_push_is_held_and_deleted(project: Project, gateway: Gateway) -> None:
    """A gateway would show the numbers for ever, long after they were true."""
    project.call("run", "numbers")

    said = project.call("metrics", "push", gateway.url, "--job", "nightly", "--hold", "0s")

    assert said.code == 0, said.err
    assert [each[:2] for each in gateway.asked] == [
        ("PUT", "/metrics/job/nightly"),
        ("DELETE", "/metrics/job/nightly"),
    ]
    assert shown(gateway.asked[0].body)[DONE] == 1


def test_a_push_that_is_to_be_kept_stays(project: Project, gateway: Gateway) -> None:
    """For jobs whose next push replaces it."""
    project.call("run", "numbers")

    said = project.call("metrics", "push", gateway.url, "--instance", "eu", "--keep")

    assert said.code == 0
    paths = [each[:2] for each in gateway.asked]
    assert paths == [("PUT", "/metrics/job/statepipe/instance/eu")]


def test_a_push_that_is_stopped_leaves_its_group(project: Project, gateway: Gateway) -> None:
    """Nobody knows whether it was scraped; the next push replaces it."""
    project.call("run", "numbers")
    with project.spawn("metrics", "push", gateway.url, "--hold", "10m") as process:
        until(lambda: bool(gateway.asked))
        assert process.stderr is not None
        process.stderr.readline()  # that it was pushed
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM

    assert [each.method for each in gateway.asked] == ["PUT"]


def test_a_push_that_fails_sends_nothing_by_halves(project: Project, gateway: Gateway) -> None:
    """No store, no push; what the gateway has stays."""
    said = project.call("metrics", "push", gateway.url)

    assert said.code == 4
    assert gateway.asked == []


def test_a_push_logs_in_with_a_file(project: Project, gateway: Gateway) -> None:
    """Not with the command line, which everybody on the machine can see."""
    project.call("run", "numbers")
    users = Path("users")
    users.write_text("me:s3cret\n", encoding="utf-8")
    users.chmod(0o600)

    project.call("metrics", "push", gateway.url, "--auth-file", "users", "--keep")

    assert gateway.asked[0].authorization == "Basic bWU6czNjcmV0"


# What is verified


def test_figures_that_are_right_are_said_to_be(project: Project) -> None:
    """Worked out again from the journal, every one."""
    project.call("run", "numbers")

    assert project.call("metrics", "verify").out == "every figure is what the journal says\n"
    assert project.call("metrics", "verify", "-o", "json").json == []


def test_figures_that_are_wrong_are_shown_beside_what_they_should_be(project: Project) -> None:
    """As a table, with an exit code to rely on."""
    project.call("run", "numbers")
    _tamper(project, "UPDATE counter SET value = value + 5 WHERE metric = 'finished'")

    said = project.call("metrics", "verify")
    as_json = project.call("metrics", "verify", "-o", "json")

    assert said.code == as_json.code == 6
    assert re.search(r"counter finished numbers +done +6 +1\n", said.out)
    assert "1 figure wrong" in said.err
    assert as_json.json == [
        {"figure": "counter finished numbers  done", "stored": 6, "recounted": 1}
    ]
