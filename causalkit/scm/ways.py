"""Which ways an effect takes: the directed paths from a source to a target, strongest first.

On a way along which every mechanism is linear the effect is the product of its slopes, and the effects of all ways add
up to the whole (Wright 1934, *The method of path coefficients*). Ways are found one after the other, best first (Hart,
Nilsson & Raphael 1968), as a dense graph has more of them than can be listed; they are counted without listing them.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import GraphError
from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.interventions import Shift
from causalkit.scm.state import NUM_REPLICATES
from causalkit.scm.strengths import Ranking, check_node, factors_of
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

Way = tuple[str, ...]
Edge = tuple[str, str]


@dataclass(frozen=True, repr=False)
class Paths(Ranking):
    """The ways from a source to a target.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``path, effect, low, high``: the nodes on the way, and by how much the target moves along it when the source is
        raised by one, with the 95 % interval over refits. Linear ways come first, strongest first; then the others,
        shortest first, whose effect has no one number and is missing.
    caveats : list of str
    source, target : str
    num_paths : int
        All ways there are, shown or not.
    total : float or None
        The effects of all ways together; None where a way is not linear.
    interval : tuple of float or None
        95 %, of `total`.

    Examples
    --------
    >>> ways = pd.DataFrame({"path": [("x", "y", "z")], "effect": [6.0], "low": [5.0], "high": [7.0]})
    >>> Paths(ways, [], "x", "z", 2, 8.0, (7.0, 9.0)).sentence
    '1 of 2 ways from x to z is shown; it carries +6.00 of the whole +8.00 (95 % interval +7.00 to +9.00) a unit of x.'
    """

    source: str
    target: str
    num_paths: int
    total: float | None
    interval: tuple[float, float] | None

    @property
    def sentence(self) -> str:
        """The finding in words."""
        ends = f"from {self.source} to {self.target}"
        if not self.num_paths:
            return f"No way leads {ends}."
        are, they = ("is", "it carries") if len(self.frame) == 1 else ("are", "they carry")
        told = f"{len(self.frame)} of {self.num_paths} ways {ends} {are} shown"
        if self.total is None or self.interval is None:
            return f"{told}; not all mechanisms between them are linear, so the whole has no one slope."
        return (
            f"{told}; {they} {number(self.frame['effect'].sum(), signed=True)} of the whole "
            f"{number(self.total, signed=True)} (95 % interval {interval(self.interval, signed=True)}) "
            f"a unit of {self.source}."
        )

    def bars(self) -> tuple[str, str, pd.DataFrame]:
        """Return a title, what is on the axis, and the bars, of linear ways: ``name, value, low, high``."""
        bars = self.frame.dropna().rename(columns={"path": "name", "effect": "value"})
        title = f"Ways from {self.source} to {self.target}"
        label = f"change of {self.target} a unit of {self.source}"
        return title, label, bars.assign(name=bars["name"].map(" \N{RIGHTWARDS ARROW} ".join))


def paths(scm: FittedState, source: str, target: str, max_paths: int) -> Paths:
    """Answer `FittedSCM.paths`."""
    check_node(scm, source, target)
    if source == target:
        raise GraphError(f"source and target are both {source!r}; give two nodes", node=source)
    if max_paths < 1:
        raise GraphError(f"max_paths is {max_paths!r}; ask for one way or more")
    refuse_biased(scm, {source: 0.0}, [target])
    between = (nx.descendants(scm.graph, source) | {source}) & (nx.ancestors(scm.graph, target) | {target})
    # The source comes first and the target last: all else lies between them.
    order = [node for node in scm.order if node in between]
    edges = {edge: slope(scm, *edge) for edge in sorted(scm.graph.subgraph(between).edges)}
    slopes = {edge: each for edge, each in edges.items() if not isinstance(each, str)}
    shown = list(islice(_ways(order, slopes, edges), max_paths))
    bent = {str(edges[edge]): None for way in shown for edge in pairwise(way) if edge not in slopes}
    total = sums_over_ways(order, slopes).get(target, 0) * np.ones(1 + NUM_REPLICATES)
    whole = len(slopes) == len(edges)
    return Paths(
        _frame(shown, slopes),
        [f"a way has no effect of its own where {'; '.join(bent)}"] * bool(bent)
        + (caveats_of(scm, {source: Shift(1.0)}, target) if shown else []),
        source,
        target,
        sums_over_ways(order, dict.fromkeys(edges, 1)).get(target, 0),
        float(total[0]) if whole else None,
        interval95(total[1:]) if whole else None,
    )


def slope(scm: FittedState, parent: str, node: str) -> FloatArray | str:
    """Return by how much a node moves when one parent is raised by one, or in words why that is no one number.

    Returns
    -------
    ndarray, shape (1 + replicates,), or str
        As fitted, then by each refit.
    """
    if node in scm.derived:
        return np.ones(1 + NUM_REPLICATES) if scm.derived[node] == "sum" else f"{node} is a formula that bends"
    mechanism = scm.mechanisms[node]
    terms, place = mechanism.terms, mechanism.parents.index(parent)
    if not mechanism.additive or terms.features.labels[place] is not None:
        return f"{parent if mechanism.additive else node} holds labels"
    if mechanism.log:
        return f"{node} is modelled on its logarithm"
    fits, mine = scm.fits[node], factors_of(terms, place)
    chosen = [k for k, term in enumerate(terms.factors) if mine[list(term)].any() and fits[k].any()]
    if mechanism.learner is not None or len(chosen) > 1 or any(len(terms.factors[k]) > 1 for k in chosen):
        return f"{node} is not linear in {parent} ({mechanism.rung})"
    return np.asarray(fits[chosen].sum(axis=0) / terms.scale[mine[: len(terms.scale)]])


def _ways(order: list[str], slopes: Mapping[Edge, FloatArray], edges: Collection[Edge]) -> Iterator[Way]:
    """Yield the linear ways, strongest first, and then the others, shortest first."""
    sizes = {edge: abs(float(each[0])) for edge, each in slopes.items()}
    yield from _best_first(order, {edge: -math.log(size) if size else math.inf for edge, size in sizes.items()})
    for way in _best_first(order, dict.fromkeys(edges, 1.0)):
        if any(edge not in slopes for edge in pairwise(way)):
            yield way


def _best_first(order: list[str], costs: Mapping[Edge, float]) -> Iterator[Way]:
    """Yield the ways from the cheapest to the dearest, one by one.

    What is compared is by how much a way is dearer than the cheapest. It does not change along the cheapest
    continuation, and of equals the latest goes first: a way is followed to its end before any other is begun.
    """
    children, rest = _children(costs), dict.fromkeys(order[-1:], 0.0)
    for node in reversed(order[:-1]):
        onward = [costs[node, child] + rest[child] for child in children[node] if child in rest]
        if onward:
            rest[node] = min(onward)
    tickets = count(0, -1)
    heap: list[tuple[float, int, Way]] = [(0.0, 0, (node,)) for node in order[:1] if node in rest]
    while heap:
        dearer, _, way = heapq.heappop(heap)
        node = way[-1]
        if node == order[-1]:
            yield way
        for child in children[node]:
            if child in rest:
                # Beyond a slope of nought all ways cost the same.
                more = costs[node, child] + rest[child] - rest[node] if rest[node] < math.inf else 0.0
                heapq.heappush(heap, (dearer + more, next(tickets), (*way, child)))


def sums_over_ways(order: list[str], factors: Mapping[Edge, Any]) -> dict[str, Any]:
    """Return, for each node, the sum over all ways from the first one of the product of what stands on their edges."""
    children, reached = _children(factors), dict.fromkeys(order, 0) | dict.fromkeys(order[:1], 1)
    for node in order:
        for child in children[node]:
            reached[child] = reached[child] + reached[node] * factors[node, child]
    return reached


def _children(edges: Iterable[Edge]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = defaultdict(list)
    for parent, child in edges:
        children[parent].append(child)
    return children


def _frame(ways: list[Way], slopes: Mapping[Edge, FloatArray]) -> pd.DataFrame:
    rows: list[tuple[Way, float, float, float]] = []
    for way in ways:
        known = [slopes.get(edge) for edge in pairwise(way)]
        effect = np.prod([each for each in known if each is not None], axis=0)
        linear = all(each is not None for each in known)
        rows.append((way, effect[0], *interval95(effect[1:])) if linear else (way, math.nan, math.nan, math.nan))
    return pd.DataFrame(rows, columns=["path", "effect", "low", "high"])
