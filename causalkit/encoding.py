"""Any record becomes one line of JSON: strange objects as text, too long ones cut, and a note says so.

msgspec writes almost every record as it is. What it cannot write, or writes as something else (NaN as null), is made
plain first, value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from causalkit.plainness import DEEPEST, Plainness, fits, name_of
from causalkit.plainness import plain as plain
from causalkit.redaction import mask_secrets, may_hold_secrets
from causalkit.shortening import identity, shortened


def encode(
    record: Mapping[str, Any],
    *,
    max_text: int = 100_000,
    max_bytes: int = 1_000_000,
    redact: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
    problems: list[BaseException] | None = None,
) -> bytes:
    """Return a record as one line of JSON, whatever is in it.

    Parameters
    ----------
    record : mapping
        What to write. NaN and infinities become null; what was changed is said under ``notes``.
    max_text : int, default 100_000
        Characters after which a text is cut.
    max_bytes : int, default 1_000_000
        Bytes of the line, at least 2,000; a longer one is shortened, ids, names and times last of all.
    redact : callable, optional
        Gets the record as dicts, lists, texts and numbers of its own and returns what to write instead. If it fails,
        only what identifies the record is written.
    problems : list, optional
        Where an error of `redact` is put.

    Returns
    -------
    bytes
        Valid UTF-8 without a newline.

    Examples
    --------
    >>> encode({"kind": "step", "attributes": {"score": float("nan"), "answer": "a long text"}}, max_text=6).decode()
    '{"kind":"step","attributes":{"score":null,"answer":"a long… [5 more characters]"},"notes":[...]}'
    """
    line = _as_is(record)
    if redact and (line is None or redact is not mask_secrets or may_hold_secrets(line)):
        whole = Plainness(max_bytes).of(record) if line is None else _decode(line)
        record = _redacted(whole, redact, problems)
        line = _as_is(record)
    if line is None:
        line = _encode(Plainness(max_bytes).of(record))
    # No text of a line is longer than the line.
    return line if len(line) <= max_text and len(line) <= max_bytes else shortened(line, max_text, max_bytes)


_encode = msgspec.json.Encoder(enc_hook=plain).encode
# For records of which it is known that they hold nothing but whole texts, times and finite numbers, and little of it.
encode_known = _encode
_decode = msgspec.json.Decoder().decode
_FOLD = bytes.maketrans(b"123456789", b"000000000")
# A shorter line is not nested so deep that it could not be read, and has no number of more digits than Python reads.
_SHALLOW, _FEW_DIGITS = 1000, 4000


def _as_is(record: Any) -> bytes | None:
    """Return the line that msgspec makes of a record, or None if something in it has to be changed."""
    try:
        line = _encode(record)
    except Exception:  # whatever it is, the slow way deals with it
        return None
    # NaN is written as null, and only what was JSON already can hold a line's end.
    if b"null" in line or b"\n" in line or (len(line) > _SHALLOW and _is_odd(line)):
        return line if line.startswith(b"{") and _sound(record, 0) else None
    return line if line.startswith(b"{") else None


def _is_odd(line: bytes) -> bool:
    if line.count(b"[") + line.count(b"{") > DEEPEST:
        return True
    return len(line) > _FEW_DIGITS and b"0000000000000000000" in line.translate(_FOLD)


_SOUND = {str, bool, type(None), datetime, date, time, timedelta, UUID, Decimal, bytes}


def _sound(value: Any, depth: int) -> bool:
    kind: type = type(value)
    if kind in _SOUND:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is int:
        return fits(value)
    if depth > DEEPEST or kind not in (dict, list, tuple):
        return False
    for item in value.values() if kind is dict else value:
        if type(item) not in _SOUND and not _sound(item, depth + 1):
            return False
    return True


def _redacted(
    record: dict[str, Any],
    redact: Callable[[dict[str, Any]], Mapping[str, Any]],
    problems: list[BaseException] | None,
) -> Mapping[str, Any]:
    kept = identity(record)
    try:
        found = redact(record)
        if not isinstance(found, Mapping):
            raise TypeError(f"redact returned {name_of(type(found))}; return the record as a mapping")
        return found
    except Exception as error:
        if problems is not None:
            problems.append(error)
        return {**mask_secrets(kept), "notes": [f"the rest was left out: redaction failed with {name_of(type(error))}"]}
