"""What a worker process is called for before anybody needs it."""

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from statepipe.io.destinations import import_library


def get_ready(modules: Sequence[str], addresses: Sequence[str]) -> None:
    """
    Import what can be imported; whoever needs the rest will say what is missing.

    Args:
        modules: To import.
        addresses: Of destinations, for the libraries that speak to them.
    """
    for module in modules:
        with suppress(ImportError):
            import_module(module)
    for address in addresses:
        import_library(address)
