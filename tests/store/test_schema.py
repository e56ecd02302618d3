"""The tables refuse what must not be: every CHECK and trigger once; hot queries use their index."""

import re
from pathlib import Path
from typing import Any

import pytest

from statepipe.model import Attachment, Plan, Rejects
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.file.migrations import figures, first_release
from statepipe.store.file.schema import SCHEMA_VERSION, ensure_schema
from statepipe.store.stage import rows as staged
from statepipe.store.walk import emissions, ready, timers, waited
from statepipe.store.walk.committer import Committer
from statepipe.store.walk.ready import Scope
from statepipe.testing import ManualClock
from tests.store import stores


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Open a store in which every table has a row."""
    opened = stores.opened(tmp_path)
    worker = stores.registered(opened)
    stores.created(opened, "a", "b")
    at, other = stores.claimed(opened, worker)
    rejects = Rejects(1, 1, b"\1" * 32, None, b"r", {"why": 1})
    change, attachment = stores.batched(at, worker, stores.batch(0, rejects=rejects))
    done = stores.plain(other, "done", status="done")
    Committer(opened).commit([change, done], {0: attachment}, policies={"p": "{}"})
    source, stay = stores.stay_of(at), stores.stay_of(at)._replace(state="loading")
    plan = Attachment(stay, "loading", plan=Plan(stay, source))
    enter = stores.detailed(at._replace(seq=3), "loading", worker=worker.n)
    Committer(opened).commit([enter], {0: plan}, policies={})
    return opened


# The instance's own rules need seq + 1, or the trigger would answer first.
REFUSED = [
    "INSERT INTO store VALUES (2, 'x', 1, 0, NULL)",
    "UPDATE store SET store_id = 'short'",
    "UPDATE store SET highest_pruned = -1",
    "UPDATE definition SET version = 0",
    "INSERT INTO definition SELECT 9, machine, version, digest, body, 1 FROM definition",
    "UPDATE worker SET pid = 0",
    "UPDATE worker SET lease_ms = 0",
    "UPDATE worker SET beat = -1",
    "INSERT INTO instance SELECT 9, 'a' {rest}",
    "UPDATE instance SET seq = seq + 1, id = '' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, priority = 101 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, concurrency_key = '' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, awaits_turn = 1 WHERE id = 'a'",
    (
        "UPDATE instance SET seq = seq + 1, awaits_turn = 1, concurrency_key = 'm:k', worker = 1"
        " WHERE id = 'a'"
    ),
    "INSERT INTO route VALUES (1, 's0', '')",
    "INSERT INTO route VALUES (99, 's0', 'heavy')",
    "UPDATE instance SET seq = seq + 1, id = printf('%0201d', 1) WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, definition = 99 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, worker = 99 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, status = 'resting' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, status = 'failed' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, status = 'paused' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, finished_at_ms = 1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, attempt = -1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, lost = -1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, batches = -1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, request = 'dance' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, wake_boot_id = 'b', wake_at_ms = 1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, worker = NULL, wake_at_ms = 1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, worker = NULL, wake_delay_ms = -1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, state = NULL WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, attempt = 'many' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 2 WHERE id = 'a'",
    "UPDATE instance SET state = 's1' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, epoch = epoch - 1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, generation = generation - 1 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, change = 'move' WHERE id = 'b'",
    "UPDATE instance SET seq = seq + 1, change = 'cancel' WHERE id = 'b'",
    "DELETE FROM instance WHERE id = 'b'",
    "INSERT INTO journal SELECT 99, instance, seq {journal}",
    "INSERT INTO journal SELECT 99, instance, 0 {journal}",
    "INSERT INTO journal SELECT 99, 77, 1 {journal}",
    "UPDATE journal SET note = 'it was not me'",
    "DELETE FROM journal",
    "UPDATE batch SET number = -1",
    "UPDATE batch SET records = -1",
    "UPDATE batch SET bytes = -1",
    "UPDATE batch SET read = -1",
    "UPDATE batch SET sha256 = x'00'",
    "UPDATE batch SET format = 'pickle'",
    "UPDATE batch SET body = NULL",
    "UPDATE batch SET file = 'both'",
    "UPDATE batch SET instance = 99",
    "UPDATE reject SET number = -1",
    "UPDATE reject SET records = 0",
    "UPDATE reject SET bytes = -1",
    "UPDATE reject SET sha256 = x'00'",
    "UPDATE reject SET body = NULL",
    "UPDATE reject SET file = 'both'",
    "UPDATE reject SET instance = 99",
    "INSERT INTO reject SELECT 99, instance {reject}",
    "UPDATE plan SET number = -1",
    "UPDATE plan SET records = -1",
    "UPDATE plan SET loaded = -1",
    "UPDATE plan SET loaded = records + 1",
    "UPDATE plan SET instance = 99",
    "INSERT INTO replay VALUES (99, 'a', 1, NULL)",
    "INSERT INTO replay VALUES (1, 'a', 0, NULL)",
    "INSERT INTO replayed VALUES (99, 'r', '[0]', '{}')",
    "UPDATE transition_count SET taken = -1",
    "UPDATE transition_count SET pruned = taken + 1",
    "UPDATE worker SET slots = -1",
    "UPDATE counter SET value = -1",
    "UPDATE counter SET pruned = value + 1",
    "UPDATE duration SET le_us = -2",
    "UPDATE duration SET n = 0",
    "UPDATE duration SET sum_us = -1",
    "UPDATE duration SET last_us = -1",
    "UPDATE duration SET pruned_n = n + 1",
    "UPDATE duration SET pruned_sum_us = sum_us + 1",
    "UPDATE latest SET metric = 'ever'",
    "INSERT INTO output VALUES (1, 1, 1, 's', 0, 1, 1, 'log', 'INFO', 'attempt')",
    "INSERT INTO output VALUES (1, 1, 1, 's', 1, 1, 1, 'source', 'INFO', 'x')",
    "INSERT INTO output VALUES (1, 99, 1, 's', 1, 1, 1, 'log', 'INFO', 'nobody')",
    "INSERT INTO notice VALUES (1, 'k', 'e', 't', 'm', 'i', '{}', 1, -1, 1, NULL, NULL, 'tries')",
    "INSERT INTO notice VALUES (1, 'k', 'e', 't', 'm', 'i', '{}', 1, 0, 1, 1, 'lost', 'outcome')",
    "INSERT INTO notice VALUES (1, 'k', 'e', 't', 'm', 'i', '{}', 1, 0, 1, 1, NULL, 'outcome')",
    "UPDATE instance SET seq = seq + 1, member_of = 99 WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, partition = '' WHERE id = 'a'",
    "UPDATE instance SET seq = seq + 1, root = 99 WHERE id = 'a'",
    "INSERT INTO child VALUES (1, 99, 1, 's', 1, 't', NULL)",
    "INSERT INTO child VALUES (99, 1, 1, 's', 1, 't', NULL)",
    "INSERT INTO child VALUES (2, 1, 1, 's', 1, 't', -1)",
    "INSERT INTO child SELECT n, 1, 1, 's', 1, 't', NULL FROM instance",
    "INSERT INTO instance_group VALUES (1, '', 'm', 1, '0', 0, 1, 1, 'open', NULL, NULL, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 9, '0', 0, 1, 1, 'open', NULL, NULL, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', -1, 1, 1, 'open', NULL, NULL, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', 0, 0, 1, 'open', NULL, NULL, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', 0, 1, 1, 'ready', NULL, NULL, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', 0, 1, 1, 'open', 1.5, NULL, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', 0, 1, 1, 'open', NULL, 1, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', 0, 1, 1, 'done', NULL, 1, 0)",
    "INSERT INTO instance_group VALUES (1, 'g', 'm', 1, '0', 0, 1, 1, 'open', NULL, NULL, 2)",
    "INSERT INTO waited VALUES ('e', 'k', 99, 1, '[]', 'drop')",
    "INSERT INTO waited VALUES ('e', 'k', 1, 0, '[]', 'drop')",
    "INSERT INTO waited VALUES ('e', 'k', 1, 1, 'asking', 'drop')",
    "INSERT INTO waited VALUES ('e', 'k', 1, 1, '[]', 'accept')",
    "INSERT INTO late_event VALUES (1, 99, 1, 'e', 'k', NULL, NULL, 1, 'drop')",
    "INSERT INTO late_event VALUES (1, 1, 0, 'e', 'k', NULL, NULL, 1, 'drop')",
    "INSERT INTO late_event VALUES (1, 1, 1, '', 'k', NULL, NULL, 1, 'drop')",
    "INSERT INTO late_event VALUES (1, 1, 1, 'e', '', NULL, NULL, 1, 'drop')",
    "INSERT INTO late_event VALUES (1, 1, 1, 'e', 'k', NULL, NULL, 1, 'accept')",
    (
        "INSERT INTO late_event VALUES (1, 1, 1, 'e', 'k', NULL, NULL, 1, 'drop'),"
        " (2, 1, 2, 'e', 'k', NULL, NULL, 1, 'drop')"
    ),
]

_REST = {
    "rest": ", definition, params, created_at_ms, epoch, seq, generation, status, state, attempt,"
    " lost, batches, picture, worker, wake_at_ms, wake_delay_ms, wake_boot_ms, wake_boot_id,"
    " failed_state, error_class, error, entered_at_ms, updated_at_ms, finished_at_ms, request,"
    " change, member_of, partition, root, forced, priority, concurrency_key, awaits_turn"
    " FROM instance WHERE id = 'b'",
    "reject": ", generation, state, visit, task, number, epoch, records, bytes, sha256, file, body,"
    " reasons, arrow_schema FROM reject",
    "journal": ", epoch, generation, at_ms, kind, event, source, target, task, attempt, took_ms,"
    " policy, records, bytes, rejected, error_class, error, picture, note, stayed_ms, waited_ms,"
    " ended, error_kind, read"
    " FROM journal WHERE instance = 1 AND seq = 1",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_the_schema_refuses_what_must_not_be(store: Store, sql: str) -> None:
    """Constraints hold against a defect of ours, too; and the transaction changes nothing."""
    before = stores.dump(store.connection)

    with pytest.raises(sqlite3.IntegrityError), store.write() as connection:
        connection.execute(sql.format_map(_REST) if " SELECT " in sql else sql)

    assert stores.dump(store.connection) == before


@pytest.mark.parametrize(
    "column",
    [
        "attempt = 0",
        "took_ms = -1",
        "records = -1",
        "bytes = -1",
        "stayed_ms = -1",
        "waited_ms = -1",
        "ended = 'badly'",
        "read = -1",
    ],
)
def test_the_journal_refuses_impossible_numbers(store: Store, column: str) -> None:
    """Tried on a copy, since the journal itself takes no update at all."""
    name, value = column.split(" = ")
    sql = f"INSERT INTO journal SELECT 99, instance, 98{_REST['journal']}"

    with pytest.raises(sqlite3.IntegrityError), store.write() as connection:
        connection.execute(re.sub(rf" {name}\b", f" {value}", sql, count=1))


def test_every_check_is_tripped_by_some_test() -> None:
    """A constraint that nobody has seen refuse may be misspelt."""
    of_the_journal = "attempt took_ms records bytes rejected kind epoch seq generation stayed_ms"
    tried = " ".join([*REFUSED, of_the_journal, "waited_ms ended"])

    for table in (*first_release.STATEMENTS, *figures.STATEMENTS):
        for column in re.findall(r"CHECK \((?:length\()?(\w+)", table):
            assert column in tried or column in {"status", "worker", "only_row"}, column


def test_only_a_finished_instance_that_is_being_pruned_can_be_deleted(store: Store) -> None:
    """A row in `pruning` opens the way for the finished one alone, and for its journal."""
    a, b = (n for (n,) in store.connection.execute("SELECT n FROM instance ORDER BY id"))
    with store.write() as connection:
        connection.executemany("INSERT INTO pruning VALUES (?)", [(a,), (b,)])
        connection.execute("DELETE FROM journal WHERE instance = ?", (b,))
        connection.execute("DELETE FROM instance WHERE n = ?", (b,))

    with pytest.raises(sqlite3.IntegrityError, match="after its end"), store.write() as connection:
        connection.execute("DELETE FROM instance WHERE n = ?", (a,))


def test_a_finished_instance_may_be_resumed_and_rewound(store: Store) -> None:
    """The trigger lets these two pass, and nothing else."""
    for change in ("resume", "rewind"):
        with store.write() as connection:
            connection.execute(
                "UPDATE instance SET seq = seq + 1, status = 'ready', finished_at_ms = NULL,"
                " change = ? WHERE id = 'b'",
                (change,),
            )
            connection.execute(
                "UPDATE instance SET seq = seq + 1, status = 'done', finished_at_ms = 1,"
                " change = 'move' WHERE id = 'b'"
            )


def test_the_views_answer_what_people_ask(store: Store) -> None:
    """They are for `sqlite3` and Datasette, so their columns are a promise."""

    def first(view: str) -> dict[str, Any]:
        cursor = store.connection.execute(f"SELECT * FROM {view}")
        return dict(zip((each[0] for each in cursor.description), cursor.fetchone(), strict=True))

    assert first("instances")["state"] == "loading"
    assert first("history")["kind"] == "create"
    assert first("attempts")["outcome"] == "ok"
    assert (first("staged")["state"], first("staged")["records"]) == ("s0", 1)
    assert (first("rejected")["reason"], first("rejected")["count"]) == ("why", 1)


def test_the_schema_is_made_once(store: Store) -> None:
    """Opening again neither imports sqlite-utils' work nor changes a row."""
    before = stores.dump(store.connection)

    ensure_schema(store.connection, store.path, store_id="0" * 32, clock=ManualClock())

    assert stores.dump(store.connection) == before
    assert store.connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


