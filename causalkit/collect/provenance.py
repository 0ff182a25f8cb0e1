"""What a trace table says of how it came about: what is left out, which graph, which functions."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from types import CodeType
from typing import Any

import networkx as nx
import pandas as pd

from causalkit.collect.failures import BiasedSampleWarning, FailedRows, find_bias


def caveats_of(failures: FailedRows, inputs: pd.DataFrame) -> list[str]:
    """Say that failed rows are left out, and warn the caller's caller where these are no random ones.

    Parameters
    ----------
    failures : FailedRows
        The rows that failed.
    inputs : pandas.DataFrame
        The drawn inputs of all rows.

    Returns
    -------
    list of str
        Nothing where no row failed.

    Warns
    -----
    BiasedSampleWarning
        If it depends on an input whether a row fails.

    Examples
    --------
    >>> caveats_of(FailedRows([{"row": 1}]), pd.DataFrame({"x": [1, 2, 3]}))
    ['1 of 3 rows failed and are left out: what remains may be a biased sample']
    """
    if not failures:
        return []
    left_out = f"{len(failures)} of {len(inputs)} rows failed and are left out"
    found = find_bias(inputs, [failure["row"] for failure in failures])
    if not found:
        return [f"{left_out}: what remains may be a biased sample"]
    caveat = f"{left_out}, and not at random, so that the remaining rows are a biased sample: {'; '.join(found)}"
    warnings.warn(caveat, BiasedSampleWarning, stacklevel=3)
    return [caveat]


def graph_of_columns(graph: nx.DiGraph[str], columns: Sequence[str]) -> dict[str, Any]:
    """Return the causal graph of a table, in which an expanded node is its fields.

    Parameters
    ----------
    graph : networkx.DiGraph
        The causal graph of the nodes.
    columns : sequence of str
        The columns of the table.

    Returns
    -------
    dict
        ``nodes`` and ``edges`` as lists.

    Examples
    --------
    >>> graph_of_columns(nx.DiGraph([("x", "y")]), ["x", "y.net", "y.tax"])["edges"]
    [['x', 'y.net'], ['x', 'y.tax']]
    """
    there = set(columns)
    names = {
        node: [node] if node in there else [name for name in columns if name.startswith(f"{node}.")] for node in graph
    }
    edges = [
        [cause, effect] for parent, child in sorted(graph.edges) for cause in names[parent] for effect in names[child]
    ]
    return {"nodes": list(columns), "edges": edges}


def hashes_of(function_code: Mapping[str, str | Callable[..., Any]]) -> dict[str, str]:
    """Return the SHA-256 of the source of every function whose source is known.

    Parameters
    ----------
    function_code : mapping of str to str or callable
        Source text and live callables by node.

    Returns
    -------
    dict of str to str
        By node, in hexadecimal.

    Examples
    --------
    >>> hashes_of({"y": "def y(x): return x", "z": abs})["y"][:8]
    '9759d9a6'
    """
    sources = {
        node: code if isinstance(code, str) else _source(getattr(code, "__code__", None))
        for node, code in function_code.items()
    }
    return {node: sha256(source.encode()).hexdigest() for node, source in sources.items() if source is not None}


@lru_cache(maxsize=1024)
def _source(code: CodeType | None) -> str | None:
    """Return the source of a live function, whose file is slow to read."""
    try:
        return None if code is None else inspect.getsource(code)
    except (OSError, TypeError):
        return None
