"""
What an instance that is done has delivered: the partition of its machine that it was.

    delivered   an attachment, with the partition if the change is such an end
"""

from statepipe.machine.states import datasets
from statepipe.model import Attachment, Change, Status
from statepipe.runtime.driving.drive import Drive


def delivered(drive: Drive, change: Change, attachment: Attachment | None) -> Attachment | None:
    """Return what goes with a change, and the partition that is there once it is committed."""
    partition = drive.program.table.machine.partition
    if partition is None or change.status != Status.DONE:
        return attachment
    said = datasets.delivered(partition, drive.params)
    if said is None:
        return attachment
    return (attachment or Attachment(drive.stay, drive.state))._replace(delivers=said)
