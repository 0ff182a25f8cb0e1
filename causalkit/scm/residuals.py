"""Is there anything left to explain: a test of a mechanism's residuals against its parents.

A score test (Rao 1948): the residuals are projected on functions of the parents that the mechanism does not have. Its
null distribution comes from turning the sign of whole blocks of rows at random (the wild cluster bootstrap of score
statistics: Kline & Santos 2012), so that neither unequal variances nor runs of one question upset its error rate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import block_sums
from causalkit.streams import stream

# More rows make no structure visible that would be worth a higher rung, and cost time.
MAX_ROWS = 10_000
# p-values go down to 1 / (1 + flips).
_NUM_FLIPS = 299
_NUM_WAVES = 3
_MAX_PAIRS = 10
_NUM_RANDOM = 12
# Directions of the probe that carry less than this share of its largest are rounding.
_RANK = 1e-6


class Probe(NamedTuple):
    """What residuals of a node are held against: functions of its parents, and who flips together.

    Attributes
    ----------
    functions : ndarray, shape (rows, functions)
        Each of mean 0.
    blocks : ndarray of int, shape (rows,)
    signs : ndarray, shape (flips, blocks)
    """

    functions: FloatArray
    blocks: IntArray
    signs: FloatArray

    @classmethod
    def of(cls, features: FloatArray, blocks: IntArray, rng: np.random.Generator) -> Probe:
        """Make a probe of features, shape (rows, features).

        Each feature gives cosines of its rank, each pair their products; random waves of all features together see
        what no pair shows (random Fourier features: Rahimi & Recht 2007).
        """
        ranks = (np.argsort(np.argsort(features, axis=0, kind="stable"), axis=0) + 0.5) / len(features)
        waves = [np.cos(np.pi * order * ranks) for order in range(1, _NUM_WAVES + 1)]
        spread = features.std(axis=0)
        standard = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        columns = [*waves, standard**2, *_pairs(waves[0], standard, rng)]
        if features.shape[1] > 1:
            mix = rng.normal(size=(features.shape[1], _NUM_RANDOM)) * 1.5 / np.sqrt(features.shape[1])
            columns.append(np.cos(standard @ mix + rng.uniform(0, 2 * np.pi, _NUM_RANDOM)))
        signs = flips(_NUM_FLIPS, int(blocks.max()) + 1)
        functions = np.hstack(columns)
        return cls(functions - functions.mean(axis=0), blocks, signs)

    def p_value(self, residuals: FloatArray, design: FloatArray, weights: FloatArray | None = None) -> float:
        """Return how surprising these residuals are if nothing is left to explain.

        Parameters
        ----------
        residuals : ndarray, shape (rows,)
        design : ndarray, shape (rows, terms)
            What was fitted: a score that the fit has made 0 already says nothing.
        weights : ndarray, shape (rows,), optional
            Variances of the residuals under the model, for a logistic fit.

        Returns
        -------
        float
        """
        weighted = design if weights is None else design * weights[:, None]
        gram = weighted.T @ design
        fitted = np.linalg.lstsq(gram, weighted.T @ self.functions, rcond=1e-10)[0]
        left = self.functions - design @ fitted
        eigenvalues, directions = np.linalg.eigh(left.T @ left)
        kept = eigenvalues > _RANK * max(float(eigenvalues[-1]), np.finfo(float).tiny)
        scores = block_sums(left @ (directions[:, kept] / np.sqrt(eigenvalues[kept])) * residuals[:, None], self.blocks)
        observed = float(np.sum(scores.sum(axis=0) ** 2))
        # Residuals are smaller than the noise behind them, by the degrees of freedom that the fit took.
        freedom = len(residuals) / max(len(residuals) - design.shape[1], 1)
        flipped = freedom * np.sum((self.signs @ scores) ** 2, axis=1)
        return float(1 + np.count_nonzero(flipped >= observed)) / (1 + len(flipped))

    def explained(self, residuals: FloatArray, design: FloatArray) -> float:
        """Return the share of the residuals' variance that functions of the parents explain, adjusted for chance."""
        left = [_variance_left(residuals, matrix) for matrix in (design, np.column_stack([design, self.functions]))]
        return 1 - left[1] / max(left[0], np.finfo(float).tiny)


@lru_cache(maxsize=8)
def flips(num_flips: int, num_blocks: int) -> FloatArray:
    """Return random signs, shape (flips, blocks): the same for every test, each of which has its own data."""
    return stream(0, "flips").choice([-1.0, 1.0], size=(num_flips, num_blocks))


def _variance_left(values: FloatArray, matrix: FloatArray) -> float:
    solution, _, rank, _ = np.linalg.lstsq(matrix.T @ matrix, matrix.T @ values, rcond=_RANK**2)
    return float(np.sum((values - matrix @ solution) ** 2)) / max(len(values) - int(rank), 1)


def _pairs(wave: FloatArray, standard: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    num = standard.shape[1]
    pairs = np.array([(i, j) for i in range(num) for j in range(i + 1, num)], dtype=np.int64).reshape(-1, 2)
    if len(pairs) > _MAX_PAIRS:
        pairs = pairs[rng.choice(len(pairs), _MAX_PAIRS, replace=False)]
    first, second = pairs.T
    return [standard[:, first] * standard[:, second], wave[:, first] * wave[:, second]]
