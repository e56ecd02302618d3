"""A loop for attempts, in memory: it commits what they stage and hands out their input."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from statepipe.batch import Batch
from statepipe.errors import TaskCancelled
from statepipe.model import Rejects, Staged, Task
from statepipe.runtime.tasks.attempts import perform
from statepipe.store.codec import decode
from statepipe.store.stage.directory import Stage
from statepipe.store.stage.records import decode_records


class Loop:
    """What the loop does for an attempt, in memory: commits, inputs, a plan."""

    def __init__(self, stage_dir: Path) -> None:
        self.stage = Stage(stage_dir)
        self.batches: list[Staged] = []
        self.inputs: list[Staged] = []
        self.plan: list[dict[str, Any]] = []
        self.rejects: list[Rejects] = []
        self.asked: list[str] = []
        self.stop_at: int | None = None

    def __call__(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 any answer
        """Answer one question."""
        if len(self.asked) == self.stop_at:
            raise TaskCancelled("stop")
        self.asked.append(request["ask"])
        if request["ask"] == "batch":
            facts = dict(request["staged"])
            if facts["rejects"] is not None:
                self.rejects.append(Rejects(**facts["rejects"]))
            self.batches.append(Staged(**facts))
            assert [each.number for each in self.batches] == list(range(len(self.batches)))
        elif request["ask"] == "next":
            left = [each["number"] for each in self.plan if not each["loaded"]]
            return self.input((left or [len(self.inputs)])[0] if self.plan else len(self.batches))
        elif request["ask"] == "input":
            return self.input(request["number"])
        elif request["ask"] == "plan":
            first = request["from"]
            return [dict(each) for each in self.plan[first : first + 2]]  # pages of two
        elif request["ask"] == "loaded":
            self.plan[request["number"]]["loaded"] = True
            if request["rejects"] is not None:
                self.rejects.append(Rejects(**request["rejects"]))
        return None

    def input(self, number: int) -> dict[str, Any] | None:
        """Return an input batch, as planned if there is a plan."""
        if number >= len(self.inputs):
            return None
        planned = self.plan[number]["sha256"] if self.plan else None
        return {"number": number, "batch": self.inputs[number]._asdict(), "planned": planned}

    def records(self) -> list[Any]:
        """Return the records of each committed batch."""
        return [
            decode_records(each.format, self.stage.read(each)) if each.bytes else []
            for each in self.batches
        ]

    def rejected(self) -> list[tuple[Any, str, int]]:
        """Return record, message and position of everything in quarantine."""
        entries = [
            entry
            for each in self.rejects
            for entry in decode_records("msgpack", self.stage.read(each))
        ]
        return [(entry["record"], entry["message"], entry["position"]) for entry in entries]


def call_of(loop: Loop, function: object, **facts: object) -> dict[str, Any]:
    """Return a call for `function`, going on after what `loop` has committed."""
    last = loop.batches[-1].cursor if loop.batches else None
    return {
        "work": "run",
        "instance": "orders-7",
        "machine": "orders",
        "state": "extracting",
        "task": "extracting",
        "attempt": 1,
        "generation": 1,
        "visit": 1,
        "epoch": 1,
        "params": {"day": "2013-02-09"},
        "cursor": None if last is None else decode(last),
        "results": {},
        "mark": None,
        "incremental": None,
        "batch_size": 2,
        "shares": False,
        "stage_dir": str(loop.stage.directory),
        "inline_bytes_max": 65_536,
        "machines_dir": str(loop.stage.directory),
        "function": function,
        "drift": None,
        "contract": None,
        "older": [],
        "max_rejects": None,
        "load": None,
        "replays": False,
        "next": len(loop.batches),
        "records": sum(each.records for each in loop.batches),
        "rejected": sum(each.records for each in loop.rejects),
        **facts,
    }


def failed(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return the class and the message of a failure."""
    return result["failed"]["names"][0], result["failed"]["message"]


def given(loop: Loop, *batches: object) -> None:
    """Make `batches` the committed input."""

    def source(_task: Task) -> Iterator[Batch]:
        for number, records in enumerate(batches):
            yield Batch(records, cursor=number)

    perform(call_of(loop, source), loop)
    loop.inputs, loop.batches, loop.rejects = loop.batches, [], []
    loop.asked.clear()
