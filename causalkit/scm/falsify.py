"""Whether the data contradict a causal graph.

A graph claims that each node is independent of all that it does not cause, once its parents are known (the local Markov
condition). Each such claim is one test; all together err with probability `alpha`. Graphs whose nodes have swapped
names say how much it means to pass (Eulig et al. 2023, *Toward falsifying causal graphs using a permutation-based
test*). An edge claims dependence; that the data do not show it is no contradiction, and is told apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError, InsufficientDataError
from causalkit.finding import Finding
from causalkit.graphs import check_graph
from causalkit.scm.blocks import group_codes
from causalkit.scm.independence import Independence
from causalkit.scm.markov import Claim, ClaimTests, edge_claims, essence, independence_claims, renamings
from causalkit.scm.model import FittedSCM
from causalkit.streams import stream
from causalkit.tables import Levels, check_table, find_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.arrays import IntArray

# With fewer, the t-statistics are far from their distribution.
_MIN_ROWS = 50
_FEW_GROUPS = 30


def falsify(
    graph_or_scm: nx.DiGraph[str] | FittedSCM,
    traces: pd.DataFrame | None = None,
    *,
    groups: str | None = None,
    alpha: float = 0.05,
    num_permutations: int = 100,
    random_seed: int | None = None,
    derived: Mapping[str, str] | None = None,
    progress: bool = True,
) -> Falsification:
    """Test a causal graph against recorded runs.

    Parameters
    ----------
    graph_or_scm : networkx.DiGraph or FittedSCM
        A model brings its table, its groups and its derived nodes along.
    traces : pandas.DataFrame, optional
        The trace table; left out only for a model, which then is tested on the rows it was fitted to.
    groups : str, optional
        Column that names the cluster of a row, such as the question of a run: rows of one cluster count as dependent.
        Default: as the model was fitted.
    alpha : float, default 0.05
        Probability that a true graph is contradicted.
    num_permutations : int, default 100
        How many graphs with permuted names the graph is compared with.
    random_seed : int, optional
        Draws those permutations; the tests themselves draw nothing. Default: the model's own, or fresh.
    derived : mapping of str to str, optional
        Nodes that *are* a formula of their parents, as for `SCMFitter.fit`; added to those that the graph marks with
        ``derived``. They are accounting: neither they nor the edges into them are tested.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    Falsification

    Raises
    ------
    GraphError
        If the graph is none, or a derived node is unknown.
    FitError
        If there is no table, it does not fit the graph or has too few rows, or an option makes no sense.

    Examples
    --------
    >>> x, y, z = np.random.default_rng(0).normal(size=(3, 500))
    >>> traces = pd.DataFrame({"x": x, "y": x + y, "z": x + y + z})
    >>> falsify(nx.DiGraph([("x", "y"), ("y", "z")]), traces, random_seed=0, progress=False).verdict
    'not contradicted'
    >>> falsify(nx.DiGraph([("x", "y"), ("x", "z")]), traces, random_seed=0, progress=False).missing_edges
    [('y', 'z')]
    """
    _check_options(alpha, num_permutations)
    data = _data_of(graph_or_scm, traces, groups, derived or {})
    claims, edges = independence_claims(data.graph, data.derived), edge_claims(data.graph, data.derived)
    swaps = renamings(
        sorted(set(data.graph) - set(data.derived)),
        num_permutations if claims else 0,
        stream(data.random_seed if random_seed is None else random_seed, "names"),
    )
    swapped = [[claim.renamed(names) for claim in claims] for names in swaps]
    tests = ClaimTests(Independence(data.table, data.levels, data.blocks))
    tests.run([claim for part in (claims, edges, *swapped) for claim in part], progress=progress)
    share = tests.violated(claims, alpha)
    own = essence(data.graph, {})
    return Falsification(
        graph=data.graph.copy(),
        tests=_table(tests, claims, edges, alpha),
        alpha=alpha,
        baseline=_share([tests.violated(part, alpha) <= share for part in swapped]),
        equivalent=_share([essence(data.graph, names) == own for names in swaps]),
        caveats=[*_few_groups(data), *_untestable(tests, [*claims, *edges]), *data.caveats],
    )


@dataclass(frozen=True, eq=False, repr=False)
class Falsification(Finding):
    """What the data say against a causal graph.

    Attributes
    ----------
    graph : networkx.DiGraph
    tests : pandas.DataFrame
        One row per test; see `to_frame`.
    alpha : float
        Probability that a true graph is contradicted.
    baseline : float or None
        Share of graphs with permuted names that violate no greater part of their claims; None: none were tried.
    equivalent : float or None
        Share of graphs with permuted names that claim exactly the same independencies.
    caveats : list of str

    Examples
    --------
    >>> table = pd.DataFrame(columns=["kind", "node", "other", "given", "statistic", "p_value", "adjusted", "rejected"])
    >>> Falsification(nx.DiGraph([("x", "y")]), table, 0.05, None, None, []).verdict
    'nothing to test'
    """

    graph: nx.DiGraph[str]
    tests: pd.DataFrame
    alpha: float
    baseline: float | None
    equivalent: float | None
    caveats: list[str]

    @property
    def verdict(self) -> str:
        """``contradicted``, ``not contradicted``, or ``nothing to test`` where the graph claims no independence."""
        claims = self._of_kind("independence")
        if claims.empty:
            return "nothing to test"
        return "contradicted" if claims["rejected"].any() else "not contradicted"

    @property
    def informative(self) -> bool:
        """Whether passing means something: few graphs with permuted names claim the same."""
        return self.equivalent is not None and self.equivalent <= self.alpha

    @property
    def missing_edges(self) -> list[tuple[str, str]]:
        """Pairs left dependent: an edge or a common cause between them is missing.

        A missing edge breaks every independence that is claimed of its ends, so pairs of which each claim is rejected
        are named; where there are none, all pairs of rejected claims.
        """
        outcomes: dict[tuple[str, str], list[bool]] = {}
        claims = self._of_kind("independence")
        for node, other, rejected in zip(claims["node"], claims["other"], claims["rejected"], strict=True):
            outcomes.setdefault((min(node, other), max(node, other)), []).append(bool(rejected))
        always = [pair for pair, rejected in outcomes.items() if all(rejected)]
        return sorted(always or [pair for pair, rejected in outcomes.items() if any(rejected)])

    @property
    def unsupported_edges(self) -> list[tuple[str, str]]:
        """Edges, parent first, whose dependence the data do not show (false discovery rate `alpha`)."""
        edges = self._of_kind("edge")
        weak = edges[~edges["rejected"].astype(bool)]
        return sorted(zip(weak["other"], weak["node"], strict=True))

    @property
    def sentence(self) -> str:
        """The finding in words."""
        return " ".join(part for part in (self._of_claims(), self._of_permutations(), self._of_edges()) if part)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per test.

        Returns
        -------
        pandas.DataFrame
            ``kind`` (``independence`` or ``edge``), ``node``, ``other``, ``given``, ``statistic``, ``p_value``,
            ``adjusted`` and ``rejected``. Tested is always that ``node`` and ``other`` are independent given the rest;
            where that is rejected, the graph is wrong about an independence, and an edge is supported.
        """
        return self.tests.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the graph and what speaks against it; see `causalkit.plots.falsification.plot_falsification`."""
        from causalkit.plots.falsification import plot_falsification

        return plot_falsification(self, ax=ax)

    def _of_kind(self, kind: str) -> pd.DataFrame:
        return self.tests[self.tests["kind"] == kind]

    def _of_claims(self) -> str:
        claims = self._of_kind("independence")
        if claims.empty:
            return "There is nothing to test: the graph claims no independence that the rows could contradict."
        wrong = int(claims["rejected"].sum())
        if not wrong:
            return (
                f"The data do not contradict the graph: none of the {len(claims)} independencies it claims is rejected."
            )
        pairs = ", ".join(f"{a} and {b}" for a, b in self.missing_edges)
        return (
            f"The data contradict the graph: {wrong} of the {len(claims)} independencies it claims are rejected; "
            f"an edge or a common cause is missing between {pairs}."
        )

    def _of_permutations(self) -> str:
        if self.baseline is None or self.equivalent is None:
            return ""
        told = f"Of graphs with permuted names {self.baseline:.0%} do as well or better."
        return told if self.informative else f"{told} That says little: {self.equivalent:.0%} of them claim the same."

    def _of_edges(self) -> str:
        weak = self.unsupported_edges
        if not weak:
            return ""
        named = ", ".join(f"{parent} -> {child}" for parent, child in weak)
        return f"The graph claims more than the data show: no dependence is seen along {named}."


class _Data(NamedTuple):
    graph: nx.DiGraph[str]
    table: pd.DataFrame
    levels: Levels
    blocks: IntArray | None
    derived: Collection[str]
    caveats: Sequence[str]
    random_seed: int | None


def _check_options(alpha: float, num_permutations: int) -> None:
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha!r}; it is a probability between 0 and 1, such as 0.05", alpha=alpha)
    if num_permutations < 0 or num_permutations != int(num_permutations):
        raise FitError(
            f"num_permutations is {num_permutations!r}; write a whole number, 0 for no comparison",
            num_permutations=num_permutations,
        )


def _data_of(
    source: nx.DiGraph[str] | FittedSCM, traces: pd.DataFrame | None, groups: str | None, derived: Mapping[str, str]
) -> _Data:
    if isinstance(source, FittedSCM):
        exempt = {**source.derived, **derived}
        if traces is None:
            return _data_of_model(source, groups, exempt)
        return _recorded(source.graph, traces, groups or source.groups, exempt)
    if traces is None:
        raise FitError("a graph alone cannot be contradicted; give the trace table too: falsify(graph, traces)")
    return _recorded(check_graph(source), traces, groups, derived)


def _data_of_model(scm: FittedSCM, groups: str | None, derived: Mapping[str, str]) -> _Data:
    if groups not in (None, scm.groups):
        raise FitError(f"the model keeps no column {groups!r} to group by; give the traces too", column=groups)
    # Without groups the model's blocks are rows dealt at random; single rows say more.
    blocks = None if scm.groups is None else scm.blocks
    table = check_table(scm.table, scm.graph)
    return _Data(scm.graph, table, scm.levels, blocks, _exempt(scm.graph, derived), scm.caveats, scm.random_seed)


def _recorded(graph: nx.DiGraph[str], traces: pd.DataFrame, groups: str | None, derived: Mapping[str, str]) -> _Data:
    table = check_table(traces, graph)
    if len(table) < _MIN_ROWS:
        raise InsufficientDataError(
            f"{len(table)} rows are too few to test a graph; record at least {_MIN_ROWS}",
            num_rows=len(table),
            min_samples=_MIN_ROWS,
        )
    blocks, caveats = _blocks(traces, groups), traces.attrs.get("caveats", ())
    return _Data(graph, table, find_levels(traces, graph), blocks, _exempt(graph, derived), caveats, None)


def _exempt(graph: nx.DiGraph[str], derived: Mapping[str, str]) -> set[str]:
    unknown = [node for node in derived if node not in graph]
    if unknown:
        raise GraphError(
            f"derived node {unknown[0]!r} is no node of the graph; known are {', '.join(graph)}", node=unknown[0]
        )
    return {node for node, data in graph.nodes(data=True) if data.get("derived")} | set(derived)


def _blocks(traces: pd.DataFrame, groups: str | None) -> IntArray | None:
    if groups is None:
        return None
    if groups not in traces:
        raise FitError(f"the trace table has no column {groups!r} to group by", column=groups)
    return group_codes(traces[groups])


def _table(tests: ClaimTests, claims: Sequence[Claim], edges: Sequence[Claim], alpha: float) -> pd.DataFrame:
    parts = [tests.frame(claims, "independence", alpha), tests.frame(edges, "edge", alpha)]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _share(held: Sequence[bool]) -> float | None:
    return float(np.mean(held)) if held else None


def _few_groups(data: _Data) -> list[str]:
    num_groups = _FEW_GROUPS if data.blocks is None else len(np.unique(data.blocks))
    return [f"only {num_groups} independent groups of runs: little can be seen"] if num_groups < _FEW_GROUPS else []


def _untestable(tests: ClaimTests, claims: Sequence[Claim]) -> list[str]:
    named = [
        f"{claim.node} and {claim.other}" + (f" given {', '.join(claim.given)}" if claim.given else "")
        for claim in tests.untestable(claims)
    ]
    why = "a column is constant or computed from the given ones"
    return [f"not tested, as {why}: {'; '.join(named)}"] if named else []
