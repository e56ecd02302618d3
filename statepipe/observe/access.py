"""
Who may scrape: user names and passwords from a file, and HTTP's basic authentication.

    read_users      a file of lines `user:password`
    Users.admits    judge an Authorization header

The passwords stay what they are in the file: hashed ones would need a slow hash at every
scrape, or a fast one that protects nothing. So the file must be closed to others.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from statepipe.errors import UsageError

_OTHERS_MAY_READ: Final = 0o004


@dataclass(frozen=True, slots=True)
class Users:
    """
    Those who may scrape. Its repr shows no password.

    Attributes:
        passwords: By user name.
    """

    passwords: Mapping[str, str] = field(repr=False)

    def admits(self, authorization: str) -> bool:
        """Return True if the value of an Authorization header names one of them."""
        scheme, _, credentials = authorization.partition(" ")
        try:
            given = base64.b64decode(credentials.strip(), validate=True)
        except ValueError:
            return False
        # Digests are of one length, and every user is compared: how long it takes tells
        # neither who is known nor how much of a password is right.
        said = sha256(given).digest()
        found = [
            hmac.compare_digest(said, sha256(f"{user}:{password}".encode()).digest())
            for user, password in self.passwords.items()
        ]
        return scheme.lower() == "basic" and any(found)


def read_users(path: Path) -> Users:
    """
    Return the users of a file: a line `user:password` each; empty lines and `#` are skipped.

    Raises:
        UsageError: It cannot be read, others may read it, or a line is none of these.
    """
    try:
        if path.stat().st_mode & _OTHERS_MAY_READ:
            raise _refusal(f"{path} can be read by everybody", next_step=f"chmod o= {path}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refusal(
            f"{path} cannot be read: {error.strerror}",
            next_step="--auth-file FILE   # with lines user:password",
        ) from None
    except UnicodeDecodeError:
        raise _refusal(f"{path} is not UTF-8 text", next_step="write lines user:password") from None
    users = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        if not (user and colon and password):
            raise _refusal(
                f"line {number} of {path} is not user:password",
                next_step="write a line such as prometheus:SECRET",
            )
        users[user] = password
    if not users:
        raise _refusal(f"{path} names no user", next_step="write a line user:password into it")
    return Users(users)


def _refusal(message: str, *, next_step: str) -> UsageError:
    return UsageError(message, meaning="nothing was served or sent", next_step=next_step)
