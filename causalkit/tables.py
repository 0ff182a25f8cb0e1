"""The contract of a trace table: one row per run, one column of numbers or labels per node.

Inside the package every column is a float: a label is its position among the column's levels.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from causalkit.errors import FitError

if TYPE_CHECKING:
    pass

Levels = dict[str, tuple[Any, ...]]

# A column with more labels than this is free text, of which rows of one kind cannot be told.
MAX_LEVELS = 50


def find_levels(traces: pd.DataFrame, nodes: Iterable[str]) -> Levels:
    """Return the labels of every column that holds labels instead of numbers.

    Parameters
    ----------
    traces : pandas.DataFrame
    nodes : iterable of str
        The columns to look at; those that are not there are passed over.

    Returns
    -------
    dict of str to tuple
        Sorted labels of text columns, the categories of a categorical column in its own order, ``(False, True)`` for
        booleans. Columns of numbers are not in it.

    Raises
    ------
    FitError
        If a column mixes text and numbers, or has more than 50 labels (``.column``).

    Examples
    --------
    >>> find_levels(pd.DataFrame({"mode": ["fast", "deep", "fast"], "ok": [True, False, True], "n": [1, 2, 3]}),
    ...             ["mode", "ok", "n"])
    {'mode': ('deep', 'fast'), 'ok': (False, True)}
    """
    found: Levels = {}
    for node in nodes:
        if node in traces.columns:
            labels = _labels(_column(traces, node))
            if labels is not None:
                found[node] = labels
    return found


def check_table(
    traces: pd.DataFrame,
    graph: Iterable[str],
    *,
    levels: Mapping[str, tuple[Any, ...]] | None = None,
    missing: Literal["error", "keep"] = "error",
) -> pd.DataFrame:
    """Return the graph's columns as floats, labels as their positions among the levels.

    Parameters
    ----------
    traces : pandas.DataFrame
        One row per run; columns that are no nodes are ignored.
    graph : networkx.DiGraph or iterable of str
        The nodes, being column names.
    levels : mapping of str to tuple, optional
        The labels of columns that hold labels; default: those that are found.
    missing : {"error", "keep"}, default "error"
        Whether a missing value is an error or NaN.

    Returns
    -------
    pandas.DataFrame
        One float column per node.

    Raises
    ------
    FitError
        If a column is missing, mixes text and numbers, holds an unknown label, or holds missing or infinite values; the
        sentence names the column and the first row.

    Examples
    --------
    >>> check_table(pd.DataFrame({"mode": ["fast", "deep"]}), ["mode"])["mode"].tolist()
    [1.0, 0.0]
    >>> check_table(pd.DataFrame({"x": [1]}), ["x", "y"])
    Traceback (most recent call last):
    ...
    causalkit.errors.FitError: the trace table has no column for node 'y'; it has 'x'...
    """
    if not isinstance(traces, pd.DataFrame):
        raise FitError(f"a trace table is a pandas DataFrame, not {type(traces).__name__}; wrap it: pd.DataFrame(...)")
    nodes = list(graph)
    absent = [node for node in nodes if node not in traces.columns]
    if absent:
        raise FitError(
            f"the trace table has no column for node {', '.join(map(repr, absent))}; "
            f"it has {', '.join(map(repr, traces.columns))}: add the column or drop the node from the graph",
            column=absent[0],
        )
    known = find_levels(traces, nodes) if levels is None else levels
    columns = {
        node: _codes(_column(traces, node), known[node]) if node in known else _numbers(traces, node) for node in nodes
    }
    table = pd.DataFrame(columns, index=traces.index)
    if missing == "error":
        _refuse_missing(table)
    return table


def decode(table: pd.DataFrame, levels: Mapping[str, tuple[Any, ...]]) -> pd.DataFrame:
    """Return the table with labels in place of their positions.

    Examples
    --------
    >>> decode(pd.DataFrame({"mode": [1.0, 0.0]}), {"mode": ("deep", "fast")})["mode"].tolist()
    ['fast', 'deep']
    """
    shown = table.copy()
    for node in shown.columns.intersection(list(levels)):
        labels = np.array(levels[node], dtype=bool if levels[node] == (False, True) else object)
        shown[node] = labels[shown[node].to_numpy(dtype=int)]
    return shown


def row_name(index: pd.Index[Any], position: int) -> Any:
    """Return the name of a row as a sentence needs it: a plain 3, not a NumPy number.

    Examples
    --------
    >>> row_name(pd.Index([10, 11, 12]), 1)
    11
    """
    return index[[position]].tolist()[0]


def _column(traces: pd.DataFrame, node: str) -> pd.Series[Any]:
    column = traces[node]
    if isinstance(column, pd.DataFrame):
        raise FitError(f"the trace table has more than one column {node!r}; keep one", column=node)
    return column


def _labels(column: pd.Series[Any]) -> tuple[Any, ...] | None:
    """Return the labels of a column, None for a column of numbers."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _few(column, tuple(column.cat.remove_unused_categories().cat.categories))
    if column.dtype.kind == "b":
        return (False, True)
    if column.dtype.kind != "O" and not pd.api.types.is_string_dtype(column.dtype):
        return None
    values = column.dropna()
    kinds = {
        "text" if isinstance(value, str) else "bool" if isinstance(value, bool | np.bool_) else "number"
        for value in values
    }
    if kinds <= {"bool"} and len(values):
        return (False, True)
    if "text" not in kinds:
        return None
    if kinds != {"text"}:
        _refuse(
            column,
            np.array([isinstance(value, str) for value in column]),
            "mixes text with numbers",
            "make it all text or all numbers",
        )
    return _few(column, tuple(sorted(set(values))))


