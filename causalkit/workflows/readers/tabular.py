"""Rows of tables: CSV, Parquet, DataFrames, and the instants in their cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.sources import files_of, frame_rows, opened

_PARQUET = b"PAR1"
_LONGEST_CELL = 2**31 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Digits past the millionth of a second, which datetime does not hold.
_FRACTION = re.compile(r"[.,](\d{1,9})\d*")


class TableRow(NamedTuple):
    """One row of a table.

    Attributes
    ----------
    value : dict
        Its cells; empty ones are left out.
    path : str
        The file; empty where there is none.
    start, end : int
        Its first byte and the byte after its last one where it is text, else its number.
    place : str
        The same for people: ``line 7``.
    """

    value: dict[str, Any]
    path: str
    start: int
    end: int
    place: str

    def damage(self, reason: str) -> Damage:
        """Return why this row was left out."""
        return Damage(self.path, self.start, self.end, f"{self.place}: {reason}")


def table_rows(source: Any, expected: str) -> Iterator[TableRow | Damage]:
    """Yield the rows of tables, and what is none.

    Parameters
    ----------
    source : path-like, iterable of path-like, or DataFrame
        CSV (with commas, semicolons, tabs or bars, also gzipped) or Parquet.
    expected : str
        What should be in it, in words; for the errors.

    Examples
    --------
    >>> import pandas as pd
    >>> [row.value for row in table_rows(pd.DataFrame({"a": [1.0, None]}), "a table")]
    [{'a': 1.0}, {}]
    """
    if hasattr(source, "itertuples"):
        for value, path, start, end in frame_rows(source):
            yield TableRow(value, path, start, end, f"row {end}")
        return
    for file in files_of(source, expected):
        yield from _parquet_rows(file, expected) if is_parquet(file) else _csv_rows(file)


def is_parquet(file: Path) -> bool:
    """Return whether a file begins as Parquet does."""
    with file.open("rb") as begin:
        return begin.read(len(_PARQUET)) == _PARQUET


def nanoseconds(told: Any) -> tuple[int, bool] | None:
    """Return the nanoseconds since 1970 of an instant, and whether it named its time zone; without one it is UTC.

    Parameters
    ----------
    told : object
        ISO 8601, with ``-`` or ``/`` between the parts of the date; or a datetime.

    Returns
    -------
    tuple of int and bool, or None
        None where it is no instant.

    Examples
    --------
    >>> nanoseconds("1970-01-01T01:00:00.000000007+01:00"), nanoseconds("1970/01/01 00:00:01"), nanoseconds("soon")
    ((7, True), (1000000000, False), None)
    """
    text = told.isoformat() if hasattr(told, "isoformat") else told
    if not isinstance(text, str) or not text[:4].isdigit():
        return None
    fraction = _FRACTION.search(text)
    whole = text[: fraction.start()] + text[fraction.end() :] if fraction else text
    try:
        moment = datetime.fromisoformat(whole.replace("/", "-").strip())
        past = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    told_ns = int(fraction[1].ljust(9, "0")) if fraction else 0
    return past // timedelta(microseconds=1) * 1000 + told_ns, moment.tzinfo is not None


def _csv_rows(file: Path) -> Iterator[TableRow | Damage]:
    # The limit guards nobody, and what goes into and out of a model is longer.
    csv.field_size_limit(_LONGEST_CELL)
    with opened(file) as text:
        lines = _Lines(text)
        first = next(lines, "")
        rows = csv.reader(lines, delimiter=max(",;\t|", key=first.count))
        lines.again = first
        try:
            header = [name.strip() for name in next(rows, [])]
        except csv.Error as error:
            yield Damage(str(file), 0, lines.bytes, f"line 1: no CSV ({error})")
            return
        while True:
            start = lines.bytes
            try:
                cells = next(rows, None)
            except csv.Error as error:
                yield Damage(str(file), start, lines.bytes, f"line {rows.line_num}: no CSV ({error})")
                continue
            if cells is None:
                return
            row = TableRow({}, str(file), start, lines.bytes, f"line {rows.line_num}")
            if len(cells) == len(header):
                yield row._replace(value={name: cell for name, cell in zip(header, cells, strict=True) if cell})
            elif any(cells):
                yield row.damage(f"{len(cells)} cells under {len(header)} columns")


def _parquet_rows(file: Path, expected: str) -> Iterator[TableRow]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches():
            for value in batch.to_pylist():
                told = {name: cell for name, cell in value.items() if cell is not None}
                yield TableRow(told, str(file), number, number + 1, f"row {number + 1}")
                number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise TraceFormatError(
            f"{file} breaks off at row {number + 1} ({reason}); expected {expected}",
            path=str(file),
            row=number + 1,
            expected=expected,
        ) from error


class _Lines:
    """The lines of a text and how many bytes of it were read."""

    def __init__(self, text: BinaryIO) -> None:
        self.bytes = 0
        self.again = ""
        self._text = text

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.again:
            line, self.again = self.again, ""
            return line
        read = self._text.readline()
        if not read:
            raise StopIteration
        self.bytes += len(read)
        return read.decode("utf-8", "replace")
