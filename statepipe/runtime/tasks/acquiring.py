"""
How an attempt waits for a permit, where it runs.

    acquire     returns once there is one, or raises because the attempt must stop

The loop never waits for it: it says in how many milliseconds to ask again.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from statepipe.errors import Fatal, TaskCancelled
from statepipe.runtime.executors.cancellation import Flag

#: How soon it notices that it was asked to stop, in seconds. A signal handler raises the flag,
#: and ends no wait.
_NOTICES_S: Final = 0.05


def acquire(ask: Callable[[dict[str, Any]], Any], flag: Flag, resource: str) -> None:
    """
    Wait for one permit of `resource`.

    Raises:
        Fatal: If the state does not use it.
        TaskCancelled: If the attempt must stop.
    """
    pause = threading.Event()
    while True:
        answer = ask({"ask": "permit", "resource": resource})
        if "unknown" in answer:
            used = ", ".join(answer["unknown"]) or "nothing"
            raise Fatal(
                f"acquire({resource!r}): the state uses {used};"
                f' add uses = ["{resource}"] to it in the machine'
            )
        left_s = answer["wait_ms"] / 1_000
        if not left_s:
            return
        while left_s > 0:
            if flag.raised:
                raise TaskCancelled("the attempt was asked to stop")
            pause.wait(min(left_s, _NOTICES_S))
            left_s -= _NOTICES_S
