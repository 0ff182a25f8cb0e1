"""The contract of a trace table: one row per run, one numeric column per node, nothing missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import FitError

if TYPE_CHECKING:
    import networkx as nx


def check_table(traces: pd.DataFrame, graph: nx.DiGraph[str]) -> pd.DataFrame:
    """Return the graph's columns as floats, booleans as 0 and 1.

    Parameters
    ----------
    traces : pandas.DataFrame
        One row per run; columns that are no nodes are ignored.
    graph : networkx.DiGraph
        The causal graph, its nodes being column names.

    Returns
    -------
    pandas.DataFrame
        One float column per node.

    Raises
    ------
    FitError
        If a column is missing, holds text, or holds missing or infinite values; the sentence names the column and the
        first row.

    Examples
    --------
    >>> import networkx as nx
    >>> check_table(pd.DataFrame({"x": [True, False]}), nx.DiGraph([("x", "y")]))
    Traceback (most recent call last):
    ...
    causalkit.errors.FitError: the trace table has no column for node 'y'; it has 'x'...
    """
    if not isinstance(traces, pd.DataFrame):
        raise FitError(f"a trace table is a pandas DataFrame, not {type(traces).__name__}; wrap it: pd.DataFrame(...)")
    missing = [node for node in graph if node not in traces.columns]
    if missing:
        raise FitError(
            f"the trace table has no column for node {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, traces.columns))}: add the column or drop the node from the graph",
            column=missing[0],
        )
    return pd.DataFrame({node: _numbers(traces, node) for node in graph}, index=traces.index)


def row_name(index: pd.Index[Any], position: int) -> Any:
    """Return the name of a row as a sentence needs it: a plain 3, not a NumPy number.

    Examples
    --------
    >>> row_name(pd.Index([10, 11, 12]), 1)
    11
    """
    return index[[position]].tolist()[0]


def _numbers(traces: pd.DataFrame, node: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    column = traces[node]
    if isinstance(column, pd.DataFrame):
        raise FitError(f"the trace table has more than one column {node!r}; keep one", column=node)
    if column.dtype.kind in "mMc":
        raise FitError(f"column {node!r} holds {column.dtype}; convert it to plain numbers with a unit", column=node)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    absent = column.isna().to_numpy()
    # Text that looks like a number is refused too: it may be a name, as "007" is.
    text = np.array([isinstance(value, str) for value in column]) if column.dtype.kind == "O" else False
    _refuse(
        column, (np.isnan(numbers) & ~absent) | text, "holds text where numbers are due", "convert it or leave it out"
    )
    _refuse(column, absent, "has no value", f"fill or drop such rows ({absent.sum()} of {len(column)})")
    _refuse(column, np.isinf(numbers), "is infinite", "replace or drop such rows")
    return numbers


def _refuse(column: pd.Series[Any], wrong: np.ndarray[Any, np.dtype[np.bool_]], what: str, advice: str) -> None:
    if wrong.any():
        position = int(np.argmax(wrong))
        row, value = row_name(column.index, position), column.iloc[[position]].tolist()[0]
        raise FitError(
            f"column {column.name!r} {what}: first in row {row!r} ({value!r}); {advice}",
            column=column.name,
            row=row,
        )
