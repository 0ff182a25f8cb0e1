"""Append-only JSON lines: one finished record, one line, one ``write()``.

A line is written whole or not at all, so a killed process leaves at most one torn line at the end of the file.
Reading returns every record that is whole and says which bytes it had to leave out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

SCHEMA = 1
_BOM = b"\xef\xbb\xbf"


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
        """Write one record; it survives the death of this process from here on."""
        line = msgspec.json.encode({"schema": SCHEMA, **record}, enc_hook=str) + b"\n"
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
    """Read every whole record of a journal and say which bytes hold none.

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
    """
    records: list[dict[str, Any]] = []
    damage: list[Damage] = []
    decoder = msgspec.json.Decoder()
    for start, line in _lines(Path(path)):
        body = line.removeprefix(_BOM) if start == 0 else line
        if not body.strip():
            continue
        try:
            record = decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = "a torn line" if not line.endswith(b"\n") else f"not JSON ({error})"
            damage.append(Damage(str(path), start, start + len(line), reason))
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            damage.append(Damage(str(path), start, start + len(line), "JSON, but not an object"))
    return records, damage


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    start = 0
    with path.open("rb") as file:
        for line in file:
            yield start, line
            start += len(line)
