"""A small service whose equations are known, so that every answer about it can be held against the truth.

A run searches, ranks and sends. ``depth`` is a knob, set at random; ``load`` is what the machine has to do besides, and
it also decides how often a careful ``mode`` is chosen, so that mode and latency have a common cause.

::

    search_ms = 20 + 3 depth + 8 (not cached) + noise       cached: seven times of ten
    rank_ms   = 10 + 0.4 search_ms + 2 load + 15 (mode is careful) + noise
    send_ms   = 5 + 0.3 load^2 + noise
    total_ms  = search_ms + rank_ms + send_ms
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.streams import stream

NOISE_MS = {"search_ms": 4.0, "rank_ms": 3.0, "send_ms": 1.0}
"""Standard deviation of each step's own noise."""


def graph() -> nx.DiGraph[str]:
    """Return the causal graph, the total declared as the sum of its steps.

    Examples
    --------
    >>> sorted(graph().predecessors("rank_ms"))
    ['load', 'mode', 'search_ms']
    """
    edges = ["depth search_ms", "cached search_ms", "search_ms rank_ms", "load rank_ms", "mode rank_ms"]
    edges += ["load mode", "load send_ms", "search_ms total_ms", "rank_ms total_ms", "send_ms total_ms"]
    shop: nx.DiGraph[str] = nx.DiGraph(tuple(edge.split()) for edge in edges)  # type: ignore[misc] # pairs
    shop.nodes["depth"]["role"] = shop.nodes["cached"]["role"] = "knob"
    shop.nodes["total_ms"]["derived"] = "sum"
    return shop


def runs(
    num_runs: int,
    *,
    random_seed: int,
    do: Mapping[str, Any] | None = None,
    shift: Mapping[str, float] | None = None,
    depth_ms: float = 3.0,
) -> pd.DataFrame:
    """Draw runs of the service.

    Parameters
    ----------
    num_runs : int
    random_seed : int
        The same runs, with the same luck, whatever is done to them.
    do : mapping, optional
        Node -> the value it is set to.
    shift : mapping, optional
        Step -> milliseconds added to its own noise, a number or one a run.
    depth_ms : float, default 3
        What one level of depth costs the search, in milliseconds.

    Returns
    -------
    pandas.DataFrame
        One column per node.

    Examples
    --------
    >>> before, after = (runs(5, random_seed=0, do={"depth": depth})["total_ms"] for depth in (2, 3))
    >>> (after - before).round(6).unique()
    array([4.2])
    """
    do, shift = do or {}, shift or {}
    rng = stream(random_seed, "shop")
    depth, cached = rng.integers(1, 9, num_runs), rng.random(num_runs) < 0.7
    load, careful = rng.gamma(4.0, 0.5, num_runs), rng.random(num_runs)
    own = {step: scale * rng.normal(size=num_runs) + shift.get(step, 0.0) for step, scale in NOISE_MS.items()}
    table: dict[str, Any] = {}

    def node(name: str, value: Any) -> None:
        table[name] = np.full(num_runs, do[name]) if name in do else value

    node("depth", depth)
    node("cached", cached)
    node("load", load)
    node("mode", np.where(careful < 1 / (1 + np.exp(2 - table["load"])), "careful", "fast"))
    node("search_ms", 20 + depth_ms * table["depth"] + 8 * ~table["cached"] + own["search_ms"])
    slow = 15 * (table["mode"] == "careful")
    node("rank_ms", 10 + 0.4 * table["search_ms"] + 2 * table["load"] + slow + own["rank_ms"])
    node("send_ms", 5 + 0.3 * table["load"] ** 2 + own["send_ms"])
    node("total_ms", table["search_ms"] + table["rank_ms"] + table["send_ms"])
    return pd.DataFrame(table)
