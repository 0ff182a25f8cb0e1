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


def _numbers(traces: pd.DataFrame, node: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    column = traces[node]
    if isinstance(column, pd.DataFrame):
        raise FitError(f"the trace table has more than one column {node!r}; keep one", column=node)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    absent = column.isna().to_numpy()
    _refuse(column, np.isnan(numbers) & ~absent, "holds text where numbers are due", "convert it or leave it out")
    _refuse(column, absent, "has no value", f"fill or drop such rows ({absent.sum()} of {len(column)})")
    _refuse(column, np.isinf(numbers), "is infinite", "replace or drop such rows")
    return numbers


def _refuse(column: pd.Series[Any], wrong: np.ndarray[Any, np.dtype[np.bool_]], what: str, advice: str) -> None:
    if wrong.any():
        position = int(np.argmax(wrong))
        row, value = column.index[position], column.iloc[position]
        raise FitError(
            f"column {column.name!r} {what}: first in row {row!r} ({value!r}); {advice}",
            column=column.name,
            row=row,
        )
