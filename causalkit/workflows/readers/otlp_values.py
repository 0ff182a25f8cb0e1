"""Values, ids and enumerations of OTLP/JSON as plain JSON, and back."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from causalkit.plainness import fits

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
# What spans of one group share; `read_otlp` keeps it with each of them.
SHARED = ("resource", "resourceSchemaUrl", "scope", "scopeSchemaUrl")
CODES = ("UNSET", "OK", "ERROR")
_HEX = {16: re.compile(r"[0-9a-f]{32}").fullmatch, 8: re.compile(r"[0-9a-f]{16}").fullmatch}
# A number with fewer characters has 64 bits.
_SHORT = 19
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


class _OddError(ValueError):
    """A value that does not come back as it was from plain JSON."""

    def __init__(self, value: Any) -> None:
        self.value = value


def plain_attributes(told: Sequence[Any], reserved: Collection[str] = ()) -> tuple[dict[str, Any], list[Any]]:
    """Return attributes as plain JSON.

    Parameters
    ----------
    told : sequence
        Of ``{"key": …, "value": {"stringValue": …}}``.
    reserved : collection of str
        Names that mean something else here.

    Returns
    -------
    plain : dict
    odd : list
        Those of `told` that are no attributes, or would not come back from `plain` as they were: bytes, NaN, names
        that stand there twice.

    Examples
    --------
    >>> plain_attributes([{"key": "n", "value": {"intValue": "3"}}, {"key": "b", "value": {"bytesValue": "AA=="}}])
    ({'n': 3, 'b': 'AA=='}, [{'key': 'b', 'value': {'bytesValue': 'AA=='}}])
    """
    plain: dict[str, Any] = {}
    odd: list[Any] = []
    lost = 0
    for one in told:
        strange = False
        try:
            name, value = one["key"], one["value"]
            ((kind, found),) = value.items()
            # Most are texts and short numbers.
            if kind == "intValue" and found.__class__ is str and len(found) < _SHORT:
                found = int(found)
            elif kind != "stringValue" or found.__class__ is not str:
                found = _READ[kind](found)
        except _OddError as error:
            found, strange = error.value, True
        except _MALFORMED:
            found, strange = None, not (isinstance(one, dict) and one.get("value") == {})
            name = None if strange else one.get("key")
        if name.__class__ is str and name not in reserved:
            plain[name] = found
        else:
            lost, strange = lost + 1, True
        if strange:
            odd.append(one)
    if len(plain) + lost < len(told):
        return plain, _odd_or_twice(told, odd)
    return plain, odd


def plain_value(told: Mapping[str, Any]) -> Any:
    """Return what an ``AnyValue`` means."""
    if not told:
        return None
    ((kind, value),) = told.items()
    return _READ[kind](value)


def any_value(value: Any) -> dict[str, Any]:
    """Return plain JSON as an ``AnyValue``.

    Examples
    --------
    >>> any_value({"n": [1, 0.5, None]})["kvlistValue"]["values"][0]["value"]
    {'arrayValue': {'values': [{'intValue': '1'}, {'doubleValue': 0.5}, {}]}}
    """
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": key_values(value)}}
    return {"stringValue": str(value)}


def key_values(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return plain attributes as OTLP has them."""
    return [{"key": name, "value": any_value(value)} for name, value in told.items()]


def hex_id(told: str, size: int, notes: list[str]) -> str:
    """Return an id in hex; where it is no id of so many bytes, as it is, and a note is added.

    Examples
    --------
    >>> hex_id("EEE19B7EC3C1B174", 8, []), hex_id("3lYkOenBuCM=", 8, []), hex_id("no id", 8, notes := [])
    ('eee19b7ec3c1b174', 'de562439e9c1b823', 'no id')
    >>> notes
    ["the id 'no id' is neither 16 hex digits nor base64 of 8 bytes; it is kept as is"]
    """
    if _HEX[size](told):
        return told
    if not told:
        raise ValueError("an id is empty")
    lower = told.lower()
    if _HEX[size](lower):
        return lower
    try:
        decoded = base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) == size:
        return decoded.hex()
    notes.append(f"the id {told[:80]!r} is neither {2 * size} hex digits nor base64 of {size} bytes; it is kept as is")
    return told


def is_id(told: str, size: int) -> bool:
    """Return whether a text is an id of so many bytes, in hex, and not all zeros."""
    return _HEX[size](told) is not None and bool(told.strip("0"))


def number_of(told: Any, names: Sequence[str], prefix: str) -> Any:
    """Return the number of an enumeration's value; what is none of it as it is.

    Examples
    --------
    >>> number_of("SPAN_KIND_SERVER", KINDS, "SPAN_KIND_"), number_of("2", CODES, "STATUS_CODE_")
    (2, 2)
    """
    if isinstance(told, str):
        name = told.removeprefix(prefix)
        return names.index(name) if name in names else int(told) if told.isdecimal() else told
    return told


def _odd_or_twice(told: Sequence[Any], odd: Sequence[Any]) -> list[Any]:
    names = [one.get("key") if isinstance(one, dict) else None for one in told]
    times = Counter(name for name in names if isinstance(name, str))
    known = set(map(id, odd))
    twice = (isinstance(name, str) and times[name] > 1 for name in names)
    return [one for one, again in zip(told, twice, strict=True) if again or id(one) in known]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _OddError(value)
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _OddError(value)
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool | float) or not fits(number := int(value)):
        raise _OddError(str(value))
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise _OddError(str(value))
    return number


def _bytes(value: Any) -> str:
    raise _OddError(value)


def _list(value: Mapping[str, Any]) -> list[Any]:
    found, odd = [], False
    for one in value.get("values") or ():
        try:
            found.append(plain_value(one))
        except _OddError as error:
            found.append(error.value)
            odd = True
    if odd:
        raise _OddError(found)
    return found


def _dict(value: Mapping[str, Any]) -> dict[str, Any]:
    found, odd = plain_attributes(value.get("values") or ())
    if odd:
        raise _OddError(found)
    return found


_READ = {
    "stringValue": _text,
    "boolValue": _truth,
    "intValue": _int,
    "doubleValue": _float,
    "bytesValue": _bytes,
    "arrayValue": _list,
    "kvlistValue": _dict,
}
