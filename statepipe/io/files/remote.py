"""
Files by URL: S3 and every other place that fsspec knows. The one module that knows fsspec.

    find    a URL or a glob of URLs, and the options of its place -> the files it means

What goes wrong at a place is one of three things here, whatever its library calls it:

    Fatal             it is not there, not allowed, or was changed while it was read
    BadAnswer         the place failed, or is busy
    ConnectionError   it cannot be reached, or hung up
"""

import errno
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import fsspec

from statepipe.errors import BadAnswer, DataError, DefinitionError, Fatal, StatepipeError
from statepipe.io import secrets
from statepipe.io.files.found import BLOCK_BYTES, Found, Opened, Stamp
from statepipe.io.files.globs import Entry, fixed_part, has_magic, matching
from statepipe.observe import redact

#: Bytes that are asked for at one time.
_ASKED_BYTES: Final = 8 * BLOCK_BYTES

#: What places call that which changes when a file is written, the surest first: an ETag, a
#: digest, a time. In a cursor is what the first of them says, so a name may only be put before
#: another one that no place tells beside it.
_STAMPS: Final = (
    "ETag",  # S3, HTTP
    "etag",  # GCS, Azure, WebDAV
    "md5Hash",
    "content_md5",
    "Content-MD5",  # HTTP
    "Digest",  # HTTP
    "sha",  # GitHub
    "hex",  # git
    "raw_url",  # a gist: with its version
    "CRC",  # ZIP
    "mtime",  # SFTP, SMB, HDFS, tar
    "LastModified",
    "last_modified",
    "updated",
    "modified",
    "modificationTime",  # WebHDFS
    "Last-Modified",  # HTTP
    "modify",  # FTP
    "created",  # memory
)

#: Times in whole seconds or minutes: a file may be written twice in one.
_ROUGH: Final = {"Last-Modified", "modify"}

#: What passes, of all that an operating system or a place may say.
_PASSING: Final = {errno.EIO, errno.EREMOTEIO, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT}

#: What libraries raise for options that they cannot use, and for what a place cannot do.
_MISTAKES: Final = (ValueError, TypeError, NotImplementedError, ImportError, LookupError)

#: Errors of botocore that are neither OSError nor ValueError, and that no retry mends.
_LASTING: Final = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
    "ProfileNotFound",
    "NoRegionError",
}


def find(url: str, storage_options: Mapping[str, Any]) -> list[Found]:
    """
    Return the files that `url` means, in no order; [] if it is a glob that matches none.

    Raises:
        Fatal: If they cannot be looked for.
        ConnectionError: If the place cannot be reached.
        DataError: If a library for the place is not installed.
    """
    if any(map(_is_telling, url.split("::"))):
        raise Fatal("a URL with a password or a query in it would be kept; use storage_options=")
    options = _resolved(storage_options)
    try:
        # fsspec keeps places by their options: to make one for S3 takes a third of a second.
        # Listings are not kept: they would hide what has changed.
        place, path = fsspec.core.url_to_fs(url, **{"use_listings_cache": False, **options})
    except ImportError as error:
        raise _missing(url, error) from error
    except (ValueError, TypeError) as error:
        raise Fatal(f"{url} is no place that can be read: {error}") from error
    fixed = fixed_part(path)
    infos: dict[str, Mapping[str, Any]] = {}

    def entries(folder: str) -> Iterator[Entry]:
        with _told(url):
            listed = place.ls(folder.rstrip("/"), detail=True)
        for info in listed:
            full = info["name"].rstrip("/")
            if full != folder.rstrip("/"):  # places may list the folder itself
                infos[full] = info
                yield Entry(full.rpartition("/")[2], info["type"] == "directory")

    def opened(name: str, shown: str, in_order: bool) -> Opened:  # noqa: FBT001  (the library calls it so)
        return _open(place, infos[f"{fixed}{name}"], name, shown, in_order=in_order)

    if has_magic(path):
        names = list(matching(path, entries))
    else:
        with _told(url):
            infos[path] = place.info(path)
        names = [path.removeprefix(fixed)]
    return [
        Found(
            name,
            place.unstrip_protocol(f"{fixed}{name}"),
            *_looks(infos[f"{fixed}{name}"])[:2],
            opened,
        )
        for name in names
    ]


