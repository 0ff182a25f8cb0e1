"""Objects of any kind as what JSON has: dicts, lists, texts and numbers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MappingView, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

DEEPEST = 100
MOST_NOTES = 20
# More numbers than this cannot fit into a line; of an array with more, and of any list that cannot fit, the first are.
_LONG_ARRAY, _FIRST_ITEMS = 500_000, 1_000


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value it does not know: numbers and lists for numpy's, else text.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.int64(3)), plain(np.array([0.5])), plain(ValueError("no page"))
    (3, [0.5], "ValueError('no page')")
    """
    if isinstance(value, bool):  # only as a key does msgspec not know it
        return str(value)
    kind: Any
    for kind in (str, int, float):
        if isinstance(value, kind):
            return getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, _SEQUENCES):
        return [*value]
    if isinstance(value, date):
        return value.isoformat()
    # Asked of the class: a mock or a proxy has every attribute.
    if callable(getattr(type(value), "tolist", None)):
        return _listed(value)
    if type(value).__name__ == "DataFrame" and hasattr(type(value), "iloc"):
        return _columns(value)
    return str.__str__(repr(value) if isinstance(value, BaseException) else str(value))


def fits(number: int) -> bool:
    """Return whether readers of JSON take a number as one: 64 bits, with or without a sign.

    Examples
    --------
    >>> fits(2**64 - 1), fits(2**64)
    (True, False)
    """
    return -(2**63) <= number < 2**64


def with_notes(record: dict[str, Any], notes: Iterable[str]) -> dict[str, Any]:
    """Return a record that says what was changed in it.

    Examples
    --------
    >>> with_notes({"kind": "step"}, ["attributes.score was nan"])
    {'kind': 'step', 'notes': ['attributes.score was nan']}
    """
    told = record.get("notes", [])
    told = [*told] if isinstance(told, list) else [told]
    told.extend(islice((note for note in notes if note not in told), max(0, MOST_NOTES - len(told))))
    return {**record, "notes": told} if told else record


class UniqueNames:
    """Tells names apart that have become the same.

    Examples
    --------
    >>> names = UniqueNames()
    >>> [names.unique("a"), names.unique("b"), names.unique("a")]
    ['a', 'b', 'a (2)']
    """

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it if it was given out before."""
        unused = name
        while unused in self._uses:
            self._uses[name] += 1
            unused = f"{name} ({self._uses[name]})"
        self._uses[unused] = 1
        return unused


class Plainness:
    """Makes one record plain, value by value, and notes which numbers JSON cannot hold.

    Parameters
    ----------
    room : int
        Bytes of the line that the record is for.

    Examples
    --------
    >>> Plainness(1000).of({"attributes": {"score": float("inf"), "pages": {1}}})
    {'attributes': {'score': None, 'pages': [1]}, 'notes': ['attributes.score was inf']}
    """

    def __init__(self, room: int) -> None:
        # Every item takes two bytes at least: the rest of a larger record could not be written anyway.
        self._left = room // 2
        self._open: set[int] = set()
        self._notes: list[str] = []

    def of(self, record: Any) -> dict[str, Any]:
        """Return the record as dicts, lists, texts and numbers; it is not changed itself."""
        found = self._value(record, "", 0)
        if isinstance(found, dict):
            return with_notes(found, self._notes)
        return {"notes": [f"the record was {str(found)[:200]}"]}

    def _value(self, value: Any, path: str, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return value.encode("utf-8", "replace").decode()
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if fits(value) else _digits(value)
        if kind is float:
            return value if math.isfinite(value) else self._lost(value, path)
        if id(value) in self._open:
            return "<cycle>"
        if depth > DEEPEST:
            return f"<deeper than {DEEPEST}>"
        self._open.add(id(value))
        try:
            return self._parts(value, path, depth)
        except Exception as error:  # an object may fail in any way when it is asked what it is
            return f"<{name_of(kind)} that cannot be shown: {name_of(type(error))}>"
        finally:
            self._open.discard(id(value))

    def _lost(self, value: float, path: str) -> None:
        if len(self._notes) < MOST_NOTES:
            self._notes.append(f"{path[:200]} was {value}")

    def _parts(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._entries(value, path, depth)
        if isinstance(value, _SEQUENCES):
            return self._items(value, len(value), path, depth)
        if isinstance(value, msgspec.Struct):
            return self._entries(msgspec.structs.asdict(value), path, depth)
        if not isinstance(value, type) and hasattr(type(value), "__dataclass_fields__"):
            return self._entries({name: getattr(value, name) for name in value.__dataclass_fields__}, path, depth)
        if isinstance(value, Enum):
            return self._value(value.value, path, depth + 1)
        if type(value) in _NATIVE:
            return msgspec.to_builtins(value)
        if hasattr(type(value), "tolist") and math.prod(getattr(value, "shape", ())) > _LONG_ARRAY:
            return self._items(value, len(value), path, depth)
        found = plain(value)
        return self._value(str.__str__(str(value)) if type(found) is type(value) else found, path, depth + 1)

    def _entries(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        entries = list(value.items())  # at once: another thread may be writing into it
        kept = len(entries) if depth == 0 else self._take(len(entries), depth)
        names, found = UniqueNames(), {}
        for key, item in entries[:kept]:
            name = names.unique(self._key(key))
            found[name] = self._value(item, f"{path}.{name}" if path else name, depth + 1)
        return found if kept == len(entries) else {**found, "…": f"[{len(entries) - kept} more entries]"}

    def _items(self, value: Iterable[Any], length: int, path: str, depth: int) -> list[Any]:
        kept = self._take(length, depth)
        found = [self._value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(islice(value, kept))]
        return found if kept == length else [*found, f"… [{length - kept} more items]"]

    def _take(self, length: int, depth: int) -> int:
        if length > self._left:
            # Few even when there is no room: the fields of a step are told before what it carries.
            length = min(length, _FIRST_ITEMS if self._left > 0 else 20 if depth < 3 else 0)
        self._left -= length
        return length

    def _key(self, key: Any) -> str:
        try:
            text = _key_text(key)
        except Exception as error:
            text = f"<{name_of(type(key))} that cannot be shown: {name_of(type(error))}>"
        return text.encode("utf-8", "replace").decode()


# Not `kind.__name__`, which a metaclass may have made into anything.
name_of: Callable[[type], str] = type.__dict__["__name__"].__get__

_SEQUENCES: Any = (list, tuple, Set, deque, MappingView, range)
_NATIVE = {datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray, memoryview}


def _key_text(key: Any) -> str:
    if type(key) is int:
        return _digits(key)
    return str.__str__(str(msgspec.to_builtins(key) if type(key) in _NATIVE else key))


def _listed(value: Any) -> Any:
    if math.prod(getattr(value, "shape", ())) > _LONG_ARRAY:
        raise OverflowError("too long to be listed whole")
    # numpy lists instants as bare counts of nanoseconds.
    instants = getattr(getattr(value, "dtype", None), "kind", "") in ("M", "m")
    found = value.astype(str).tolist() if instants else value.tolist()
    # A number wider than Python's lists itself.
    return float(found) if type(found) is type(value) and hasattr(type(found), "__float__") else found


def _columns(frame: Any) -> Any:
    if math.prod(frame.shape) > _LONG_ARRAY:
        frame = frame.head(_FIRST_ITEMS)
    # Two columns of one name would be one entry.
    if frame.columns.is_unique:
        return frame.to_dict("list")
    return {"columns": [*frame.columns], "data": [column.tolist() for _, column in frame.items()]}


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # Python refuses more than some thousand decimal digits
        return hex(number)
