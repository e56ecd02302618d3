"""
Compressed files as what is in them, in order, with no more in memory than a block.

    unpacked    an open file -> what is in it, seekable
    kind_of     how a file is packed, by its name
    zstd        the other way, for what is written packed so

The end of a compressed file says that it is the end. A file without it is cut, and what
stands behind it must be another member; both are errors (`DamagedError`), never less data.
The readers of the standard library ignore garbage behind the last member, and those of most
zstd libraries a missing end.
"""

import bz2
import io
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, cast

from statepipe.errors import DataError, Fatal
from statepipe.io.files.found import BLOCK_BYTES

_ENDINGS: Final = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}

#: Compressed bytes that are read at one time.
_PACKED_BYTES: Final = 128 * 1024


class DamagedError(ValueError):
    """A compressed file is cut or damaged, with the reason."""


class _Unpacker(Protocol):
    """What the decompressors of the standard library have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Way(NamedTuple):
    """How one kind is unpacked, and what is raised if it cannot be."""

    make: Callable[[], _Unpacker]
    error: type[Exception]


def kind_of(name: str, compression: str | None) -> str | None:
    """
    Return how the file `name` is packed: "gzip", "bz2", "xz", "zstd", or None.

    Args:
        name: Its name.
        compression: One of these, or "infer" to go by the name's ending.

    Raises:
        Fatal: If `compression` is nothing of this.
    """
    if compression == "infer":
        return next((kind for end, kind in _ENDINGS.items() if name.lower().endswith(end)), None)
    if compression is not None and compression not in _ENDINGS.values():
        known = ", ".join(map(repr, _ENDINGS.values()))
        raise Fatal(f"there is no compression {compression!r}; it is 'infer', None, or {known}")
    return compression


def unpacked(file: BinaryIO, kind: str | None, beat: Callable[[], object]) -> BinaryIO:
    """
    Return what is in `file`, packed as `kind`; the file itself if that is None.

    Args:
        file: Where it is read from, at its start.
        kind: One of `kind_of`.
        beat: Called for each block that is passed over to get to a place.

    Raises:
        DataError: If a library for it is not installed.
    """
    if kind is None:
        return file
    return cast(BinaryIO, io.BufferedReader(_Unpacked(file, _way(kind), beat), BLOCK_BYTES))


def zstd(content: bytes) -> bytes:
    """
    Return `content` packed as one member of zstd.

    Raises:
        DataError: If a library for it is not installed.
    """
    packed: bytes = _zstd_library().compress(content)
    return packed


class _Unpacked(io.RawIOBase):
    """
    What is in a file of one or more compressed members.

    Going back is beginning again, and going on is reading.
    """

    def __init__(self, packed: BinaryIO, way: _Way, beat: Callable[[], object]) -> None:
        self._packed = packed
        self._way = way
        self._beat = beat
        self._unpacker = way.make()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset` from the start, or as far as there is anything."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("from the start only")
        if offset < self._at:
            self._packed.seek(0)
            self._unpacker = self._way.make()
            self._at = 0
        passed = memoryview(bytearray(BLOCK_BYTES))
        while self._at < offset and self.readinto(passed[: offset - self._at]):
            self._beat()
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  (any writable buffer)
        size = len(buffer)
        is_end = False
        while size and not is_end:
            packed = b""
            if self._unpacker.eof:
                if not (packed := self._next_member()):
                    return 0
            elif self._unpacker.needs_input:
                packed = self._packed.read(_PACKED_BYTES)
                is_end = not packed
            try:
                data = self._unpacker.decompress(packed, size)
            except self._way.error as error:
                raise DamagedError(f"it is damaged: {error}") from error
            if data:
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
        if is_end:
            raise DamagedError("it is cut: its end is missing")
        return 0

    def close(self) -> None:
        self._packed.close()
        super().close()

    def _next_member(self) -> bytes:
        """Return the beginning of the member behind the one that has ended; b"" if none is."""
        rest = self._unpacker.unused_data.lstrip(b"\0")  # xz and tapes are padded with these
        while not rest and (block := self._packed.read(_PACKED_BYTES)):
            rest = block.lstrip(b"\0")
        if rest:
            self._unpacker = self._way.make()
        return rest


class _Gzip:
    """zlib as the other libraries are."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=31)  # with the head and the sums of gzip

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


def _way(kind: str) -> _Way:
    if kind == "zstd":
        return _zstd()
    ways: dict[str, _Way] = {
        "gzip": _Way(_Gzip, zlib.error),
        "bz2": _Way(bz2.BZ2Decompressor, OSError),
        "xz": _Way(lzma.LZMADecompressor, lzma.LZMAError),
    }
    return ways[kind]


def _zstd() -> _Way:
    library = _zstd_library()
    return _Way(library.ZstdDecompressor, library.ZstdError)


def _zstd_library() -> Any:  # noqa: ANN401  (a module)
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415  (a Python may be built without it)
        else:
            from backports import zstd  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise DataError(
            "this Python cannot read or write zstd",
            meaning="nothing was read or written",
            next_step='pip install "statepipe[zstd]"',
        ) from error
    return zstd
