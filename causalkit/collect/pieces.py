"""Pieces of a trace table: columns of some of its rows, and how a table is put together from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from causalkit.collect.failures import FailedRows
from causalkit.errors import TraceCollectionError

Column: TypeAlias = "np.ndarray[Any, Any] | list[Any]"

# The types whose arrays hold exactly what lists of Python's values hold, and the arrays that they give.
EXACT_TYPES = frozenset({float, int, bool, np.float64, np.int64, np.bool_})
EXACT_DTYPES = frozenset(map(np.dtype, ("float64", "int64", "bool")))


def as_column(values: list[Any]) -> Column:
    """Return values as an array where that changes no value and no type, or as they are.

    Examples
    --------
    >>> as_column([1.5, 2.0]).dtype, as_column([1, 2.0]), as_column([2**70])
    (dtype('float64'), [1, 2.0], [1180591620717411303424])
    """
    kinds = set(map(type, values))
    if len(kinds) == 1 and kinds <= EXACT_TYPES:
        array = np.array(values)
        if array.dtype in EXACT_DTYPES:
            return array
    return values


def column_of(values: pd.Series[Any]) -> Column:
    """Return a column of a frame as an array where that is exact, or else as a list.

    Examples
    --------
    >>> column_of(pd.Series([1, 2])), column_of(pd.Series(["a"]))
    (array([1, 2]), ['a'])
    """
    return values.to_numpy() if values.dtype in EXACT_DTYPES else values.tolist()


@dataclass(frozen=True)
class Record:
    """A result that has fields: the result itself, and its values by dotted name (``.price``).

    Examples
    --------
    >>> Record({"price": 2}, {".price": 2}).cells
    {'.price': 2}
    """

    value: Any
    cells: Mapping[str, Any]


@dataclass
class Piece:
    """Some rows of a table in the making.

    Parameters
    ----------
    rows : numpy.ndarray
        The numbers of the rows that have not failed.
    inputs : mapping of str to Column
        Their inputs, and the noise of computed nodes under the names of these.
    columns : mapping of str to Column
        Their values so far.
    failures : FailedRows
        The other rows.

    Examples
    --------
    >>> piece = Piece.of(pd.DataFrame({"x": [1, 2]}))
    >>> piece.add("x", [], [[2]], {0: ("MissingResult", "returned None")})
    >>> piece.rows.tolist(), piece.failures[0]["row"]
    ([1], 0)
    """

    rows: np.ndarray[Any, Any]
    inputs: dict[str, Column]
    columns: dict[str, Column]
    failures: FailedRows

    @classmethod
    def of(cls, inputs: pd.DataFrame) -> Piece:
        """Return the piece in which nothing has run yet.

        Examples
        --------
        >>> len(Piece.of(pd.DataFrame({"x": [1, 2]})))
        2
        """
        return cls(inputs.index.to_numpy(), {str(name): column_of(inputs[name]) for name in inputs}, {}, FailedRows())

    def __len__(self) -> int:
        return len(self.rows)

    def add(
        self,
        node: str,
        parents: Sequence[str],
        parts: Sequence[Column],
        errors: Mapping[int, tuple[str, str]],
    ) -> None:
        """Add a column, and leave out the rows in which its function failed.

        Parameters
        ----------
        node : str
            The node.
        parents : sequence of str
            Its parents, whose values a failure is told with.
        parts : sequence of Column
            The good values, in order.
        errors : mapping of int to (str, str)
            Exception and message of the others, by position.

        Examples
        --------
        >>> piece = Piece.of(pd.DataFrame({"x": [1, 2]}))
        >>> piece.add("x", [], [[1], [2]], {})
        >>> piece.columns
        {'x': [1, 2]}
        """
        failures = []
        for position, (exception, message) in errors.items():
            told = {"row": position, "node": node, "exception": exception, "message": message}
            cells = [_cells_of(parent, self.columns[parent][position]) for parent in parents]
            failures.append({**told, "inputs": {name: value for row in cells for name, value in row.items()}})
        self.fail(failures)
        self.columns[node] = _joined(parts)

    def fail(self, failures: Sequence[Mapping[str, Any]]) -> None:
        """Leave rows out that failed elsewhere.

        Parameters
        ----------
        failures : sequence of mapping
            As in `FailedRows`, where ``row`` is the position among the rows that are left.

        Examples
        --------
        >>> piece = Piece.of(pd.DataFrame({"x": [1, 2]}))
        >>> piece.fail([{"row": 0, "node": "y", "exception": "OSError", "message": "gone", "inputs": {}}])
        >>> piece.rows.tolist()
        [1]
        """
        self.failures += [{**failure, "row": int(self.rows[failure["row"]])} for failure in failures]
        self._drop([failure["row"] for failure in failures])

    def without_objects(self) -> Piece:
        """Return what the table needs of this piece: its values, and of its records their cells.

        Examples
        --------
        >>> piece = Piece.of(pd.DataFrame({"x": [1]}))
        >>> piece.add("x", [], [[Record(object(), {".cost": 2})]], {})
        >>> piece.without_objects().columns
        {'x': [Record(value=None, cells={'.cost': 2})]}
        """
        columns = {
            name: values
            if isinstance(values, np.ndarray)
            else [Record(None, value.cells) if isinstance(value, Record) else value for value in values]
            for name, values in self.columns.items()
        }
        return Piece(self.rows, {}, columns, self.failures)

    def expand(self, node: str, *, keep_missing: bool) -> None:
        """Replace a column that has records by one column a field, and move it to the end.

        A row that lacks a field which others have misses a value.

        Parameters
        ----------
        node : str
            The node.
        keep_missing : bool
            Whether missing values are kept; otherwise they fail their rows.

        Raises
        ------
        TraceCollectionError
            If a field is named like another column (``.node``).

        Examples
        --------
        >>> piece = Piece.of(pd.DataFrame({"x": [1]}))
        >>> piece.add("x", [], [[Record({"cost": 2}, {".cost": 2})]], {})
        >>> piece.expand("x", keep_missing=False)
        >>> piece.columns
        {'x.cost': array([2])}
        """
        values = self.columns.pop(node)
        if isinstance(values, np.ndarray) or not any(type(value) is Record for value in values):
            self.columns[node] = values
            return
        cells = [_cells_of(node, value) for value in values]
        names = list(dict.fromkeys(name for row in cells for name in row))
        if taken := [name for name in names if name in self.columns]:
            raise TraceCollectionError(
                f"node {node!r} returns a field whose column, {taken[0]!r}, is there already; rename one of the two",
                node=node,
            )
        self.columns |= {name: as_column([row.get(name) for row in cells]) for name in names}
        if keep_missing:
            return
        failures = []
        for position, row in enumerate(cells):
            if missing := next((name for name in names if name not in row), None):
                message = f"returned no {missing}, which other rows have"
                told = {"row": position, "node": node, "exception": "MissingResult", "message": message}
                failures.append({**told, "inputs": {}})
        self.fail(failures)

    def _drop(self, positions: list[int]) -> None:
        if not positions:
            return
        kept = np.ones(len(self), dtype=bool)
        kept[positions] = False
        self.rows = self.rows[kept]
        for columns in (self.inputs, self.columns):
            for name, values in columns.items():
                kept_values = values[kept] if isinstance(values, np.ndarray) else list(compress(values, kept))
                # Without the missing ones the values may all be of one type.
                columns[name] = kept_values if isinstance(kept_values, np.ndarray) else as_column(kept_values)


def assemble(order: Sequence[str], pieces: Sequence[Piece], *, keep_missing: bool) -> tuple[pd.DataFrame, FailedRows]:
    """Put the table together, the same one whatever the pieces are.

    Parameters
    ----------
    order : sequence of str
        The nodes, in the order of the columns.
    pieces : sequence of Piece
        All rows; the pieces give their columns away.
    keep_missing : bool
        Whether a field that only some records have may be missing in the others.

    Returns
    -------
    tuple of (pandas.DataFrame, FailedRows)
        The rows that did not fail, under their number, and those that did, in order.

    Raises
    ------
    TraceCollectionError
        If a field of a record is named like another column (``.node``).

    Examples
    --------
    >>> piece = Piece.of(pd.DataFrame({"x": [1, 2]}))
    >>> piece.add("x", [], [[1, 2]], {})
    >>> assemble(["x"], [piece], keep_missing=False)[0]["x"].tolist()
    [1, 2]
    """
    whole = pieces[0]
    if len(pieces) > 1:
        whole = Piece(np.concatenate([piece.rows for piece in pieces]), {}, {}, FailedRows())
        whole.columns = {node: _joined([piece.columns.pop(node) for piece in pieces]) for node in order}
        whole.failures = FailedRows(failure for piece in pieces for failure in piece.failures)
    for node in order:
        whole.expand(node, keep_missing=keep_missing)
    whole.failures.sort(key=lambda failure: failure["row"])
    # Numbered from 0 without a gap is what a range says in no memory at all.
    index = pd.Index(whole.rows, dtype="int64") if whole.failures else pd.RangeIndex(len(whole))
    # The arrays are ours alone: a copy would only double the memory.
    columns = {name: _writeable(values) for name, values in whole.columns.items()}
    return pd.DataFrame(columns, index=index, copy=False), whole.failures


def _writeable(values: Column) -> Column:
    return values.copy() if isinstance(values, np.ndarray) and not values.flags.writeable else values


def _joined(parts: Sequence[Column]) -> Column:
    filled = [part for part in parts if len(part)]
    if len(filled) == 1:
        return filled[0]
    if filled and all(isinstance(part, np.ndarray) and part.dtype == filled[0].dtype for part in filled):  # type: ignore[union-attr]
        return np.concatenate(filled)
    return [value for part in filled for value in (part.tolist() if isinstance(part, np.ndarray) else part)]


def _cells_of(node: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Record):
        return {f"{node}{name}": cell for name, cell in value.cells.items()}
    return {node: value.item() if isinstance(value, np.generic) else value}
