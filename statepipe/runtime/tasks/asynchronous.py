"""
`async def` tasks: one event loop in a thread of its own, and blocking ways to use it.

    run       await something there and return what it gives
    iterate   an async generator as a plain iterator, one step at a time

There are no twins of anything: the core stays synchronous, and an async task looks to it
like any other. All async tasks of a process share the loop, so one that blocks it holds
up the others, as in any asyncio program.
"""

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, NoReturn

_Settled = tuple[bool, Any]


def run(awaitable: Awaitable[Any]) -> Any:  # noqa: ANN401 whatever the author's coroutine returns
    """Await `awaitable` on the event loop; return its result or raise its error."""
    import asyncio  # noqa: PLC0415 40 ms that only async tasks should cost

    loop = _loop(os.getpid())
    ok, value = asyncio.run_coroutine_threadsafe(_settle(awaitable), loop).result()
    if not ok:
        raise value
    return value


def iterate(steps: AsyncIterator[Any]) -> Iterator[Any]:
    """Yield what `steps` yields, running it only while the next item is wanted."""
    try:
        while True:
            try:
                item = run(steps.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(steps, "aclose", None)
        if close is not None:
            with suppress(RuntimeError):  # it yielded again instead of ending: let it be
                run(close())


async def _settle(awaitable: Awaitable[Any]) -> _Settled:
    # Errors travel as values: asyncio lets SystemExit and KeyboardInterrupt of a task end
    # the loop, and then nobody would ever hear of the task again.
    try:
        return True, await awaitable
    except BaseException as error:  # noqa: BLE001 raised again in the thread that waits
        return False, error


@cache
def _loop(_pid: int) -> Any:  # noqa: ANN401 an event loop; asyncio is imported when used
    # By process number, because a fork copies the loop but not its thread.
    import asyncio  # noqa: PLC0415 as above

    loop = asyncio.new_event_loop()

    def serve() -> NoReturn:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        raise AssertionError("nobody stops this loop")

    threading.Thread(target=serve, name="statepipe-async", daemon=True).start()
    return loop
