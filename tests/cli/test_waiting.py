"""Waiting from the command line: real processes, real signals of both kinds."""

import signal

import pytest

from tests.cli.project import Project, until

MACHINE = """\
machine = "asks"
version = 1
initial = "approval"

[states.approval]
wait = { event = ["approved", "rejected"], timeout = "2d" }
on   = { approved = "after", rejected = "failed" }

[states.after]
run = "numbers_:after"
on  = { ok = "done" }

[states.done]
final = "success"
"""

AFTER = '''

def after(task: Task) -> None:
    """Say what was sent."""
    (HERE / "sent").write_text(repr(task.results["approval"]), encoding="utf-8")
'''


@pytest.fixture
def asks(project: Project) -> Project:
    """A project with a machine that waits before anything else."""
    folder = project.root / "machines"
    (folder / "asks.toml").write_text(MACHINE, encoding="utf-8")
    with (folder / "numbers_.py").open("a", encoding="utf-8") as functions:
        functions.write(AFTER)
    return project


def standing(project: Project) -> str:
    """Return what the instance is doing, "" if it is not there yet."""
    said = project.call("inspect", "one", "-o", "json")
    return said.json["status"] if said.code == 0 else ""


def test_a_run_in_the_foreground_waits_for_the_signal(asks: Project) -> None:
    """It goes on at once when another process sends it."""
    run = asks.spawn("run", "asks", "--id", "one")
    until(lambda: standing(asks) == "waiting")

    sent = asks.call("signal", "one", "approved", "-p", "by=ada", "-p", "n:=7", "-o", "json")
    out, err = run.communicate(timeout=60)

    assert sent.json == {"id": "one", "event": "approved", "awaited": True}
    assert run.returncode == 0, err
    assert "waits in approval  for approved or rejected" in out
    told = (asks.root / "machines" / "sent").read_text(encoding="utf-8")
    assert told == "{'by': 'ada', 'n': 7}"
    assert asks.call("metrics", "verify").code == 0


def test_a_run_that_is_interrupted_leaves_the_wait_as_it_is(asks: Project) -> None:
    """Nothing is lost, the timer stays armed, and the signal is still taken."""
    run = asks.spawn("run", "asks", "--id", "one")
    until(lambda: standing(asks) == "waiting")
    before = asks.call("inspect", "one", "-o", "json").json

    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)

    assert run.returncode == 130, err
    assert asks.call("inspect", "one", "-o", "json").json == before
    assert before["next"] == "statepipe signal one approved"
    assert before["awaits"] == ["approved", "rejected"]
    assert asks.call("signal", "one", "approved").code == 0
    assert asks.call("resume", "one").code == 0


def test_a_driver_that_is_killed_after_the_signal_takes_nothing_with_it(asks: Project) -> None:
    """The event is in the store before its sender is told; whoever comes next moves by it."""
    functions = asks.root / "machines" / "numbers_.py"
    text = functions.read_text(encoding="utf-8")
    slow = '    (HERE / "begun").touch()\n    while not (HERE / "go").exists():\n        pass\n'
    functions.write_text(text.replace('    (HERE / "sent")', f'{slow}    (HERE / "sent")'), "utf-8")
    run = asks.spawn("run", "asks", "--id", "one")
    until(lambda: standing(asks) == "waiting")

    assert asks.call("signal", "one", "approved", "-p", "n=1").code == 0
    run.kill()  # before it took the event, or after
    run.communicate(timeout=60)
    second = asks.spawn("resume", "one")
    asks.begun()  # it took the event, and is killed in what comes after
    second.kill()
    second.communicate(timeout=60)
    (asks.root / "machines" / "go").touch()

    assert asks.call("resume", "one").code == 0
    moves = [row for row in asks.call("history", "one", "-o", "json").json if row["kind"] == "move"]
    assert [row["event"] for row in moves] == ["approved", "ok"]
    assert asks.call("metrics", "verify").code == 0
    assert asks.call("doctor").code == 0


def test_a_worker_until_idle_leaves_alone_what_waits(asks: Project) -> None:
    """Or a cron job would stay for two days."""
    asks.call("start", "asks", "--id", "one")

    assert asks.call("worker", "--machine", "asks", "--until-idle").code == 0

    assert standing(asks) == "waiting"
    shown = asks.call("ls").out
    assert "for approved or rejected; ends in 1d 23h" in shown
    why = asks.call("why", "one")
    assert "somebody to send approved or rejected" in why.out
    assert "next   statepipe signal one approved" in why.out
    assert asks.call("history", "one").out.splitlines()[-1].endswith("for approved or rejected")


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (("two", "approved"), 3, "there is no instance 'two'"),
        (("one", "aproved"), 3, 'did you mean "approved"'),
        (("one", "approved", "-p", "by"), 2, "has no value"),
        (("one",), 2, "EVENT"),
    ],
)
def test_a_signal_that_makes_no_sense_says_why(
    asks: Project, argv: tuple[str, ...], code: int, told: str
) -> None:
    """And nothing was sent."""
    asks.call("start", "asks", "--id", "one")

    said = asks.call("signal", *argv)

    assert (said.code, told in said.err) == (code, True), said.err
    assert asks.call("inspect", "one", "-o", "json").json["sent"] == []


