"""
How long an API may take and how much it may say.

    HttpLimits    timeouts and the largest answer
"""

from dataclasses import dataclass

from statepipe.io.limits import refuse_below_one


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """
    Limits of each request.

    Attributes:
        connect_ms: Milliseconds until there is a connection.
        read_ms: Milliseconds of silence; a body that stalls ends here.
        total_ms: Milliseconds from asking until the body is whole, redirects and the pauses that
            they ask for included.
        body_bytes_max: Bytes of one body, decompressed; it is in memory as a whole.

    Raises:
        DefinitionError: If one of them is below 1.
    """

    connect_ms: int = 10_000
    read_ms: int = 30_000
    total_ms: int = 120_000
    body_bytes_max: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse limits that no answer could keep."""
        refuse_below_one(self)
