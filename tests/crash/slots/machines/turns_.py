"""Rooms that one instance at a time may be in; who meets another one there says so."""

import os
from pathlib import Path
from threading import Event

from statepipe import Task


def enter(task: Task) -> None:
    """Go in, and stay a while; the door has the name of whoever is inside."""
    door = Path(task.params["hall"]) / task.params["room"]
    try:
        with os.fdopen(os.open(door, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "w") as plate:
            plate.write(task.instance)
    except FileExistsError:
        there = door.read_text(encoding="utf-8")
        if there not in {"", task.instance}:  # "": ours, killed while it wrote its name
            with Path(task.params["hall"], f"wrong-{task.params['room']}.txt").open("a") as file:
                file.write(f"{task.instance} met {there}\n")
    Event().wait(0.01)


def leave(task: Task) -> None:
    """Go out."""
    (Path(task.params["hall"]) / task.params["room"]).unlink(missing_ok=True)
