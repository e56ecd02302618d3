"""
A state whose work is done by children, when its instance is claimed: it begins some, or moves on.

    turn        what an instance in such a state does now
    leaving     what becomes of the children when it leaves the state in another way

While they work nobody drives it: it is a row with a timer. The end of a child clears the timer,
in the transaction of that end; so does its time. Whoever claims it then looks at all of them
again, and the rules decide what is next (`machine.taskplan`). What begins is in the commit by
which the parent rests again, so that a crash leaves neither of the two without the other. A
child machine whose key is taken, and that is skipped then, is not begun: the state ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from statepipe.errors import DataError, Refused, StatepipeError
from statepipe.machine.states.taskgraph import GraphTask
from statepipe.machine.taskplan import Place, Plan, plan
from statepipe.model import (
    ERROR,
    OK,
    SKIPPED,
    TIMEOUT,
    Attachment,
    Change,
    Family,
    NewChild,
    Status,
    Taken,
)
from statepipe.runtime.brood import Brood
from statepipe.runtime.driving import resting
from statepipe.runtime.driving.announcing import with_notices
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.runtime.failure import names_of
from statepipe.runtime.picture import Elsewhere, Picture, Share
from statepipe.store.codec import decode, encode
from statepipe.store.file.connection import Store
from statepipe.store.stage import rows as staged
from statepipe.store.walk import children
from statepipe.store.walk.admission import admit, judged
from statepipe.store.walk.children import Standing
from statepipe.terms import Terms
from statepipe.units import format_duration
from statepipe.wishes import KILL, Wish

#: States in which others may work for an instance: one of several tasks, `cancelling`, in which
#: they clean up before it does, and one that its machine does not have: nobody knows of that.
OTHERS_WORK: Final = frozenset({"children", "cancel", "unknown"})

#: Without a timeout the instance looks at its children so often, whatever wakes it.
_LOOK_MS: Final = 24 * 3_600_000

#: So many tasks are named in a note.
_NAMED_MAX: Final = 5

#: What the input of the state is called among what a task may read.
INPUT: Final = ""


def turn(drive: Drive, store: Store, *, worker: int) -> tuple[Change, Attachment | None]:
    """Return the move, if the children have done their work or time is up; without, a rest."""
    brood: Brood = drive.part.call["brood"]
    found = children.of_stay(store.connection, drive.n, drive.stay)
    look = _Look(drive, store, brood, found)
    try:
        decided = look.plan()
        if decided.event is not None:
            takes = look.takes() if decided.event == OK else ()
            ended = look.ended(decided, takes)
            skips = tuple(map(str, decided.skip)) if decided.event == OK else ()
            family = Family(drive.stay, takes=takes, skips=skips)
            return _moved(drive, store, ended, family, worker=worker)
        timeout_ms = brood.timeout_ms
        left_ms = resting.left_ms(drive, timeout_ms or _LOOK_MS, clock=store.clock)
        if left_ms <= 0 and timeout_ms is not None:
            said = f"its tasks took longer than {format_duration(timeout_ms)}"
            ended = _failed(TIMEOUT, Failure(("TaskTimeout", "TimeoutError"), said))
            return _moved(drive, store, ended, Family(drive.stay), worker=worker)
        begins = tuple(look.begun(place, decided) for place in decided.begin)
        if (skipped := look.skipped(begins)) is not None:
            skips = (drive.state,) if skipped.event == SKIPPED else ()
            return _moved(drive, store, skipped, Family(drive.stay, skips=skips), worker=worker)
        family = Family(
            drive.stay,
            begins=begins,
            # Tasks are part of this machine; another one's instance goes on as it began, unless
            # somebody says otherwise.
            adopts=()
            if brood.is_machine
            else tuple(
                (each.n, now)
                for each in found
                if each.status == Status.READY
                and each.worker is None
                and each.task in brood.kinds  # unless it was taken out of the machine
                and each.definition != (now := brood.kinds[each.task].definition)
            ),
        )
    except StatepipeError as error:
        ended = _failed(ERROR, Failure(tuple(names_of(error)), error.message))
        return _moved(drive, store, ended, Family(drive.stay), worker=worker)
    note = f"begins {', '.join(map(str, decided.begin))}" if decided.begin else look.left()
    rest_ms = left_ms if timeout_ms is not None else _LOOK_MS
    change = resting.rest(drive, rest_ms, note=note, clock=store.clock)
    return change, Attachment(drive.stay, drive.state, family=family)


def leaving(drive: Drive, change: Change, attachment: Attachment | None) -> Attachment | None:
    """Return what goes with `change`; if it leaves the state, the children are asked to stop."""
    if change.status == Status.READY and change.state == change.source:
        return attachment
    if drive.part.work == "cancel" and change.event != KILL:
        return attachment  # its on_cancel has run, and they had ended before that
    ends: Wish = "kill" if change.event == KILL else "cancel"
    stops: Wish = "pause" if change.status == Status.PAUSED else ends
    attachment = attachment or Attachment(drive.stay, drive.state)
    family = attachment.family or Family(drive.stay)
    return attachment._replace(family=family._replace(stops=stops))


class _Look:
    """What a parent sees of its children, at one moment."""

    def __init__(self, drive: Drive, store: Store, brood: Brood, found: Sequence[Standing]) -> None:
        self._drive = drive
        self._store = store
        self._brood = brood
        self._graph = brood.graph
        self._found = {Place(each.task, each.element): each for each in found}
        self._pictures: dict[int, Picture] = {}

    def plan(self) -> Plan:
        standing = {place: each.status for place, each in self._found.items()}
        return plan(self._graph, standing, lambda task: len(self._items(task)))

    def left(self) -> str:
        """Return, for people, what it still waits for."""
        at_work = [
            str(at) for at, each in self._found.items() if each.status not in Status.FINISHED
        ]
        more = f" and {len(at_work) - _NAMED_MAX:,} more" if len(at_work) > _NAMED_MAX else ""
        return f"for {', '.join(at_work[:_NAMED_MAX])}{more}"

    def begun(self, place: Place, decided: Plan) -> NewChild:
        """Return the child that begins at `place`."""
        drive, kind = self._drive, self._brood.kinds[place.task]
        task = self._graph.task(place.task)
        assert task is not None, "the plan names tasks of the graph"
        skipped = [need for need in task.needs if not self._has_result(need, decided)]
        results = {need: self._result(need) for need in task.needs if need not in skipped}
        reads = {need: self._lying(self._done(need)) for need in task.needs}
        given = drive.picture.input
        if given is not None:
            count, _ = staged.count(self._store.connection, drive.n, given)
            reads[INPUT] = [Elsewhere(drive.n, given, count)]
        reads = {name: places for name, places in reads.items() if places}
        makers = [name for name in reads if name != INPUT]
        share = Share(
            needs=task.needs,
            item=None if place.element is None else self._items(task)[place.element],
            skipped=skipped,
            batches=reads,
            input=makers[0] if len(makers) == 1 else INPUT if not makers and reads else None,
        )
        known = {**drive.picture.results, **_without_nothing(results)}
        picture = Picture(known, {}, None, given=share)
        params = self._brood.params(drive.params, self._store.clock.now_ms())
        key = kind.sharing.key_of(kind.machine, decode(params))
        # What is part of another instance's work finds room, whatever is ready.
        terms = kind.sharing.terms._replace(ready_max=None)
        if key is not None:
            self._refuse_own(key, terms)
        return NewChild(
            task=place.task,
            element=place.element,
            definition=kind.definition,
            machine=kind.machine,
            state=kind.initial,
            params=params,
            picture=None if self._brood.is_machine else picture.write(),
            key=key,
            terms=terms,
            dead=judged(self._store, terms),
        )

    def skipped(self, begins: Sequence[NewChild]) -> Ended | None:
        """Return how the state ends if its child is not begun: its key is another's; or None."""
        for child in begins:
            admitted = admit(self._store.connection, child.machine, [child.key], child.terms)
            if admitted.taken_by is None:
                continue
            _, _, shown = (child.key or "").partition(":")
            said = f"{child.machine} was not begun: key {shown!r} is taken by {admitted.taken_by}"
            ended = _failed(ERROR, Failure(("ChildSkipped",), said))
            state = self._drive.program.table.machine.state(self._drive.state)
            if state.on_event(SKIPPED):
                return ended._replace(event=SKIPPED, failure=None, note=said)
            return ended
        return None

    def _refuse_own(self, key: str, terms: Terms) -> None:
        """
        Refuse a child that has the key of those it is part of: it would wait for them for ever.

        Only a machine that was changed since those began can have come to this.
        """
        above = children.above(self._store.connection, self._drive.n)
        own = [id_ for id_, held in above if held == key]
        waits = terms.limit is not None and len(own) >= terms.limit
        if own and (terms.behavior == "cancel" or (terms.behavior == "queue" and waits)):
            _, _, shown = key.partition(":")
            raise Refused(
                f"what it begins has the key {shown!r} of {own[0]!r}, of which it does part of the"
                " work: each would wait for the other",
                meaning="nothing was begun",
                next_step="let one of the two machines begin no other, or have no concurrency",
            )

    def takes(self) -> tuple[Taken, ...]:
        """Return whose batches become the state's own: those of which no task made others."""
        if self._brood.is_machine:
            return ()
        made = {each.name: self._lying(self._done(each.name)) for each in self._graph.order}
        behind: dict[str, set[str]] = {}  # of each task all that it needs, and they need
        for task in self._graph.order:
            behind[task.name] = set(task.needs).union(*(behind[need] for need in task.needs))
        used = {need for name, lying in made.items() if lying for need in behind[name]}
        ends = [each.name for each in self._graph.tasks if each.name not in used]
        return tuple(Taken(lying.n, lying.stay) for name in ends for lying in made[name])

    def ended(self, decided: Plan, takes: Sequence[Taken]) -> Ended:
        """Return how the state has ended."""
        skipped = [str(place) for place in decided.skip]
        if decided.event == ERROR:
            place = next(each for each in decided.failed if self._halts(each))
            child = self._found[place]
            error_class, error = children.failure(self._store.connection, child.n)
            said = f"{place} is {child.status}: {error or 'nobody says why'}"
            return _failed(ERROR, Failure((error_class or "TaskCancelled",), said))
        results = {task.name: self._result(task.name) for task in self._graph.tasks}
        results = _without_nothing(results)
        if self._brood.is_machine:
            results = results.get(self._drive.state, {})
        if skipped:
            results["skipped"] = skipped
        records = sum(
            staged.count(self._store.connection, each.child, each.stay)[1] for each in takes
        )
        without = [*skipped, *(str(place) for place in decided.failed)]
        return Ended(
            OK,
            encode(results) if results else None,
            produced=bool(takes),
            records=records if takes else None,
            rejected=None,
            failure=None,
            note=f"without {', '.join(without)}" if without else None,
        )

    def _halts(self, place: Place) -> bool:
        task = self._graph.task(place.task)
        return task is not None and task.on_error == "halt"

    def _has_result(self, task: str, decided: Plan) -> bool:
        """Return whether a task has ended well; of a fan-out, whether it was worked on."""
        declared = self._graph.task(task)
        if declared is not None and declared.source is not None:
            return Place(task) not in decided.skip
        return bool(self._done(task))

    def _done(self, task: str) -> list[Standing]:
        """Return the ends of a task that is done: its own, or its elements' in their order."""
        ends = [each for place, each in self._found.items() if place.task == task]
        ends.sort(key=lambda each: -1 if each.element is None else each.element)
        return [each for each in ends if each.status == Status.DONE]

    def _result(self, task: str) -> Any:  # noqa: ANN401  (plain data)
        """Return what a task returned; of a fan-out the list, with None for what has none."""
        declared = self._graph.task(task)
        assert declared is not None, "asked of tasks of the graph"
        ends = self._done(task)
        if declared.source is None:
            return self._returned(ends[0]) if ends else None
        places = [place for place in self._found if place.task == task]
        listed: list[Any] = [None] * len(places)
        for each in ends:
            assert each.element is not None, "what a fan-out begins is an element"
            listed[each.element] = self._returned(each)
        return listed

    def _returned(self, child: Standing) -> Any:  # noqa: ANN401  (plain data)
        results = self._picture(child).results
        return results if self._brood.is_machine else results.get(child.task)

    def _lying(self, ends: Sequence[Standing]) -> list[Elsewhere]:
        lying = []
        for each in ends:
            stay = self._picture(each).input
            if stay is not None:
                count, _ = staged.count(self._store.connection, each.n, stay)
                lying.append(Elsewhere(each.n, stay, count))
        return lying

    def _items(self, task: GraphTask) -> Sequence[Any]:
        assert task.source is not None, "asked of a fan-out"
        try:
            return task.source.items({task.source.need: self._result(task.source.need)})
        except ValueError as error:
            raise DataError(
                f"foreach of {task.name!r}: {error}",
                meaning="none of its elements has begun",
                next_step=f"correct what {task.source.need!r} returns, or foreach",
            ) from error

    def _picture(self, child: Standing) -> Picture:
        known = self._pictures.get(child.n)
        if known is None:
            encoded = children.learned(self._store.connection, child.n)
            known = self._pictures[child.n] = Picture.read(encoded)
        return known


def _moved(
    drive: Drive, store: Store, ended: Ended, family: Family, *, worker: int
) -> tuple[Change, Attachment | None]:
    change, attachment = resting.move(drive, ended, worker=worker, clock=store.clock)
    attachment = (attachment or Attachment(drive.stay, drive.state))._replace(family=family)
    return change, with_notices(drive, change, attachment)


def _failed(event: str, failure: Failure) -> Ended:
    return Ended(event, None, produced=False, records=None, rejected=None, failure=failure)


def _without_nothing(results: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if value is not None}
