"""Calls of an API that takes its time."""

from urllib.request import urlopen

from statepipe import Task


def call(task: Task) -> None:
    """Call, several times with a permit each."""
    for _ in range(task.params["calls"]):
        if task.params["calls"] > 1:
            task.acquire("api")
        with urlopen(f"{task.params['url']}/visit", timeout=30) as answer:
            answer.read()