def test_what_waits_for_no_event_is_told_where_one_is_written(project: Project) -> None:
    """A list of no events is nothing to type."""
    project.call("start", "numbers", "--id", "one")

    signalled = project.call("signal", "one", "approved")
    emitted = project.call("emit", "approved", "--key", "x")

    assert (signalled.code, emitted.code) == (3, 3)
    assert "next:    statepipe graph numbers   # no state" in signalled.err
    assert 'next:    wait = { event = "approved", key = ' in emitted.err


def test_nobody_is_told_to_cut_short_a_wait_for_a_time(asks: Project) -> None:
    """A resume goes on waiting, as a worker does; it makes nothing happen at once."""
    toml = asks.root / "machines" / "asks.toml"
    waits = '{ event = ["approved", "rejected"], timeout = "2d" }'
    text = toml.read_text(encoding="utf-8").replace(waits, '{ for = "2d" }')
    text = text.replace('approved = "after", rejected = "failed"', 'ok = "after"')
    toml.write_text(text, encoding="utf-8")
    asks.call("start", "asks", "--id", "one")
    asks.call("worker", "--machine", "asks", "--until-idle")

    shown = asks.call("inspect", "one").out

    assert "its time is up in 1d 23h" in shown
    assert "next        statepipe worker   # or: statepipe resume one" in shown


def test_a_finished_instance_takes_no_signal(asks: Project) -> None:
    """What it was sent before led it there."""
    asks.call("start", "asks", "--id", "one")
    early = asks.call("signal", "one", "rejected", "--reason", "too dear")
    assert "resume one" in early.out
    assert asks.call("resume", "one").code == 1

    said = asks.call("signal", "one", "approved")

    assert said.code != 0
    assert "already failed" in said.err
    why = asks.call("why", "one").out
    assert "approval ended with 'rejected'" in why
    assert "too dear" in why


def test_a_policy_for_a_state_that_waits_is_refused(asks: Project) -> None:
    """Nothing runs there that it could govern; it would be ignored without a word."""
    with (asks.root / "statepipe.toml").open("a", encoding="utf-8") as file:
        file.write('\n[machines.asks.states.approval]\ntimeout = "3d"\n')

    said = asks.call("start", "asks")

    assert said.code == 2
    assert 'no state "approval" in which something runs' in said.err


def test_an_emit_says_whom_it_reached(asks: Project) -> None:
    """And `inspect`, `why` and the machine's graph what there is to emit."""
    toml = asks.root / "machines" / "asks.toml"
    wait = '"rejected"], key = "all of {params.day}"'
    text = toml.read_text(encoding="utf-8").replace('"rejected"]', wait)
    toml.write_text(text + '\n[params]\nday = "date"\n', encoding="utf-8")
    asks.call("start", "asks", "--id", "one", "-p", "day=2026-07-01")
    asks.call("worker", "--until-idle", "--machine", "asks")
    command = "statepipe emit approved --key 'all of 2026-07-01'"
    assert asks.call("inspect", "one", "-o", "json").json["next"] == command
    assert "to emit, for all of 2026-07-01, approved" in asks.call("why", "one").out

    first = asks.call("emit", "approved", "--key", "all of 2026-07-01", "-o", "json")
    again = asks.call("emit", "approved", "--key", "all of 2026-07-01", "-o", "json")
    wrong = asks.call("emit", "aproved", "--key", "x")

    assert first.json["woken"] == 1
    assert (again.json["woken"], again.json["repeats"]) == (0, 1)
    assert (wrong.code, 'did you mean "approved"' in wrong.err) == (3, True)
    assert "somebody emitted approved of all of 2026-07-01" in asks.call("why", "one").out
    assert asks.call("resume", "one").code == 0
    assert asks.call("metrics", "verify").code == 0


