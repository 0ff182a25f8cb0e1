"""A number from its parents: terms with coefficients, what a learner adds to them, and noise around both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.attempts import Ladder
from causalkit.scm.blocks import Moments
from causalkit.scm.noise import LocalNoise, Noise
from causalkit.scm.terms import Terms


@dataclass(frozen=True, eq=False)
class Regression:
    """How a numeric node comes from its parents: ``value = terms @ coefficients + learner(features) + noise``.

    Attributes
    ----------
    node : str
    terms : Terms
    coefficients : ndarray, shape (terms,)
    residuals : ndarray, shape (rows,)
        The node's noise, blown up for the degrees of freedom that the fit took; from rows left out where there is a
        learner, which knows its own rows by heart.
    ladder : Ladder
        Which rungs were tried, and why it stopped.
    log : bool
        Whether all of this is about the node's logarithm.
    whole : bool
        Whether the node takes whole numbers only.
    learner : object, optional
        A fitted scikit-learn regressor.
    formula : str, optional
        The formula that was proven from source text; such a mechanism was not fitted.
    """

    node: str
    terms: Terms
    coefficients: FloatArray
    residuals: FloatArray
    ladder: Ladder
    log: bool = False
    whole: bool = False
    learner: Any = None
    formula: str | None = None

    additive: ClassVar[bool] = True

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents, in the order of their columns."""
        return self.terms.parents

    @property
    def rung(self) -> str:
        """The rung of the ladder."""
        return self.ladder.chosen

    @property
    def linear(self) -> bool:
        """Whether the node is a weighted sum of its parents, and of indicators of their labels, plus noise."""
        straight = all(len(term) < 2 for term in self.terms.factors)
        return straight and not self.terms.knots and self.learner is None and not self.log

    def fitted(self, columns: Sequence[FloatArray], coefficients: FloatArray | None = None) -> FloatArray:
        """Return the mechanism's value without noise, on the scale on which noise is added.

        Parameters
        ----------
        columns : sequence of ndarray, each of shape (rows, 1) or (rows, sets)
            The parents' values.
        coefficients : ndarray, shape (terms, sets), optional
            Default: the fitted ones.
        """
        chosen = self.coefficients[:, None] if coefficients is None else coefficients
        value = self.terms.predict(columns, chosen)
        if self.learner is None:
            return value
        features = np.broadcast_arrays(*self.terms.features.expand(columns))
        learnt = self.learner.predict(np.column_stack([feature.ravel() for feature in features]))
        return np.asarray(value + learnt.reshape(features[0].shape))

    def respond(
        self, columns: Sequence[FloatArray], noise: Noise, coefficients: FloatArray | None = None
    ) -> FloatArray:
        """Return the node's values for its parents' values and its noise."""
        fitted = self.fitted(columns, coefficients)
        value = fitted + (noise(fitted) if callable(noise) else noise)
        return np.asarray(np.exp(value)) if self.log else value

    def abduct(
        self,
        values: FloatArray,
        columns: Sequence[FloatArray],
        coefficients: FloatArray | None,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return the noise behind values of the node."""
        return self.scaled(values) - self.fitted(columns, coefficients)

    def scaled(self, values: FloatArray) -> FloatArray:
        """Return values on the scale on which noise is added."""
        return np.asarray(np.log(values)) if self.log else values

    def noise_source(self, columns: FloatArray, num_draws: int, rng: np.random.Generator) -> LocalNoise:
        """Return noise for draws; `columns` are the parents of the rows that the residuals belong to."""
        return LocalNoise(self._fitted_rows(columns), self.residuals, rng, num_draws, self.whole)

    def population_noise(self, rows: IntArray, rng: np.random.Generator) -> FloatArray:
        """Return noise for rows that stand for the population, shape (rows, 1)."""
        return np.asarray(self.residuals[rng.permutation(rows)][:, None])

    def refit(self, columns: FloatArray, target: FloatArray, blocks: IntArray, weights: FloatArray) -> FloatArray:
        """Return the coefficients under weights of the blocks, shape (terms, replicates); a learner stays as it is."""
        if self.formula is not None:
            return np.repeat(self.coefficients[:, None], len(weights), axis=1)
        design = self.terms.design(columns)
        aim = (
            self.scaled(target) if self.learner is None else design @ self.coefficients + self.residuals[: len(target)]
        )
        return Moments.of(design, aim, blocks, weights.shape[1]).solve(weights)

    def at(self, rows: BoolArray) -> Regression:
        """Return the same mechanism with the noise of some of its rows."""
        return self.with_residuals(self.residuals[rows])

    def with_residuals(self, residuals: FloatArray) -> Regression:
        """Return the same mechanism with noise of other rows."""
        return replace(self, residuals=residuals)

    def _fitted_rows(self, columns: FloatArray) -> FloatArray:
        return self.fitted(list(columns.T[:, :, None]))[:, 0]
