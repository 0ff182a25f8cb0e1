"""Run bound functions along their graph, and keep the failures beside the table."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from causalkit.collect.failures import FailedRows as FailedRows
from causalkit.collect.failures import MissingResult, told
from causalkit.collect.functions import BoundFunction
from causalkit.collect.pieces import EXACT_TYPES, Column, Piece, Record, as_column, assemble
from causalkit.plain_values import UnusableResult, plain

BAR_DELAY_S = 0.5  # a bar that is gone at once would only flicker
LARGEST_BLOCK = 8192  # rows between two looks at the bar; more are no faster
BLOCK_S = 0.1  # a bar that moves ten times a second moves smoothly

ByColumn: TypeAlias = Callable[[BoundFunction, Mapping[str, Column], int], "np.ndarray[Any, Any] | None"]


def run_rows(
    order: Sequence[str],
    functions: Mapping[str, BoundFunction],
    inputs: pd.DataFrame,
    *,
    keep_missing: bool,
    progress: bool,
    expand: bool = False,
) -> tuple[pd.DataFrame, FailedRows]:
    """Run every function once for each row of the inputs, parents first.

    The functions are called node by node, each for all rows that have not failed before.

    Parameters
    ----------
    order : sequence of str
        The nodes, parents first.
    functions : mapping of str to BoundFunction
        The functions of the nodes that are computed.
    inputs : pandas.DataFrame
        The values of the nodes that are not; a column named like a computed node is added to its results.
    keep_missing : bool
        Whether a missing result is a value; otherwise it fails its row.
    progress : bool
        Show a bar.
    expand : bool, default False
        Whether a function may return a dict or dataclass, which becomes one column a field.

    Returns
    -------
    tuple of (pandas.DataFrame, FailedRows)
        The rows that did not fail, under their number, and those that did.

    Examples
    --------
    >>> half = BoundFunction("y", lambda x: 1 / x, (), {"x": "x"})
    >>> inputs = pd.DataFrame({"x": [0, 2]})
    >>> table, failures = run_rows(["x", "y"], {"y": half}, inputs, keep_missing=False, progress=False)
    >>> table["y"].to_dict(), [failure["row"] for failure in failures]
    ({1: 0.5}, [0])
    """
    piece = Piece.of(inputs)
    run_nodes(piece, order, functions, keep_missing=keep_missing, progress=progress, expand=expand)
    return assemble(order, [piece], keep_missing=keep_missing)


def run_nodes(
    piece: Piece,
    nodes: Sequence[str],
    functions: Mapping[str, BoundFunction],
    *,
    keep_missing: bool,
    progress: bool,
    expand: bool = False,
    by_column: ByColumn | None = None,
) -> None:
    """Add the columns of some nodes to a piece of a table.

    Parameters
    ----------
    piece : Piece
        The piece, with the columns of all their parents.
    nodes : sequence of str
        The nodes, parents first.
    functions, keep_missing, progress, expand
        As for `run_rows`.
    by_column : callable, optional
        Returns the results of a function for whole columns, or None where it must be called row by row.

    Examples
    --------
    >>> piece = Piece.of(pd.DataFrame({"x": [1, 2]}))
    >>> run_nodes(piece, ["x"], {}, keep_missing=False, progress=False)
    >>> piece.columns["x"].tolist()
    [1, 2]
    """
    calls = len(piece) * sum(node in functions for node in nodes)
    with tqdm(total=calls, desc="calls", leave=False, disable=not progress, delay=BAR_DELAY_S) as bar:
        pace = _Pace(bar)
        for node in nodes:
            if node not in functions:
                _add(piece, node, (), _Results(keep_missing).take(piece.inputs[node]))
                continue
            results = _Results(keep_missing, expand, piece.inputs.get(node))
            if by_column and (whole := by_column(functions[node], piece.columns, len(piece))) is not None:
                results.take(whole)
                bar.update(len(piece))
            else:
                for block in pace.blocks(len(piece)):
                    results.take_calls(functions[node], piece.columns, block)
            _add(piece, node, functions[node].parents, results)


def _add(piece: Piece, node: str, parents: Sequence[str], results: _Results) -> None:
    piece.add(node, parents, results.parts, results.errors)


class _Pace:
    """Cuts rows into blocks that are large, and yet over soon enough for the bar to move."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar, self.size = bar, 1

    def blocks(self, count: int) -> Iterator[slice]:
        start = 0
        while start < count:
            began, stop = time.perf_counter(), min(start + self.size, count)
            yield slice(start, stop)
            self.bar.update(stop - start)
            start = stop
            quick = time.perf_counter() - began < BLOCK_S
            self.size = min(2 * self.size, LARGEST_BLOCK) if quick else max(self.size // 2, 1)


class _Results:
    """The results of one node so far: the good ones in parts, the others as (exception, message) by position."""

    def __init__(self, keep_missing: bool, expand: bool = False, noise: Column | None = None) -> None:
        self.keep_missing, self.expand, self.noise = keep_missing, expand, noise
        self.parts: list[Column] = []
        self.errors: dict[int, tuple[str, str]] = {}
        self.count = 0

    def take(self, values: Column) -> _Results:
        """Take a whole column of values, and return this object."""
        if isinstance(values, np.ndarray) and not self._holds_missing(values):
            self._keep(values, slice(self.count, self.count + len(values)))
        else:
            self._take_one_by_one(values.tolist() if isinstance(values, np.ndarray) else values, {})
        self.count += len(values)
        return self

    def take_calls(self, function: BoundFunction, columns: Mapping[str, Column], block: slice) -> None:
        """Take what a function returns for a block of rows."""
        taken = {parent: _handed_on(columns[parent][block]) for parent in function.parents}
        if any(type(value) is Record for values in taken.values() for value in values):
            function = dataclasses.replace(function, function=_with_copies(function.function))
        count = block.stop - block.start
        results, errors = _outcomes(function.over(taken, count), count)
        column = None if errors else as_column(results)
        if isinstance(column, np.ndarray) and not self._holds_missing(column):
            self._keep(column, block)
        else:
            self._take_one_by_one(results, errors)
        self.count += count

    def _take_one_by_one(self, results: Sequence[Any], errors: Mapping[int, tuple[str, str]]) -> None:
        kept = []
        for position, value in enumerate(results):
            if position in errors:
                self.errors[self.count + position] = errors[position]
                continue
            try:
                cell = _cell(value, self.keep_missing, self.expand)
                kept.append(cell if self.noise is None else _noisy(cell, self.noise[self.count + position]))
            except Exception as error:
                self.errors[self.count + position] = told(error)
        self.parts.append(as_column(kept))

    def _keep(self, values: np.ndarray[Any, Any], block: slice) -> None:
        if self.noise is None:
            self.parts.append(values)
        elif values.dtype != bool:
            self.parts.append(values + np.asarray(self.noise[block]))
        else:
            self._take_one_by_one(values.tolist(), {})

    def _holds_missing(self, values: np.ndarray[Any, Any]) -> bool:
        # The sum tells for far less than a look at every value, except where infinities cancel out.
        if self.keep_missing or values.dtype != np.float64:
            return False
        with np.errstate(all="ignore"):
            return bool(np.isnan(values.sum()) and np.isnan(values).any())


def _handed_on(values: Column) -> list[Any]:
    """Return the values as functions receive them: numbers, bools and texts of Python's own."""
    return values.tolist() if isinstance(values, np.ndarray) else values


def _with_copies(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that receives a record as a copy of its own, so that no sibling sees what it changes."""

    def handed(value: Any) -> Any:
        return copy.deepcopy(value.value) if type(value) is Record else value

    return lambda *args, **named: function(*map(handed, args), **{name: handed(value) for name, value in named.items()})


def _outcomes(calls: Iterator[Any], count: int) -> tuple[list[Any], dict[int, tuple[str, str]]]:
    """Return what the calls return, None where one raises, and what was raised."""
    results: list[Any] = []
    errors: dict[int, tuple[str, str]] = {}
    append = results.append
    while True:
        try:
            for result in calls:
                append(result if type(result) in EXACT_TYPES else _snapshot(result))
            if len(results) == count:
                return results, errors
            # The iterator takes a function's own StopIteration for its end.
            errors[len(results)] = told(StopIteration())
        # SystemExit too: a script's sys.exit() must end its row, not the kernel.
        except (Exception, SystemExit) as error:
            errors[len(results)] = told(error)
        append(None)


def _snapshot(result: Any) -> Any:
    """Return a result that no later call can change, as it could an object that the function still has."""
    if isinstance(result, np.ndarray) and result.ndim == 0:
        return result.item()
    return copy.deepcopy(result) if _has_fields(result) else result


def _has_fields(value: Any) -> bool:
    return isinstance(value, Mapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _cell(value: Any, keep_missing: bool, expand: bool = False) -> Any:
    """Return a value as a number, bool or text of Python's own, or as a record of them."""
    if _has_fields(value):
        if expand:
            return Record(value, dict(_cells(value, "", keep_missing)))
        raise UnusableResult(f"returned a {type(value).__name__}; return one value, or pass expand=True for its fields")
    value = plain(value)
    missing = value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
    if missing and not keep_missing:
        raise MissingResult(f'returned {value}; return a value on every path, or pass nan="keep"')
    return value


def _cells(record: Any, prefix: str, keep_missing: bool) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of every field of a record, records within it included."""
    if isinstance(record, Mapping):
        fields = {str(name): value for name, value in record.items()}
    else:
        fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if not fields:
        raise UnusableResult("returned a record without fields")
    for name, value in fields.items():
        cell = _cell(value, keep_missing, expand=True)
        if isinstance(cell, Record):
            yield from _cells(value, f"{prefix}.{name}", keep_missing)
        else:
            yield f"{prefix}.{name}", cell


def _noisy(value: Any, noise: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableResult(f"returned a {type(value).__name__}, to which no noise can be added; return a number")
    return value + float(noise)
