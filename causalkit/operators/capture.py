"""What is kept of arguments and results: a summary, a copy, the object itself, nothing, or what a function makes of it.

A summary is bounded. What is short stays what it is (numbers, short texts, small lists and dicts of them); of all else
type, shape, size and a short repr are kept, and a digest by which equal values are known as equal.
"""

from __future__ import annotations

import copy
import hashlib
import math
import reprlib
from collections.abc import Callable, Mapping, Sized
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any, Literal
from uuid import UUID

import msgspec

from causalkit.errors import CausalkitError

Capture = Callable[[Any], Any]
Policy = Literal["summary", "copy", "reference", "none"]

NOTHING: Any = object()
SUMMARY = "causalkit.type"
_LONG_TEXT = 200
_SMALL, _DEEP = 64, 4
_MOST_DIGESTED, _MOST_ITEMS = 1_000_000, 10_000


def capture_of(policy: Policy | Capture) -> Capture | None:
    """Return the function that keeps what a policy says; None for nothing.

    Parameters
    ----------
    policy : {"summary", "copy", "reference", "none"} or callable
        A callable gets the value and returns what is kept of it.

    Raises
    ------
    CausalkitError
        If there is no such policy.

    Examples
    --------
    >>> keep = capture_of("summary")
    >>> keep([3, 3, 5]), keep("a" * 300)["size"]
    ([3, 3, 5], 300)
    """
    if callable(policy):
        return policy
    if not isinstance(policy, str) or policy not in _POLICIES:
        raise CausalkitError(
            f"capture is {policy!r}; choose 'summary', 'copy', 'reference', 'none', or give a function", capture=policy
        )
    return _POLICIES[policy]


