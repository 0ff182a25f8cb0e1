"""What a line of a journal holds: its records, and for every other byte the reason why it holds none.

Nothing is invented: an object that stands inside a torn record never comes out as a record of its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

Record = dict[str, Any]

# White space, and the byte order marks of files that were put together.
_LEAD = re.compile(rb"(?:[ \t\r\n]|\xef\xbb\xbf)*")
_NULS = re.compile(rb"\0[\0 \t\r\n]*")
# Within a text the quotes would be escaped, so that this stands only where a record begins.
_RECORD_START = re.compile(rb'\{\s*"schema"\s*:\s*\d+\s*,\s*"kind"\s*:')
# An object behind which one of these stands is a part of another one.
_TAIL = re.compile(rb"[ \t\r\n]*([,:\]}]?)")
_NOT_JSON = (msgspec.DecodeError, ValueError, RecursionError)
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class Damage:
    """Bytes of a journal that hold no record.

    Attributes
    ----------
    path : str
        The file.
    start, end : int
        First byte left out and the byte after the last one; in a gzip file they count in the unpacked text.
    reason : str
        What was found there instead of a record.

    Examples
    --------
    >>> str(Damage("runs.jsonl", 120, 180, "a torn line"))
    'runs.jsonl, bytes 120 to 180: a torn line'
    """

    path: str
    start: int
    end: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, bytes {self.start} to {self.end}: {self.reason}"


class Found(NamedTuple):
    """A record of a journal.

    Attributes
    ----------
    path : str
        The file.
    start, end : int
        Its first byte and the byte after its last one; in a gzip file they count in the unpacked text.
    line : bytes
        The strict JSON it was read from, white space around it included.
    record : dict
        What it says.
    """

    path: str
    start: int
    end: int
    line: bytes
    record: Record


def read_line(path: str, start: int, line: bytes) -> Iterable[Found | Damage]:
    r"""Return what stands in one line: mostly one record.

    Parameters
    ----------
    path : str
        The file.
    start : int
        Where in it the line begins.
    line : bytes
        The line with its end.

    Returns
    -------
    iterable of Found or Damage
        Records, and what is none; nothing for a blank line.

    Examples
    --------
    >>> for found in read_line("runs.jsonl", 100, b'{"n":1}{"n":NaN}{"n":\n'):
    ...     print(found if isinstance(found, Damage) else found[1:])
    (100, 107, b'{"n":1}', {'n': 1})
    (107, 116, b'{"n": null}', {'n': None})
    runs.jsonl, bytes 116 to 122: not JSON (Input data was truncated)
    """
    try:
        found = _decode(line)
    except _NOT_JSON:
        found = None
    return (
        (Found(path, start, start + len(line), line, found),) if isinstance(found, dict) else _pieces(path, start, line)
    )


def _pieces(path: str, start: int, line: bytes) -> Iterator[Found | Damage]:
    # One character a byte: what the texts hold matters only once it is known where an object ends.
    text = line.decode("latin-1")
    here = 0
    while (at := _LEAD.match(line, here).end()) < len(line):  # type: ignore[union-attr]
        end = _end_of_object(text, line, at)
        try:
            found: tuple[bytes, Record] | str = _strict(line[at:end]) if end else ""
        except _NOT_JSON as error:
            found = f"not JSON ({error})"
        if not end:
            end, found = _no_object(line, at)
        if isinstance(found, str):
            yield Damage(path, start + here, start + end, found)
        else:
            yield Found(path, start + at, start + end, *found)
        here = end


def _end_of_object(text: str, line: bytes, at: int) -> int:
    """Return where the object ends that begins here; 0 if none does, or if it is a part of a torn one."""
    if text[at] != "{":
        return 0
    try:
        end = _python_json.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return 0
    tail = _TAIL.match(line, end)
    return tail.end() if tail and not tail[1] else 0


def _no_object(line: bytes, at: int) -> tuple[int, str]:
    if nuls := _NULS.match(line, at):
        return nuls.end(), "not JSON (NUL bytes)"
    # Another writer may have gone on behind the torn line of one that died: what it wrote is whole.
    begins = _RECORD_START.search(line, at + 1)
    end = begins.start() if begins else len(line)
    try:
        _decode(line[at:end])
    except _NOT_JSON as error:
        return end, f"not JSON ({error})" if line[end - 1 : end] == b"\n" else "a torn line"
    return end, "JSON, but not an object"


def _strict(piece: bytes) -> tuple[bytes, Record]:
    with suppress(msgspec.DecodeError):
        return piece, _decode(piece)
    # What Python's json writes and JSON does not know: NaN, infinities, halves of characters.
    found = _python_json.decode(piece.decode())
    piece = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
    return piece, _decode(piece)


def _finite(number: str) -> float | None:
    return value if math.isfinite(value := float(number)) else None


_python_json = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite)
