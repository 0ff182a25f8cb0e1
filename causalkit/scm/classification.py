"""A label from its parents: multinomial logistic terms, what a learner adds to them, and uniform noise.

The label is the first whose cumulated probability reaches the noise, so the noise behind a recorded label is known up
to an interval, and is drawn from it (the randomised probability integral transform: Brockwell 2007).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.attempts import Ladder
from causalkit.scm.blocks import block_sums
from causalkit.scm.noise import Noise
from causalkit.scm.terms import Terms

# Weak enough to leave estimates alone, strong enough to keep them finite where labels can be told without error.
_PENALTY = 0.01
_NUM_FOLDS = 5
# No label is called impossible: one row that shows it would make the score infinite.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Classification:
    """How a label comes from its parents.

    Attributes
    ----------
    node : str
    terms : Terms
    coefficients : ndarray, shape (terms * (labels - 1),)
        Log-odds of each label against the first, label by label.
    num_labels : int
    ladder : Ladder
    learner : object, optional
        A fitted scikit-learn classifier, whose log-odds the terms are added to.
    """

    node: str
    terms: Terms
    coefficients: FloatArray
    num_labels: int
    ladder: Ladder
    learner: Any = None

    additive: ClassVar[bool] = False
    formula: ClassVar[None] = None
    log: ClassVar[bool] = False

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents, in the order of their columns."""
        return self.terms.parents

    @property
    def rung(self) -> str:
        """The rung of the ladder."""
        return self.ladder.chosen

    def probabilities(self, columns: Sequence[FloatArray], coefficients: FloatArray | None = None) -> FloatArray:
        """Return the probability of each label, shape (labels, rows, 1 or sets)."""
        chosen = self.coefficients[:, None] if coefficients is None else coefficients
        parts = chosen.reshape(self.num_labels - 1, len(self.terms), -1)
        logits = [self.terms.predict(columns, part) for part in parts]
        stacked = np.stack([np.zeros_like(logits[0]), *logits])
        if self.learner is not None:
            stacked = stacked + self._learnt(columns)
        powers = np.exp(stacked - stacked.max(axis=0))
        return np.asarray(np.clip(powers / powers.sum(axis=0), _LEAST, 1.0))

    def fitted(self, columns: Sequence[FloatArray], coefficients: FloatArray | None = None) -> FloatArray:
        """Return the probability of the second label of two; the most probable label of more."""
        chances = self.probabilities(columns, coefficients)
        return chances[1] if self.num_labels == 2 else np.asarray(chances.argmax(axis=0), float)

    def respond(
        self, columns: Sequence[FloatArray], noise: Noise, coefficients: FloatArray | None = None
    ) -> FloatArray:
        """Return the labels' places for the parents' values and noise between 0 and 1."""
        chances = self.probabilities(columns, coefficients)
        amount = noise(chances[0]) if callable(noise) else noise
        return np.asarray((amount > np.cumsum(chances, axis=0)[:-1]).sum(axis=0), float)

    def abduct(
        self,
        values: FloatArray,
        columns: Sequence[FloatArray],
        coefficients: FloatArray | None,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return noise that gives the recorded labels, drawn evenly from all that does."""
        chances = self.probabilities(columns, coefficients)
        upper = np.cumsum(chances, axis=0)
        places = np.broadcast_to(values.astype(np.int64), upper.shape[1:])[None]
        top, width = np.take_along_axis(upper, places, axis=0)[0], np.take_along_axis(chances, places, axis=0)[0]
        return np.asarray(np.clip(top - width * rng.random((len(values), 1)), 0.0, 1.0))

    def noise_source(self, columns: FloatArray, num_draws: int, rng: np.random.Generator) -> Noise:
        """Return noise for draws."""
        return rng.random((num_draws, 1))

    def population_noise(self, rows: IntArray, rng: np.random.Generator) -> FloatArray:
        """Return noise for rows that stand for the population: evenly spaced, in random order."""
        return ((rng.permutation(len(rows)) + 0.5) / len(rows))[:, None]

    def refit(self, columns: FloatArray, target: FloatArray, blocks: IntArray, weights: FloatArray) -> FloatArray:
        """Return the coefficients under weights of the blocks, one Newton step from the fitted ones.

        The one-step bootstrap (Davison & Hinkley 1997, sec. 6.3.2): scores are summed by block once.
        """
        design = self.terms.design(columns)
        chances = self.probabilities(list(columns.T[:, :, None]))[..., 0]
        shown = np.eye(self.num_labels)[target.astype(np.int64)].T
        scores = np.hstack([design * (shown[k] - chances[k])[:, None] for k in range(1, self.num_labels)])
        change = np.linalg.solve(
            _information(design, chances), block_sums(scores, blocks, weights.shape[1]).T @ (weights - 1).T
        )
        return self.coefficients[:, None] + change

    def at(self, rows: BoolArray) -> Classification:
        """Return the mechanism itself: its noise belongs to no row."""
        return self

    def _learnt(self, columns: Sequence[FloatArray]) -> FloatArray:
        features = np.broadcast_arrays(*self.terms.features.expand(columns))
        rows = np.column_stack([feature.ravel() for feature in features])
        learnt = learnt_log_odds(self.learner, rows, self.num_labels)
        return learnt.T.reshape(self.num_labels, *features[0].shape)


def fit_logistic(design: FloatArray, target: IntArray, num_labels: int) -> FloatArray:
    """Return the coefficients of each label against the first, shape (terms * (labels - 1),).

    The first column of `design` is the intercept. Labels that no row shows get a very small share.
    """
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(target)
    logits = np.zeros((num_labels, design.shape[1]))
    logits[:, 0] = np.log(_LEAST)
    if len(seen) == 1:
        logits[seen[0], 0] = 0.0
    else:
        model = LogisticRegression(C=1 / _PENALTY, solver="newton-cholesky", tol=1e-6, max_iter=50)
        with warnings.catch_warnings():
            # Where labels can be told without error no optimum is finite; the penalty's is near enough.
            warnings.simplefilter("ignore")
            model.fit(design[:, 1:], target)
        found = np.column_stack([model.intercept_, model.coef_])
        logits[seen] = np.vstack([np.zeros_like(found), found]) if len(seen) == 2 else found
    return np.asarray((logits[1:] - logits[0]).ravel())


def left_out_chances(design: FloatArray, target: IntArray, num_labels: int, blocks: IntArray) -> FloatArray:
    """Return the probability of each label by the fit to other blocks, shape (rows, labels).

    One Newton step from the fit to all rows (approximate leave-out: Rad & Maleki 2020), a fifth of blocks at a time.
    """
    coefficients = fit_logistic(design, target, num_labels)
    shown, everyone = np.eye(num_labels)[target], softmax(design, coefficients, num_labels)
    folds, chances = blocks % _NUM_FOLDS, np.empty((len(target), num_labels))
    for fold in np.unique(folds):
        out = folds == fold
        score = (shown[out] - everyone[out])[:, 1:].T @ design[out]
        step = np.linalg.solve(_information(design[~out], everyone[~out].T), -score.ravel())
        chances[out] = softmax(design[out], coefficients + step, num_labels)
    return chances


def softmax(design: FloatArray, coefficients: FloatArray, num_labels: int) -> FloatArray:
    """Return the probability of each label, shape (rows, labels)."""
    logits = np.column_stack([np.zeros(len(design)), design @ coefficients.reshape(num_labels - 1, -1).T])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def learnt_log_odds(learner: Any, rows: FloatArray, num_labels: int) -> FloatArray:
    """Return a classifier's log-probabilities of every label, shape (rows, labels)."""
    chances = np.full((len(rows), num_labels), _LEAST)
    chances[:, learner.classes_.astype(np.int64)] = np.maximum(learner.predict_proba(rows), _LEAST)
    return np.asarray(np.log(chances))


def _information(design: FloatArray, chances: FloatArray) -> FloatArray:
    labels, terms = range(1, len(chances)), design.shape[1]
    blocks = [[(design * (chances[j] * ((j == k) - chances[k]))[:, None]).T @ design for k in labels] for j in labels]
    return np.block(blocks) + _PENALTY * np.eye(terms * len(labels))
