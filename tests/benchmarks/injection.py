"""Faults put into recorded normal windows, at one service after another: true backgrounds, and causes that vary.

The recordings that come with their answer all have one true node. Here a window of a normal recording gets a delay or
failures at a service that is known, and its callers get what calls per request hand on to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import networkx as nx
import numpy as np
import pandas as pd

FIRST_ROW, LAST_ROW, WINDOW_ROWS, WINDOWS = 300, 580, 5, 4
# A service with fewer requests a window hardly shows a fault; a target that moves less is no incident.
FEWEST_REQUESTS, MADS_MOVED = 5, 6
SMALLEST_MAD = {"latency": 1e-6, "availability": 0.25}
SIZES = {
    "latency": (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    "availability": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
}
PASSED_ON = 0.8


class Injected(NamedTuple):
    """What a ranker is asked, and the right answer."""

    normal: pd.DataFrame
    abnormal: pd.DataFrame
    target: tuple[str, str, str]
    root: str


def injected(
    normal: pd.DataFrame, other: pd.DataFrame, calls: nx.DiGraph, front: str, same: bool
) -> Iterator[Injected]:
    """Incidents in windows of `other`, each with the weakest fault that moves the front end by 6 MAD in two rows.

    Where both are the same recording, normal is what precedes the window.
    """
    rng = np.random.default_rng(0)
    calls = nx.DiGraph([edge for edge in calls.edges if edge[0] != edge[1]])
    for root in sorted(nx.descendants(calls, front)):
        if requests(normal, root) <= 0 or requests(other, root) < FEWEST_REQUESTS:
            continue
        for metric in SIZES:
            for _ in range(WINDOWS):
                start = int(rng.integers(FIRST_ROW, LAST_ROW))
                before, window = normal.iloc[:start] if same else normal, other.iloc[start : start + WINDOW_ROWS]
                course = np.array([0, rng.choice([0, 0.3]), 1, rng.uniform(0.5, 1), rng.choice([0, 0.2])])
                found = _weakest(before, window, calls, (front, metric, "Average"), root, course)
                if found is not None:
                    yield Injected(before, found, (front, metric, "Average"), root)


def requests(table: pd.DataFrame, name: str) -> float:
    column = (name, "requests", "Sum")
    return float(table[column].median()) if column in table else 0.0


def _weakest(
    normal: pd.DataFrame,
    window: pd.DataFrame,
    calls: nx.DiGraph,
    target: tuple[str, str, str],
    root: str,
    course: np.ndarray,
) -> pd.DataFrame | None:
    far = MADS_MOVED * max(float((normal[target] - normal[target].median()).abs().median()), SMALLEST_MAD[target[1]])
    for size in SIZES[target[1]]:
        faulty = _with_fault(normal, window, calls, target[1], root, size * course)
        if int(((faulty[target] - window[target]).abs() > far).sum()) >= 2:
            return faulty
    return None


def _with_fault(
    normal: pd.DataFrame, window: pd.DataFrame, calls: nx.DiGraph, metric: str, root: str, added: np.ndarray
) -> pd.DataFrame:
    """Return the window with seconds, or a share of failures, added at the root and handed on to its callers."""
    faulty, reached = window.copy(), {root: added}
    rates = {name: requests(normal, name) for name in calls}
    for name in reversed(list(nx.lexicographical_topological_sort(calls))):
        if name == root or rates[name] <= 0 or not nx.has_path(calls, name, root):
            continue
        reached[name] = np.zeros(len(added))
        for callee in calls.successors(name):
            if callee in reached:
                a_request = rates[callee] / max(sum(rates[caller] for caller in calls.predecessors(callee)), 1)
                handed = a_request * reached[callee]
                if metric == "availability":
                    handed = (1 - reached[name]) * np.clip(a_request, 0, 1) * PASSED_ON * reached[callee]
                reached[name] = reached[name] + handed
    rng = np.random.default_rng(len(root))
    for name, change in reached.items():
        for column in [column for column in faulty.columns if column[:2] == (name, metric)]:
            if metric == "latency":
                faulty[column] = faulty[column] + change
            else:
                asked = np.nan_to_num(window.get((name, "requests", "Sum"), pd.Series(0.0, window.index)).to_numpy())
                failed = rng.binomial(asked.astype(int), np.clip(change, 0, 1))
                faulty[column] = faulty[column] - 100 * failed / np.maximum(asked, 1)
    return faulty
