"""Tokens: whoever has not the store's secret makes none, and nobody else can read that."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from statepipe.errors import BadToken, StoreUnusable
from statepipe.store.tokens import Pass, Signer, signer_of

PASS = Pass("månad/1", 3, "asking", 2)


def test_a_token_says_whose_it_is(tmp_path: Path) -> None:
    """The same stay has the same token, today and after a restart."""
    token = signer_of(tmp_path / "s.db").token(PASS)

    assert signer_of(tmp_path / "s.db").read(token) == PASS
    assert signer_of(tmp_path / "s.db").read(f" {token}\n") == PASS
    assert token.isascii()


def test_what_was_not_made_by_this_store_is_refused(tmp_path: Path) -> None:
    """Whatever it looks like; and the refusal repeats nothing of it."""
    signer = signer_of(tmp_path / "s.db")
    token = signer.token(PASS)
    body, _, mac = token.rpartition(".")
    other = Signer(b"0" * 32).token(PASS._replace(visit=3))

    for forged in (
        "",
        "cb1..",
        token[:-1],
        f"{token}A",
        token.replace("cb1.", "cb2."),
        body,
        f"{body}.",
        f"{token}.{token}",
        "x" * 100_000,
        "cb1.\ud800.ü",
        f"{body}.\ud800",
        other,
        f"{other.rpartition('.')[0]}.{mac}",
    ):
        with pytest.raises(BadToken) as refused:
            signer.read(forged)
        assert not forged or forged not in str(vars(refused.value))


def test_another_stay_has_another_token(tmp_path: Path) -> None:
    """Whichever of its parts differs."""
    signer = signer_of(tmp_path / "s.db")
    others = [
        PASS,
        PASS._replace(instance="x"),
        PASS._replace(generation=4),
        PASS._replace(state="b"),
        PASS._replace(visit=1),
    ]

    assert len({signer.token(each) for each in others}) == len(others)


def test_the_secret_is_closed_to_others(tmp_path: Path) -> None:
    """Random, of mode 0600, the same by every name of the store; its repr shows nothing."""
    store = tmp_path / "s.db"
    store.touch()
    (tmp_path / "link.db").symlink_to(store)
    token = signer_of(store).token(PASS)
    (file,) = tmp_path.glob("*.callbacks*")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) == 32
    assert signer_of(tmp_path / "link.db").read(token) == PASS
    assert str(file.read_bytes()) not in repr(signer_of(store))
    with pytest.raises(BadToken):
        signer_of(tmp_path / "other.db").read(token)


@pytest.mark.parametrize("damage", ["open", "short", "folder"])
def test_a_secret_that_cannot_be_trusted_is_not_used(tmp_path: Path, damage: str) -> None:
    """Nor replaced: that is for whoever looks after the store."""
    file = tmp_path / "s.db.callbacks"
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"x" * (32 if damage == "open" else 3))
        file.chmod(0o640 if damage == "open" else 0o600)

    with pytest.raises(StoreUnusable) as refused:
        signer_of(tmp_path / "s.db")

    assert refused.value.next_step


def test_those_who_make_the_secret_at_once_have_the_same(tmp_path: Path) -> None:
    """One of them wins, and the others read what it made."""
    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: signer_of(tmp_path / "s.db"), range(32)))

    assert len({signer.token(PASS) for signer in signers}) == 1
    assert len(list(tmp_path.iterdir())) == 1
