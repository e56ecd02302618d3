"""
What an attempt under way is told that asks for a permit of a resource.

    permission      it may go on, or is to ask again
"""

from typing import Any, Final

from statepipe.runtime.driving.drive import Drive
from statepipe.store.file.connection import Store
from statepipe.store.walk import resources

#: So often it asks again, at least: it is heard of then, and hears that it is to stop.
_ASK_AGAIN_MS: Final = 1_000
_US_A_MS: Final = 1_000


def permission(drive: Drive, name: str, store: Store) -> dict[str, Any]:
    """
    Return the answer to an attempt that asks for a permit of the resource `name`.

    Returns:
        {"wait_ms": 0} if it has one, else in how many milliseconds to ask again; {"unknown": …}
        with the names it may ask for if it does not use that resource.
    """
    resource = next((each for each in drive.part.uses if each.name == name), None)
    if resource is None:
        return {"unknown": [each.name for each in drive.part.uses]}
    wait_ms = -(-resources.permit(store, resource) // _US_A_MS)
    heartbeat_ms = drive.part.policy.heartbeat_ms or 3 * _ASK_AGAIN_MS
    wait_ms = min(wait_ms, _ASK_AGAIN_MS, max(1, heartbeat_ms // 3))
    drive.waited_ms += wait_ms
    return {"wait_ms": wait_ms}
