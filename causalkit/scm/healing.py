"""Had these nodes behaved as normal: what the target would have been, in the fitted model and in every refit.

A node's contribution is its Shapley value in the game of healing suspects (Shapley 1953; for noise: Budhathoki et al.
2022): how far the target moves back when the node's noise becomes normal, averaged over the orders in which suspects
are healed, so that contributions add up to what healing all of them does. Where mechanisms on the way are linear every
order gives the same, and one healing a suspect is exact; elsewhere up to four suspects take all their subsets, and more
take random orders in pairs of opposites. Refits heal one suspect at a time; their spread is put around the Shapley
value.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from tqdm.auto import tqdm

from causalkit.scm.abnormality import Batch
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import resampled_weights
from causalkit.scm.noise import abduct
from causalkit.scm.propagate import propagate
from causalkit.scm.regression import Regression
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

# Rows on which "had this node behaved as normal" is worked out: enough that donors' sampling error cannot be seen.
_DONOR_ROWS = 600
# Enough where every row has to go through curves in every refit.
_FEWER_ROWS = 150
_ALL_SUBSETS = 4
_NUM_ORDERS = 24
# Orders that differ by less than this share of a contribution do not differ.
_ROUNDING = 1e-9
_BAR_AFTER_S = 1.0


@dataclass(frozen=True, eq=False)
class Healing:
    """What happens to the target's mean in some rows when nodes behave as normal.

    Attributes
    ----------
    scm : FittedState
    odd, usual : Batch
    target : str
    random_seed : int
    progress : bool
    deadline : float
        On the monotonic clock: no healing but the first is begun after it.
    blamed : mapping of str to list of str
        Nodes whose noise is the doing of others, and is healed with them; see `abnormality.taken_over`.
    """

    scm: FittedState
    odd: Batch
    usual: Batch
    target: str
    random_seed: int
    progress: bool = True
    deadline: float = float("inf")
    blamed: Mapping[str, list[str]] = field(default_factory=dict)
    _known: dict[frozenset[str], float] = field(default_factory=dict)

    def contributions(self, suspects: list[str]) -> tuple[dict[str, FloatArray], str]:
        """Return how far each suspect moved the target's mean, and what that leaves open, in words.

        Returns
        -------
        dict of str to ndarray, shape (1 + replicates,)
            By the fitted model first, then by each refit on resampled blocks with resampled abnormal clusters. A
            suspect that time did not suffice for is not in it.
        str
        """
        bar = tqdm(suspects, desc="healing", unit="node", delay=_BAR_AFTER_S, disable=not self.progress, leave=False)
        alone = {
            node: self._moved(node) for place, node in enumerate(bar) if not place or time.monotonic() < self.deadline
        }
        if len(alone) < len(suspects):
            late = ", ".join(node for node in suspects if node not in alone)
            return alone, f"time ran out before the contribution of {late} was worked out; allow a longer timeout_s"
        if len(suspects) < 2 or self._linear(suspects):
            return alone, ""
        shares, note = (self._exact(suspects), "") if len(suspects) <= _ALL_SUBSETS else self._sampled(suspects)
        return {node: moved - moved[0] + shares[node] for node, moved in alone.items()}, note

    def _exact(self, suspects: list[str]) -> dict[str, float]:
        found = {}
        for node in suspects:
            others = [other for other in suspects if other != node]
            parts = [
                (self._once(frozenset([*some, node])) - self._once(frozenset(some))) / comb(len(others), size)
                for size in range(len(suspects))
                for some in combinations(others, size)
            ]
            found[node] = sum(parts) / len(suspects)
        return found

    def _sampled(self, suspects: list[str]) -> tuple[dict[str, float], str]:
        rng = stream(self.random_seed, "orders")
        drawn: dict[str, list[float]] = {node: [] for node in suspects}
        bar = tqdm(range(_NUM_ORDERS // 2), desc="orders", delay=_BAR_AFTER_S, disable=not self.progress, leave=False)
        for _ in bar:
            order = [suspects[place] for place in rng.permutation(len(suspects))]
            walks = [self._walk(order), self._walk(order[::-1])]
            for node in suspects:
                drawn[node].append((walks[0][node] + walks[1][node]) / 2)
            if time.monotonic() > self.deadline:
                break
        pairs = len(drawn[suspects[0]])
        error = max(float(np.std(values)) / np.sqrt(pairs) for values in drawn.values())
        shares = {node: float(np.mean(values)) for node, values in drawn.items()}
        if error <= _ROUNDING * max(map(abs, shares.values())):
            return shares, ""
        return shares, (
            f"contributions interact and are averages over {2 * pairs} orders; the standard error of that is at most "
            f"{error:.2g}"
        )

    def _walk(self, order: list[str]) -> dict[str, float]:
        moved = [self._once(frozenset(order[:size])) for size in range(len(order) + 1)]
        return {node: moved[place + 1] - moved[place] for place, node in enumerate(order)}

    def _once(self, healed: frozenset[str]) -> float:
        """Return how far the target's mean moves back in the fitted model when these nodes behave as normal."""
        if not healed:
            return 0.0
        if healed not in self._known:
            own = {node: noise[:, :1] for node, noise in self._own.items()}
            donors = {node: self._donors(node)[:, :1] for node in self._with(healed)}
            back = propagate(self.scm, {**own, **donors}, None, None, self._kept(healed), self.target)[self.target]
            self._known[healed] = float(self._weights[0] @ (self._values[self.target] - back)[:, 0])
        return self._known[healed]

    def _moved(self, node: str) -> FloatArray:
        """Return how far the target's mean moves back when one node behaves as normal, also in every refit."""
        healed = frozenset([node])
        noise = {**self._own, **{place: self._donors(place) for place in self._with(healed)}}
        kept = self._kept(healed)
        back = propagate(self.scm, noise, None, self.scm.fits, kept, self.target)[self.target]
        moved = np.broadcast_to(self._values[self.target] - back, self._weights.T.shape)
        return np.asarray(np.einsum("br,rb->b", self._weights, moved))

    def _with(self, healed: frozenset[str]) -> list[str]:
        return sorted(healed.union(node for node, causes in self.blamed.items() if healed & set(causes)))

    def _kept(self, healed: frozenset[str]) -> dict[str, FloatArray]:
        affected = set(healed).union(*(nx.descendants(self.scm.graph, node) for node in healed))
        return {node: value for node, value in self._values.items() if node not in affected}

    def _linear(self, suspects: list[str]) -> bool:
        if any(len(causes) > 1 for causes in self.blamed.values()):
            return False
        upstream = nx.ancestors(self.scm.graph, self.target) | {self.target}
        way = {node for suspect in suspects for node in nx.descendants(self.scm.graph, suspect)} & upstream
        return all(
            self.scm.derived.get(node) == "sum" or _is_linear(self.scm.mechanisms.get(node)) for node in way
        ) and not any(_on_log(self.scm.mechanisms.get(node)) for node in suspects)

    @cached_property
    def _repeats(self) -> int:
        curved = any(not _is_linear(mechanism) for mechanism in self.scm.mechanisms.values())
        return -(-(_FEWER_ROWS if curved else _DONOR_ROWS) // len(self.odd.rows))

    @cached_property
    def _values(self) -> dict[str, FloatArray]:
        rows = self.odd.rows.iloc[np.repeat(np.arange(len(self.odd.rows)), self._repeats)]
        return {str(node): rows[[node]].to_numpy() for node in rows}

    @cached_property
    def _own(self) -> dict[str, FloatArray]:
        own = abduct(self.scm, self.odd.rows, list(self.usual.noise), self.scm.fits)
        return {node: np.repeat(noise, self._repeats, axis=0) for node, noise in own.items()}

    @cached_property
    def _weights(self) -> FloatArray:
        return _row_weights(self.scm, self.odd.clusters, self._repeats, self.random_seed)

    def _donors(self, node: str) -> FloatArray:
        size = len(self.odd.rows) * self._repeats
        # Evenly spaced quantiles in random order: normal noise without the sampling error of a random draw.
        labels = node in self.scm.levels
        spread = np.quantile(self.usual.noise[node], (np.arange(size) + 0.5) / size, method="inverted_cdf")
        donors = stream(self.random_seed, f"donors {node}").permutation(spread)[:, None]
        if not labels and (self.usual.rows is not self.scm.table or node not in self.scm.mechanisms):
            donors = donors + self._mean_errors(node)
        return np.asarray(donors)

    def _mean_errors(self, node: str) -> FloatArray:
        """Return by how much the mean of the normal rows is off where no refit says so: 0, then in each replicate."""
        drawn, usual = self.scm.replicate_weights, self.usual
        if usual.rows is not self.scm.table:
            drawn = resampled_weights(int(usual.clusters.max()) + 1, len(drawn), stream(self.random_seed, "normal"))
        weights = drawn[:, usual.clusters]
        means = weights @ usual.noise[node][:, 0] / weights.sum(axis=1)
        return np.concatenate([[0.0], means - usual.noise[node].mean()])


def _is_linear(mechanism: object) -> bool:
    return isinstance(mechanism, Regression) and mechanism.linear


def _on_log(mechanism: object) -> bool:
    return isinstance(mechanism, Regression) and mechanism.log


def _row_weights(scm: FittedState, clusters: IntArray, repeats: int, random_seed: int) -> FloatArray:
    num_replicates = len(scm.replicate_weights)
    drawn = resampled_weights(int(clusters.max()) + 1, num_replicates, stream(random_seed, "abnormal"))
    weights = np.vstack([np.ones(len(clusters)), drawn[:, clusters]])
    weights = np.repeat(weights, repeats, axis=1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
