"""
An attempt's side of batches: read its input, stage its output, wait for the commit.

    Staging.share     let other workers take batches of the same input; join: wait for them
    Staging.inputs    batches of the state before, verified, as long as there are any
    Staging.commit    stage records and rejects, ask for the commit, return when it is there
    Staging.rejects   stage rejects alone
    beat              say that an attempt is alive, and be told whether it must stop

The file comes first and the question after it, so a row never names a file that is not
durable; a crash between the two leaves a file that no row names, which is swept.
"""

import hashlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from statepipe.errors import LedgerMismatch, TaskCancelled, ValueRefused
from statepipe.io.arrow import schema_of
from statepipe.io.blocks import Blocks
from statepipe.io.rejects import RejectEntry
from statepipe.model import Rejects, Staged
from statepipe.runtime.executors import cancellation
from statepipe.runtime.failure import clean
from statepipe.store.codec import encode
from statepipe.store.stage.directory import Put, Stage
from statepipe.store.stage.records import Encoded, decode_blocks, decode_records, encode_records

Ask = Callable[[dict[str, Any]], Any]

#: Distinct reasons counted per batch; authors may put values into their reasons.
REASONS_MAX: Final = 100
_REASON_CHARS_MAX: Final = 200
_UNKEPT_CHARS_MAX: Final = 1_000


class Input:
    """One batch to read from, as often as needed."""

    def __init__(self, staged: Staged, payload: bytes | None) -> None:
        self.number = staged.number
        self.staged = staged
        self._payload = payload

    def records(self) -> Any:  # noqa: ANN401 dicts, or a table
        """Return the records, freshly decoded: the caller may change them."""
        if self._payload is None:
            return []
        return decode_records(self.staged.format, self._payload)

    def blocks(self) -> Any:  # noqa: ANN401  (Blocks, or a table)
        """Return the records for whoever only reads them: by columns, if they lie so."""
        if self._payload is None:
            return Blocks([])
        return decode_blocks(self.staged.format, self._payload)

    def arrow_schema(self) -> bytes | None:
        """Return the columns of a table as bytes; None if it is none."""
        if self._payload is None or self.staged.format != "arrow":
            return None
        return schema_of(self._payload)


