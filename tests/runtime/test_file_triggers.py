"""Files that arrive: each starts one instance, once it is all there."""

import errno
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import DefinitionError, Refused
from statepipe.machine.triggers.arrivals import Arriving
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.triggers import arrivals
from statepipe.runtime.triggers.asking import missing
from statepipe.sharing import Sharing
from statepipe.store.lookups.triggers import MENDED
from tests.runtime.triggered import Triggered

EVERY_MS = 10_000
STABLE_MS = 30_000


class Inbox(Triggered):
    """A store, a machine that starts for each file of a folder, and the folder."""

    def __init__(
        self,
        folder: Path,
        *,
        file: str = "inbox/*.csv",
        sharing: Sharing | None = None,
        **said: Any,  # noqa: ANN401  (as declared)
    ) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        params = {"key": "{file.name}"}
        arrives = Trigger(name="t", on=Arriving(file=file, **said), params=params)
        super().__init__(folder, arrives, sharing=sharing)

    def put(self, name: str, text: str = "a\n1\n", *, modified_s: float | None = None) -> Path:
        """Write a file at once; a file that is there is replaced."""
        path = self.inbox / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        if modified_s is not None:
            os.utime(path, (modified_s, modified_s))
        return path

    def looks(self, times: int = 1) -> list[str]:
        """Look so many times, as often as the trigger does; return the files that started."""
        for _ in range(times):
            self.clock.advance(EVERY_MS)
            self.look()
        return [each["key"] for each in self.started().values()]


def test_a_file_starts_one_once_it_has_stayed_the_same(tmp_path: Path) -> None:
    """Its size and its time; one that still grows is waited for, and no time is believed."""
    scene = Inbox(tmp_path)
    scene.put("old.csv", modified_s=1)
    scene.put("grows.csv", modified_s=2_000_000_000_000)
    scene.look()
    for n in range(2):
        scene.put("grows.csv", "a\n" * (n + 2))
        assert scene.looks() == []

    assert scene.looks() == ["old.csv"]
    assert scene.looks(2) == ["old.csv", "grows.csv"]
    assert scene.looks(5) == ["old.csv", "grows.csv"]
    assert scene.is_sound()


def test_a_clock_that_is_set_makes_no_file_whole(tmp_path: Path) -> None:
    """How long it stayed the same is told by the boot clock."""
    scene = Inbox(tmp_path)
    scene.put("a.csv")
    scene.look()

    for at in ("2031-01-01T00:00:00Z", "2001-01-01T00:00:00Z"):
        scene.clock.set_wall(int(datetime.fromisoformat(at).timestamp() * 1_000))
        scene.look()
        assert scene.started() == {}

    assert scene.looks(3) == ["a.csv"]
    assert scene.is_sound()


def test_a_marker_says_that_a_file_is_all_there(tmp_path: Path) -> None:
    """At once; the marker itself is no file, whatever the glob says."""
    scene = Inbox(tmp_path, file="inbox/*", marker=".done")
    scene.put("a.csv")
    scene.put("b.csv")
    scene.put("b.csv.done", "")

    assert scene.looks() == ["b.csv"]
    scene.put("a.csv.done", "")
    assert scene.looks(2) == ["b.csv", "a.csv"]
    (scene.inbox / "b.csv.done").unlink()
    assert scene.looks(2) == ["b.csv", "a.csv"]
    assert scene.is_sound()


def test_a_file_that_is_replaced_is_another_one(tmp_path: Path) -> None:
    """Of another size or time; one that is only looked at again, or went and came back, is not."""
    scene = Inbox(tmp_path, marker=".done")
    path = scene.put("a.csv", modified_s=1_000)
    scene.put("a.csv.done", "")
    assert scene.looks() == ["a.csv"]

    path.rename(path.with_name("elsewhere"))
    assert scene.looks() == ["a.csv"]
    path.with_name("elsewhere").rename(path)
    assert scene.looks() == ["a.csv"]
    scene.put("a.csv", "a\n1\n2\n", modified_s=1_000)
    assert scene.looks() == ["a.csv"] * 2
    scene.put("a.csv", "a\n1\n2\n", modified_s=1_001)
    assert scene.looks() == ["a.csv"] * 3
    assert scene.is_sound()


def test_a_worker_that_begins_again_starts_no_file_twice(tmp_path: Path) -> None:
    """Nor do several of them; those that arrived meanwhile are all started."""
    scene = Inbox(tmp_path, stable_ms=EVERY_MS)
    names = [f"{n}.csv" for n in range(250)]  # more than are decided upon at once
    for name in names[:200]:
        scene.put(name)
    others = [scene.watching(seed) for seed in (2, 3)]
    for watch in (scene.watch, *others) * 2:
        watch.turn()
        scene.clock.advance(EVERY_MS)
    for name in names[200:]:
        scene.put(name)
    scene.watch._store.close()
    scene.watch = scene.watching(4)

    assert sorted(scene.looks(3)) == sorted(names)
    assert len(scene.rows("SELECT 1 FROM instance")) == 250
    for watch in others:
        watch._store.close()
    assert scene.is_sound()


