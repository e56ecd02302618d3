"""Who may scrape."""

import base64
from pathlib import Path

import pytest

from statepipe.errors import UsageError
from statepipe.observe.access import Users, read_users

SECRET = "s3cret:with:colons and ä"


def _file(folder: Path, text: str, *, mode: int = 0o600) -> Path:
    path = folder / "users"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_whoever_is_in_the_file_with_that_password_is_admitted(tmp_path: Path) -> None:
    """The first colon ends the name; a password may have more of them."""
    text = f"# scrapers\n\nprometheus:{SECRET}\nother:pw\n"

    users = read_users(_file(tmp_path, text))

    assert users.admits(_basic("prometheus", SECRET))
    assert users.admits(_basic("other", "pw"))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic é",
        "Bearer abc",
        _basic("prometheus", "wrong"),
        _basic("prometheus", ""),
        _basic("nobody", SECRET),
        _basic("prometheus", SECRET).replace("Basic", "Digest"),
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_nobody_else_is_admitted(authorization: str) -> None:
    """Whatever the header says, the answer is no, and not a defect."""
    assert not Users({"prometheus": SECRET}).admits(authorization)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no user"),
        ("# nobody\n", "names no user"),
        ("prometheus\n", "line 1"),
        ("a:b\nprometheus:\n", "line 2"),
        (":password\n", "line 1"),
    ],
)
def test_a_file_that_names_nobody_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """An endpoint that was to be closed must not be open by a slip, nor closed to everybody."""
    with pytest.raises(UsageError, match=said):
        read_users(_file(tmp_path, text))


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    """It holds passwords; the group may read it, as a service's group does."""
    with pytest.raises(UsageError, match="everybody") as refused:
        read_users(_file(tmp_path, "a:b\n", mode=0o644))

    assert refused.value.next_step.startswith("chmod o= ")
    assert read_users(_file(tmp_path, "a:b\n", mode=0o640)).admits(_basic("a", "b"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Rather than served without it."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_users(tmp_path / "users")


def test_a_refusal_shows_no_password(tmp_path: Path) -> None:
    """Messages end up in logs; so do reprs."""
    with pytest.raises(UsageError) as refused:
        read_users(_file(tmp_path, f"a:b\n{SECRET.replace(':', '')}\n"))

    assert "s3cret" not in f"{refused.value}{refused.value.next_step}"
    assert "s3cret" not in repr(Users({"a": SECRET}))