FACTS = {"boot_id": "b", "boot_ms": 1, "now_ms": 1, "limit": 1, "n": 1, "key": "k", "dead": 1}
FACTS |= {"boot": "b", "elsewhere": "[]", "priority": 1, "definition": 1, "state": "s"}
FACTS |= {"event": "e", "params": b"", "reason": None, "generation": 1, "states": "[]", "late": "l"}
FACTS |= {"after": 0, "taken": "[]", "most": 1}
#: Of everything, as a worker of two machines asks, and as one of some queues.
SCOPES = (
    "",
    ready.scope_sql(Scope(definitions=frozenset({1, 2}))),
    ready.scope_sql(Scope(definitions=frozenset({1, 2}), elsewhere=frozenset({(1, "s0")}))),
)
OF_SCOPES = [
    (ready._TRIES_AGAIN, "instance_timer"),
    (ready._HELD_BY_DEAD, "instance_held"),
]
#: Whoever may be claimed stands in a line of one of these.
TIMERS = (timers.THIS_BOOT, timers.BY_WALL, timers.PASSED, timers.DELAYED)
KINDS = (ready.FREE, ready.AWAITS_KEY, *TIMERS)
HOT = [
    *((sql.format(scope=scope), index) for sql, index in OF_SCOPES for scope in SCOPES),
    *((sql, kind.by_index) for kind in KINDS for sql in kind.line_queries),
    *((kind.ready(None), f"{kind.by_index} (") for kind in KINDS),
    *((kind.next(None), f"{kind.by_index} (") for kind in TIMERS),
    *((kind.how_many, f"{kind.by_index} (") for kind in (ready.FREE, ready.AWAITS_KEY)),
    (ready._HELD, "instance_key_held"),
    (timers._OTHER_BOOT, "instance_timer"),
    ("SELECT n FROM instance WHERE worker = 1 AND request IS NOT NULL", "instance_held"),
    ("SELECT 1 FROM journal WHERE instance = 1 ORDER BY seq", "journal_instance_seq"),
    (staged._ONE, "PRIMARY KEY"),
    (staged._LAST_CURSOR, "PRIMARY KEY"),
    (staged._PLAN, "PRIMARY KEY"),
    (staged._FILES, "instance"),
    (waited.JUDGE, "PRIMARY KEY (event=? AND key=?)"),
    (waited._SETTLED, "PRIMARY KEY (event=? AND key=?)"),
    (waited._FORGET, "waited_instance"),
    (waited._KEEP, "(event=? AND key=?)"),
    (emissions._RESTING, "PRIMARY KEY (event=? AND key=?)"),
    (emissions._FIRST.format(events="?"), "late_event_emitted"),
    (emissions._FIRST.format(events="?"), "(event=? AND key=?)"),
]


@pytest.mark.parametrize(("sql", "index"), HOT)
def test_a_hot_query_walks_its_index(store: Store, sql: str, index: str) -> None:
    """None scans a table, and none sorts: they run five times a second, or for each batch."""
    values: Any = FACTS if ":" in sql else (1,) * sql.count("?")

    plan = [row[3] for row in store.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    assert any(index in step for step in plan), plan
    assert not [s for s in plan if re.match(r"SCAN (?!CONSTANT|json_each)\w+\b(?!.*USING)", s)]
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
