"""
One try to deliver one notice, and how it can fail.

    deliver         to a target, by the way it is reached

A try that fails raises `Undelivered` with a reason that holds no secret: it says what is
wrong with an address, never the address.
"""

from importlib import import_module
from pathlib import Path
from typing import Final

from statepipe.notify import Target, webhook_problem
from statepipe.observe import redact
from statepipe.observe.notices import command, webhook
from statepipe.observe.notices.letter import Letter, Undelivered

REASON_CHARS_MAX: Final = 500


def deliver(
    target: Target, letter: Letter, *, address: str | None, root: Path, timeout_ms: int
) -> None:
    """
    Deliver `letter` to `target`.

    Args:
        target: Whom to tell.
        letter: What to say.
        address: The URL of the webhook, or what apprise is to be given; None for a command.
        root: The folder that a command is started in.
        timeout_ms: How long that may take.

    Raises:
        Undelivered: It did not arrive, or nobody knows whether it did.
    """
    try:
        if target.command is not None:
            command.run(target.command, letter, cwd=root, timeout_ms=timeout_ms)
        elif target.webhook is not None:
            assert address is not None, "a webhook has an address"
            webhook.post(_checked(address), letter, timeout_ms=timeout_ms)
        else:
            assert address is not None, "a service has an address"
            _tell_service(address, letter)
    except Undelivered as failure:
        reason = redact.beginning(str(failure), chars_max=REASON_CHARS_MAX)
        raise Undelivered(reason, retry_after_ms=failure.retry_after_ms) from None


def _checked(url: str) -> str:
    problem = webhook_problem(url)
    if problem is not None:
        raise Undelivered(f"what the reference of the webhook leads to {problem}")
    return url


def _tell_service(url: str, letter: Letter) -> None:
    try:
        services = import_module("statepipe.observe.notices.services")
    except ImportError:
        raise Undelivered(
            "apprise is not installed; pip install 'statepipe[notify]', or use webhook or command"
        ) from None
    services.tell(url, letter)
