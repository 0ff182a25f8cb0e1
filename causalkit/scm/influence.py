"""How much of a target's variance comes from each node's own noise: intrinsic causal influence.

Janzing et al. 2024, *Quantifying intrinsic causal contributions via structure preserving interventions*: what a node
merely passes on from its parents counts as theirs. Contributions are Shapley values over nodes of the variance of the
conditional expectation, as in ``dowhy.gcm.intrinsic_causal_influence``; of labels it is the variance of each label's
indicator, summed. Noise, and with it roots, counts as independent of each other.

A node that reaches the target through slopes only adds its variance to that of all else: total effect squared times
variance of its noise, without error. The others are drawn: between two rows the noises are exchanged one after the
other in random order (Goda 2021, *A simple algorithm for global sensitivity analysis with Shapley effects*).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from numbers import Integral
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
from scipy.stats import norm

from causalkit.errors import CausalkitError
from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.classification import Classification
from causalkit.scm.interventions import Shift
from causalkit.scm.propagate import propagate
from causalkit.scm.regression import Regression
from causalkit.scm.state import NUM_REPLICATES
from causalkit.scm.strengths import Ranking, check_node, replicate_variances
from causalkit.scm.ways import slope
from causalkit.streams import stream
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from causalkit.scm.regression import Regression
from causalkit.scm.state import FittedState

# Values of nodes that the estimate and its refits may compute, for some seconds: draws times the square of the nodes.
_VALUES = 4_000_000
_MOST, _FEWEST = 10_000, 500
_MOST_REFITTED, _FEWEST_REFITTED = 1000, 50
# With 39 and 99 refits a 95 % interval ends at whole ranks (Davison & Hinkley 1997, sec. 4.2.5).
_MANY_REFITS, _FEW_REFITS = 99, 39
_FEW_REFITS_FROM = 10
# By how much of the recorded variance that of the model may be off without a word.
_OFF = 0.2
# Values of one node at a time: few enough to stay near the processor.
_CHUNK = 50_000

_Row = tuple[float, float, float, float]


@dataclass(frozen=True, repr=False)
class Influence(Ranking):
    """How much of the target's variance comes from each node's own noise.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``node, influence, share, low, high, error``, strongest first: the variance that comes from the node itself (of
        a root: from its values), its share of all, its 95 % interval over refits and resampled blocks, and the standard
        error of drawing (0 where nothing was drawn). Shares add up to 1.
    caveats : list of str
    target : str

    Examples
    --------
    >>> row = {"node": ["depth"], "influence": [4.0], "share": [0.8], "low": [3.0], "high": [5.0], "error": [0.0]}
    >>> Influence(pd.DataFrame(row), [], "total_ms").sentence
    '80 % of the variance of total_ms comes from depth itself: 4.00 (95 % interval 3.00 to 5.00).'
    """

    target: str

    @property
    def sentence(self) -> str:
        """The finding in words."""
        most = self.frame.to_dict("records")[0]
        if not most["share"]:
            return f"{self.target} does not vary."
        return (
            f"{100 * most['share']:.0f} % of the variance of {self.target} comes from {most['node']} itself: "
            f"{number(most['influence'])} (95 % interval {interval((most['low'], most['high']))})."
        )

    def bars(self) -> tuple[str, str, pd.DataFrame]:
        """Return a title, what is on the axis, and the bars: ``name, value, low, high``."""
        bars = self.frame.rename(columns={"node": "name", "influence": "value"})
        return f"Where the variance of {self.target} comes from", "variance from the node itself", bars


def influence(scm: FittedState, target: str, num_samples: int | None, random_seed: int) -> Influence:
    """Answer `FittedSCM.influence`: what reaches the target through slopes in closed form, all else drawn."""
    check_node(scm, target)
    if num_samples is not None and (not isinstance(num_samples, Integral) or num_samples < 2):
        raise CausalkitError(
            f"num_samples is {num_samples!r}; draw a whole number of at least two", num_samples=num_samples
        )
    above = nx.ancestors(scm.graph, target) | {target}
    upstream = [node for node in scm.order if node in above]
    roots = [node for node in upstream if not scm.graph.in_degree(node)]
    refuse_biased(scm, dict.fromkeys(roots, 0.0), [target])
    rows = _exact(scm, upstream, target)
    drawn = [node for node in upstream if node not in rows and node not in scm.derived]
    if drawn:
        rows |= _drawn(scm, target, upstream, drawn, num_samples, random_seed)
    whole, recorded = sum(row[0] for row in rows.values()), np.var(scm.table[target].to_numpy())
    table = [(node, row[0], row[0] / whole if recorded > 0 else 0.0, *row[1:]) for node, row in rows.items()]
    frame = pd.DataFrame(table, columns=["node", "influence", "share", "low", "high", "error"])
    frame = frame.sort_values("influence", ascending=False, kind="stable", ignore_index=True)
    caveats = [*_correlated(scm, roots), *caveats_of(scm, dict.fromkeys(roots, Shift(0.0)), target)]
    if len(scm.levels.get(target, ())) <= 2 and abs(whole - recorded) > _OFF * recorded > 0:
        caveats.append(f"shares are of the model's variance, {number(whole)}; recorded is {number(recorded)}")
    return Influence(frame, caveats, target)


def _exact(scm: FittedState, upstream: list[str], target: str) -> dict[str, _Row]:
    """Return influence, interval and error of nodes whose noise is added and reaches the target through slopes only."""
    effects: dict[str, FloatArray | None] = {target: np.ones(1 + NUM_REPLICATES)}
    rows: dict[str, _Row] = {}
    for node in reversed(upstream):
        effects.setdefault(node, _effect(scm, node, effects))
        effect = effects[node]
        if effect is not None and _is_added(scm, node, target):
            each = effect**2 * _noise_variances(scm, node)
            rows[node] = (float(each[0]), *interval95(each[1:]), 0.0)
    return rows


def _effect(scm: FittedState, node: str, effects: Mapping[str, FloatArray | None]) -> FloatArray | None:
    whole = np.zeros(1 + NUM_REPLICATES)
    for child in sorted(set(scm.graph.successors(node)) & set(effects)):
        known, further = slope(scm, node, child), effects[child]
        if isinstance(known, str) or further is None:
            return None
        whole = whole + known * further
    return whole


def _is_added(scm: FittedState, node: str, target: str) -> bool:
    if node not in scm.mechanisms:
        return node not in scm.derived and (node != target or len(scm.levels.get(node, ())) <= 2)
    return scm.mechanisms[node].additive and not scm.mechanisms[node].log


def _noise_variances(scm: FittedState, node: str) -> FloatArray:
    values, rows = _recorded_noise(scm, node)
    return replicate_variances(scm, values, rows)


def _recorded_noise(scm: FittedState, node: str) -> tuple[FloatArray, BoolArray]:
    mechanism = scm.mechanisms.get(node)
    rows = np.ones(len(scm.table), dtype=bool) if mechanism is None else scm.rows_of(node)
    values = mechanism.residuals if isinstance(mechanism, Regression) else scm.table[node].to_numpy()
    return values[rows], rows


def _drawn(
    scm: FittedState, target: str, upstream: list[str], drawn: list[str], num_samples: int | None, random_seed: int
) -> dict[str, _Row]:
    """Return influence, interval and error of the other nodes."""
    part = replace(
        scm,
        graph=scm.graph.subgraph(upstream).copy(),
        mechanisms={node: scm.mechanisms[node] for node in upstream if node in scm.mechanisms},
    )
    square = len(drawn) ** 2
    slow = len(drawn) > _FEW_REFITS_FROM or any(each.learner is not None for each in part.mechanisms.values())
    refits = _FEW_REFITS if slow else _MANY_REFITS
    many = num_samples or int(np.clip(_VALUES // square, _FEWEST, _MOST))
    few = int(np.clip(_VALUES // (square * refits), _FEWEST_REFITTED, _MOST_REFITTED))
    value, error = _exchange(part, target, drawn, many, 0, stream(random_seed, "exchange"))
    again, _ = _exchange(part, target, drawn, few, refits, stream(random_seed, "refits"))
    # Both kinds of fit meet the same draws: their difference has hardly any of the draws' error.
    moved = again[:, 1:] - again[:, :1]
    rows: dict[str, _Row] = {}
    for k, node in enumerate(drawn):
        low, high = interval95(moved[k])
        rows[node] = (float(value[k, 0]), float(value[k, 0]) + low, float(value[k, 0]) + high, float(error[k, 0]))
    return rows


def _exchange(
    scm: FittedState, target: str, drawn: list[str], num_draws: int, num_refits: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return each node's mean contribution and its standard error, both of shape (nodes, 1 + refits)."""
    weights = np.vstack([np.ones(scm.replicate_weights.shape[1]), scm.replicate_weights[:num_refits]])
    before, after = ({node: _noise(scm, node, rng.random(num_draws), weights) for node in drawn} for _ in range(2))
    turn = rng.permuted(np.tile(np.arange(len(drawn)), (num_draws, 1)), axis=1)
    places = np.argsort(turn, axis=1)
    total, squares = np.zeros((2, len(drawn), 1 + num_refits))
    size = max(1, _CHUNK // ((1 + len(drawn)) * (1 + num_refits)))
    for chunk in (slice(start, start + size) for start in range(0, num_draws, size)):
        noise = {
            node: _switched(turn[chunk, k], before[node][chunk], after[node][chunk], len(drawn))
            for k, node in enumerate(drawn)
        }
        values = _target(scm, target, noise, num_refits).reshape(-1, len(turn[chunk]), 1 + len(drawn), 1 + num_refits)
        last, now = values[:, :, :-1], values[:, :, 1:]
        each = ((values[:, :, :1] - (last + now) / 2) * (last - now)).sum(axis=0)
        np.add.at(total, places[chunk], each)
        np.add.at(squares, places[chunk], each**2)
    mean = total / num_draws
    return mean, np.sqrt(np.maximum(squares / num_draws - mean**2, 0) / num_draws)


def _switched(turn: IntArray, before: FloatArray, after: FloatArray, num_turns: int) -> FloatArray:
    """Return one node's noise at the start and after each turn, shape (draws * (1 + turns), replicates)."""
    done = turn[:, None] < np.arange(1 + num_turns)
    return np.where(done[:, :, None], after[:, None], before[:, None]).reshape(-1, after.shape[1])


def _target(scm: FittedState, target: str, noise: Mapping[str, FloatArray], num_refits: int) -> FloatArray:
    """Return the target's values, or those of its labels' indicators; other nodes stand still, as they only add."""
    size = len(next(iter(noise.values())))
    still = {
        node: np.full((size, 1), 0.0 if node in scm.mechanisms else scm.table[node].mean())
        for node in scm.order
        if node not in noise and node not in scm.derived
    }
    fits = {node: each[:, : 1 + num_refits] for node, each in scm.fits.items()}
    values = propagate(scm, still | dict(noise), coefficients=fits)[target]
    values = np.broadcast_to(values, (size, 1 + num_refits))
    labels = range(len(scm.levels.get(target, ())))
    return np.stack([values == place for place in labels]).astype(float) if len(labels) > 2 else values


def _noise(scm: FittedState, node: str, places: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the noise at these places of its distribution in each replicate, shape (places, replicates)."""
    if isinstance(scm.mechanisms.get(node), Classification):
        return places[:, None]
    values, rows = _recorded_noise(scm, node)
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[:, scm.blocks[rows][order]], axis=1)
    found = np.stack([values[order][np.searchsorted(each, places * each[-1], side="right")] for each in upto], axis=1)
    if node in scm.mechanisms:
        # A refit's noise has mean 0 under the refit's own weights.
        found -= np.diff(upto, axis=1, prepend=0) @ values[order] / upto[:, -1]
    return found


def _correlated(scm: FittedState, roots: list[str]) -> list[str]:
    """Return a caveat where roots go together more than chance lets them (Fisher's z, Bonferroni over pairs)."""
    varying = [root for root in roots if scm.table[root].std() > 0]
    if len(varying) < 2:
        return []
    size = len(scm.table) if scm.groups is None else scm.replicate_weights.shape[1]
    pairs = list(combinations(range(len(varying)), 2))
    found = np.corrcoef(scm.table[varying].to_numpy(), rowvar=False)
    limit = np.tanh(norm.isf(0.025 / len(pairs)) / np.sqrt(max(size - 3, 1)))
    told = [f"{varying[i]} and {varying[j]} ({found[i, j]:.2f})" for i, j in pairs if abs(found[i, j]) > limit]
    if not told:
        return []
    more = f" and {len(told) - 3} more pairs" if len(told) > 3 else ""
    return [f"roots count as independent, but are correlated: {', '.join(told[:3])}{more}"]
