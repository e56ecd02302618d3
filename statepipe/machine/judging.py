"""
The task of a state that judges records: by which contract, and how many may break it.

    Validate    the task itself
    exceeds     were more rejected than may be?
"""

from dataclasses import dataclass

from statepipe.machine.names import check_text, refusal
from statepipe.units import parse_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate:
    """
    Judge the records of a batch by a contract; rejected ones go to quarantine.

    Attributes:
        contract: Path of a JSON Schema, relative to the folder of the machines.
        max_rejects: How many of the records that a stay reads may be rejected: a number, or
            a share of them such as "5%". If more are, the state ends in the event `invalid`
            and not in `ok`. None for no limit; 0 if only `on.invalid` is said.
    """

    contract: str
    max_rejects: int | str | None = None

    def __post_init__(self) -> None:
        """Refuse a path that is none or leaves the folder of the machines, and a bad limit."""
        check_text("contract", self.contract)
        if ".." in self.contract.split("/"):
            raise refusal(
                f'contract "{self.contract}" leaves the folder of the machines',
                next_step='keep contracts beside the machine: "contracts/flight.json"',
            )
        if self.max_rejects is not None:
            _check_limit(self.max_rejects)


def exceeds(rejected: int, max_rejects: int | str, *, read: int) -> bool:
    """
    Return True if more records were rejected than may be.

    Args:
        rejected: How many were, from 0.
        max_rejects: As in `Validate`.
        read: How many were read; none of none is never too many.
    """
    if isinstance(max_rejects, int):
        return rejected > max_rejects
    return rejected > parse_share(max_rejects) * read


def _check_limit(limit: object) -> None:
    example = 'max_rejects = "5%", or a number of records: max_rejects = 100'
    if isinstance(limit, str):
        try:
            parse_share(limit)
        except ValueError as error:
            raise refusal(f"max_rejects: {error}", next_step=example) from None
    elif type(limit) is not int or limit < 0:
        raise refusal(
            f"max_rejects is {limit!r}, neither a share nor a number of records", next_step=example
        )
