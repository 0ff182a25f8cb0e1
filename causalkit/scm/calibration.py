"""Do held-out values scatter around the prediction as the mechanism says, whatever its parents are.

Each held-out value is put at its place among what the mechanism expects of that row (the probability integral
transform; Gneiting, Balabdaoui & Raftery 2007, *Probabilistic forecasts, calibration and sharpness*). Under a correct
mechanism these places are uniform and depend on nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import block_sums
from causalkit.scm.classification import Classification
from causalkit.scm.residuals import Probe
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.regression import Regression
    from causalkit.scm.selection import Family

# Of three tests together; and what is off by less than this is called calibrated all the same: with enough rows any
# mechanism is off by something.
_ALPHA = 0.01
_LEAST_DISTANCE = 0.05
_LEAST_SHARE = 0.05
# No spread is estimated below this share of the mean one.
_LEAST_SPREAD = 0.1
DEPENDENT = "its residuals depend on its parents"
_GRID = np.linspace(0.05, 0.95, 19)


def miscalibration(mechanism: Regression | Classification, family: Family, learnt: Family) -> tuple[bool, str]:
    """Return whether a mechanism is off on held-out rows, and how.

    Parameters
    ----------
    mechanism : Regression or Classification
    family : Family
        Held-out rows.
    learnt : Family
        The rows that the mechanism was fitted to, whose residuals are its noise.

    Returns
    -------
    tuple of (bool, str)
        Whether the residuals' mean depends on nothing, and what is off in words, empty where nothing is.
    """
    rng = stream(family.random_seed, f"calibration {family.node}")
    places = _places(mechanism, family, learnt, rng)
    probe = family.probe()
    design = mechanism.terms.design(family.columns)
    wrong = []
    share, p_value = _dependence(probe, places - places.mean(), design)
    if p_value <= _ALPHA / 3 and share > _LEAST_SHARE:
        wrong.append(DEPENDENT)
    squares = (places - 0.5) ** 2
    share, p_value = _dependence(probe, squares - squares.mean(), np.ones((len(places), 1)))
    if p_value <= _ALPHA / 3 and share > _LEAST_SHARE:
        wrong.append("how much it scatters depends on its parents in a way it does not know")
    distance, p_value = _distance(probe, places, len(learnt.target))
    if p_value <= _ALPHA / 3 and distance > _LEAST_DISTANCE:
        wrong.append(f"held-out values are not distributed as it says (off by up to {distance:.2f})")
    return DEPENDENT not in wrong, "; ".join(wrong)


def _places(
    mechanism: Regression | Classification, family: Family, learnt: Family, rng: np.random.Generator
) -> FloatArray:
    """Return the place of each held-out value among what the mechanism expects, from 0 to 1."""
    columns = list(family.columns.T[:, :, None])
    noise = mechanism.abduct(family.target[:, None], columns, None, rng)[:, 0]
    if isinstance(mechanism, Classification):
        return noise
    # Draws take noise of rows with like fitted value: what grows or shrinks with it is known to the mechanism.
    spread = _Spread(mechanism.fitted(list(learnt.columns.T[:, :, None]))[:, 0], mechanism.residuals)
    reference = np.sort(mechanism.residuals / spread.at(spread.fitted))
    standard = noise / spread.at(mechanism.fitted(columns)[:, 0])
    low, high = (np.searchsorted(reference, standard, side=side) for side in ("left", "right"))
    return np.asarray((low + rng.random(len(standard)) * (high - low + 1)) / (len(reference) + 1))


class _Spread:
    """The mean absolute residual as a parabola of the fitted value."""

    def __init__(self, fitted: FloatArray, residuals: FloatArray) -> None:
        self.fitted = fitted
        self._centre, self._scale = fitted.mean(), max(float(fitted.std()), np.finfo(float).tiny)
        self._range = fitted.min(), fitted.max()
        sizes = np.abs(residuals)
        self._least = max(_LEAST_SPREAD * float(sizes.mean()), np.finfo(float).tiny)
        self._coefficients = np.linalg.lstsq(self._powers(fitted), sizes, rcond=None)[0]

    def at(self, fitted: FloatArray) -> FloatArray:
        """Return the spread at fitted values, beyond the known ones as at the nearest."""
        return np.maximum(self._powers(np.clip(fitted, *self._range)) @ self._coefficients, self._least)

    def _powers(self, fitted: FloatArray) -> FloatArray:
        return np.vander((fitted - self._centre) / self._scale, 3)


def _dependence(probe: Probe, values: FloatArray, design: FloatArray) -> tuple[float, float]:
    """Return the share of variance that functions of the parents explain beyond `design`, and its p-value."""
    functions = np.column_stack([design, probe.functions])
    p_value = probe.p_value(values, design)
    if p_value > _ALPHA:
        return 0.0, p_value
    shares = []
    for matrix in (functions, design):
        solution, _, rank, _ = np.linalg.lstsq(matrix, values, rcond=None)
        left = np.sum((values - matrix @ solution) ** 2) / max(len(values) - int(rank), 1)
        shares.append(left)
    return float(1 - shares[0] / max(shares[1], np.finfo(float).tiny)), p_value


def _distance(probe: Probe, places: FloatArray, reference: int) -> tuple[float, float]:
    """Return the largest distance of the places' distribution from the uniform one, and its p-value.

    Kolmogorov's distance on a grid, its null distribution by turning blocks' signs.
    """
    deviations = (places[:, None] <= _GRID) - _GRID
    sums = block_sums(deviations, probe.blocks)
    distance = float(np.abs(sums.sum(axis=0)).max()) / len(places)
    # The mechanism's own noise is known from a finite number of rows too.
    wider = np.sqrt(1 + len(places) / reference)
    flipped = np.abs(probe.signs @ (sums - sums.mean(axis=0))).max(axis=1) / len(places) * wider
    return distance, float(1 + np.count_nonzero(flipped >= distance)) / (1 + len(flipped))
