"""What a fitted model consists of, and its refits on resampled blocks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from networkx import ancestors

from causalkit.errors import GraphError
from causalkit.graphs import topological_order
from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.blocks import resampled_weights
from causalkit.scm.classification import Classification
from causalkit.scm.regression import Regression
from causalkit.scm.validation import ValidationReport
from causalkit.streams import stream
from causalkit.tables import Levels

if TYPE_CHECKING:
    import networkx as nx

    from causalkit.scm.fitter import SCMFitter


Mechanism = Regression | Classification

# Refits behind every interval: a 95 % percentile interval needs some hundreds (Efron & Tibshirani 1993, ch. 14).
NUM_REPLICATES = 400


@dataclass(frozen=True, eq=False, repr=False)
class FittedState:
    """A causal graph with one mechanism or formula per node, and the table they were fitted to.

    Attributes
    ----------
    graph : networkx.DiGraph
        A copy of the caller's.
    mechanisms : dict of str to Mechanism
        The fitted nodes; roots have none (they are the recorded rows themselves).
    derived : dict of str to str
        Nodes that are formulas of their parents (``sum``, ``max`` or a text): accounting, never fitted.
    report : ValidationReport
        How each mechanism did on held-out rows.
    table : pandas.DataFrame
        The trace table the model was fitted to, labels as their places among `levels`, missing values drawn from the
        model.
    blocks : ndarray of int, shape (rows,)
        Rows that are resampled together.
    groups : str or None
        The column that named the clusters.
    caveats : tuple of str
        What was left out before the fit.
    random_seed : int
        Where every later draw begins unless told otherwise.
    levels : dict of str to tuple
        The labels of nodes that hold labels.
    observed : dict of str to ndarray of bool, shape (rows,)
        Of nodes with missing values: which rows have one.
    settings : SCMFitter
        How it was fitted.
    trusted : bool
        Whether questions are answered, with a caveat, where a mechanism is not calibrated; see `trust`.
    """

    graph: nx.DiGraph[str]
    mechanisms: dict[str, Mechanism]
    derived: dict[str, str]
    report: ValidationReport
    table: pd.DataFrame
    blocks: IntArray
    groups: str | None
    caveats: tuple[str, ...]
    random_seed: int
    levels: Levels = field(default_factory=dict)
    observed: dict[str, BoolArray] = field(default_factory=dict)
    settings: SCMFitter | None = None
    trusted: bool = False

    def trust(self) -> Self:
        """Return the same model, which answers, with a caveat, where a mechanism is not calibrated."""
        return replace(self, trusted=True)

    @cached_property
    def order(self) -> list[str]:
        """Nodes, parents before children, in an order that does not depend on how the graph was written."""
        return topological_order(self.graph)

    @cached_property
    def replicate_weights(self) -> FloatArray:
        """How often each block counts in each bootstrap replicate, shape (replicates, blocks)."""
        return resampled_weights(int(self.blocks.max()) + 1, NUM_REPLICATES, stream(self.random_seed, "replicates"))

    @cached_property
    def fits(self) -> dict[str, FloatArray]:
        """Every mechanism's coefficients, fitted and then refitted in each replicate, shape (terms, 1 + replicates)."""
        return {
            node: np.hstack([mechanism.coefficients[:, None], self._refit(mechanism)])
            for node, mechanism in self.mechanisms.items()
        }

    @cached_property
    def root_families(self) -> dict[str, Any]:
        """Roots that are drawn from a distribution of `scipy.stats`, fitted to their recorded values."""
        names = {
            node: self.graph.nodes[node].get("distribution") for node in self.graph if not self.graph.in_degree(node)
        }
        if not any(names.values()):
            return {}
        from scipy import stats

        families = {node: getattr(stats, name) for node, name in names.items() if name}
        return {node: family(*family.fit(self.table[node].to_numpy())) for node, family in families.items()}

    def role(self, node: str) -> str:
        """Return ``knob`` for a node that was set at random by design; otherwise the role its graph gives it, or ''."""
        return str(self.graph.nodes[node].get("role", ""))

    def upstream(self, node: str) -> set[str]:
        """Return a node and all that it comes from.

        Raises
        ------
        GraphError
            If the model has no such node.
        """
        if node not in self.graph:
            raise GraphError(f"{node!r} is no node of the model; known are {', '.join(self.graph)}", node=node)
        return {str(above) for above in ancestors(self.graph, node)} | {node}

    def __repr__(self) -> str:
        state = "passed" if self.report.passed else f"failed on {', '.join(self.report.failed_nodes)}"
        return f"<FittedSCM: {len(self.graph)} nodes, {len(self.table)} rows, validation {state}>"

    def _seed(self, random_seed: int | None) -> int:
        return self.random_seed if random_seed is None else random_seed

    def rows_of(self, node: str) -> BoolArray:
        """Return which rows a mechanism was fitted to: those with a value of the node and of all its parents."""
        rows = np.ones(len(self.table), dtype=bool)
        for name in (node, *self.mechanisms[node].parents):
            rows &= self.observed.get(name, True)
        return rows

    def _refit(self, mechanism: Mechanism) -> FloatArray:
        rows = self.rows_of(mechanism.node)
        columns, target = self.table[list(mechanism.parents)].to_numpy(), self.table[mechanism.node].to_numpy()
        fitted = mechanism if rows.all() else mechanism.at(rows)
        return fitted.refit(columns[rows], target[rows], self.blocks[rows], self.replicate_weights)