def _is_telling(url: str) -> bool:
    """Return True if `url`, one of those that `::` joins, holds what nobody should see."""
    parts = urlsplit(url)
    return parts.password is not None or bool(parts.scheme in {"http", "https"} and parts.query)


def _open(place: Any, info: Mapping[str, Any], name: str, shown: str, *, in_order: bool) -> Opened:  # noqa: ANN401  (of a library, or plain data)
    # Ahead of who reads here and there, eight times as much would be fetched as is used.
    ahead = {"block_size": _ASKED_BYTES, "cache_type": "readahead" if in_order else "none"}
    with _told(shown):
        file = place.open(info["name"], "rb", **ahead)
        now = getattr(file, "details", None) or info
        if not any(map(now.get, _STAMPS)):  # an open file of HTTP tells its size and no more
            now = {**now, **place.info(info["name"]), "size": now.get("size")}
    looks = _looks(now)
    guarded: Any = _Guarded(file, shown)
    if in_order:
        guarded = io.BufferedReader(guarded, BLOCK_BYTES)
    return Opened(name, shown, guarded, looks.size, looks.stamp, is_rough=looks.is_rough)


class _Looks(NamedTuple):
    """How a file looks; the attributes are those of `Opened`."""

    size: int
    stamp: Stamp
    is_rough: bool


def _looks(info: Mapping[str, Any]) -> _Looks:
    """Return how a file looks, of all that a place tells of it."""
    if info["type"] != "file" or type(info.get("size")) is not int:
        raise Fatal(f"{info['name']} cannot be read: it is no file whose size is known")
    name = next((name for name in _STAMPS if info.get(name)), None)
    if name is None:
        return _Looks(info["size"], None, is_rough=False)
    told = info[name]
    stamp = told.isoformat() if isinstance(told, datetime) else str(told)
    return _Looks(info["size"], stamp, is_rough=name in _ROUGH or stamp.startswith("W/"))


class _Guarded(io.RawIOBase):
    """A file of fsspec, whose errors are those of this module."""

    def __init__(self, file: Any, shown: str) -> None:  # noqa: ANN401  (of a library, or plain data)
        self._file = file
        self._shown = shown

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  (any writable buffer)
        with _told(self._shown):
            return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _told(self._shown):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _told(shown: str) -> Iterator[None]:
    """
    Raise what goes wrong in a call of a place's library as one of the errors of this module.

    Nothing else belongs inside: a mistake of ours would be told as one of the place.
    """
    try:
        yield
    except StatepipeError:
        raise
    except Exception as error:
        raise _error(shown, error) from error


def _error(shown: str, error: Exception) -> Exception:
    said = f"{type(error).__name__}: {error}"
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, FileNotFoundError):
        return Fatal(f"{shown} is not there ({said}); put it there and resume")
    if isinstance(error, PermissionError):
        return Fatal(f"{shown} may not be read ({said}); correct the credentials and resume")
    if "FileExpired" in names:
        return Fatal(f"{shown} was changed while it was read; batches read before are safe")
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        is_passing = error.errno in _PASSING
        kind: type[Exception] = BadAnswer if is_passing else Fatal
    elif isinstance(error, _MISTAKES) or names & _LASTING:
        kind = Fatal
    else:
        kind = TimeoutError if "Timeout" in type(error).__name__ else ConnectionError
    return kind(f"{shown} cannot be read ({said})")


def _resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with what their references lead to."""
    resolved: dict[str, Any] = {}
    for name, value in options.items():
        resolved[name] = value
        if isinstance(value, Mapping):
            resolved[name] = _resolved(value)
        elif isinstance(value, str) and secrets.is_reference(value):
            try:
                resolved[name] = secrets.resolve(value)
            except DefinitionError as error:
                raise Fatal(
                    f"{error.message}; nothing was connected to: {error.next_step}"
                ) from None
            redact.hide(resolved[name])
        elif isinstance(value, str) and redact.redacted(f"{name}=?") != f"{name}=?":
            raise Fatal(
                f"the storage option {name} is a secret in plain text; write a reference,"
                " env:NAME or file:/PATH"
            )
    return resolved


def _missing(url: str, error: ImportError) -> DataError:
    scheme = url.partition("://")[0]
    return DataError(
        f"{scheme}:// needs a library that is not installed: {error}",
        meaning="nothing was read",
        next_step='pip install "statepipe[s3]"' if scheme in {"s3", "s3a"} else str(error),
    )
