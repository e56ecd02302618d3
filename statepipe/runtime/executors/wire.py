"""
The wire between a driver and its worker process: whole frames, or nothing.

    pack       message -> length | crc32 | payload, the payload by the store's codec
    Inbox      collects bytes as they come and gives out whole messages (the driver's side)
    send       write a frame and wait until it is out (the worker's side)
    receive    wait for a frame (the worker's side)

A message is a list that begins with its kind:

    call    function, args, kwargs, proxied     driver to worker; `proxied`: places of callables
    ask     place, args, kwargs                 worker to driver: call the real callable
    answer  value                               driver to worker
    raised  names, message                      driver to worker: the callable raised
    hide    value                               either way: a secret, to be replaced from now on
    result  value, worn                         worker to driver: the call returned
    error   names, message, traceback, worn     worker to driver: the call raised

A worker that dies in the middle of a frame leaves half a frame, which is no message.
The checksum is against a task that writes to descriptors it does not own.
"""

import os
import struct
import zlib
from typing import Any, Final

from statepipe.errors import DataError
from statepipe.store.codec import decode, encode

#: What one frame may hold. Rows travel as staged files; frames carry references.
FRAME_BYTES_MAX: Final = 8 << 20

_HEADER: Final = struct.Struct("<II")

Message = list[Any]


class WireDamaged(Exception):
    """Something that is not a frame came over the wire; nothing after it can be trusted."""


def pack(message: Message) -> bytes:
    """
    Return `message` as one frame.

    Raises:
        ValueRefused: If it is not plain data, or takes more than `FRAME_BYTES_MAX`.
    """
    payload = encode(message, bytes_max=FRAME_BYTES_MAX)
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


class Inbox:
    """Bytes in, messages out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._bytes += data

    def take(self) -> Message | None:
        """
        Return the next whole message, or None until more bytes come.

        Raises:
            WireDamaged: If the bytes are not a frame.
        """
        if len(self._bytes) < _HEADER.size:
            return None
        length, checksum = _HEADER.unpack_from(self._bytes)
        _check_length(length)
        end = _HEADER.size + length
        if len(self._bytes) < end:
            return None
        payload = bytes(self._bytes[_HEADER.size : end])
        del self._bytes[:end]
        return _open(payload, checksum)


def send(wire: int, frame: bytes) -> None:
    """Write all of `frame` to the descriptor `wire`; OSError if the other side is gone."""
    left = memoryview(frame)
    while left:
        left = left[os.write(wire, left) :]


def receive(wire: int) -> Message | None:
    """
    Wait for a message on the descriptor `wire`; None if the other side has closed it.

    Raises:
        WireDamaged: If what came is not a frame.
    """
    header = _read(wire, _HEADER.size)
    if header is None:
        return None
    length, checksum = _HEADER.unpack(header)
    _check_length(length)
    payload = _read(wire, length)
    return None if payload is None else _open(payload, checksum)


def _read(wire: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = os.read(wire, size - len(data))
        if not more:
            return None
        data += more
    return data


def _check_length(length: int) -> None:
    if length > FRAME_BYTES_MAX:
        raise WireDamaged(f"a frame claims to have {length:,} bytes")


def _open(payload: bytes, checksum: int) -> Message:
    if zlib.crc32(payload) != checksum:
        raise WireDamaged("a frame does not match its checksum")
    try:
        message = decode(payload)
    except DataError as error:
        raise WireDamaged(f"a frame cannot be decoded: {error}") from error
    if not isinstance(message, list) or not message:
        raise WireDamaged("a frame is not a message")
    return message
