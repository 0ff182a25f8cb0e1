"""Do held-out values scatter around the prediction as the mechanism says, whatever its parents are.

Each held-out value is put at its place among what the mechanism expects of that row (the probability integral
transform; Gneiting, Balabdaoui & Raftery 2007, *Probabilistic forecasts, calibration and sharpness*). Under a correct
mechanism these places are uniform and depend on nothing.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import block_sums
from causalkit.scm.classification import Classification
from causalkit.scm.residuals import MAX_ROWS, Probe, flips
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.regression import Regression
    from causalkit.scm.selection import Family

# Of all tests of a model together. What is off by less than the following is calibrated all the same: with enough
# rows any mechanism is off by something.
_ALPHA = 0.01
_NUM_TESTS = 3
_MANY_FLIPS = 9999
_LEAST_P = 1 / (1 + _MANY_FLIPS)
_LEAST_DISTANCE = 0.05
_LEAST_SHARE = 0.05
# No spread is estimated below this share of the mean one.
_LEAST_SPREAD = 0.1
DEPENDENT = "its residuals depend on its parents"
_GRID = np.linspace(0.05, 0.95, 19)


def miscalibration(
    mechanism: Regression | Classification, family: Family, learnt: Family, num_nodes: int
) -> tuple[bool, str]:
    """Return whether a mechanism is off on held-out rows, and how.

    Parameters
    ----------
    mechanism : Regression or Classification
    family : Family
        Held-out rows.
    learnt : Family
        The rows that the mechanism was fitted to, whose residuals are its noise.
    num_nodes : int
        How many nodes of the model are judged: its false alarms are kept over all of them together (Bonferroni).

    Returns
    -------
    tuple of (bool, str)
        Whether the residuals' mean depends on nothing, and what is off in words, empty where nothing is.
    """
    rng = stream(family.random_seed, f"calibration {family.node}")
    family = family.enough_for_choosing()
    places = _places(mechanism, family, learnt, rng)
    squares = (places - 0.5) ** 2
    design = mechanism.terms.design(family.columns)
    alpha = _ALPHA / (_NUM_TESTS * num_nodes)
    probes = _Probes(family.probe())
    wrong = []
    if probes.dependent(places - places.mean(), design, alpha):
        wrong.append(DEPENDENT)
    if probes.dependent(squares - squares.mean(), np.ones((len(places), 1)), alpha):
        wrong.append("how much it scatters depends on its parents in a way it does not know")
    distance = probes.distance(places, len(learnt.target), alpha)
    if distance > 0:
        wrong.append(f"held-out values are not distributed as it says (off by up to {distance:.2f})")
    return DEPENDENT not in wrong, "; ".join(wrong)


class _Probes:
    """A probe, and the same with many more flips for what the first one finds suspicious."""

    def __init__(self, probe: Probe) -> None:
        self._first = probe

    @cached_property
    def _second(self) -> Probe:
        return self._first._replace(signs=flips(_MANY_FLIPS, self._first.signs.shape[1]))

    def dependent(self, values: FloatArray, design: FloatArray, alpha: float) -> bool:
        """Return whether functions of the parents explain values beyond `design`, surely and not just barely."""
        if self._first.p_value(values, design) > _ALPHA:
            return False
        if self._first.explained(values, design) <= _LEAST_SHARE:
            return False
        return self._second.p_value(values, design) <= max(alpha, _LEAST_P)

    def distance(self, places: FloatArray, reference: int, alpha: float) -> float:
        """Return the largest distance of the places' distribution from the uniform one; 0 where it may be chance."""
        distance, p_value = _distance(self._first, places, reference)
        if p_value > _ALPHA or distance <= _LEAST_DISTANCE:
            return 0.0
        distance, p_value = _distance(self._second, places, reference)
        return distance if p_value <= max(alpha, _LEAST_P) else 0.0


def _places(
    mechanism: Regression | Classification, family: Family, learnt: Family, rng: np.random.Generator
) -> FloatArray:
    """Return the place of each held-out value among what the mechanism expects, from 0 to 1."""
    columns = list(family.columns.T[:, :, None])
    noise = mechanism.abduct(family.target[:, None], columns, None, rng)[:, 0]
    if isinstance(mechanism, Classification):
        return noise
    # Draws take noise of rows with like fitted value: what grows or shrinks with it is known to the mechanism.
    some = slice(None, None, max(1, len(learnt.target) // MAX_ROWS))
    residuals = mechanism.residuals[some]
    spread = _Spread(mechanism.fitted(list(learnt.columns[some].T[:, :, None]))[:, 0], residuals)
    reference = np.sort(residuals / spread.at(spread.fitted))
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