class Staging:
    """
    The batches of one attempt.

    Attributes:
        is_lead: False in a worker that only takes part in an attempt; what it makes counts,
            what it returns does not.
        records: Records committed in this stay, by earlier attempts as well: what a guard
            asks about must not depend on how often the stay was interrupted.
        rejected: Records put into quarantine in this stay, likewise.
        batch_size: How many records the next batch should hold.
    """

    def __init__(self, call: Mapping[str, Any], ask: Ask) -> None:
        self.records: int = call["records"]
        self.rejected: int = call["rejected"]
        self.batch_size: int = call["batch_size"]
        self._call = call
        self._ask = ask
        self._stage = Stage(Path(call["stage_dir"]))
        self.is_lead: bool = not call.get("beside")

    def share(self) -> None:
        """Let others, if the policy wants them, take part in the rest of the input."""
        if self.is_lead and self._call["shares"]:
            self._ask({"ask": "share"})

    def inputs(self) -> Iterator[Input]:
        """
        Yield the batches of the input that are not done, as long as nobody else has them.

        A worker that only takes part also ends when its place is wanted for another instance.

        Raises:
            StagedDataDamaged: If one is not what was committed.
        """
        while (given := self._ask({"ask": "next", "beside": not self.is_lead})) is not None:
            yield self._read(given)

    def input(self, number: int) -> Input:
        """Return batch `number` of the plan, as `inputs` does."""
        return self._read(self._ask({"ask": "input", "number": number}))

    def given(self, task: str, number: int) -> Input | None:
        """Return batch `number` of another task of the graph; None if there are no more."""
        given = self._ask({"ask": "given", "of": task, "number": number})
        return None if given is None else self._read(given)

    def join(self) -> None:
        """Wait until others are done with their batches, and count these in."""
        if self.is_lead and self._call["shares"]:
            self.records, self.rejected = self._ask({"ask": "join"})

    def turn(self, number: int) -> None:
        """Wait until the destination has all batches before `number`."""
        if self._call["shares"]:
            self._ask({"ask": "turn", "number": number})

    def beat(self) -> None:
        """Say that the attempt is alive; raises TaskCancelled if it must stop."""
        beat(self._ask, cancellation.current())

    def _read(self, given: Mapping[str, Any]) -> Input:
        facts, planned = given["batch"], given["planned"]
        if planned is not None and (facts is None or facts["sha256"] != planned):
            raise LedgerMismatch(
                f"batch {given['number']} of the committed plan is not among the staged batches",
                meaning="nothing of it was loaded",
                next_step=f"statepipe rewind {shlex.quote(self._call['instance'])}"
                "   # to the state that stages it",
            )
        staged = Staged(**{**facts, "rejects": None})
        is_empty = staged.file is None and staged.body is None
        return Input(staged, None if is_empty else self._stage.read(staged))

    def commit(
        self,
        number: int,
        records: Any,  # noqa: ANN401 dicts, or a table
        *,
        cursor: bytes | None = None,
        rejects: Sequence[RejectEntry] = (),
        of: Input | None = None,
        read: int | None = None,
        mark: list[Any] | None = None,
        seen: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Stage one batch and return once it is committed.

        Args:
            number: Its number, from 0.
            records: A list of dicts, or a columnar table.
            cursor: Where the source goes on after it, encoded.
            rejects: What was rejected while it was made.
            of: The batch they are records of; None if they are of this one.
            read: Records it was made from; None for its own and the rejected ones.
            mark: How far a source with a watermark has come with it.
            seen: A Seen as a dict, of a source that is watched.

        Raises:
            ValueRefused: If the records cannot be kept exactly.
            StoreUnusable: If they cannot be written.
            TaskCancelled: If the attempt must stop; nothing was committed.
        """
        encoded = encode_records(records)
        if encoded.records or encoded.format == "arrow":  # an empty table still has columns
            put = self._put(number, encoded)
            size = len(encoded.payload)
        else:
            put, size = Put(None, None, hashlib.sha256(b"").digest()), 0
        staged = Staged(
            number=number,
            records=encoded.records,
            bytes=size,
            sha256=put.sha256,
            format=encoded.format,
            file=put.file,
            body=put.body,
            cursor=cursor,
            read=encoded.records + len(rejects) if read is None else read,
            rejects=None,
        )
        of = of or Input(staged, encoded.payload)
        refused = self.rejects(number, rejects, of=of)
        facts = {**staged._asdict(), "rejects": refused, "seen": seen}
        size = self._ask({"ask": "batch", "staged": facts, "mark": mark})
        self.batch_size = size or self.batch_size
        self.records += encoded.records
        self.rejected += len(rejects)

    def rejects(
        self, number: int, entries: Sequence[RejectEntry], *, of: Input
    ) -> dict[str, Any] | None:
        """Stage rejects of batch `number`; return a Rejects as a dict, or None without any."""
        if not entries:
            return None
        encoded = _encode_entries(list(entries))
        put = self._put(number, encoded, kind="rejects")
        return Rejects(
            records=len(entries),
            bytes=len(encoded.payload),
            sha256=put.sha256,
            file=put.file,
            body=put.body,
            reasons=_count_reasons(entries),
            arrow_schema=of.arrow_schema(),
        )._asdict()

    def _put(self, number: int, encoded: Encoded, *, kind: Any = "batch") -> Put:  # noqa: ANN401 a literal
        call = self._call
        return self._stage.put(
            encoded.payload,
            instance_key=call["instance"],
            generation=call["generation"],
            state=call["state"],
            visit=call["visit"],
            task=call["task"],
            number=number,
            epoch=call["epoch"],
            format=encoded.format,
            kind=kind,
            inline_bytes_max=call["inline_bytes_max"],
        )


def beat(ask: Ask, flag: cancellation.Flag) -> None:
    """
    Say that an attempt is alive.

    Raises:
        TaskCancelled: If it must stop.
    """
    if flag.raised:
        raise TaskCancelled("the attempt was asked to stop")
    ask({"ask": "beat"})


def _encode_entries(entries: list[RejectEntry]) -> Encoded:
    try:
        return encode_records(entries)
    except ValueRefused:
        # What cannot be kept may be the very reason for the reject; it must not be lost.
        return encode_records([_keepable(entry) for entry in entries])


def _keepable(entry: RejectEntry) -> RejectEntry:
    kept = {**entry, "message": clean(str(entry["message"]), chars_max=_UNKEPT_CHARS_MAX)}
    try:
        encode(kept, bytes_max=1 << 30)
    except ValueRefused:
        kept["record"] = {"not plain data": clean(_shown(entry), chars_max=_UNKEPT_CHARS_MAX)}
    return kept


def _shown(entry: RejectEntry) -> str:
    try:
        return repr(entry["record"])
    except Exception as error:  # noqa: BLE001 the author's object; its class must do
        return f"{type(entry['record']).__name__}, whose repr raised {type(error).__name__}"


def reason_of(entry: RejectEntry) -> str:
    """Return what a reject is counted as: "/dep_time: required", or an author's own words."""
    return clean(_reason(entry), chars_max=_REASON_CHARS_MAX)


def _reason(entry: RejectEntry) -> str:
    return f"{entry['path']}: {entry['rule']}" if entry["path"] else str(entry["message"])


def _count_reasons(entries: Sequence[RejectEntry]) -> dict[str, int]:
    """Return how many entries by reason; beyond the first `REASONS_MAX`, by "other"."""
    reasons: Counter[str] = Counter()
    for words, count in Counter(map(_reason, entries)).items():
        reason = clean(words, chars_max=_REASON_CHARS_MAX)
        is_kept = reason in reasons or len(reasons) < REASONS_MAX
        reasons[reason if is_kept else "other"] += count
    return dict(reasons)
