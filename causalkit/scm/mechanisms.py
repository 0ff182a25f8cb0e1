"""Our mechanisms behind DoWhy's interfaces: the one module that imports dowhy at its top.

A `FittedSCM` becomes a ``dowhy.gcm.InvertibleStructuralCausalModel`` on a copy of its graph, so that whatever DoWhy
offers for such models works on it; also where DoWhy's own mechanisms cannot be inverted (labels) or take whole numbers
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import pandas as pd
from dowhy import gcm
from dowhy.gcm.causal_mechanisms import InvertibleFunctionalCausalModel
from dowhy.gcm.ml.regression import InvertibleExponentialFunction

from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import deal_blocks
from causalkit.scm.classification import Classification
from causalkit.scm.derived import combine
from causalkit.scm.labelling import Choice, fit_classification
from causalkit.scm.learners import LEARNERS
from causalkit.scm.regression import Regression
from causalkit.scm.selection import Candidate, Family, fit_regression
from causalkit.streams import stream
from causalkit.tables import Levels, check_table, decode

if TYPE_CHECKING:
    from causalkit.scm.model import FittedSCM

# What DoWhy hands over: floats, or objects as soon as one column holds labels.
AnyArray = npt.NDArray[Any]
# The form of a mechanism is known when it is fitted anew; how it did when it was chosen no longer matters.
_NONE = np.empty(0)


def to_dowhy(scm: FittedSCM) -> gcm.InvertibleStructuralCausalModel:
    """Return the model as DoWhy has it, fitted and ready.

    Parameters
    ----------
    scm : FittedSCM

    Returns
    -------
    dowhy.gcm.InvertibleStructuralCausalModel
        Roots are independent empirical distributions there (ours are drawn jointly). Numeric nodes are additive noise
        models around the very same terms and learners, on the logarithm where ours are; labels are classifiers whose
        noise can be told; a derived node is its formula with noise 0. Labels go in and out as in the trace table.
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
        parts = Context(tuple(sorted(scm.graph.predecessors(node))), scm.levels, scm.random_seed)
        return gcm.AdditiveNoiseModel(FormulaModel(scm.derived[node], parts), _empirical(np.zeros((1, 1))))
    if node not in scm.mechanisms:
        return _empirical(decode(scm.table[[node]], scm.levels).to_numpy())
    mechanism = scm.mechanisms[node]
    context = Context(mechanism.parents, scm.levels, scm.random_seed)
    if isinstance(mechanism, Classification):
        return LabelMechanism(LabelModel(mechanism, context))
    kind = LogMechanism if mechanism.log else NumberMechanism
    return kind(RegressionModel(mechanism, context), _empirical(mechanism.residuals[scm.rows_of(node)][:, None]))


def _empirical(values: AnyArray) -> gcm.EmpiricalDistribution:
    distribution = gcm.EmpiricalDistribution()
    distribution.fit(values)
    return distribution


def _mark_as_fitted(model: gcm.InvertibleStructuralCausalModel, node: str) -> None:
    parents = gcm.causal_models.get_ordered_predecessors(model.graph, node)
    model.graph.nodes[node][gcm.causal_models.PARENTS_DURING_FIT] = parents


