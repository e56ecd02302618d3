"""
The two tasks that come with the engine: judge records by a contract, and load them.

    validate    each input batch -> clean records, and rejects with the reason
    load        each planned batch -> the destination, then the checkpoint

`load` trusts three things in this order: the plan that was committed on entering the
state, the destination's own ledger, the checkpoint. Before it ends, the ledger must hold
the plan row for row; what a destination has lost meanwhile is loaded again, once. A plan of
nothing loads a batch without records if there is a contract to make the table from. Then a
load that replaces is published. A destination without a ledger cannot be asked what it
has: there the checkpoint, which has each batch that was answered, is all that counts.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from statepipe.errors import DataError, LedgerMismatch
from statepipe.io.declared import read_declared
from statepipe.io.destinations import Destination, Landed, LoadBatch, open_destination
from statepipe.io.loads import at_once
from statepipe.io.rows import Records
from statepipe.machine.states.judging import exceeds
from statepipe.model import INVALID, OK
from statepipe.runtime.tasks.staging import Ask, Input, Staging
from statepipe.runtime.tasks.upcasting import versions_of

Planned = Mapping[str, Any]


def validate(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """
    Judge every input batch that is not judged yet; `invalid` if too many records broke it.

    All are judged before that is decided, so it depends on the records alone, and the
    quarantine has them all.

    Raises:
        DefinitionError: If the contract, an older version or an upcaster cannot be used.
        DataError: If clean and rejected records do not add up to those read.
    """
    versions = versions_of(call)
    staging = Staging(call, ask)
    staging.share()
    for given in staging.inputs():
        judged = versions.judge(given.blocks())
        kept, rejected = len(judged.clean), len(judged.rejects)
        if kept + rejected != given.staged.records:
            raise DataError(
                f"the contract made {kept} clean and {rejected} rejected of"
                f" {given.staged.records} records in batch {given.number}",
                meaning="records would be lost or doubled; nothing of the batch was committed",
                next_step="report this with the contract: it is a defect of statepipe",
            )
        staging.commit(
            given.number,
            judged.clean,
            rejects=judged.rejects,
            of=given,
            read=given.staged.records,
        )
    staging.join()
    return {**_verdict(call, staging), "value": None, "produced": True}


def _verdict(call: Mapping[str, Any], staging: Staging) -> dict[str, Any]:
    """Return the event of a contract whose records are all judged, and why it is raised."""
    verdict = {"event": OK, "records": staging.records, "rejected": staging.rejected}
    most = call["max_rejects"]
    read = staging.records + staging.rejected
    # The limit is about what a source brings; a replay brings only what was rejected before.
    if most is None or call["replays"] or not exceeds(staging.rejected, most, read=read):
        return verdict
    rejected = f"{staging.rejected:,} of {read:,} records were rejected"
    return {**verdict, "event": INVALID, "note": f"{rejected}; max_rejects is {most}"}


def load(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """
    Load every planned batch that the checkpoint does not know as loaded, then reconcile.

    Raises:
        Fenced: If the destination has seen a later owner of the instance.
        LedgerMismatch: If the ledger contradicts the plan.
        DefinitionError: If no table can be made from the contract that it is to be made from.
    """
    to = call["load"]
    declared = None
    if to["contract"] is not None:
        declared = read_declared(Path(to["contract"]), key=to["key"], adds=to["adds"])
    destination = open_destination(
        to["to"],
        base_dir=Path(to["base_dir"]),
        table=to["table"],
        key=tuple(to["key"]),
        replace=to["replace"],
        declared=declared,
        effect=to["effect"],
        body=to["body"],
        auth=to["auth"],
    )
    try:
        return _load_all(call, ask, destination)
    finally:
        destination.close()


def _load_all(call: Mapping[str, Any], ask: Ask, destination: Destination) -> dict[str, Any]:
    staging = Staging(call, ask)
    if destination.is_shared:
        staging.share()
    for given in staging.inputs():
        landed = _load_one(call, staging, destination, given, begun=given.number > 0)
        rejects = staging.rejects(given.number, landed.rejects, of=given)
        facts = {"number": given.number, "records": landed.records, "rejects": rejects}
        ask({"ask": "loaded", **facts})
        staging.records += landed.records
        staging.rejected += len(landed.rejects)
    staging.join()
    if staging.is_lead:
        _reconcile(call, ask, staging, destination)
    return {
        "event": OK,
        "value": None,
        "produced": False,
        "records": staging.records,
        "rejected": staging.rejected,
    }


def _reconcile(
    call: Mapping[str, Any], ask: Ask, staging: Staging, destination: Destination
) -> None:
    """Load again what the destination has lost; once all is there, let readers see it."""
    for planned in _missing(call, destination, _plan(ask)):
        _load_one(call, staging, destination, staging.input(planned["number"]), begun=True)
    if still := _missing(call, destination, _plan(ask)):
        raise LedgerMismatch(
            f"{_destination_of(call)} does not have batch"
            f" {', '.join(str(planned['number']) for planned in still[:10])},"
            f" {len(still)} of the plan in all, although just loaded",
            meaning="the destination forgets what it committed; the instance did not end",
            next_step="check that nothing else empties or restores the destination, then resume",
        )
    first = 0
    if call["load"]["contract"] is not None and next(_plan(ask), None) is None:
        # No batch has made the table, or added the columns that the contract has more.
        destination.load(_batch(call, number=0, digest=hashlib.sha256().digest(), records=[]))
        first = 1
    if call["load"]["replace"]:
        destination.publish(_publication(call, _plan(ask), number=first))


def _load_one(
    call: Mapping[str, Any],
    staging: Staging,
    destination: Destination,
    given: Input,
    *,
    begun: bool,
) -> Landed:
    batch = _batch(
        call,
        number=given.number,
        digest=given.staged.sha256,
        records=given.blocks(),
        begun=begun,
        turn=partial(staging.turn, given.number),
        beat=staging.beat,
    )
    return destination.load(batch)


def _batch(
    call: Mapping[str, Any],
    *,
    number: int,
    digest: bytes,
    records: Records,
    begun: bool = False,
    turn: Callable[[], None] = at_once,
    beat: Callable[[], None] = at_once,
) -> LoadBatch:
    return LoadBatch(
        store_id=call["load"]["store_id"],
        instance=call["instance"],
        generation=call["generation"],
        state=call["state"],
        visit=call["visit"],
        number=number,
        epoch=call["epoch"],
        digest=digest,
        records=records,
        appends=not call["load"]["key"] and not call["load"]["replace"],
        begun=begun,
        turn=turn,
        beat=beat,
    )


def _publication(call: Mapping[str, Any], plan: Iterable[Planned], *, number: int) -> LoadBatch:
    """Return what stands for the whole plan: a batch behind its last, or `number`; no records."""
    digest = hashlib.sha256()
    for planned in plan:
        number = planned["number"] + 1
        digest.update(planned["sha256"])
    return _batch(call, number=number, digest=digest.digest(), records=[], begun=number > 0)


def _plan(ask: Ask) -> Iterator[Planned]:
    """Yield the plan's batches in order, asked for page by page."""
    first = 0
    while page := ask({"ask": "plan", "from": first}):
        yield from page
        first = page[-1]["number"] + 1


def _missing(
    call: Mapping[str, Any], destination: Destination, plan: Iterable[Planned]
) -> list[Planned]:
    """Return the planned batches of which the ledger, if there is one, lacks the very row."""
    found = destination.ledger(
        store_id=call["load"]["store_id"],
        instance=call["instance"],
        generation=call["generation"],
        state=call["state"],
        visit=call["visit"],
    )
    if found is None:
        return []
    rows = {row.number: (row.digest, row.records + row.rejected) for row in found}
    return [
        planned
        for planned in plan
        if rows.get(planned["number"]) != (planned["sha256"], planned["records"])
    ]


def _destination_of(call: Mapping[str, Any]) -> str:
    """Return the destination for people: its address and table."""
    return f"{call['load']['to']} (table {call['load']['table']})"
