"""Had this node behaved as normal: what the target would have been, in the fitted model and in every refit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from causalkit.scm.abnormality import Batch
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import resampled_weights
from causalkit.scm.noise import abduct
from causalkit.scm.propagate import propagate
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

# Rows on which "had this node behaved as normal" is worked out: enough that donors' sampling error cannot be seen.
_DONOR_ROWS = 600


def contributions(
    scm: FittedState, abnormal: Batch, usual: Batch, suspects: list[str], target: str, random_seed: int
) -> dict[str, FloatArray]:
    """Return how far each suspect moved the target's mean in the abnormal rows.

    Parameters
    ----------
    scm : FittedSCM
    abnormal, usual : Batch
    suspects : list of str
        Nodes whose noise is replaced by normal noise, one at a time.
    target : str
    random_seed : int

    Returns
    -------
    dict of str to ndarray, shape (1 + replicates,)
        By the fitted model first, then by each refit on resampled blocks with resampled abnormal clusters.
    """
    repeats = -(-_DONOR_ROWS // len(abnormal.rows))
    repeated = abnormal.rows.iloc[np.repeat(np.arange(len(abnormal.rows)), repeats)]
    values = {str(node): repeated[[node]].to_numpy() for node in repeated}
    own = abduct(scm, repeated, list(usual.noise), scm.fits)
    weights = _row_weights(scm, abnormal.clusters, repeats, random_seed)
    found = {}
    for node in suspects:
        donors = _donors(usual.noise[node], len(repeated), stream(random_seed, f"donors {node}"))
        if usual.rows is not scm.table or node not in scm.mechanisms:
            donors = donors + _mean_errors(scm, usual, node, random_seed)
        affected = nx.descendants(scm.graph, node) | {node}
        kept = {other: value for other, value in values.items() if other not in affected}
        healed = propagate(scm, {**own, node: donors}, None, scm.fits, kept, until=target)[target]
        found[node] = np.einsum("br,rb->b", weights, np.broadcast_to(values[target] - healed, weights.T.shape))
    return found


def _mean_errors(scm: FittedState, usual: Batch, node: str, random_seed: int) -> FloatArray:
    """Return by how much the mean of the normal rows is off where no refit says so: 0, then in each replicate."""
    drawn = scm.replicate_weights
    if usual.rows is not scm.table:
        drawn = resampled_weights(int(usual.clusters.max()) + 1, len(drawn), stream(random_seed, "normal"))
    weights = drawn[:, usual.clusters]
    means = weights @ usual.noise[node][:, 0] / weights.sum(axis=1)
    return np.concatenate([[0.0], means - usual.noise[node].mean()])


def _row_weights(scm: FittedState, clusters: IntArray, repeats: int, random_seed: int) -> FloatArray:
    num_replicates = len(scm.replicate_weights)
    drawn = resampled_weights(int(clusters.max()) + 1, num_replicates, stream(random_seed, "abnormal"))
    weights = np.vstack([np.ones(len(clusters)), drawn[:, clusters]])
    weights = np.repeat(weights, repeats, axis=1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _donors(usual: FloatArray, num_rows: int, rng: np.random.Generator) -> FloatArray:
    # Evenly spaced quantiles in random order: normal noise without the sampling error of a random draw.
    spread = np.quantile(usual, (np.arange(num_rows) + 0.5) / num_rows)
    return rng.permutation(spread)[:, None]
