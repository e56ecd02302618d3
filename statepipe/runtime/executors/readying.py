"""What a worker process is called for before anybody needs it."""

from contextlib import suppress
from importlib import import_module


def import_all(*modules: str) -> None:
    """Import what can be imported; whoever needs the rest will say what is missing."""
    for module in modules:
        with suppress(ImportError):
            import_module(module)
