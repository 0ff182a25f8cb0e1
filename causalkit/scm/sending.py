"""Graphs, tables and interventions as a request to a worker has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError, WorkerError
from causalkit.graphs import check_graph
from causalkit.scm.interventions import Intervention, Scale, Shift


def fit_request(
    graph: nx.DiGraph[str], traces: pd.DataFrame | Mapping[str, Sequence[Any]], config: dict[str, Any]
) -> dict[str, Any]:
    """Return the request to fit a model; only columns that it needs are sent.

    Raises
    ------
    GraphError
        If the graph is no causal graph.
    FitError
        If a column is missing, or holds what cannot be sent.

    Examples
    --------
    >>> fit_request(nx.DiGraph([("x", "y")]), {"x": [1, 2], "y": [2.5, None]}, {})["traces"]
    {'x': [1, 2], 'y': [2.5, nan]}
    """
    check_graph(graph)
    table = _table(traces)
    groups = config.get("groups")
    lacking = [node for node in [*graph, *([] if groups is None else [groups])] if node not in table.columns]
    if lacking:
        raise FitError(
            f"the trace table has no column {lacking[0]!r}; it has {', '.join(map(repr, table.columns))}: add it, or "
            "drop the node from the graph",
            column=lacking[0],
        )
    derived = {node: data["derived"] for node, data in graph.nodes(data=True) if data.get("derived")}
    knobs = {node for node, data in graph.nodes(data=True) if data.get("role") == "knob"}
    needed = [*graph, *([groups] if groups is not None and groups not in graph else [])]
    return {
        "op": "fit",
        "graph": {"nodes": list(graph), "edges": [list(edge) for edge in graph.edges]},
        "traces": plain_columns(table[needed]),
        "attrs": {
            "knobs": sorted(knobs.union(table.attrs.get("knobs", ()))),
            "caveats": list(map(str, table.attrs.get("caveats", ()))),
        },
        "config": config | {"derived": {**derived, **(config.get("derived") or {})}},
    }


def plain_columns(table: pd.DataFrame | Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return columns as lists of Python's own values, None or NaN where one is missing.

    Raises
    ------
    FitError
        If a column is infinite somewhere, stands there twice, or holds neither numbers nor text.
    """
    frame = _table(table)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise FitError(f"the table has more than one column {twice[0]!r}; keep one", column=twice[0])
    return {str(name): _plain(frame[name]) for name in frame}


def plain_actions(interventions: Mapping[str, Intervention] | str) -> dict[str, Any] | str:
    """Return interventions as a request has them: a text as it is.

    Raises
    ------
    WorkerError
        If one is a function: code is not sent; a formula travels as text, ``"do(x=max(x, 1))"``.
    GraphError
        If one is not finite.

    Examples
    --------
    >>> plain_actions({"x": 5, "y": Shift(2)})
    {'x': 5, 'y': {'shift': 2}}
    """
    if isinstance(interventions, str):
        return interventions
    done: dict[str, Any] = {}
    for node, action in interventions.items():
        amount = action.by if isinstance(action, Shift | Scale) else action
        if callable(amount):
            raise WorkerError(f"{node!r} is put through a function, which cannot be sent to a worker; ask in process")
        if isinstance(amount, float) and not math.isfinite(amount):
            raise GraphError(f"{node!r} cannot be set to {action!r}; give a finite number", node=node)
        kind = type(action).__name__.lower()
        done[node] = {kind: amount} if isinstance(action, Shift | Scale) else amount
    return done


def _table(table: pd.DataFrame | Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    try:
        return pd.DataFrame(dict(table))
    except (TypeError, ValueError) as error:
        raise FitError(f"no table can be made of the columns given: {error}; give columns of one length") from error


def _plain(column: pd.Series[Any]) -> list[Any]:
    if column.dtype.kind in "mMc":
        raise FitError(f"column {column.name!r} holds {column.dtype}; convert it to plain numbers", column=column.name)
    if column.dtype.kind == "f" and np.isinf(column.to_numpy(dtype=float, na_value=np.nan)).any():
        raise FitError(f"column {column.name!r} is infinite in places; replace or drop such rows", column=column.name)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.tolist()
    values = column.astype(object).where(column.notna(), None).tolist()
    return [value.item() if isinstance(value, np.generic) else value for value in values]
