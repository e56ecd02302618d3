"""
Promise: a fork has what the original had in that state, and each goes its own way from there.

Whatever becomes of the original, the fork has batches of its own, and loads them once.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from statepipe.errors import (
    Busy,
    DefinitionChanged,
    InstanceExists,
    NotFound,
    Refused,
    StagedDataDamaged,
)
from statepipe.store.care.prune import Which, prune
from statepipe.store.reading import Reader
from statepipe.store.stage.lock import filling, sweeping
from statepipe.store.steering import copying
from statepipe.testing import ManualClock, violations
from tests.spec.forking import ALL, LOOPING, Project

EVER = 2**60


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Make a project; whatever happens in it, its store is whole afterwards."""
    made = Project(tmp_path)
    yield made
    assert violations(made.store) == []
    rows = made.query("SELECT file FROM batch WHERE file IS NOT NULL")
    assert {file for (file,) in rows} == {name.partition("/")[2] for name in made.files()}


def _pruned(project: Project) -> None:
    with project.engine() as engine:
        which = Which(before_ms=EVER, statuses=("failed",))
        assert sum(prune(engine._store, engine._stage, which)) == 1


def _resumed(project: Project) -> None:
    with project.engine() as engine:
        assert engine.resume(["a"]) == {"a": "done"}


def _rewound(project: Project) -> None:
    with project.engine() as engine:
        engine.rewind("a", to="extracting")
        assert engine.run(["a"]) == {"a": "done"}


def _emptied(project: Project) -> None:
    for name in project.files():
        if "/a-fork-1" not in name:
            (project.folder / "stage" / name).write_bytes(b"")


@pytest.mark.parametrize("happens", [_pruned, _resumed, _rewound, _emptied])
def test_a_fork_has_batches_of_its_own_whatever_becomes_of_the_original(
    project: Project, happens: Callable[[Project], None]
) -> None:
    """In rows and in files; the source is not asked again, and each record lands once."""
    project.fail()
    assert project.fork(reason="trial") == "a-fork-1"

    happens(project)

    assert project.drive("a-fork-1") == ["done"]
    assert project.loaded("a-fork-1") == ALL
    assert not project.is_asked("a-fork-1")


def test_the_original_is_not_touched_and_goes_on_as_if_nothing_had_been(project: Project) -> None:
    """Its row, its journal and its files are the same; both load, each under its own identity."""
    project.fail()
    look = ("SELECT * FROM instance WHERE id = 'a'", "SELECT * FROM journal WHERE instance = 1")
    before = ([project.query(sql) for sql in look], project.files())

    project.fork(new_id="b", params={"plus": 100}, reason="trial")

    assert [project.query(sql) for sql in look] == before[0]
    assert set(before[1]) < set(project.files())
    assert project.drive("b") == ["done"]
    _resumed(project)
    assert project.loaded("a") == ALL
    assert project.loaded("b") == [100 + n for n in ALL]
    assert project.query("SELECT origin, id, event FROM copies") == [("a", "b", "fork")]
    notes = project.query("SELECT note FROM history WHERE id = 'b' AND seq = 1")
    assert notes == [("of a, plus 0 -> 100: trial",)]
    assert project.query("SELECT instance FROM watermark") == [("b",)]  # as far as a would


def test_a_fork_at_the_source_reads_what_the_original_read(project: Project) -> None:
    """Though another instance has moved the watermark since; a restart begins there."""
    project.fail()
    assert project.run("z") == "done"

    name = project.fork(at="extracting", reason="once more")
    with project.engine() as engine:
        other = engine.copies.restart("a")

    assert project.drive(name, other) == ["done", "done"]
    assert project.loaded(name) == ALL
    assert project.loaded(other) == []


def test_a_fork_of_a_load_has_a_plan_of_its_own(project: Project) -> None:
    """Without one nothing would be loaded; it is rewound and resumed like any instance."""
    (project.folder / "w.db").mkdir()
    assert project.run() == "failed"
    (project.folder / "w.db").rmdir()

    name = project.fork(reason="trial")
    with project.engine() as engine:
        engine.rewind(name, to="loading")
        with pytest.raises(NotFound, match="never was in a state 'transforming'"):
            engine.rewind(name, to="transforming")
    again = project.fork(name, reason="a fork of a fork")

    assert project.query("SELECT state FROM instances ORDER BY id") == [
        ("failed",),
        ("loading",),
        ("loading",),
    ]
    assert again == "a-fork-1-fork-1"
    assert project.drive(name, again) == ["done", "done"]
    assert project.loaded("a") == sorted(ALL * 2)  # what was transformed by a, loaded by both


def test_a_fork_in_a_loop_goes_on_in_its_round(project: Project) -> None:
    """With the visits that are used up, and the batches of the round it is in."""
    project.write("m.toml", LOOPING)
    (project.folder / "w.db").mkdir()
    assert project.run() == "failed"
    (project.folder / "w.db").rmdir()

    first = project.fork(at="transforming", reason="second round")

    assert project.drive(first) == ["done"]
    assert project.loaded(first) == ALL
    assert not project.is_asked(first)


def test_what_was_given_back_cannot_be_forked(project: Project) -> None:
    """A done instance has no batches any more, unless they are kept as raw data."""
    toml = (project.folder / "machines" / "m.toml").read_text(encoding="utf-8")
    project.write("m.toml", toml.replace('table = "t"', 'table = "t", key = ["id", "by"]'))
    assert project.run() == "done"

    with pytest.raises(Refused, match="needs staged batches that were given back") as refused:
        project.fork(at="transforming", reason="trial")
    with pytest.raises(Refused, match="is a final state"):
        project.fork(reason="trial")
    name = project.fork(at="extracting", reason="all of it")

    assert refused.value.next_step == "statepipe fork a --at extracting"
    assert project.drive(name) == ["done"]
    assert project.loaded(name) == ALL


