"""
The public API as typed code: read by type checkers, never run.

If a name moves, or a signature stops being what authors write, `make types` fails here
before it fails at an author's desk.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import assert_type

from statepipe import (
    After,
    Arriving,
    Batch,
    Concurrency,
    Emitted,
    Engine,
    EventRule,
    Fatal,
    Job,
    Load,
    Machine,
    Outcome,
    Param,
    Partition,
    Reject,
    Run,
    Schedule,
    Sharing,
    SqlLimits,
    State,
    Task,
    Throttled,
    Transition,
    Trigger,
    Validate,
    Wait,
    load_config,
    read_csv,
    read_parquet,
    read_sql,
)


def extract(task: Task) -> Iterator[Batch]:
    """Be a source."""
    task.heartbeat()
    yield from read_csv(task, Path("orders.csv"), types={"id": int}, nulls=("",))
    secrets = {"key": "env:KEY", "secret": "file:/run/secrets/s3"}
    yield from read_parquet(task, "s3://orders/*", columns=["id"], storage_options=secrets)
    yield from read_sql(task, "env:SHOP", table="orders", key=["id"], limits=SqlLimits(lock_ms=5))
    if task.cancelled:
        raise Throttled("later", retry_after=2.5)
    yield Batch([{"id": 1}], cursor={"page": 2})


async def poll(task: Task) -> AsyncIterator[Batch]:
    """Be an asynchronous source."""
    yield Batch([{"id": task.attempt}], cursor=1)


def transform(task: Task, batch: Batch) -> Batch:
    """Be a map."""
    for record in batch.records:
        if record["id"] < 0:
            task.reject(record, "negative id")
        if record["id"] > 10**6:
            raise Reject(record, "id too large")
    return Batch([record for record in batch.records if record["id"] >= 0])


def approve(task: Task) -> Outcome:
    """Be called once."""
    if not task.params["day"]:
        raise Fatal("no day")
    return Outcome("invalid", {"bad": 17})


orders = Machine(
    name="orders",
    initial="extracting",
    params=(Param(name="day", type="date", default="today"),),
    sharing=Sharing(priority=5, concurrency=Concurrency(key="{params.day}")),
    partition=Partition(by="date", tolerate="5%"),
    triggers=(
        Trigger(name="nightly", on=Schedule(cron="0 3 * * *", catchup="last")),
        Trigger(name="ready", on=Emitted(event="ready"), params={"day": "{event.key}"}),
        Trigger(name="hours", on=After(machine="orders_hourly", covers="day")),
        Trigger(name="drop", on=Arriving(file="inbox/*.csv", marker=".done")),
    ),
    states=(
        State(
            name="extracting",
            task=Run(function=extract),
            on=(Transition(event="ok", target="validating"),),
            retry={"max_attempts": 5},
            settings={"timeout": "20m"},
        ),
        State(
            name="validating",
            task=Validate(contract="contracts/order.json"),
            on=(Transition(event="ok", target="loading"),),
        ),
        State(
            name="loading",
            task=Load(to="sqlite:///warehouse.db", table="orders", key=("id",)),
            on=(Transition(event="ok", target="done"),),
        ),
        State(name="done", final="success"),
    ),
)


def submit(task: Task) -> str:
    """Begin a job elsewhere."""
    return task.idempotency_key


def look(_: Task, handle: str) -> dict[str, str] | None:
    """Say how it stands."""
    return {"job": handle}


refresh = Machine(
    name="refresh",
    initial="computing",
    events=(EventRule(event="approved", late="quarantine"),),
    states=(
        State(
            name="computing",
            task=Job(submit=submit, poll=look, every_ms=10_000),
            on=(Transition(event="ok", target="asking"),),
        ),
        State(
            name="asking",
            task=Wait(events=("approved",), ms=3_600_000),
            on=(Transition(event="approved", target="done"),),
        ),
        State(name="done", final="success"),
    ),
)


def drive() -> None:
    """Drive it from Python."""
    config = load_config(start=Path(), environ={})
    with Engine(config, machines=[orders]) as engine:
        made = engine.create("orders", params={"day": "2026-11-22"})
        assert_type(made, str | None)
        assert made is not None
        assert_type(engine.run([made]), dict[str, str])
        engine.resume([made], reason="again", definition="latest")
        engine.rewind(made, to="extracting", reason="wrong rates")
        assert_type(engine.cancel(made), bool)
        group = engine.groups.create("orders", ["2026-11-01..2026-11-22"], if_exists="attach")
        assert_type(group, str | None)
        assert group is not None
        engine.triggers.pause("orders.nightly", reason="the source moves")
        assert_type(engine.groups.run(group), str)
        assert_type(engine.groups.resume(group, reason="again"), tuple[int, str])
