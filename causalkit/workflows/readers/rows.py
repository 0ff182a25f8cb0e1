"""Rows of whatever a user gives: DataFrames, what was parsed already, files of JSON or of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.sources import Row, files_of, json_lines, opened
from causalkit.workflows.readers.tabular import TableRow, is_parquet, table_rows

# Far enough to see whether a file begins with an object or a list: else it is a table.
_LOOK = 4096
_One = TypeVar("_One")


def any_rows(source: Any, expected: str) -> Iterator[Row | TableRow | Damage]:
    """Yield what a source holds, and what of it is none.

    Parameters
    ----------
    source : DataFrame, dict, path-like, or iterable of dict or path-like
        Objects with a ``to_dict`` stand for what that gives; of a DataFrame the named index is a column.
    expected : str
        What should be in it, in words; for the errors.

    Examples
    --------
    >>> [row.value for row in any_rows([{"a": 1}, {"b": 2}], "objects")]
    [{'a': 1}, {'b': 2}]
    """
    if hasattr(source, "itertuples"):
        index = [name for name in source.index.names if name and name not in source.columns]
        yield from table_rows(source.reset_index(index) if index else source, expected)
        return
    given = [source] if isinstance(source, Mapping) or not isinstance(source, list | tuple) else source
    given = [one.to_dict() if hasattr(one, "to_dict") else one for one in given]
    if given and all(isinstance(one, Mapping) for one in given):
        yield from json_lines(given, expected)
        return
    for file in files_of(source, expected):
        yield from table_rows(file, expected) if is_table(file) else json_lines(file, expected)


def needed(spans: Iterator[_One], source: Any, damage: Sequence[Damage], expected: str) -> Iterator[_One]:
    """Return spans as they are.

    Raises
    ------
    TraceFormatError
        If there is none.
    """
    for first in spans:
        return chain([first], spans)
    name, lost = name_of(source), f" (left out: {'; '.join(map(str, damage[:3]))})" if damage else ""
    raise TraceFormatError(
        f"{name} holds none of what was expected: {expected}{lost}", path=name, expected=expected, damage=tuple(damage)
    )


def is_table(file: Any) -> bool:
    """Return whether a file is a table (Parquet, CSV), and not JSON."""
    with opened(file) as text:
        return is_parquet(file) or text.read(_LOOK).lstrip()[:1] not in (b"{", b"[")


def name_of(source: Any) -> str:
    """Return what a source is called in messages.

    Examples
    --------
    >>> name_of({"a": 1}), name_of("a.json"), name_of(["a.json", "b.json"])
    ('parsed JSON', 'a.json', 'a.json, b.json')
    """
    if hasattr(source, "itertuples"):
        return "a DataFrame"
    given = source if isinstance(source, list | tuple) else [source]
    return "parsed JSON" if any(isinstance(one, Mapping) for one in given) else ", ".join(map(str, given))
