"""What a causal graph claims of a table, and which of it holds: one test for each claim, corrected for their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from causalkit.scm.arrays import FloatArray
from causalkit.scm.independence import Independence, Outcome

# Seconds before a bar is shown: most graphs are tested by then.
_BAR_AFTER = 2.0


class Claim(NamedTuple):
    """A node is independent of another, given some; of an edge, the graph claims the opposite.

    Examples
    --------
    >>> Claim("z", "x", ("y",)).renamed({"x": "z", "z": "x"})
    Claim(node='x', other='z', given=('y',))
    """

    node: str
    other: str
    given: tuple[str, ...]

    def renamed(self, names: Mapping[str, str]) -> Claim:
        """Return what the graph claims once its nodes have other names."""
        given = tuple(sorted(names.get(node, node) for node in self.given))
        return Claim(names.get(self.node, self.node), names.get(self.other, self.other), given)

    @property
    def key(self) -> tuple[tuple[str, str], tuple[str, ...]]:
        """The same for two claims of which one is the other read backwards."""
        return (min(self.node, self.other), max(self.node, self.other)), self.given


def independence_claims(graph: nx.DiGraph[str], exempt: Collection[str]) -> list[Claim]:
    """Return the local Markov condition: each node is independent of all it does not cause, given its parents.

    Examples
    --------
    >>> independence_claims(nx.DiGraph([("x", "y"), ("y", "z")]), exempt=())
    [Claim(node='z', other='x', given=('y',))]
    """
    claims: dict[Any, Claim] = {}
    for node in sorted(set(graph) - set(exempt)):
        parents = tuple(sorted(graph.predecessors(node)))
        for other in sorted(set(graph) - set(exempt) - {node, *parents} - _below(graph, node)):
            claim = Claim(node, other, parents)
            claims.setdefault(claim.key, claim)
    return list(claims.values())


def edge_claims(graph: nx.DiGraph[str], exempt: Collection[str]) -> list[Claim]:
    """Return, for each edge into a node that is not exempt, that it could be left out: given the other parents.

    Examples
    --------
    >>> edge_claims(nx.DiGraph([("x", "z"), ("y", "z")]), exempt=())
    [Claim(node='z', other='x', given=('y',)), Claim(node='z', other='y', given=('x',))]
    """
    return [
        Claim(node, parent, tuple(sorted(set(graph.predecessors(node)) - {parent})))
        for parent, node in sorted(graph.edges, key=lambda edge: (edge[1], edge[0]))
        if node not in exempt
    ]


def essence(graph: nx.DiGraph[str], names: Mapping[str, str]) -> tuple[frozenset[Any], frozenset[Any]]:
    """Return skeleton and v-structures under other names: equal for Markov equivalent graphs only (Verma & Pearl 1990).

    Examples
    --------
    >>> chain, fork = nx.DiGraph([("x", "y"), ("y", "z")]), nx.DiGraph([("y", "x"), ("y", "z")])
    >>> essence(chain, {}) == essence(fork, {}), essence(chain, {}) == essence(chain, {"x": "y", "y": "x"})
    (True, False)
    """
    renamed = nx.relabel_nodes(graph, dict(names))
    skeleton = frozenset(frozenset(edge) for edge in renamed.edges)
    triples = nx.dag.v_structures(renamed)  # type: ignore[attr-defined] # the stubs lack it
    colliders = ((frozenset((a, b)), node) for a, node, b in triples)
    return skeleton, frozenset(colliders)


def renamings(nodes: Sequence[str], number: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Return so many random ways to swap the names of nodes."""
    ordered = sorted(nodes)
    return [dict(zip(ordered, rng.permutation(ordered).tolist(), strict=True)) for _ in range(number)]


class ClaimTests:
    """Outcomes by claim; those of one conditioning set are computed together, none twice."""

    def __init__(self, independence: Independence) -> None:
        self._independence = independence
        self._outcomes: dict[Any, Outcome] = {}

    def run(self, claims: Sequence[Claim], *, progress: bool) -> None:
        """Test all of these claims."""
        wanted: dict[tuple[str, ...], set[tuple[str, str]]] = {}
        for claim in claims:
            pair, given = claim.key
            wanted.setdefault(given, set()).add(pair)
        # Thousands of small products: threads would spend six times the CPU waiting for one another.
        with threadpool_limits(1, user_api="blas"):
            bar = tqdm(wanted.items(), desc="testing", unit="set", delay=_BAR_AFTER, disable=not progress, leave=False)
            for given, pairs in bar:
                found = self._independence.test(sorted(pairs), given)
                self._outcomes.update({(pair, given): outcome for pair, outcome in found.items()})

    def violated(self, claims: Sequence[Claim], alpha: float) -> float:
        """Return the share of claims that fail taken singly; those that cannot be tested do not count."""
        chances = np.array([self[claim].p_value for claim in claims])
        return float(np.sum(chances <= alpha) / max(1, np.sum(np.isfinite(chances))))

    def frame(self, claims: Sequence[Claim], kind: str, alpha: float) -> pd.DataFrame:
        """Return the claims that could be tested, one row each, the least probable first.

        Independencies are rejected by Holm's rule, so that a true graph loses none with probability 1 - `alpha`; edges
        are held to be there by that of Benjamini and Hochberg.
        """
        rows = [(claim, self[claim]) for claim in claims if np.isfinite(self[claim].p_value)]
        chances = np.array([outcome.p_value for _, outcome in rows])
        correct = holm if kind == "independence" else false_discovery_control
        adjusted = correct(chances) if rows else chances
        columns = {
            "kind": kind,
            "node": [claim.node for claim, _ in rows],
            "other": [claim.other for claim, _ in rows],
            "given": [", ".join(claim.given) for claim, _ in rows],
            "statistic": [outcome.statistic for _, outcome in rows],
            "p_value": chances,
            "adjusted": adjusted,
            "rejected": adjusted <= alpha,
        }
        return pd.DataFrame(columns).sort_values("p_value", kind="stable", ignore_index=True)

    def untestable(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims of columns that are constant, or computed from the given ones."""
        return [claim for claim in claims if np.isnan(self[claim].p_value)]

    def __getitem__(self, claim: Claim) -> Outcome:
        return self._outcomes[claim.key]


def holm(p_values: FloatArray) -> FloatArray:
    """Return p-values adjusted so that all together err with the probability of one (Holm 1979).

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _below(graph: nx.DiGraph[str], node: str) -> set[str]:
    return set(nx.descendants(graph, node))
