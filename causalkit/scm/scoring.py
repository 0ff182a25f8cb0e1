"""Numbers on held-out rows: how much a mechanism explains, how far it is off, and whether it scatters as it says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import block_sums, interval95, resampled_weights
from causalkit.scm.calibration import miscalibration
from causalkit.scm.classification import Classification
from causalkit.scm.regression import Regression
from causalkit.scm.selection import Family
from causalkit.scm.validation import CONSTANT, EXACT, PROVEN, NodeScore
from causalkit.streams import stream

_REPLICATES = 500
# A spread below this share of the values' size is rounding: the node is constant.
_ROUNDING = 1e-12
# Quantiles that stand for a mechanism's noise: with more, the score moves in its fourth digit.
_NUM_QUANTILES = 100


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A mechanism's node and parents on held-out rows, beside those it was fitted to.

    Attributes
    ----------
    family, learnt : Family
    threshold : float
    num_nodes : int
        How many nodes are judged.
    """

    family: Family
    learnt: Family
    threshold: float
    num_nodes: int


def score_regression(mechanism: Regression, rows: HeldOut) -> NodeScore:
    """Score a numeric node.

    The prediction of a node whose logarithm was fitted is its mean, not its median: Duan's (1983) smearing estimate.
    """
    family = rows.family
    columns = list(family.columns.T[:, :, None])
    fitted = mechanism.fitted(columns)[:, 0]
    noise = np.quantile(mechanism.residuals, (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES)
    # Shape (rows, quantiles): what the mechanism expects of each row.
    expected = np.exp(fitted[:, None] + noise) if mechanism.log else fitted[:, None] + noise
    predicted = expected.mean(axis=1) if mechanism.log else fitted
    error = family.target - predicted
    r2, low, high, constant = _explained(family, error)
    passed = r2 >= rows.threshold
    proven = mechanism.formula is not None
    # What an exact mechanism leaves is rounding, which scatters as it likes.
    exact = constant or proven or 1 - r2 < EXACT
    unbiased, off = (True, "") if exact else miscalibration(mechanism, family, rows.learnt, rows.num_nodes)
    variance = float(np.var(family.target))
    return NodeScore(
        family.node,
        mechanism.rung,
        r2,
        low,
        high,
        passed,
        CONSTANT if passed and constant else PROVEN if passed and proven else _verdict(r2, passed),
        mse=float(np.mean(error**2)),
        nmse=float(np.mean(error**2)) / variance if variance > 0 else float("nan"),
        crps=_crps(expected, family.target),
        unbiased=unbiased,
        calibrated=not off,
        miscalibration=off,
        ladder=mechanism.ladder,
    )


def score_classification(mechanism: Classification, rows: HeldOut) -> NodeScore:
    """Score a node of labels by its log-loss skill against the base rates of the rows it was fitted to."""
    family = rows.family
    target = family.target.astype(np.int64)
    chances = mechanism.probabilities(list(family.columns.T[:, :, None]))[..., 0].T
    shares = np.bincount(rows.learnt.target.astype(np.int64), minlength=mechanism.num_labels) + 0.5
    shares = shares / shares.sum()
    losses = -np.log(chances[np.arange(len(target)), target])
    base = -np.log(shares[target])
    sums = block_sums(np.column_stack([losses, base]), np.unique(family.blocks, return_inverse=True)[1])
    weights = _weights(len(sums), family.random_seed)
    skill = float(1 - losses.sum() / base.sum())
    low, high = interval95(1 - (weights @ sums[:, 0]) / (weights @ sums[:, 1]))
    shown = np.eye(mechanism.num_labels)[target]
    brier, base_brier = (float(np.mean(np.sum((shown - told) ** 2, axis=1))) for told in (chances, shares))
    constant = len(np.unique(np.concatenate([target, rows.learnt.target.astype(np.int64)]))) == 1
    # One label in all rows leaves nothing to tell.
    passed = constant or skill >= rows.threshold
    unbiased, off = (True, "") if constant else miscalibration(mechanism, family, rows.learnt, rows.num_nodes)
    return NodeScore(
        family.node,
        mechanism.rung,
        1.0 if constant else skill,
        low,
        high,
        passed,
        CONSTANT if constant else _verdict(skill, passed),
        "log-loss skill",
        brier,
        brier / base_brier,
        unbiased=unbiased,
        calibrated=not off,
        miscalibration=off,
        ladder=mechanism.ladder,
    )


def _explained(family: Family, error: FloatArray) -> tuple[float, float, float, bool]:
    """Return R2 with the percentile interval of the cluster bootstrap, and whether the node is constant."""
    actual = family.target
    # Around the mean first: sums of squares of a large offset would cancel.
    centred = actual - actual.mean()
    codes: IntArray = np.unique(family.blocks, return_inverse=True)[1]
    sums = block_sums(np.column_stack([np.ones_like(error), centred, centred**2, error**2]), codes)
    rounding = max(_ROUNDING * float(np.abs(actual).max()), np.finfo(float).tiny ** 0.5)
    r2 = float(_r2(sums.sum(axis=0), rounding))
    low, high = interval95(_r2(_weights(len(sums), family.random_seed) @ sums, rounding))
    return r2, low, high, bool(np.ptp(actual) <= rounding)


@lru_cache(maxsize=8)
def _weights(num_blocks: int, random_seed: int) -> FloatArray:
    # The same for all nodes, of which each has its own interval: drawing them is what would take longest.
    return resampled_weights(num_blocks, _REPLICATES, stream(random_seed, "score"))


def _r2(sums: FloatArray, rounding: float) -> FloatArray:
    count, total, squares, errors = np.moveaxis(sums, -1, 0)
    # A constant node that is predicted as such scores 1, not rounding divided by rounding.
    variance = np.maximum(squares - total**2 / count, count * rounding**2)
    return np.asarray(1 - errors / variance)


def _crps(expected: FloatArray, actual: FloatArray) -> float:
    """Return the mean continuous ranked probability score of equally likely values (Gneiting & Raftery 2007)."""
    num = expected.shape[1]
    ordered = np.sort(expected, axis=1)
    spread = ordered @ (2 * np.arange(1, num + 1) - num - 1) / num**2
    return float(np.mean(np.abs(ordered - actual[:, None]).mean(axis=1) - spread))


def _verdict(r2: float, passed: bool) -> str:
    if passed:
        return "predicts"
    return "worse than the mean" if r2 < 0 else "below the threshold"
