"""The noise behind recorded rows, and noise for rows that are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.scm.arrays import FloatArray
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState


Noise = FloatArray | Callable[[FloatArray], FloatArray]

# Neighbours to either side: enough to make a distribution, few enough to be alike.
_REACH = (10, 100)


def abduct(
    scm: FittedState,
    rows: pd.DataFrame,
    nodes: Iterable[str],
    coefficients: Mapping[str, FloatArray] | None = None,
) -> dict[str, FloatArray]:
    """Return each node's noise in each row: what its mechanism leaves unexplained, or a root's value itself.

    Parameters
    ----------
    scm : FittedSCM
    rows : pandas.DataFrame
        Columns for the nodes and their parents.
    nodes : iterable of str
        Nodes that are not derived.
    coefficients : mapping of str to ndarray, shape (terms, replicates), optional
        Refits; default: the fitted ones.

    Returns
    -------
    dict of str to ndarray, each of shape (rows, 1) or (rows, replicates)
    """
    values = {str(node): rows[[node]].to_numpy() for node in rows}
    noise = {}
    for node in nodes:
        noise[node] = values[node]
        if node in scm.mechanisms:
            mechanism = scm.mechanisms[node]
            columns = [values[parent] for parent in mechanism.parents]
            chosen = None if coefficients is None else coefficients[node]
            noise[node] = mechanism.abduct(values[node], columns, chosen, stream(scm.random_seed, f"abduct {node}"))
    return noise


def drawn_noise(scm: FittedState, node: str, num_draws: int, rng: np.random.Generator) -> Noise:
    """Return noise for draws of a modelled node."""
    mechanism, rows = scm.mechanisms[node], scm.rows_of(node)
    columns = scm.table[list(mechanism.parents)].to_numpy()
    return (mechanism if rows.all() else mechanism.at(rows)).noise_source(columns[rows], num_draws, rng)


class LocalNoise:
    """Noise drawn from the residuals of rows whose fitted value is alike.

    Latencies scatter more where they are long, and never below zero; residuals of all rows alike would put the scatter
    of slow runs around fast ones. One uniform number a row decides its quantile, so that two arms of a question that
    share the numbers share the luck.

    Parameters
    ----------
    fitted, residuals : ndarray, shape (rows,)
        Of the rows that the mechanism was fitted to.
    rng : numpy.random.Generator
    num_draws : int
    whole : bool, default False
        Give such noise that the value is a whole number.

    Examples
    --------
    >>> fitted = np.repeat([1.0, 100.0], 200)
    >>> noise = LocalNoise(fitted, fitted * np.tile([-0.1, 0.1], 200), np.random.default_rng(0), 5)
    >>> np.abs(noise(np.ones((5, 1)))).round(2).ravel().tolist()
    [0.1, 0.1, 0.1, 0.1, 0.1]
    """

    def __init__(
        self, fitted: FloatArray, residuals: FloatArray, rng: np.random.Generator, num_draws: int, whole: bool = False
    ) -> None:
        order = np.argsort(fitted, kind="stable")
        self._fitted, self._residuals = fitted[order], residuals[order]
        self._place, self._quantile = rng.random((2, num_draws))
        self._reach = int(np.clip(len(fitted) // 50, *_REACH))
        self._whole = whole

    def __call__(self, fitted: FloatArray) -> FloatArray:
        """Return one residual for each fitted value, both of shape (draws, 1)."""
        alike = self._alike(fitted[:, 0])
        noise = np.take_along_axis(alike, (self._quantile * alike.shape[1]).astype(np.int64)[:, None], axis=1)
        return np.round(fitted + noise) - fitted if self._whole else noise

    def _alike(self, fitted: FloatArray) -> FloatArray:
        left, right = (np.searchsorted(self._fitted, fitted, side=side) for side in ("left", "right"))
        # Rows of one fitted value are all equally alike: begin anywhere among them.
        centre = left + (self._place * np.maximum(right - left, 1)).astype(np.int64)
        width = min(2 * self._reach + 1, len(self._fitted))
        first = np.clip(centre - self._reach, 0, len(self._fitted) - width)
        return np.sort(self._residuals[first[:, None] + np.arange(width)], axis=1)
