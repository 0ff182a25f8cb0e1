"""Tell whether the noise of some rows is unlike the noise of normal rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.noise import abduct
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

# Resolves adjusted p-values below .01 for up to 40 nodes.
_NULL_BATCHES = 4000


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows, the cluster of each, and the noise behind them.

    Attributes
    ----------
    rows : pandas.DataFrame
    clusters : ndarray of int, shape (rows,)
    noise : dict of str to ndarray, each of shape (rows, 1)
    """

    rows: pd.DataFrame
    clusters: IntArray
    noise: dict[str, FloatArray]

    @classmethod
    def of(cls, scm: FittedState, rows: pd.DataFrame, clusters: IntArray, nodes: list[str]) -> Batch:
        """Recover the noise of these nodes."""
        return cls(rows, clusters, abduct(scm, rows, nodes))


def adjusted_p_values(abnormal: Batch, usual: Batch, alpha: float, random_seed: int) -> dict[str, float]:
    """Return for each node how likely chance alone moves its mean noise this far, adjusted over all nodes.

    Parameters
    ----------
    abnormal, usual : Batch
    alpha : float
        The share of wholly normal batches in which some node may fall below it.
    random_seed : int

    Returns
    -------
    dict of str to float
        Adjusted by Holm's method (1979, *A simple sequentially rejective multiple test procedure*).
    """
    # Holm multiplies by the number of nodes: with fewer draws the smallest p-value there can be would not pass alpha.
    enough = max(_NULL_BATCHES, math.ceil(2 * len(abnormal.noise) / alpha))
    return _holm(
        {node: _p_value(abnormal, usual, node, enough, stream(random_seed, f"null {node}")) for node in abnormal.noise}
    )


def _p_value(abnormal: Batch, usual: Batch, node: str, enough: int, rng: np.random.Generator) -> float:
    observed = abs(abnormal.noise[node].mean() - usual.noise[node].mean()) * (1 - 1e-12)
    sizes = np.bincount(abnormal.clusters)
    for num_batches in (_NULL_BATCHES, enough):
        null = null_means(usual.noise[node], usual.clusters, sizes, num_batches, rng)
        further = int(np.sum(np.abs(null) >= observed))
        if further or num_batches >= enough:
            break
    # The observed batch counts as one draw of its own: never p = 0 (Davison & Hinkley 1997, eq. 4.11).
    return (1 + further) / (1 + len(null))


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    adjusted: dict[str, float] = {}
    largest = 0.0
    for position, (node, p_value) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        largest = max(largest, min(1.0, p_value * (len(p_values) - position)))
        adjusted[node] = largest
    return adjusted


def null_means(
    usual: FloatArray, blocks: IntArray, sizes: IntArray, num_batches: int, rng: np.random.Generator
) -> FloatArray:
    """Return by how much the mean of a batch of normal rows differs from the mean of all normal rows, by chance.

    Parameters
    ----------
    usual : ndarray, shape (rows, 1)
        Noise of the normal rows.
    blocks : ndarray of int, shape (rows,)
        Cluster of each normal row.
    sizes : ndarray of int
        Rows in each cluster of the batch: each is drawn from one random cluster of the normal rows.
    num_batches : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (batches,)
        With the error of the normal rows' own mean in it, which matters where the batch is not small.
    """
    ordered = usual[np.argsort(blocks, kind="stable"), 0]
    counts = np.bincount(blocks)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen = rng.integers(len(counts), size=(num_batches, len(sizes)))
    totals = np.zeros(num_batches)
    for size in np.unique(sizes):
        mine = chosen[:, sizes == size]
        for _ in range(size):
            picked = starts[mine] + (rng.random(mine.shape) * counts[mine]).astype(np.int64)
            totals += ordered[picked].sum(axis=1)
    batch = totals / sizes.sum()
    cluster_totals = np.add.reduceat(ordered - ordered.mean(), starts)
    own_error = np.sqrt(np.sum(cluster_totals**2)) / len(ordered)
    return np.asarray(batch - ordered.mean() + own_error * rng.standard_normal(num_batches))