def _few(column: pd.Series[Any], labels: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    if len(labels) > MAX_LEVELS:
        raise FitError(
            f"column {column.name!r} holds {len(labels)} different labels; more than {MAX_LEVELS} are free text, not a "
            "category: group them or leave the node out",
            column=column.name,
        )
    return labels


def _codes(column: pd.Series[Any], labels: tuple[Any, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    places = {label: float(place) for place, label in enumerate(labels)}
    codes = column.astype(object).map(places).to_numpy(dtype=float, na_value=np.nan)
    unknown = np.isnan(codes) & ~column.isna().to_numpy()
    _refuse(column, unknown, "holds a label that is not known", f"known are {', '.join(map(repr, labels))}")
    return codes


def _numbers(traces: pd.DataFrame, node: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    column = _column(traces, node)
    if column.dtype.kind in "mMc":
        raise FitError(f"column {node!r} holds {column.dtype}; convert it to plain numbers with a unit", column=node)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    absent = column.isna().to_numpy()
    _refuse(column, np.isnan(numbers) & ~absent, "holds what is no number", "convert it or leave it out")
    _refuse(column, np.isinf(numbers), "is infinite", "replace or drop such rows")
    return numbers


def _refuse_missing(table: pd.DataFrame) -> None:
    absent = table.isna()
    counts = {str(node): int(count) for node, count in absent.sum().items() if count}
    if not counts:
        return
    column = next(iter(counts))
    row = row_name(table.index, int(np.argmax(absent[column].to_numpy())))
    named = ", ".join(f"{node!r} ({count} of {len(table)})" for node, count in counts.items())
    raise FitError(
        f"values are missing in {named}, first of {column!r} in row {row!r}; fill them or drop such rows (a fit also "
        'takes missing="drop" or missing="model")',
        column=column,
        row=row,
        missing=counts,
    )


def _refuse(column: pd.Series[Any], wrong: np.ndarray[Any, np.dtype[np.bool_]], what: str, advice: str) -> None:
    if wrong.any():
        position = int(np.argmax(wrong))
        row, value = row_name(column.index, position), column.iloc[[position]].tolist()[0]
        raise FitError(
            f"column {column.name!r} {what}: first in row {row!r} ({value!r}); {advice}",
            column=column.name,
            row=row,
        )
