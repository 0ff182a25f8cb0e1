"""The memory that an isolated child shares with its parent: calls to make, and what came of them so far.

What the child has finished lies here at once, so a child that dies loses nothing of the calls before the
deadly one. Nothing else is exchanged but single bytes, so nothing that a function prints or writes can be
mistaken for a result.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from causalkit.plain_values import UnusableResult, plain

SPACE = 1 << 23  # bytes for results, and as many again for calls to make
MAX_ADDED = 1 << 19  # bytes that are added at once
# In place of a call's number: waiting, loading the sources, and one of several calls.
NOBODY, SETUP, SEVERAL = 2**64 - 1, 2**64 - 2, 2**64 - 3

HEADER = struct.Struct("=4Q")  # what is running, how many of it, end of the results, their count
ARRAY = struct.Struct(">BI")
A_SIZED_ARRAY = 0xDD  # as MessagePack marks it
BIG_INT, SURROGATES, PANDAS_NA, PANDAS_NAT, DATACLASS = range(1, 6)  # what MessagePack does not know


class Board:
    """The shared memory, seen from either side.

    Parameters
    ----------
    descriptor : int, optional
        An open file to share; without it a new one is made.

    Examples
    --------
    >>> board = Board()
    >>> board.begin(SEVERAL, 2)
    >>> board.add(encode([[0.5, None], {1: ["KeyError", "'a'"]}]))
    >>> board.take()
    [[[0.5, None], {1: ['KeyError', "'a'"]}]]
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _new_file() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, HEADER.size + 2 * SPACE)
        self._end = self._count = 0
        if descriptor is None:
            self.clear()

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.descriptor)

    @property
    def state(self) -> tuple[int, int, int, int]:
        """What is running, how many of it, and how far the results go: it changes with every step."""
        return HEADER.unpack_from(self._memory)

    @property
    def is_full(self) -> bool:
        """Whether another result might find no room."""
        return SPACE - self._end < 2 * MAX_ADDED

    def clear(self) -> None:
        """Forget all results."""
        self._end = self._count = 0
        self.begin(NOBODY)

    def begin(self, running: int, many: int = 0) -> None:
        """Say what is running now: a number, or `SETUP` with the number of sources loaded, or `SEVERAL`."""
        HEADER.pack_into(self._memory, 0, running, many, self._end, self._count)

    def add(self, encoded: bytes) -> None:
        """Add results, and say that nothing is running."""
        begin = HEADER.size + self._end
        self._memory[begin : begin + len(encoded)] = encoded
        self._end, self._count = self._end + len(encoded), self._count + 1
        self.begin(NOBODY)

    def take(self) -> list[Any]:
        """Return all that was added."""
        _, _, end, count = self.state
        added: list[Any] = decode(ARRAY.pack(A_SIZED_ARRAY, count) + self._memory[HEADER.size : HEADER.size + end])
        return added

    def put_calls(self, encoded: bytes) -> bool:
        """Lay out calls to make, if they fit.

        Parameters
        ----------
        encoded : bytes
            What `get_calls` is to return.

        Returns
        -------
        bool
            Whether they fit.
        """
        begin = HEADER.size + SPACE
        if len(encoded) > SPACE - ARRAY.size:
            return False
        ARRAY.pack_into(self._memory, begin, 0, len(encoded))
        self._memory[begin + ARRAY.size : begin + ARRAY.size + len(encoded)] = encoded
        return True

    def get_calls(self) -> dict[str, Any]:
        """Return the calls to make."""
        begin = HEADER.size + SPACE
        _, size = ARRAY.unpack_from(self._memory, begin)
        calls: dict[str, Any] = decode(self._memory[begin + ARRAY.size : begin + ARRAY.size + size])
        return calls


def portable(value: Any) -> Any:
    """Return a result in the form in which it can cross, or refuse it.

    Parameters
    ----------
    value : object
        One number, bool or text, something missing, or a dict or dataclass of them.

    Returns
    -------
    object
        For `encode`. A dataclass arrives as one of the same name and fields, without its methods.

    Raises
    ------
    UnusableResult
        If it is anything else, or too large.

    Examples
    --------
    >>> decode(encode(portable({"cost": 2})))
    {'cost': 2}
    """
    if isinstance(value, Mapping):
        return {plain(name): portable(field) for name, field in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: portable(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return msgspec.msgpack.Ext(DATACLASS, encode([type(value).__name__, fields]))
    value = plain(value)
    # Sized before it is encoded: the copy of a huge value might not fit.
    size = len(value) if isinstance(value, str) else value.bit_length() // 8 if isinstance(value, int) else 0
    if size > MAX_ADDED // 4:
        raise UnusableResult(
            f"returned a {type(value).__name__} of {size / 1e6:.1f} MB; at most {MAX_ADDED / 4e6:.1f} MB fit a cell"
        )
    return value


def encode(value: Any) -> bytes:
    """Return plain data as bytes: whole numbers of any size, every float and text exactly.

    Parameters
    ----------
    value : object
        Numbers, bools, texts, None, what `portable` returned, and lists and dicts of them.

    Returns
    -------
    bytes
        MessagePack.

    Examples
    --------
    >>> decode(encode([2**70, float("-inf"), "a"]))
    [1180591620717411303424, -inf, 'a']
    """
    try:
        return _encode(value)
    except (OverflowError, UnicodeEncodeError):
        return _encode(_tagged(value))


def decode(encoded: bytes) -> Any:
    """Return the data of `encode`."""
    return _decode(encoded)


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("causalkit")
    else:
        descriptor, path = tempfile.mkstemp(prefix="causalkit-")
        Path(path).unlink()
    os.ftruncate(descriptor, HEADER.size + 2 * SPACE)
    return descriptor


def _tagged(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_tagged(element) for element in value]
    if isinstance(value, dict):
        return {_tagged(key): _tagged(element) for key, element in value.items()}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return msgspec.msgpack.Ext(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if isinstance(value, str) and not value.isascii():
        return msgspec.msgpack.Ext(SURROGATES, value.encode("utf-8", "surrogatepass"))
    return value


def _tag_missing(value: Any) -> Any:
    codes = {"NAType": PANDAS_NA, "NaTType": PANDAS_NAT}
    if type(value).__name__ not in codes:
        raise TypeError(f"a {type(value).__name__} cannot cross to or from an isolated child")
    return msgspec.msgpack.Ext(codes[type(value).__name__], b"")


def _untag(code: int, data: memoryview) -> Any:
    if code == BIG_INT:
        return int.from_bytes(data, "big", signed=True)
    if code == SURROGATES:
        return bytes(data).decode("utf-8", "surrogatepass")
    if code == DATACLASS:
        name, fields = _decode(data)
        return dataclasses.make_dataclass(name, fields)(**fields)
    import pandas as pd  # only here: most children never need it

    return pd.NA if code == PANDAS_NA else pd.NaT


_encode = msgspec.msgpack.Encoder(enc_hook=_tag_missing).encode
_decode = msgspec.msgpack.Decoder(ext_hook=_untag).decode