def summary(value: Any) -> Any:
    """Return what is short as it is, and a description of bounded size of everything else.

    Examples
    --------
    >>> import numpy as np
    >>> summary({"vote": np.int64(3)}), summary(np.zeros((8, 8)))["shape"]
    ({'vote': 3}, [8, 8])
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is str and len(value) <= _LONG_TEXT:
        return value
    try:
        small = _small(value, [_SMALL], _DEEP)
    except Exception:
        # Another thread may change it meanwhile.
        small = _TOO_LARGE
    return _described(value) if small is _TOO_LARGE else small


def keeping(capture: Capture | None) -> dict[str, Capture]:
    """Return for each type of event what makes of its values what is kept."""
    if capture is None:
        return {"call": _nothing, "result": _nothing, "error": _reference, "metric": _reference}

    def inputs(told: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: capture(value) for name, value in told.items()}

    def metric(told: Mapping[str, Any]) -> dict[str, Any]:
        return {**told, "value": capture(told["value"])}

    kept = _summary_of_inputs if capture is summary else inputs
    return {"call": kept, "result": capture, "error": _reference, "metric": metric}


def _summary_of_inputs(told: Mapping[str, Any]) -> Mapping[str, Any]:
    for value in told.values():
        if type(value) not in _ATOMS:
            return {name: summary(value) for name, value in told.items()}
    # What is short need not be put together anew.
    return told


def is_summary(value: Any) -> bool:
    """Return whether a value is the description of a longer one.

    Examples
    --------
    >>> is_summary(summary(range(9))), is_summary(9)
    (True, False)
    """
    return isinstance(value, dict) and SUMMARY in value


_ATOMS = frozenset((int, float, bool, type(None), complex, datetime, date, time, timedelta, Decimal, UUID))
_TOO_LARGE: Any = object()


def _small(value: Any, left: list[int], depth: int) -> Any:
    """Return a copy of a small value of plain things, or `_TOO_LARGE`."""
    left[0] -= 1
    kind = type(value)
    if left[0] < 0 or not depth:
        return _TOO_LARGE
    if kind in _ATOMS or (kind in (str, bytes) and len(value) <= _LONG_TEXT):
        return value
    if kind in (list, tuple, set, frozenset):
        items = [] if len(value) > left[0] else [_small(item, left, depth - 1) for item in value]
        return _TOO_LARGE if len(items) < len(value) or any(item is _TOO_LARGE for item in items) else kind(items)
    if kind is dict:
        if len(value) > left[0] or not all(type(key) is str and len(key) <= _LONG_TEXT for key in value):
            return _TOO_LARGE
        entries = {key: _small(item, left, depth - 1) for key, item in value.items()}
        return _TOO_LARGE if any(item is _TOO_LARGE for item in entries.values()) else entries
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _small(value.item(), left, depth)
    return _TOO_LARGE


def _described(value: Any) -> dict[str, Any]:
    described: dict[str, Any] = {SUMMARY: type(value).__qualname__[:_LONG_TEXT]}
    try:
        shape = getattr(type(value), "shape", None) and getattr(value, "shape", None)
        if isinstance(shape, tuple):
            # The repr of an array may copy it from another device.
            described["shape"] = [int(size) for size in shape]
            described["size"] = math.prod(described["shape"])
            described["dtype"] = str(getattr(value, "dtype", ""))[:_LONG_TEXT]
        else:
            described |= {"size": len(value)} if isinstance(value, Sized) else {}
            described["repr"] = _short.repr(value)[:_LONG_TEXT]
        described["digest"] = _digest(value)
    except Exception as error:
        described["not_described"] = type(error).__name__
    return described


def _digest(value: Any) -> str | None:
    """Return a text that equal values share and others do not; None where that cannot be had cheaply."""
    kind = type(value)
    if isinstance(value, Enum):
        content = f"{kind.__module__}.{kind.__qualname__}.{value.name}".encode()
    elif isinstance(value, str) and len(value) <= _MOST_DIGESTED:
        content = str.encode(value, "utf-8", "surrogatepass")
    elif (
        kind.__module__ == "numpy"
        and hasattr(value, "dtype")
        and value.dtype.kind in "biufc"
        and value.nbytes <= _MOST_DIGESTED
    ):
        content = value.tobytes()
    elif kind in (list, tuple, dict) and _is_plain(value):
        content = msgspec.msgpack.encode(value, order="deterministic")
    else:
        return None
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _is_plain(value: Any) -> bool:
    """Return whether a container holds, at any depth, only what has a text of its own, and not too much of it."""
    left, unseen = _MOST_ITEMS, [value]
    while unseen:
        item = unseen.pop()
        kind = type(item)
        if kind in (list, tuple, dict):
            left -= len(item)
            if left < 0 or (kind is dict and not all(type(key) is str for key in item)):
                return False
            items = item.items() if kind is dict else (item,)
            unseen += [one for several in items for one in several if type(one) not in _NUMBERS]
        elif kind in (str, bytes):
            left -= len(item) * _MOST_ITEMS // _MOST_DIGESTED
        elif kind not in _NUMBERS:
            return False
    return left >= 0


class _Short(reprlib.Repr):
    """Looks only at the beginning of what is long, whatever class of its own it has."""

    def repr_dict(self, x: Any, level: int) -> str:
        return super().repr_dict(dict(islice(x.items(), self.maxdict + 1)), level)

    def repr_set(self, x: Any, level: int) -> str:
        return super().repr_set(set(islice(x, self.maxset + 1)), level)

    def repr_frozenset(self, x: Any, level: int) -> str:
        return super().repr_frozenset(frozenset(islice(x, self.maxfrozenset + 1)), level)

    def repr_bytes(self, x: Any, level: int) -> str:
        return repr(bytes(x[: self.maxother]))

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, _LONG) and len(x) > self.maxother and not isinstance(x, Enum):
            kind = next(kind for kind in _LONG if isinstance(x, kind))
            short = getattr(self, f"repr_{'bytes' if kind is bytearray else kind.__name__}")(x, level)
            return f"{type(x).__name__}({short})"
        return super().repr_instance(x, level)


_short = _Short()
_short.maxstring = _short.maxother = 120
_LONG = (str, bytes, bytearray, dict, list, tuple, set, frozenset)
_NUMBERS = frozenset((int, float, bool, type(None)))


def _nothing(_: Any) -> Any:
    return NOTHING


def _reference(value: Any) -> Any:
    return value


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        # Locks, files and connections have no copies.
        return summary(value)


_POLICIES: dict[str, Capture | None] = {
    "summary": summary, "copy": _copied, "reference": _reference, "none": None,
}  # fmt: skip