def test_what_a_file_is_called_and_weighs_are_places(tmp_path: Path) -> None:
    """Its name without its end may be a parameter; a name that makes none is written down."""
    scene = Inbox(tmp_path, marker=".done")
    on = scene.machine.triggers[0].on
    params = {"day": "{file.stem}", "key": "{file.path} {file.size} {file.modified}"}
    scene.machine = type(scene.machine)(
        **{
            **{name: getattr(scene.machine, name) for name in ("name", "initial", "states")},
            "params": scene.machine.params,
            "triggers": (Trigger(name="t", on=on, params=params),),
        }
    )
    scene.engine = scene.other()
    scene.watch._store.close()
    scene.watch = scene.watching()
    for name in ("2013-02-08.csv", "notes.csv"):
        scene.put(name, modified_s=1_000_000_000)
        scene.put(f"{name}.done", "")
    scene.looks(3)

    (started,) = scene.started().values()
    assert started["day"] == date(2013, 2, 8)
    stamp = datetime.fromtimestamp(1_000_000_000, tz=UTC).isoformat()
    assert started["key"] == f"{scene.inbox}/2013-02-08.csv 4 {stamp}"
    ((refusal,),) = scene.rows("SELECT refusal FROM occasion WHERE instance IS NULL")
    assert "'notes', not a date" in refusal
    assert scene.is_sound()


def test_a_name_that_is_no_text_is_refused_once(tmp_path: Path) -> None:
    """And holds up nobody else."""
    scene = Inbox(tmp_path, marker=".done")
    for name in (b"\xff.csv", "žluť.csv".encode()):
        for end in (b"", b".done"):
            (Path(os.fsdecode(os.fsencode(scene.inbox) + b"/" + name + end))).write_bytes(b"x")

    assert scene.looks(3) == ["žluť.csv"]
    rows = scene.rows("SELECT key, refusal FROM occasion WHERE instance IS NULL")
    assert [key.split()[0] for key, _ in rows] == ["inbox/\\udcff.csv"]
    assert scene.is_sound()


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    """Once, and that it can be again, by whoever looks then."""
    scene = Inbox(tmp_path, marker=".done", file="inbox/*/*.csv")
    scene.put("sub/a.csv")
    scene.put("sub/a.csv.done")
    scene.inbox.rename(tmp_path / "away")

    assert scene.looks(3) == []
    (tmp_path / "away").rename(scene.inbox)
    scene.watch._store.close()
    scene.watch = scene.watching(2)
    assert scene.looks() == ["a.csv"]

    assert scene.rows("SELECT note FROM trigger_journal WHERE kind = 'error'") == [
        (f"{scene.inbox}/ cannot be looked into: No such file or directory",),
        (MENDED,),
    ]
    assert scene.is_sound()


def test_a_folder_whose_name_is_no_text_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the journal as it is spelled, and holds up no other trigger."""
    scene = Inbox(tmp_path, marker=".done")
    folder = os.fsdecode(b"inbox/caf\xe9")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", folder)

    with monkeypatch.context() as patched:
        patched.setattr(arrivals, "there", forbidden)
        assert scene.looks(2) == []
        (trigger,) = scene.machine.triggers
        with pytest.raises(Refused, match="cannot be looked into"):
            missing(
                scene.machine,
                trigger,
                scene.engine._store.connection,
                from_ms=0,
                until_ms=0,
                now_ms=scene.clock.now_ms(),
            )

    assert scene.rows("SELECT note FROM trigger_journal WHERE kind = 'error'") == [
        (r"inbox/caf\udce9 cannot be looked into: Permission denied",)
    ]
    assert scene.is_sound()


def test_only_regular_files_arrive(tmp_path: Path) -> None:
    """A folder of such a name is none, nor is a pipe, nor what a broken link leads to."""
    scene = Inbox(tmp_path, stable_ms=EVERY_MS)
    (scene.inbox / "folder.csv").mkdir()
    os.mkfifo(scene.inbox / "pipe.csv")
    (scene.inbox / "link.csv").symlink_to("nowhere")
    scene.put("a.csv")

    assert scene.looks(4) == ["a.csv"]
    assert scene.is_sound()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"file": "s3://bucket/*.csv"}, "on local disks only"),
        ({"file": ""}, "not text of 1.."),
        ({"marker": ".done", "stable_ms": 5}, "one of both"),
        ({"marker": "../x"}, "one of both"),
        ({"stable_ms": 0}, "stable is 0 ms"),
        ({"every_ms": -1}, "every is -1 ms"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], told: str) -> None:
    """By its key, and with what to write instead."""
    with pytest.raises(DefinitionError) as refused:
        Arriving(**{"file": "inbox/*.csv", **said})

    assert told in refused.value.message