def test_an_event_that_comes_too_late_is_counted(asks: Project) -> None:
    """Whoever sends it is told what became of it, and so is whoever looks."""
    file = asks.root / "machines" / "asks.toml"
    text = file.read_text(encoding="utf-8")
    ruled = text + '\n[events.rejected]\nlate = "quarantine"\n'
    file.write_text(ruled, encoding="utf-8")
    asks.call("start", "asks", "--id", "one")
    asks.call("signal", "one", "approved")
    assert asks.call("resume", "one").code == 0

    late = asks.call("signal", "one", "rejected", "--reason", "too dear")

    assert late.code == 0
    assert "rejected came too late for one, and was kept apart; it is counted" in late.out
    assert "late        rejected; too late to be taken" in asks.call("inspect", "one").out
    (kept,) = asks.call("inspect", "one", "-o", "json").json["late"]
    assert [kept[each] for each in ("event", "key", "became")] == ["rejected", None, "quarantine"]


def test_an_emit_says_for_whom_it_came_too_late(asks: Project) -> None:
    """And `inspect` and `why` that only a signal helps who waits for it once more."""
    toml = asks.root / "machines" / "asks.toml"
    text = toml.read_text(encoding="utf-8").replace('"rejected"]', '"rejected"], key = "all"')
    toml.write_text(text + '\n[events.approved]\nlate = "quarantine"\n', encoding="utf-8")
    for name in ("one", "two", "three"):
        asks.call("start", "asks", "--id", name)
    asks.call("signal", "one", "rejected")
    asks.call("worker", "--until-idle", "--machine", "asks")
    asks.call("cancel", "two", "--yes")

    emitted = asks.call("emit", "approved", "--key", "all")
    run = asks.spawn("resume", "one")
    until(lambda: standing(asks) == "waiting")
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)

    assert emitted.out.startswith("approved of all emitted; 1 instance waited for it;")
    assert emitted.out.endswith("; too late for 2 instances, and kept apart\n")
    assert "late        approved of all; too late to be taken" in asks.call("inspect", "one").out
    said = asks.call("inspect", "one", "-o", "json").json
    (kept,) = said["late"]
    assert [kept[each] for each in ("event", "key", "became")] == ["approved", "all", "quarantine"]
    assert said["next"] == "statepipe signal one approved"
    assert "approved of all came too late, after an earlier wait" in asks.call("why", "one").out
    assert asks.call("resume", "three").code == 0
    assert asks.call("metrics", "verify").code == 0


def test_an_emit_says_as_json_what_became_of_it(asks: Project) -> None:
    """By rule, and only if it was late for somebody."""
    toml = asks.root / "machines" / "asks.toml"
    text = toml.read_text(encoding="utf-8").replace('"rejected"]', '"rejected"], key = "all"')
    toml.write_text(text + '\n[events.approved]\nlate = "drop"\n', encoding="utf-8")
    asks.call("start", "asks", "--id", "one")
    asks.call("signal", "one", "rejected")
    asks.call("worker", "--until-idle", "--machine", "asks")

    first = asks.call("emit", "approved", "--key", "all", "-o", "json").json
    again = asks.call("emit", "approved", "--key", "all", "-o", "json").json

    assert (first["woken"], first["late"]) == (0, {"drop": 1})
    assert (again["repeats"], "late" in again) == (1, False)


def test_what_waits_inside_a_child_is_named_where_people_look(asks: Project) -> None:
    """The parent waits for its parts, and not for another try; the command goes to the child."""
    outer = 'machine = "outer"\ninitial = "s"\n[states.s]\nmachine = "asks"\non.ok = "done"\n'
    (asks.root / "machines" / "outer.toml").write_text(f'{outer}[states.done]\nfinal = "success"\n')
    asks.call("start", "outer", "--id", "the one")
    asks.call("worker", "--until-idle")

    listed = asks.call("ls", "-o", "json").json[0]
    assert (listed["status"], listed["awaits"], listed["awaits_parts"]) == ("waiting", None, True)
    said = asks.call("ls").out
    assert "for its parts; looks at them again in" in said
    assert "next try" not in said
    shown = asks.call("inspect", "the one").out
    sends = "the one/s waits for somebody to send approved or rejected"
    assert f"for its parts; {sends}; looks at them again in" in shown
    asked = asks.call("why", "the one").out
    assert sends in asked
    for told in (shown, asked):
        assert "statepipe signal 'the one/s' approved" in told
    refused = asks.call("signal", "the one", "approved")
    assert refused.code == 3
    assert "'the one/s', which does part of its work, does" in refused.err
    assert "next:    statepipe signal 'the one/s' approved" in refused.err
    assert asks.call("signal", "the one/s", "approved").code == 0
    assert asks.call("worker", "--until-idle").code == 0
    assert asks.call("inspect", "the one", "-o", "json").json["status"] == "done"
