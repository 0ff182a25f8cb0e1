"""Whole columns at once, where a function does the same to a column as to each of its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from causalkit.collect.elementwise import NotElementwise, Watched, find_state
from causalkit.collect.functions import BoundFunction
from causalkit.collect.pieces import EXACT_DTYPES, Column, as_column

FEWEST_ROWS = 500  # below, the check costs more than the calls that it saves
SAMPLE_SIZE = 64


class ColumnEngine:
    """Calls functions once for whole columns, and remembers why it did not.

    A function is called with columns only where all of this holds; otherwise its rows are run one by one.

    - Its source reads as arithmetic, comparisons, numpy's elementwise functions and constants, in plain
      functions that store, catch and import nothing (`find_state`): it can keep no state.
    - Every operation on the columns is one that gives the same bits value by value (`Watched`), and
      none of them divides by zero, overflows or has no result.
    - On a random sample of rows, and on the rows where an argument is lowest, highest and nearest to
      zero, two calls with single values return what stands in the column: equal types, equal bits.

    What cannot be seen: constants outside the function that something else changes while it runs, and
    an elementwise function of numpy whose last bit depends on the length of the array, on rows that
    were not in the sample.

    Parameters
    ----------
    fewest_rows : int, default 500
        The number of rows from which on columns are tried.

    Examples
    --------
    >>> engine = ColumnEngine(fewest_rows=2)
    >>> double = BoundFunction("y", lambda x: 2 * x, (("x", None),), {})
    >>> engine(double, {"x": np.array([1, 2, 3])}, 3), engine.reasons
    (array([2, 4, 6]), {})
    """

    def __init__(self, fewest_rows: int = FEWEST_ROWS) -> None:
        self.fewest_rows = max(fewest_rows, 2)  # one value decides an `if` that a column cannot
        self.reasons: dict[str, str] = {}
        self._extremes: dict[str, tuple[Column, list[int]]] = {}

    def __call__(
        self, function: BoundFunction, columns: Mapping[str, Column], count: int
    ) -> np.ndarray[Any, Any] | None:
        """Return the results of a function for all rows, or None where it must be called row by row."""
        try:
            # As errors, because single values would raise, or warn, where columns hold an inf or a nan.
            with np.errstate(all="raise", under="ignore"):
                return self._results(function, columns, count)
        except NotElementwise as refusal:
            self.reasons[function.node] = str(refusal)
        except Exception as error:
            self.reasons[function.node] = f"called with columns it raises {type(error).__name__}: {error}"
        return None

    def _results(self, function: BoundFunction, columns: Mapping[str, Column], count: int) -> np.ndarray[Any, Any]:
        taken = self._taken(function, columns, count)
        result = function({parent: values.view(Watched) for parent, values in taken.items()})
        column = _as_results(result, count)
        rows = self._sample(taken, count)
        for _ in range(2):
            single = _one_by_one(function, {parent: values[rows] for parent, values in taken.items()}, len(rows))
            if single.dtype != column.dtype or single.tobytes() != column[rows].tobytes():
                raise NotElementwise("called row by row it returns something else")
        # Otherwise who changes one column of the table would change two.
        shared = any(np.may_share_memory(column, values) for values in taken.values())
        return column.copy() if shared else column

    def _taken(
        self, function: BoundFunction, columns: Mapping[str, Column], count: int
    ) -> dict[str, np.ndarray[Any, Any]]:
        if count < self.fewest_rows:
            raise NotElementwise("there are few rows")
        # A function that runs in another process, for one, makes its calls in another way.
        if type(function) is not BoundFunction:
            raise NotElementwise("it is not called in this process")
        if not function.parents:
            raise NotElementwise("it takes no column")
        if state := find_state(function.function):
            raise NotElementwise(state)
        taken = {}
        for parent in function.parents:
            values = columns[parent]
            if not isinstance(values, np.ndarray) or values.dtype not in EXACT_DTYPES:
                raise NotElementwise(f"{parent!r} is no column of numbers or of bools")
            taken[parent] = values
        return taken

    def _sample(self, taken: Mapping[str, np.ndarray[Any, Any]], count: int) -> list[int]:
        # Seeded, so that equal runs call functions on equal rows.
        rows = [*np.random.default_rng(count).integers(count, size=SAMPLE_SIZE)]
        for parent, values in taken.items():
            known, extremes = self._extremes.get(parent, (None, []))
            if known is not values:
                extremes = [int(values.argmin()), int(values.argmax()), int(np.abs(values).argmin())]
                self._extremes[parent] = (values, extremes)
            rows += extremes
        return rows


def _as_results(result: Any, count: int) -> np.ndarray[Any, Any]:
    """Return what a function returned for columns as a column."""
    if type(result) in (bool, int, float):
        result = np.full(count, result)
    if not isinstance(result, np.ndarray) or result.shape != (count,) or result.dtype not in EXACT_DTYPES:
        raise NotElementwise("called with columns it returns no column of numbers or of bools")
    return result.view(np.ndarray)


def _one_by_one(function: BoundFunction, taken: Mapping[str, np.ndarray[Any, Any]], count: int) -> np.ndarray[Any, Any]:
    results = list(function.over({parent: values.tolist() for parent, values in taken.items()}, count))
    column = as_column(results)
    if not isinstance(column, np.ndarray):
        column = as_column([_unboxed(value) for value in results])
    if not isinstance(column, np.ndarray):
        raise NotElementwise("called row by row it returns values of several types")
    return column


def _unboxed(value: Any) -> Any:
    """Return the one value that numpy's scalars and its arrays without an axis hold."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value
