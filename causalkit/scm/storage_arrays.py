"""Arrays as npy files: numbers only, never more of them than the file holds."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.lib import format as npy

_KINDS = ("<f8", "<i8", "|b1")


def array_bytes(values: Any) -> bytes:
    """Return an array as an npy file.

    Examples
    --------
    >>> read_array(array_bytes(np.array([1.0, 2.5])), (2,)).tolist()
    [1.0, 2.5]
    """
    buffer = io.BytesIO()
    npy.write_array(buffer, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_array(data: bytes, shape: tuple[int, ...], kind: str = "<f8") -> Any:
    """Return the array of an npy file.

    Raises
    ------
    ValueError
        If it has another shape or type than expected, or another length than it says.
    """
    found, dtype, start = _header(data)
    if found != shape or dtype != np.dtype(kind) or kind not in _KINDS:
        raise ValueError(f"an array is {found} of {dtype} where {shape} of {np.dtype(kind)} is needed")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).copy()


def read_any(data: bytes) -> Any:
    """Return the array of an npy file, of whatever shape and type but objects.

    Raises
    ------
    ValueError
        If it has another length than it says, or holds Python objects.
    """
    shape, dtype, start = _header(data)
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


def _header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array is written in version {version} of npy")
    shape, _, dtype = read(stream)
    length = dtype.itemsize
    for size in shape:
        length *= size
    if dtype.hasobject or any(size < 0 for size in shape) or stream.tell() + length != len(data):
        raise ValueError("an array has another length than it says, or holds Python objects")
    return tuple(shape), dtype, stream.tell()