def test_raw_data_that_was_kept_is_enough_until_it_is_pruned(project: Project) -> None:
    """And the fork keeps it as well, for as long as it is not pruned itself."""
    toml = (project.folder / "machines" / "m.toml").read_text(encoding="utf-8")
    toml = toml.replace('watermark = "id"', 'raw = "keep"')
    project.write("m.toml", toml.replace('table = "t"', 'table = "t", key = ["id", "by"]'))
    assert project.run() == "done"

    name = project.fork(at="transforming", reason="trial")

    assert project.drive(name) == ["done"]
    assert project.loaded(name) == ALL
    second = project.fork(name, at="transforming", reason="of the fork")
    with project.engine() as engine:
        for _ in prune(engine._store, engine._stage, Which(before_ms=EVER, raw_only=True)):
            pass
    with pytest.raises(Refused, match="given back"):
        project.fork(at="transforming", reason="trial")
    assert project.drive(second) == ["done"]


def test_what_was_appended_is_not_appended_by_a_fork(project: Project) -> None:
    """There is no key, so it would be there twice; from a restart people expect that."""
    assert project.run() == "done"

    with pytest.raises(Refused, match="loading again would double what is there"):
        project.fork(at="extracting", reason="trial")
    with project.engine() as engine:
        name = engine.copies.restart("a", reason="once more")
    assert project.drive(name) == ["done"]


def test_a_machine_that_has_changed_is_refused_unless_it_is_to_be_adopted(
    project: Project,
) -> None:
    """What was staged under the old one is then the input of the new one."""
    project.fail()
    toml = (project.folder / "machines" / "m.toml").read_text(encoding="utf-8")
    project.write("m.toml", toml.replace('table = "t"', 'table = "u"'))

    with pytest.raises(DefinitionChanged) as changed:
        project.fork(reason="trial")
    name = project.fork(adopts=True, reason="trial")

    assert "statepipe fork a --at transforming --definition latest" in changed.value.next_step
    assert project.drive(name) == ["done"]
    assert project.query("SELECT count(*) FROM instances") == [(2,)]


def test_a_fork_that_is_refused_leaves_no_files(project: Project) -> None:
    """Its id is taken, which is known only once they are copied; the fixture looks at the files."""
    project.fail()

    with pytest.raises(InstanceExists):
        project.fork(new_id="a", reason="trial")


def test_batches_that_go_while_they_are_copied_are_missed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original ends between the look and the commit: no half a fork is made."""
    project.fail()
    look = copying.look

    def looked(*args: object) -> copying.Looked:
        found = look(*args)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
        monkeypatch.undo()
        _resumed(project)
        return found

    monkeypatch.setattr("statepipe.runtime.steering.copies.look", looked)

    with pytest.raises(Refused, match="were given back, or pruned, meanwhile"):
        project.fork(reason="trial")
    assert project.query("SELECT count(*) FROM instances") == [(1,)]


def test_a_sweep_takes_no_file_of_a_fork_in_the_making(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that starts just then finds files that no row names yet."""
    project.fail()
    copied = copying._copied
    swept = []

    def copied_and_swept(*args: object) -> Iterator[tuple[int, str, str]]:
        yield from copied(*args)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
        with project.engine() as engine:
            with sweeping(engine._stage.directory) as alone:
                swept.append(alone)
            engine.work([], until_idle=True)

    monkeypatch.setattr(copying, "_copied", copied_and_swept)
    name = project.fork(reason="trial")
    monkeypatch.undo()

    assert swept == [False]
    assert project.drive(name) == ["done"]
    assert project.loaded(name) == ALL


def test_a_damaged_batch_is_not_copied(project: Project) -> None:
    """The digest is looked at when it is read; what was copied before is taken away."""
    project.fail()
    (name,) = project.files()
    path = project.folder / "stage" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")

    with pytest.raises(StagedDataDamaged, match="not what was committed"):
        project.fork(reason="trial")

    path.write_bytes(whole)
    with Reader(project.store) as reader:
        assert reader.inspect("a").copies == ()


class _Impatient(ManualClock):
    """A clock on which time goes by with each look."""

    def boot_ms(self) -> int:
        """Since boot."""
        self.advance(20_000)
        return super().boot_ms()


def test_a_fork_and_a_sweep_keep_each_other_out(project: Project) -> None:
    """The one waits, with an end to it; the other goes, since the next one will come."""
    project.fail()
    with project.engine() as engine:
        stage = engine._stage.directory
    with sweeping(stage) as alone:
        assert alone
        with pytest.raises(Busy, match="is being swept"), filling(stage, clock=_Impatient()):
            pass
    with filling(stage, clock=_Impatient()), sweeping(stage) as alone:
        assert not alone


def test_the_id_of_a_fork_that_was_pruned_is_not_given_again(project: Project) -> None:
    """The destination keeps its ledger by that id, and would take the next one's rows for its."""
    project.fail()
    assert project.drive(project.fork(reason="trial")) == ["done"]
    with project.engine() as engine:
        assert sum(prune(engine._store, engine._stage, Which(before_ms=EVER))) == 1

    name = project.fork(reason="trial")

    assert name == "a-fork-2"
    assert project.query("SELECT id FROM copies") == [(name,)]
    assert project.drive(name) == ["done"]
    assert project.loaded(name) == ALL