@dataclass(frozen=True)
class Context:
    """What a mechanism must know to read DoWhy's arrays.

    Attributes
    ----------
    parents : tuple of str
        In the order of the columns: DoWhy sorts them by name, as we do.
    levels : dict of str to tuple
        The labels of nodes that hold labels.
    random_seed : int
    """

    parents: tuple[str, ...]
    levels: Levels
    random_seed: int

    def floats(self, X: AnyArray) -> FloatArray:  # noqa: N803 - DoWhy's name
        """Return the parents' values, shape (rows, parents), labels as their places."""
        if not any(parent in self.levels for parent in self.parents):
            return np.asarray(X, dtype=float)
        table = pd.DataFrame(dict(zip(self.parents, np.asarray(X).T, strict=True)))
        return check_table(table, self.parents, levels=self.levels).to_numpy()

    def columns(self, X: AnyArray) -> list[FloatArray]:  # noqa: N803
        """Return the parents' values as our mechanisms take them: one array of shape (rows, 1) each."""
        return list(self.floats(X).T[:, :, None])

    def places(self, node: str, labels: AnyArray) -> FloatArray:
        """Return the places of a node's labels, shape (rows,)."""
        return check_table(pd.DataFrame({node: np.ravel(labels)}), [node], levels=self.levels)[node].to_numpy()

    def family(self, mechanism: Regression | Classification, X: AnyArray, target: FloatArray) -> Family:  # noqa: N803
        """Return rows to fit a mechanism anew to."""
        blocks = deal_blocks(None, len(target), stream(self.random_seed, "blocks"))
        features = mechanism.terms.features
        return Family(mechanism.node, features, self.floats(X), target, blocks, False, "GOOD", self.random_seed)


class RegressionModel(gcm.ml.PredictionModel):  # type: ignore[misc] # dowhy has no types
    """A fitted regression as a DoWhy prediction model, on the scale on which noise is added."""

    def __init__(self, mechanism: Regression, context: Context) -> None:
        self.mechanism, self.context = mechanism, context

    def fit(self, X: AnyArray, Y: AnyArray) -> None:  # noqa: N803 - DoWhy's names
        """Fit the same terms and the same kind of learner anew; what was proven from source stays."""
        known, target = self.mechanism, np.ravel(Y).astype(float)
        if known.formula is not None:
            self.mechanism = known.with_residuals(target - self.predict(X)[:, 0])
            return
        learner = known.rung if known.rung in LEARNERS else ""
        chosen = Candidate(known.rung, known.terms, _NONE[:, None], errors=_NONE, residuals=_NONE, learner=learner)
        fitted = fit_regression(self.context.family(known, X, target), chosen, known.ladder)
        self.mechanism = replace(fitted, log=known.log)

    def predict(self, X: AnyArray) -> FloatArray:  # noqa: N803
        """Return predictions, shape (rows, 1)."""
        return self.mechanism.fitted(self.context.columns(X))

    def clone(self) -> RegressionModel:
        """Return an equal model."""
        return RegressionModel(self.mechanism, self.context)


class _Regression(gcm.PostNonlinearModel):  # type: ignore[misc]
    """What the mechanisms of numbers share: noise from rows left out, and plain floats."""

    def fit(self, X: AnyArray, Y: AnyArray) -> None:  # noqa: N803
        """Fit anew; noise comes from rows left out, as a learner knows its own rows by heart."""
        self.prediction_model.fit(X, self.invertible_function.evaluate_inverse(np.asarray(Y, float)))
        self.noise_model.fit(self.prediction_model.mechanism.residuals[:, None])

    def evaluate(self, parent_samples: AnyArray, noise_samples: AnyArray) -> FloatArray:
        """Return the node's values; beside labels DoWhy hands over noise as objects."""
        return np.asarray(super().evaluate(parent_samples, np.asarray(noise_samples, float)))

    def clone(self) -> Any:
        """Return an equal mechanism with noise yet to be fitted."""
        return type(self)(self.prediction_model.clone(), self.noise_model.clone())


class NumberMechanism(_Regression, gcm.AdditiveNoiseModel):  # type: ignore[misc]
    """A regression with additive noise; whole numbers too, without rounding, so that fractions are no error."""


class LogMechanism(_Regression, gcm.PostNonlinearModel):  # type: ignore[misc]
    """A regression of the logarithm, with noise that is additive there."""

    def __init__(self, prediction_model: RegressionModel, noise_model: gcm.EmpiricalDistribution) -> None:
        super().__init__(prediction_model, noise_model, InvertibleExponentialFunction())


