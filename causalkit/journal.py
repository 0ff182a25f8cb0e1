"""Append-only JSON lines: one finished record, one line, one ``write()``.

A line is written whole or not at all, so a killed process leaves at most one torn line at the end of the file.
Reading returns every record that is whole and says which bytes it had to leave out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

SCHEMA = 1
_BOM = b"\xef\xbb\xbf"
# Within a text the quotes would be escaped, so that this stands only where a record begins.
_RECORD_START = re.compile(rb'{"schema":\d+,"kind":')
_decoder = msgspec.json.Decoder()


@dataclass(frozen=True)
class Damage:
    """Bytes of a journal that hold no record.

    Attributes
    ----------
    path : str
        The file.
    start, end : int
        First byte left out and the byte after the last one.
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


class JournalWriter:
    """Append records to a journal; safe for many threads and processes at once.

    Parameters
    ----------
    path : path-like
        The journal; made, with its folders, if it is not there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> with JournalWriter(path) as journal:
    ...     journal.append({"kind": "run", "request_id": "a"})
    >>> read_journal(path)[0]
    [{'schema': 1, 'kind': 'run', 'request_id': 'a'}]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._close_torn_line()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; it survives the death of this process from here on.

        Parameters
        ----------
        record : mapping
            What to write; ``schema`` is put before it. NaN and infinities become null, what JSON does not know text.

        Raises
        ------
        OSError
            If not all of it could be written.
        """
        line = _encode({"schema": SCHEMA, **record}) + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes of a record were written (disk full?)")

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.close()

    def _close_torn_line(self) -> None:
        # Without this the first record written after a crash would be glued to the torn line and lost with it.
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")


def read_journal(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], list[Damage]]:
    r"""Read every whole record of a journal and say which bytes hold none.

    Parameters
    ----------
    path : path-like
        A JSONL file.

    Returns
    -------
    records : list of dict
        In the order of the file.
    damage : list of Damage
        One entry for each line that is no record; empty for a sound journal.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> _ = path.write_bytes(b'{"kind":"run"}\n{"kind":"st')
    >>> records, damage = read_journal(path)
    >>> records, [(part.start, part.end, part.reason) for part in damage]
    ([{'kind': 'run'}], [(15, 26, 'a torn line')])
    """
    records: list[dict[str, Any]] = []
    damage: list[Damage] = []
    for start, line in _lines(Path(path)):
        found = _decode(line)
        if isinstance(found, dict):
            records.append(found)
            continue
        for offset, piece in _pieces(line):
            found = _decode(piece)
            if isinstance(found, dict):
                records.append(found)
            elif found:
                damage.append(Damage(str(path), start + offset, start + offset + len(piece), found))
    return records, damage


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value it does not know: numbers and lists for numpy's, else text.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.int64(3)), plain(np.array([0.5])), plain(Path("runs.jsonl"))
    (3, [0.5], 'runs.jsonl')
    """
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _encode(record: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(record, enc_hook=plain)
    except UnicodeEncodeError:
        return msgspec.json.encode(_utf8(msgspec.to_builtins(record, enc_hook=plain)))


def _utf8(value: Any) -> Any:
    """Replace what UTF-8 cannot hold: file names of other encodings come as lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    return [_utf8(item) for item in value] if isinstance(value, list | tuple) else value


def _decode(line: bytes) -> dict[str, Any] | str:
    """Return the record that a line holds, or why it holds none; nothing is wrong with a blank line."""
    body = line.removeprefix(_BOM)
    if not body.strip():
        return ""
    try:
        found = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"not JSON ({error})" if line.endswith(b"\n") else "a torn line"
    return found if isinstance(found, dict) else "JSON, but not an object"


def _pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    # Another writer may have gone on behind the torn line of one that died: what it wrote is whole.
    starts = [0, *(match.start() for match in _RECORD_START.finditer(line, 1)), len(line)]
    for start, end in pairwise(starts):
        yield start, line[start:end]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    start = 0
    with path.open("rb") as file:
        for line in file:
            yield start, line
            start += len(line)
