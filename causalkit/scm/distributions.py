"""How sure the spread and the quantiles of an answer are: whole distributions, drawn anew in every refit.

Each replicate draws its own rows, by the weights its blocks have, and answers with its own coefficients and with the
residuals of its own rows; both arms share rows and luck.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import interval95
from causalkit.scm.given import Runs
from causalkit.scm.interventions import Intervention, encode
from causalkit.scm.noise import Noise
from causalkit.scm.propagate import Values, propagate
from causalkit.scm.regression import Regression
from causalkit.scm.state import FittedState
from causalkit.streams import stream

# What has a sensible bootstrap interval. Extremes have none: that of a resample is the sample's own or lies within it.
SPREADS = ("std", "q05", "q50", "q95")
_REPLICATES = 100
_ROWS = 1000
# Neighbours to either side, as for the noise of draws.
_REACH = (10, 100)
# Rows that share their luck evenly, about as many as are alike; a divisor of the number of rows.
_BATCH = 20


def spread_of(values: FloatArray) -> FloatArray:
    """Return standard deviation, 5 %, 50 % and 95 % quantile of each column, one row each."""
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
    return np.vstack([deviation, np.quantile(values, [0.05, 0.5, 0.95], axis=0)])


def spread_intervals(
    scm: FittedState, actions: Mapping[str, Intervention], runs: Runs, random_seed: int, statistics: pd.DataFrame
) -> pd.DataFrame:
    """Return 95 % intervals of each node's spread and quantiles under the actions, and of their change.

    Parameters
    ----------
    scm : FittedSCM
    actions : mapping
    runs : Runs
        Those that are asked about.
    random_seed : int
    statistics : pandas.DataFrame
        The values that the intervals are about, one row per node.

    Returns
    -------
    pandas.DataFrame
        Per node and for each of ``std q05 q50 q95`` (of which `q50` is written here): ``q50 q50_low q50_high
        q50_change q50_change_low q50_change_high``.
    """
    before, after = _replicates(scm, [{}, actions], runs, random_seed)
    rows: dict[str, dict[str, float]] = {}
    for node in statistics.index:
        rows[node] = {}
        for place, name in enumerate(SPREADS):
            value, baseline = statistics.loc[node, [name, f"baseline_{name}"]]
            low, high = interval95(after[node][place])
            change = interval95(after[node][place] - before[node][place])
            rows[node] |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows[node] |= {f"{name}_change": value - baseline}
            rows[node] |= {f"{name}_change_low": change[0], f"{name}_change_high": change[1]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("node")


def _replicates(scm: FittedState, arms: list[Mapping[str, Intervention]], runs: Runs, random_seed: int) -> list[Values]:
    weights = scm.replicate_weights[:_REPLICATES]
    own = stream(random_seed, "distribution rows").permutation(runs.rows)
    rows = own[np.stack([_resampled(weight[scm.blocks[own]]) for weight in weights], axis=1)]
    coefficients = {node: fits[:, 1 : _REPLICATES + 1] for node, fits in scm.fits.items()}
    known = runs.known(scm, rows)
    noise = {
        node: _noise(scm, node, rows, weights, random_seed)
        for node in scm.graph
        if node not in scm.derived and node not in known
    }
    spreads = []
    for arm in arms:
        values = propagate(scm, noise, encode(arm, scm.levels), coefficients, known)
        whole = {node: np.broadcast_to(column, rows.shape) for node, column in values.items()}
        spreads.append({node: spread_of(column) for node, column in shown_by_label(scm, whole).items()})
    return spreads


def _resampled(weights: FloatArray) -> IntArray:
    """Return places in proportion to their weights, evenly: each comes within one of as often as it should."""
    cumulated = np.cumsum(weights if weights.any() else np.ones(len(weights)))
    return np.asarray(np.searchsorted(cumulated, (np.arange(_ROWS) + 0.5) / _ROWS * cumulated[-1]))


def _noise(scm: FittedState, node: str, rows: IntArray, weights: FloatArray, random_seed: int) -> Noise:
    rng = stream(random_seed, f"distribution {node}")
    mechanism = scm.mechanisms.get(node)
    if isinstance(mechanism, Regression):
        return _ReplicatedNoise(scm, mechanism, weights, rng)
    if mechanism is not None:
        return _even(rng, len(weights), _ROWS)
    if node in scm.root_families:
        return np.asarray(scm.root_families[node].rvs(size=rows.shape, random_state=rng))
    return scm.table[node].to_numpy()[rows]


def _even(rng: np.random.Generator, num_replicates: int, batch: int) -> FloatArray:
    """Return numbers between 0 and 1 that are evenly spaced in every batch of rows, shape (rows, replicates)."""
    places = np.broadcast_to(((np.arange(batch) + 0.5) / batch)[None, :, None], (_ROWS // batch, batch, num_replicates))
    return rng.permuted(places, axis=1).reshape(_ROWS, num_replicates)


class _ReplicatedNoise:
    """Residuals of rows whose fitted value is alike, each replicate's drawn as often as it has the row's block.

    Which of them is decided by numbers that are even among rows of like fitted value under the first arm, so that luck
    adds little to what the replicates really differ in; later arms have the same numbers.
    """

    def __init__(self, scm: FittedState, mechanism: Regression, weights: FloatArray, rng: np.random.Generator) -> None:
        rows = scm.rows_of(mechanism.node)
        columns = scm.table[list(mechanism.parents)].to_numpy()[rows]
        fitted = mechanism.fitted(list(columns.T[:, :, None]))[:, 0]
        order = np.argsort(fitted, kind="stable")
        self._mechanism, self._columns = mechanism, list(columns[order].T[:, :, None])
        self._fitted, self._residuals = fitted[order], mechanism.at(rows).residuals[order]
        self._weights, self._blocks = weights, scm.blocks[rows][order]
        self._moves = scm.fits[mechanism.node][:, 1 : len(weights) + 1] - mechanism.coefficients[:, None]
        self._place = rng.random((_ROWS, len(weights)))
        self._luck, self._quantile = _even(rng, len(weights), _BATCH), np.empty(0)
        self._reach = int(np.clip(len(fitted) // 50, *_REACH))

    def __call__(self, fitted: FloatArray) -> FloatArray:
        """Return one residual for each fitted value, both of shape (rows, replicates)."""
        if not self._quantile.size:
            self._quantile = np.empty(fitted.shape)
            np.put_along_axis(self._quantile, fitted.argsort(axis=0), self._luck, axis=0)
        first, last = self._alike(fitted)
        noise = np.empty(first.shape)
        for replicate, weight in enumerate(self._weights):
            cumulated = np.concatenate([[0.0], np.cumsum(weight[self._blocks])])
            low, high = cumulated[first[:, replicate]], cumulated[last[:, replicate]]
            chosen = np.searchsorted(cumulated, low + self._quantile[:, replicate] * (high - low), side="right") - 1
            # A refit's own residuals: those of the first fit would bring what it learnt a second time.
            moved = self._mechanism.terms.predict(self._columns, self._moves[:, [replicate]])[:, 0]
            noise[:, replicate] = (self._residuals - moved)[np.minimum(chosen, len(moved) - 1)]
        return np.round(fitted + noise) - fitted if self._mechanism.whole else noise

    def _alike(self, fitted: FloatArray) -> tuple[IntArray, IntArray]:
        left, right = (np.searchsorted(self._fitted, fitted, side=side) for side in ("left", "right"))
        centre = left + (self._place * np.maximum(right - left, 1)).astype(np.int64)
        width = min(2 * self._reach + 1, len(self._fitted))
        first = np.clip(centre - self._reach, 0, len(self._fitted) - width)
        return first, first + width


def shown_by_label(scm: FittedState, values: Values) -> Values:
    """Return the values with one column of 0 and 1 a label in place of a node of more than two labels."""
    shown: Values = {}
    for node, column in values.items():
        labels = scm.levels.get(node, ())
        if len(labels) > 2:
            shown |= {f"{node}={label}": np.equal(column, place).astype(float) for place, label in enumerate(labels)}
        else:
            shown[node] = column
    return shown
