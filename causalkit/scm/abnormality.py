"""Tell whether the noise of some rows is unlike the noise of normal rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.classification import Classification
from causalkit.scm.noise import abduct
from causalkit.scm.regression import Regression
from causalkit.scm.tails import two_sided
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

_NULL_BATCHES = 4000
# Relative to the node's size: rounding of a mechanism without noise.
_ROUNDING = 1e-9
# The chance that what never varied varies now, before any row was seen: most constants are so by design.
_LOOSE_CONSTANTS = 0.05
_FEW_ROWS = 1000
_SHAPE_UNKNOWN = 0.5
# With fewer rows without gaps, rows whose gaps were filled tell what is normal too.
_FEWEST_WHOLE = 40


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows, the cluster of each, and how unusual each node's own behaviour in them is.

    Attributes
    ----------
    rows : pandas.DataFrame
    clusters : ndarray of int, shape (rows,)
    noise : dict of str to ndarray, each of shape (rows, 1)
    oddness : dict of str to ndarray, each of shape (rows,)
        Of a number its noise; of a label how surprising it is, ``-log p`` with p the probability of one as rare.
    blur : dict of str to ndarray, each of shape (rows,)
        By how much noise is wider for missing values; infinite where nothing is known.
    """

    rows: pd.DataFrame
    clusters: IntArray
    noise: dict[str, FloatArray]
    oddness: dict[str, FloatArray]
    blur: dict[str, FloatArray]

    @classmethod
    def of(
        cls,
        scm: FittedState,
        rows: pd.DataFrame,
        clusters: IntArray,
        nodes: list[str],
        blur: Mapping[str, FloatArray] | None = None,
    ) -> Batch:
        """Recover the noise of these nodes."""
        noise = abduct(scm, rows, nodes)
        oddness = {node: _oddness(scm, node, rows, noise[node]) for node in nodes}
        return cls(rows, clusters, noise, oddness, dict(blur or {}))


def adjusted_p_values(scm: FittedState, odd: Batch, usual: Batch, random_seed: int) -> dict[str, float]:
    """Return for each node how likely chance alone moves its own behaviour this far, adjusted over all nodes.

    Parameters
    ----------
    scm : FittedState
    odd, usual : Batch
    random_seed : int

    Returns
    -------
    dict of str to float
        Adjusted by Holm's method (1979, *A simple sequentially rejective multiple test procedure*).
    """
    return _holm({node: p_value(scm, odd, usual, node, stream(random_seed, f"null {node}")) for node in odd.noise})


def p_value(scm: FittedState, odd: Batch, usual: Batch, node: str, rng: np.random.Generator) -> float:
    """Return how likely chance alone moves a node's mean oddness this far, one node by itself.

    The distance is measured against batches of normal rows of the same make-up, widened by what missing values and the
    model itself leave open: far from the recorded parents a mechanism is known badly, and its noise with it.
    """
    known = np.isfinite(odd.blur.get(node, np.ones(len(odd.rows))))
    if not known.any():
        return 1.0
    wider = odd.blur[node][known] if node in odd.blur else np.ones(len(odd.rows))
    normal, clusters = _recorded(usual, node)
    centre = float(normal.mean())
    off = odd.oddness[node][known] - centre
    if float(np.ptp(normal)) <= _ROUNDING * _size(usual.rows[node]):
        moved = np.abs(off).max() > _ROUNDING * _size(usual.rows[node])
        return _LOOSE_CONSTANTS / (1 + int(clusters.max()) + 1) if moved else 1.0
    sizes = np.bincount(odd.clusters[known])
    null = null_means(normal - centre, clusters, sizes[sizes > 0], rng)
    open_ = _left_open(scm, odd, usual, node, known)
    spread = float(null.std())
    return two_sided(float(np.mean(off / wider)) / math.hypot(1.0, open_ / spread if spread > 0 else 0.0), null)


def taken_over(scm: FittedState, odd: Batch, usual: Batch, suspects: list[str]) -> dict[str, list[str]]:
    """Return the suspects whose oddness is the doing of parents that never varied before, each with those parents.

    What a constant does when it moves no recorded row tells: its coefficient is 0, and the whole of its effect looks
    like its child's own noise. A parent that was itself taken over stands for those that took it.
    """
    blamed: dict[str, list[str]] = {}
    for node in (node for node in scm.order if node in suspects and node in scm.mechanisms):
        off = np.abs(odd.oddness[node] - usual.oddness[node].mean())
        moved = {
            parent: odd.rows[parent].to_numpy() != scm.table[parent].iloc[0]
            for parent in scm.mechanisms[node].parents
            if parent in suspects and np.ptp(scm.table[parent]) == 0
        }
        by = [parent for parent, where in moved.items() if off[where].sum() > off[~where].sum()]
        if by:
            blamed[node] = sorted({cause for parent in by for cause in blamed.get(parent, [parent])})
    return blamed


