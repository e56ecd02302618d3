"""Machines that depend on each other, and on files."""

from statepipe import Task


def work(_: Task) -> None:
    """Do nothing."""
