"""How far each changed mechanism moved the target: Shapley values over the worlds between two tables.

In a world some of the changed mechanisms are as in the second table and the others as in the first; all that did not
change is shared. Every row goes through every world with its own noise, brought from one table's distribution to the
other's by its rank where the mechanism changed. A mechanism's contribution is what it moves the target's statistic by,
averaged over the orders in which mechanisms can change (Budhathoki et al. 2021, *Why did the distribution change?*).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations

import networkx as nx
import numpy as np

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.blocks import Moments, resampled_weights
from causalkit.scm.classification import Classification, fit_logistic
from causalkit.scm.mechanism_change import Releases
from causalkit.scm.propagate import propagate
from causalkit.streams import stream

STATISTICS: dict[str, Callable[[FloatArray], float]] = {
    "mean": lambda values: float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "p95": lambda values: float(np.quantile(values, 0.95)),
    "variance": lambda values: float(values.var(ddof=1)),
}
# With more mechanisms, orders are drawn: 6! orders need 64 worlds.
_MAX_EXACT = 6
_NUM_ORDERS = 16
# Values of the target that are worked out in all; between these limits replicates are as many as that allows.
_NUM_VALUES = 2_000_000
_REPLICATES = (100, 400)

_ROWS_PER_TERM = 5
# As if so many rows with no change at all stood in each table; how much a mechanism changed on average is left alone.
_ROWS_OF_BOTH = 10
# Of the target's statistic.
_ROUNDING = 1e-9

World = frozenset[str]


def resampled_rows(releases: Releases, num_replicates: int, random_seed: int) -> FloatArray:
    """Return how often each cluster is drawn, shape (replicates, clusters), in the first replicate once each.

    Clusters that are in one table only are drawn for that table, so that neither is ever empty.
    """
    blocks, after = releases.scm.blocks, releases.after
    share = np.bincount(blocks, after) / np.bincount(blocks)
    weights = np.ones((1 + num_replicates, len(share)))
    for name, chosen in {"before": share == 0, "after": share == 1, "both": (share > 0) & (share < 1)}.items():
        if chosen.any():
            rng = stream(random_seed, f"clusters {name}")
            weights[1:, chosen] = resampled_weights(int(chosen.sum()), num_replicates, rng)
    return weights


def observed(releases: Releases, target: str, of: str, random_seed: int) -> FloatArray:
    """Return the statistic before and after, shape (2, 1 + replicates), as recorded and in each replicate."""
    values = releases.scm.table[target].to_numpy()
    counts = resampled_rows(releases, _REPLICATES[1], random_seed)[:, releases.scm.blocks].astype(np.int64)
    sides = (~releases.after, releases.after)
    return np.array([[STATISTICS[of](np.repeat(values[side], row[side])) for row in counts] for side in sides])


def contributions(
    releases: Releases, changed: Sequence[str], target: str, of: str, random_seed: int
) -> tuple[FloatArray, float]:
    """Return what each changed mechanism contributes, and the standard error of drawing orders.

    Parameters
    ----------
    releases : Releases
    changed : sequence of str
    target : str
    of : {"mean", "median", "p95", "variance"}
    random_seed : int

    Returns
    -------
    contributions : ndarray, shape (changed, 1 + replicates)
    error : float
        0 where all orders were gone through.
    """
    if not changed:
        return np.empty((0, 1)), 0.0
    orders = _orders(changed, stream(random_seed, "orders"))
    worlds = list({frozenset(order[:size]): None for order in orders for size in range(len(order) + 1)})
    slow = any(mechanism.learner is not None for mechanism in releases.scm.mechanisms.values())
    affordable = 0 if slow else _NUM_VALUES // (len(worlds) * len(releases.after))
    num_replicates = int(np.clip(affordable, *_REPLICATES))
    weights = resampled_rows(releases, num_replicates, random_seed)
    between = _Between(releases, changed, target, weights, random_seed)
    values = np.array(
        [[STATISTICS[of](column) for column in between.targets(draw, worlds)] for draw in range(len(weights))]
    )
    places = {world: place for place, world in enumerate(worlds)}
    steps = np.empty((len(orders), len(changed), len(weights)))
    for number, order in enumerate(orders):
        for size, node in enumerate(order):
            later, earlier = places[frozenset(order[: size + 1])], places[frozenset(order[:size])]
            steps[number, changed.index(node)] = values[:, later] - values[:, earlier]
    exact = len(changed) <= _MAX_EXACT
    error = 0.0 if exact else float(steps[..., 0].std(axis=0, ddof=1).max() / np.sqrt(len(orders)))
    shares = steps.mean(axis=0)
    shares[np.abs(shares) <= _ROUNDING * np.abs(values).max(axis=1)] = 0.0
    return shares, error


def _orders(changed: Sequence[str], rng: np.random.Generator) -> list[tuple[str, ...]]:
    if len(changed) <= _MAX_EXACT:
        return list(permutations(changed))
    drawn = [tuple(rng.permutation(changed).tolist()) for _ in range(_NUM_ORDERS // 2)]
    # Each order with its reverse: what comes first in one comes last in the other.
    return [order for pair in drawn for order in (pair, pair[::-1])]


class _Between:
    """The worlds between two tables, for the rows and refits of one replicate at a time."""

    def __init__(
        self, releases: Releases, changed: Sequence[str], target: str, weights: FloatArray, random_seed: int
    ) -> None:
        self.releases, self.changed, self.target, self.weights = releases, changed, target, weights
        scm = self.scm = releases.scm
        moved = {below for node in changed for below in (node, *nx.descendants(scm.graph, node))}
        self.fixed = [node for node in scm.order if node not in moved]
        self.modelled = [node for node in scm.order if node in moved and node in scm.mechanisms]
        self.values = {node: scm.table[[node]].to_numpy() for node in scm.order}
        self.designs = {node: scm.mechanisms[node].terms.design(releases.family(node)[0]) for node in self.modelled}
        apart, together = (~releases.after, releases.after), (np.ones_like(releases.after),)
        self.fits = {
            node: [self._fit(node, side) for side in (apart if node in changed else together)] for node in self.modelled
        }
        self.luck = stream(random_seed, "ties").permutation(len(releases.after))

    def targets(self, draw: int, worlds: Sequence[World]) -> list[FloatArray]:
        """Return the target's values in each world."""
        rows = np.repeat(np.arange(len(self.luck)), self.weights[draw, self.scm.blocks].astype(np.int64))
        known = {node: self.values[node][rows] for node in self.fixed}
        coefficients = {node: tuple(fit[:, [draw]] for fit in fits) for node, fits in self.fits.items()}
        noise = {node: self._noise(node, rows, coefficients[node]) for node in self.modelled}
        noise |= {node: self._transported(self.values[node][rows], rows) for node in self.changed if node not in noise}

        def target(world: World) -> FloatArray:
            values = propagate(self.scm, _in(world, noise), None, _in(world, coefficients), known)
            return values[self.target][:, 0]

        return [target(world) for world in worlds]

    def _noise(self, node: str, rows: IntArray, fits: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """Return a modelled node's noise, as it is or as it would be in either table."""
        mechanism, after = self.scm.mechanisms[node], self.releases.after[rows]
        if isinstance(mechanism, Classification):
            columns = [self.values[parent][rows] for parent in mechanism.parents]
            of_fits = [
                mechanism.abduct(self.values[node][rows], columns, fit, stream(self.scm.random_seed, f"abduct {node}"))
                for fit in fits
            ]
            noise = np.where(after[:, None], of_fits[-1], of_fits[0])
            return (noise,) * len(fits)
        change = np.hstack(fits) - mechanism.coefficients[:, None]
        shifts = self.designs[node][rows] @ change
        noise = mechanism.residuals[rows, None] - np.where(after, shifts[:, -1], shifts[:, 0])[:, None]
        return (noise,) if len(fits) == 1 else self._transported(noise, rows)

    def _transported(self, values: FloatArray, rows: IntArray) -> tuple[FloatArray, ...]:
        """Return what each row's value would be in either table: the one of the same rank."""
        # Equal values in random order, or ranks would tell which rows came first.
        order = np.lexsort((self.luck[rows], values[:, 0]))
        after = self.releases.after[rows][order]
        sides = [order[~after], order[after]]
        found = [values.copy(), values.copy()]
        for own, other in ((0, 1), (1, 0)):
            places = (np.arange(len(sides[own])) + 0.5) / len(sides[own]) * len(sides[other])
            found[other][sides[own]] = values[sides[other][places.astype(np.int64)]]
        return tuple(found)

    def _fit(self, node: str, side: BoolArray) -> FloatArray:
        """Return the coefficients fitted to some of the rows, then refitted in each replicate."""
        side = side & self.scm.rows_of(node)
        mechanism, design, blocks = self.scm.mechanisms[node], self.designs[node][side], self.scm.blocks[side]
        columns, target = self.releases.family(node)
        if isinstance(mechanism, Classification):
            coefficients = fit_logistic(design, target[side].astype(np.int64), mechanism.num_labels)
            fitted = replace(mechanism, coefficients=coefficients)
            return fitted.refit(columns[side], target[side], blocks, self.weights)
        # Too few rows can tell a shift from a tilt, but not one curve from another.
        straight = 1 + len(mechanism.terms.features.names)
        sizes = (len(mechanism.terms), straight, 1)
        size = next((size for size in sizes if _ROWS_PER_TERM * size <= len(design)), 1)
        moments = Moments.of(design[:, :size], mechanism.residuals[side], blocks, self.weights.shape[1])
        # What one table hardly tells is as in both, or a curve would fly off where only the other has rows.
        both = self.designs[node][self.scm.rows_of(node), :size]
        penalty = _ROWS_OF_BOTH * np.atleast_2d(np.cov(both, rowvar=False))
        fits = np.repeat(mechanism.coefficients[:, None], len(self.weights), axis=1)
        fits[:size] += moments.solve(self.weights, penalty)
        return fits


def _in(world: World, parts: Mapping[str, tuple[FloatArray, ...]]) -> dict[str, FloatArray]:
    return {node: part[-1] if node in world else part[0] for node, part in parts.items()}
