"""A machine that is started often."""

from statepipe import Task


def work(_: Task) -> None:
    """Do nothing."""