class LabelModel(gcm.ml.ClassificationModel):  # type: ignore[misc]
    """A fitted classification as a DoWhy classifier."""

    def __init__(self, mechanism: Classification, context: Context) -> None:
        self.mechanism, self.context = mechanism, context

    @property
    def classes(self) -> list[Any]:
        """The labels."""
        return list(self.context.levels[self.mechanism.node])

    def fit(self, X: AnyArray, Y: AnyArray) -> None:  # noqa: N803
        """Fit the same terms or the same kind of learner anew."""
        known = self.mechanism
        family = self.context.family(known, X, self.context.places(known.node, Y))
        chosen = Choice(known.rung, known.terms, losses=_NONE, residuals=_NONE, chances=_NONE)
        self.mechanism = fit_classification(family, chosen, known.ladder, known.num_labels)

    def predict_probabilities(self, X: AnyArray) -> FloatArray:  # noqa: N803
        """Return the probability of each label, shape (rows, labels)."""
        return self.mechanism.probabilities(self.context.columns(X))[..., 0].T

    def predict(self, X: AnyArray) -> AnyArray:  # noqa: N803
        """Return the most probable labels, shape (rows, 1)."""
        return self.named(self.predict_probabilities(X).argmax(axis=1))

    def named(self, places: Sequence[int] | AnyArray) -> AnyArray:
        """Return labels by their places, shape (rows, 1)."""
        node = self.mechanism.node
        return decode(pd.DataFrame({node: np.ravel(places)}), self.context.levels).to_numpy()

    def clone(self) -> LabelModel:
        """Return an equal model."""
        return LabelModel(self.mechanism, self.context)


class LabelMechanism(gcm.ClassifierFCM, InvertibleFunctionalCausalModel):  # type: ignore[misc]
    """A classification whose noise, uniform between 0 and 1, can be told from labels."""

    def fit(self, X: AnyArray, Y: AnyArray) -> None:  # noqa: N803
        """Fit the same terms or the same kind of learner anew."""
        self.classifier_model.fit(X, Y)

    def evaluate(self, parent_samples: AnyArray, noise_samples: AnyArray) -> AnyArray:
        """Return labels, shape (rows, 1)."""
        model = self.classifier_model
        noise = np.asarray(noise_samples, float).reshape(-1, 1)
        places = model.mechanism.respond(model.context.columns(parent_samples), noise)
        return np.asarray(model.named(places))

    def estimate_noise(self, target_samples: AnyArray, parent_samples: AnyArray) -> FloatArray:
        """Return noise that gives these labels, shape (rows, 1): drawn evenly from all that does, always the same."""
        model = self.classifier_model
        context, mechanism = model.context, model.mechanism
        places = context.places(mechanism.node, target_samples)[:, None]
        # The stream of our own counterfactuals: DoWhy's are the same.
        rng = stream(context.random_seed, f"abduct {mechanism.node}")
        return np.asarray(mechanism.abduct(places, context.columns(parent_samples), None, rng))

    def clone(self) -> LabelMechanism:
        """Return an equal mechanism."""
        return LabelMechanism(self.classifier_model.clone())


class FormulaModel(gcm.ml.PredictionModel):  # type: ignore[misc]
    """A derived node's formula as a DoWhy prediction model; there is nothing to fit."""

    def __init__(self, formula: str, context: Context) -> None:
        self.formula, self.context = formula, context

    def fit(self, X: AnyArray, Y: AnyArray) -> None:  # noqa: N803
        """Do nothing: a formula is known."""

    def predict(self, X: AnyArray) -> FloatArray:  # noqa: N803
        """Return the formula's value, shape (rows, 1)."""
        parts = zip(self.context.parents, self.context.columns(X), strict=True)
        return combine(self.formula, dict(parts), self.context.levels)

    def clone(self) -> FormulaModel:
        """Return an equal model."""
        return FormulaModel(self.formula, self.context)
