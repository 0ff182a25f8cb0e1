"""The keys that tell which tool wrote a source: of its first records, its columns, or its first bytes."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from causalkit.workflows.readers.sources import decoded, json_pieces, opened

_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PAR1": "Parquet",
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
    b"GIF8": "picture",
    b"RIFF": "picture",
    b"%PDF": "PDF",
    b"SQLite format 3": "SQLite",
    b"\x28\xb5\x2f\xfd": "packed",
    b"BZh": "packed",
    b"\xfd7zXZ": "packed",
    b"\x1f\x8b": "gzip",
    b"<": "XML",
}
_HEAD = 1 << 16
# So many damaged or strange records at the beginning hide no file.
_RECORDS = 50
# Names in a header line are no prose.
_LONGEST_NAME = 200
_DEEPEST = 3
_WIDEST = 200
_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1f]")
_KEY = re.compile(r'"([^"\\]{1,80})"\s*:')
_one_level = {
    b"{": msgspec.json.Decoder(dict[str, msgspec.Raw]).decode,
    b"[": msgspec.json.Decoder(list[msgspec.Raw]).decode,
    b'"': msgspec.json.Decoder(str).decode,
}


def keys_of_file(file: Path, rank: Callable[[set[str]], int], expected: str) -> set[str]:
    """Return the keys of that record at the beginning of a file that tells most about it.

    Parameters
    ----------
    file : Path
        Of any kind, also gzipped.
    rank : callable
        How much a set of keys tells; 0: nothing.
    expected : str
        What should be in it, in words; for the errors.

    Raises
    ------
    TraceFormatError
        If it begins as JSON and is none.
    """
    with file.open("rb") as plain, opened(file) as text:
        start = plain.read(4)
        head = text.read(_HEAD).lstrip()
    magic = next((name for begin, name in _MAGIC.items() if (head or start).startswith(begin)), "")
    if magic == "Parquet":
        return _parquet_keys(file)
    if magic or not head or _NO_TEXT.search(head[:1000]):
        return {f"magic {magic or ('binary' if head else 'blank')}"}
    if head[:1] not in (b"{", b"["):
        return _header_keys(head.decode("utf-8", "replace"))
    pieces = [piece.strip() for _, piece in islice(json_pieces(file, []), _RECORDS)]
    found = [keys for piece in pieces if (keys := keys_of(msgspec.Raw(piece)))]
    if not found:
        # A torn document may still be known by what stands at its beginning; its reader says where it breaks.
        torn = set(_KEY.findall(head.decode("utf-8", "replace")))
        found = [torn] if rank(torn) else [keys_of(decoded(pieces[0], str(file), expected))]
    return max(found, key=rank)


def keys_of(value: Any) -> set[str]:
    """Return the keys of an object or the columns of a DataFrame, and those of the objects inside.

    Examples
    --------
    >>> sorted(keys_of({"data": [{"traceID": "a"}], "kind": "event"}))
    ['*.traceID', 'data', 'data[].traceID', 'kind', 'kind=event']
    """
    if hasattr(value, "itertuples"):
        return _columns([*map(str, value.columns), *map(str, filter(None, value.index.names))])
    keys = set(_keys(value, "", 0))
    return keys | {f"*.{key.partition('.')[2]}" for key in keys if key.count(".") == 1 or key.count(".") == 2}


def _keys(value: Any, path: str, depth: int) -> Iterator[str]:
    value = _opened(value)
    if isinstance(value, Mapping):
        for name, inside in islice(value.items(), _WIDEST):
            yield f"{path}{name}"
            if depth < _DEEPEST:
                yield from _inside(name, inside, f"{path}{name}", depth)
    elif isinstance(value, list | tuple) and value:
        yield from _keys(value[0], path, depth)


def _inside(name: Any, value: Any, path: str, depth: int) -> Iterator[str]:
    value = _opened(value)
    if isinstance(value, Mapping):
        yield from _keys(value, f"{path}.", depth + 1)
    elif isinstance(value, list | tuple) and value:
        if name == "columns":
            yield from (f"columns={_opened(column)}" for column in value[:_WIDEST])
        yield from _keys(value[0], f"{path}[].", depth + 1)
    elif name == "kind":
        yield f"kind={value}"


def _opened(value: Any) -> Any:
    if not isinstance(value, msgspec.Raw):
        return value
    text = bytes(value)
    decode = _one_level.get(text[:1])
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        return decode(text) if decode else None
    return None


def _parquet_keys(file: Path) -> set[str]:
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, ValueError):
        return {"magic binary"}
    told = {"magic causalkit"} if b"causalkit" in (schema.metadata or {}) else set()
    return told | _columns(schema.names)


def _header_keys(text: str) -> set[str]:
    line = text.partition("\n")[0].rstrip("\r")
    mark = max(",;\t|", key=line.count)
    names = next(csv.reader([line], delimiter=mark), []) if mark in line else []
    return _columns(names) if len(names) > 1 and all(len(name) < _LONGEST_NAME for name in names) else set()


def _columns(names: list[str]) -> set[str]:
    told = [name.strip() for name in names]
    return {*told, *(f"column {re.sub('[ _-]', '', name.lower())}" for name in told)}
