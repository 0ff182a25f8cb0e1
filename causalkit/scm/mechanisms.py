"""Our mechanisms behind DoWhy's interfaces: the one module that imports dowhy at its top.

A `FittedSCM` becomes a ``dowhy.gcm.InvertibleStructuralCausalModel`` on a copy of its graph, so that whatever DoWhy
offers for such models works on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from dowhy import gcm

from causalkit.scm.arrays import FloatArray
from causalkit.scm.propagate import combine

if TYPE_CHECKING:
    from causalkit.scm.model import FittedSCM
    from causalkit.scm.selection import Mechanism


def to_dowhy(scm: FittedSCM) -> gcm.InvertibleStructuralCausalModel:
    """Return the model as DoWhy has it, fitted and ready.

    Parameters
    ----------
    scm : FittedSCM

    Returns
    -------
    dowhy.gcm.InvertibleStructuralCausalModel
        Roots are independent empirical distributions there (ours are drawn jointly), other nodes additive noise models
        around the very same polynomials; a derived node is its formula with noise 0.
    """
    # DoWhy writes its mechanisms into the graph it is given, and refuses attributes it does not know.
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(scm.order)
    graph.add_edges_from(sorted(scm.graph.edges))
    model = gcm.InvertibleStructuralCausalModel(graph)
    for node in scm.order:
        model.set_causal_mechanism(node, _mechanism(scm, node))
        _mark_as_fitted(model, node)
    return model


def _mechanism(scm: FittedSCM, node: str) -> Any:
    if node in scm.derived:
        noise = gcm.EmpiricalDistribution()
        noise.fit(np.zeros((1, 1)))
        return gcm.AdditiveNoiseModel(FormulaModel(scm.derived[node]), noise)
    distribution = gcm.EmpiricalDistribution()
    if node not in scm.mechanisms:
        distribution.fit(scm.table[[node]].to_numpy())
        return distribution
    mechanism = scm.mechanisms[node]
    distribution.fit(mechanism.residuals[:, None])
    return gcm.AdditiveNoiseModel(PolynomialModel(mechanism), distribution)


def _mark_as_fitted(model: gcm.InvertibleStructuralCausalModel, node: str) -> None:
    parents = gcm.causal_models.get_ordered_predecessors(model.graph, node)
    model.graph.nodes[node][gcm.causal_models.PARENTS_DURING_FIT] = parents


class PolynomialModel(gcm.ml.PredictionModel):  # type: ignore[misc] # dowhy has no types
    """A fitted polynomial as a DoWhy prediction model."""

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism

    def fit(self, X: FloatArray, Y: FloatArray) -> None:  # noqa: N803 - DoWhy's names
        """Fit the same terms anew."""
        design = self.mechanism.terms.design(np.asarray(X, float))
        coefficients = np.linalg.lstsq(design, np.ravel(Y), rcond=None)[0]
        self.mechanism = replace(self.mechanism, coefficients=np.asarray(coefficients, dtype=np.float64))

    def predict(self, X: FloatArray) -> FloatArray:  # noqa: N803
        """Return predictions, shape (rows, 1); columns in the order of the sorted parents."""
        return np.asarray(
            self.mechanism.terms.design(np.asarray(X, float)) @ self.mechanism.coefficients[:, None], float
        )

    def clone(self) -> PolynomialModel:
        """Return an equal model."""
        return PolynomialModel(self.mechanism)


class FormulaModel(gcm.ml.PredictionModel):  # type: ignore[misc]
    """A derived node's formula as a DoWhy prediction model; there is nothing to fit."""

    def __init__(self, formula: str) -> None:
        self.formula = formula

    def fit(self, X: FloatArray, Y: FloatArray) -> None:  # noqa: N803
        """Do nothing: a formula is known."""

    def predict(self, X: FloatArray) -> FloatArray:  # noqa: N803
        """Return the formula's value, shape (rows, 1)."""
        return combine(self.formula, list(np.asarray(X, float).T[:, :, None]))

    def clone(self) -> FormulaModel:
        """Return an equal model."""
        return FormulaModel(self.formula)