def null_means(usual: FloatArray, blocks: IntArray, sizes: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return the means of batches of normal rows.

    Parameters
    ----------
    usual : ndarray, shape (rows,)
        Values of the normal rows.
    blocks : ndarray of int, shape (rows,)
        Cluster of each normal row.
    sizes : ndarray of int
        Rows in each cluster of the batch: each is drawn from one random cluster of the normal rows.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (batches,)
        For a batch of a single row the normal rows themselves.
    """
    if sizes.sum() == 1:
        return usual
    ordered = usual[np.argsort(blocks, kind="stable")]
    counts = np.bincount(blocks)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen = rng.integers(len(counts), size=(_NULL_BATCHES, len(sizes)))
    totals = np.zeros(_NULL_BATCHES)
    for size in np.unique(sizes):
        mine = chosen[:, sizes == size]
        for _ in range(size):
            picked = starts[mine] + (rng.random(mine.shape) * counts[mine]).astype(np.int64)
            totals += ordered[picked].sum(axis=1)
    return np.asarray(totals / sizes.sum())


def _recorded(usual: Batch, node: str) -> tuple[FloatArray, IntArray]:
    """Return the oddness and clusters of the normal rows that have the node and its parents, if these are enough."""
    whole = usual.blur.get(node, np.ones(len(usual.rows))) == 1
    if whole.sum() < _FEWEST_WHOLE:
        whole[:] = True
    return usual.oddness[node][whole], np.unique(usual.clusters[whole], return_inverse=True)[1]


def _left_open(scm: FittedState, odd: Batch, usual: Batch, node: str, known: FloatArray) -> float:
    """Return the standard error of the batch's mean that comes from the model and from the normal rows' own mean."""
    normal, clusters = _recorded(usual, node)
    own = float(np.sqrt(np.sum(np.bincount(clusters, normal - normal.mean()) ** 2)) / len(normal))
    mechanism = scm.mechanisms.get(node)
    if not isinstance(mechanism, Regression):
        return own
    rows = odd.rows.loc[:, [node, *mechanism.parents]].iloc[np.flatnonzero(known)]
    refits = float(abduct(scm, rows, [node], scm.fits)[node].mean(axis=0)[1:].std())
    open_ = math.hypot(refits, _beyond(scm, mechanism, rows))
    # The refits' spread holds the error of the mean of the rows that they were fitted to.
    return open_ if usual.rows is scm.table else math.hypot(open_, own)


def _beyond(scm: FittedState, mechanism: Regression, rows: pd.DataFrame) -> float:
    """Return half of what a curve adds to the mean beyond the recorded parents, where nobody knows its shape."""
    if mechanism.linear:
        return 0.0
    parents = list(mechanism.parents)
    seen = scm.table[parents]
    inside = rows[parents].clip(seen.min(), seen.max(), axis=1)
    there, edge = (mechanism.fitted(list(part.to_numpy().T[:, :, None])) for part in (rows[parents], inside))
    return _SHAPE_UNKNOWN * abs(float((there - edge).mean()))


def _oddness(scm: FittedState, node: str, rows: pd.DataFrame, noise: FloatArray) -> FloatArray:
    """Return a number's noise; of a label, minus the logarithm of the probability of one as rare."""
    mechanism = scm.mechanisms.get(node)
    if node not in scm.levels or (mechanism is not None and not isinstance(mechanism, Classification)):
        return noise[:, 0]
    places = rows[node].to_numpy().astype(np.int64)
    if mechanism is None:
        counts = np.bincount(scm.table[node].astype(np.int64), minlength=len(scm.levels[node])) + 0.5
        chances = np.repeat((counts / counts.sum())[:, None], len(rows), axis=1)
    else:
        columns = [rows[[parent]].to_numpy() for parent in mechanism.parents]
        # Averaged over refits, a label that the model is not sure about is less of a surprise.
        refits = scm.fits[node] if len(rows) <= _FEW_ROWS else None
        chances = mechanism.probabilities(columns, refits).mean(axis=2)
    own = np.take_along_axis(chances, places[None], axis=0)[0]
    rarer = np.where(chances < own, chances, 0).sum(axis=0)
    within = stream(scm.random_seed, f"oddness {node}").random(len(rows))
    return np.asarray(-np.log(rarer + within * np.where(chances == own, chances, 0).sum(axis=0)))


def _size(values: pd.Series[float]) -> float:
    return max(float(values.abs().max()), np.finfo(float).tiny)


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    adjusted: dict[str, float] = {}
    largest = 0.0
    for position, (node, value) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        largest = max(largest, min(1.0, value * (len(p_values) - position)))
        adjusted[node] = largest
    return adjusted
