"""
Tokens that let an outside system call back: unforgeable, and each for one stay of one instance.

    Signer          makes tokens, and reads those that it made
    signer_of       of a store, whose secret lies beside it, in a file of mode 0600
    Pass            what a token names

A token is text of three parts: what it names, readable to all, and a HMAC-SHA256 over that. It
holds no secret, but whoever has it may call back, so it belongs in no log.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from statepipe.errors import BadToken, StoreUnusable
from statepipe.store.file.files import hand_over, owner_of

SUFFIX: Final = ".callbacks"
_MARK: Final = "cb1"
_SECRET_BYTES: Final = 32
_TOKEN_CHARS_MAX: Final = 4_096


class Pass(NamedTuple):
    """Whom a token lets call back: a stay of an instance, and of its generation."""

    instance: str
    generation: int
    state: str
    visit: int


class Signer:
    """
    Makes and reads tokens of one store. Its repr shows no secret.

    Args:
        secret: 32 random bytes that nobody else knows.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, whose: Pass) -> str:
        """Return the token of a stay; always the same one."""
        body = _text(json.dumps(list(whose), separators=(",", ":")).encode())
        return f"{_MARK}.{body}.{self._mac(body)}"

    def read(self, token: str) -> Pass:
        """
        Return what a token names.

        Raises:
            BadToken: It was not made with this secret.
        """
        mark, _, rest = token.strip().partition(".")
        body, _, mac = rest.partition(".")
        # Compared before anything in it is looked at, in a time that tells nothing.
        right = hmac.compare_digest(_raw(mac), _raw(self._mac(body)))
        if len(token) > _TOKEN_CHARS_MAX or mark != _MARK or not right:
            raise BadToken(
                "the token is none of this store's",
                meaning="nothing was changed",
                next_step="hand on what task.callback_token gives, whole; a copy of a store has"
                f" its secret in STORE{SUFFIX}",
            )
        return Pass(*json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))

    def _mac(self, body: str) -> str:
        return _text(hmac.new(self._secret, _raw(body), hashlib.sha256).digest())


def signer_of(store: Path) -> Signer:
    """
    Return the signer of the store at `store`; make its secret if it has none yet.

    Raises:
        StoreUnusable: The secret can be neither read nor made, or others can read it.
    """
    path = store.resolve()
    path = path.with_name(path.name + SUFFIX)
    try:
        secret = _read(path)
        if secret is None:
            _make(path, owner=owner_of(store))
            secret = _read(path)
    except OSError as error:
        raise _refusal(f"{path} cannot be used: {error.strerror}", f"ls -l {path}") from error
    if secret is None or len(secret) != _SECRET_BYTES:
        raise _refusal(f"{path} holds no secret", f"rm {path}   # tokens made before are void then")
    return Signer(secret)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise _refusal(f"{path} can be read by others", f"chmod 600 {path}")
            return file.read(_SECRET_BYTES + 1)
    except FileNotFoundError:
        return None


def _make(path: Path, *, owner: os.stat_result) -> None:
    """Make the secret; if somebody else does at the same time, one of the two is kept."""
    drawn = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            hand_over(file.fileno(), owner=owner)
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(drawn, path)
    finally:
        drawn.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _raw(text: str) -> bytes:
    """Return any text as bytes; what JSON or a command line brings may have lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _refusal(message: str, next_step: str) -> StoreUnusable:
    return StoreUnusable(
        message, meaning="no token was made or judged; nothing was changed", next_step=next_step
    )
