"""Whose fault: which nodes made the target abnormal in some rows.

Each row's noise is recovered from the model (abduction; Pearl 2009, *Causality*, sec. 7.1), and two things are asked of
every node upstream of the target. *Is its noise unlike the normal rows' noise?* (the p-value), and *how far back would
the target move if just this node had behaved as normal, all else staying as it was?* (the contribution). What a node
merely passes on from its parents is not its fault: only its own noise counts, as in the noise-based attribution of
Budhathoki et al. 2022 (*Causal structure-based root cause analysis of outliers*). Contributions are one at a time, in
the unit of the target; where mechanisms interact they need not add up to the whole difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import deal_blocks, interval95, resampled_weights
from causalkit.scm.caveats import data_caveats, ungrouped
from causalkit.scm.noise import abduct, null_means
from causalkit.scm.propagate import propagate
from causalkit.streams import stream
from causalkit.tables import check_table
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.model import FittedSCM


# Resolves adjusted p-values below .01 for up to 40 nodes.
_NULL_BATCHES = 4000
# Rows on which "had this node behaved as normal" is worked out: enough that donors' sampling error cannot be seen.
_DONOR_ROWS = 600
# Contributions below this share of the target's size are rounding: what an exact mechanism leaves unexplained.
_ROUNDING = 1e-9


@dataclass(frozen=True, repr=False)
class RootCauses:
    """Nodes whose own behaviour made the target abnormal, best first.

    Attributes
    ----------
    target : str
    difference : float
        Mean of the target in the abnormal rows minus its mean in the normal ones.
    num_rows : int
        Abnormal rows.
    frame : pandas.DataFrame
        ``node, contribution, low, high, p_value``: the contribution to the target's mean in its own unit, its 95 %
        interval (over abnormal clusters and refits; for a single row only over refits), and the p-value adjusted
        over all nodes by Holm's method. Empty when nothing is abnormal.
    caveats : list of str

    Examples
    --------
    >>> RootCauses("total_ms", 0.2, 5, pd.DataFrame(), []).sentence
    'Nothing upstream of total_ms is abnormal in these 5 rows.'
    """

    target: str
    difference: float
    num_rows: int
    frame: pd.DataFrame
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        rows = f"{self.num_rows} row{'s' if self.num_rows > 1 else ''}"
        if self.frame.empty:
            return f"Nothing upstream of {self.target} is abnormal in these {rows}."
        best = self.frame.to_dict("records")[0]
        return (
            f"{best['node']} is the first cause: its own behaviour moved the mean of {self.target} in these {rows} by "
            f"{number(best['contribution'], signed=True)} (95 % interval "
            f"{interval((best['low'], best['high']), signed=True)}), "
            f"of a difference of {number(self.difference, signed=True)}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per cause, best first."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the ranking; see `causalkit.plots.causes.plot_root_causes`."""
        from causalkit.plots.causes import plot_root_causes

        return plot_root_causes(self, ax=ax)

    def __repr__(self) -> str:
        return f"<RootCauses: {self.sentence}>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(caveat)}</li>" for caveat in self.caveats)
        table = self.frame.round(3).to_html(index=False, escape=True)
        return f"<p>{escape(self.sentence)}</p><ul>{notes}</ul>{table}"


def root_causes(
    scm: FittedSCM,
    abnormal: pd.DataFrame,
    target: str,
    normal: pd.DataFrame | None,
    alpha: float,
    random_seed: int,
) -> RootCauses:
    """Rank the nodes whose own behaviour made the target abnormal.

    Parameters
    ----------
    scm : FittedSCM
    abnormal : pandas.DataFrame
        The rows to explain: at least the columns of the target and of what is upstream of it. With the column that
        the model was grouped by, rows of one group are one cluster.
    target : str
    normal : pandas.DataFrame or None
        What to compare with; default: the rows the model was fitted to.
    alpha : float
        Share of wholly normal batches in which some node may be named all the same.
    random_seed : int

    Returns
    -------
    RootCauses

    Raises
    ------
    GraphError
        If `target` is no node.
    FitError
        If a column is missing, holds text, or has missing values.
    """
    upstream = _upstream(scm, target)
    subgraph = scm.graph.subgraph([*upstream, *nx.ancestors(scm.graph, target), target])
    rows = check_table(abnormal, subgraph)
    if rows.empty:
        raise FitError("there are no abnormal rows to explain; the table is empty")
    usual = scm.table if normal is None else check_table(normal, subgraph)
    if usual.empty:
        raise FitError("there are no normal rows to compare with; the table is empty")
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha}; it is a share between 0 and 1")
    clusters = _clusters(scm, abnormal, random_seed)
    usual_blocks = scm.blocks if normal is None else _clusters(scm, normal, random_seed)
    noise, usual_noise = abduct(scm, rows, upstream), abduct(scm, usual, upstream)
    # Holm multiplies by the number of nodes: with fewer draws the smallest p-value there can be would not pass alpha.
    enough = max(_NULL_BATCHES, math.ceil(2 * len(upstream) / alpha))
    p_values = _holm(
        {
            node: _p_value(
                noise[node], usual_noise[node], clusters, usual_blocks, enough, stream(random_seed, f"null {node}")
            )
            for node in upstream
        }
    )
    suspects = [node for node in upstream if p_values[node] <= alpha]
    refitted = frozenset(scm.mechanisms) if normal is None else frozenset()
    errors = {
        node: _mean_errors(scm, usual_noise[node], usual_blocks, normal is None, random_seed)
        for node in suspects
        if node not in refitted
    }
    frame = _frame(_contributions(scm, rows, usual_noise, errors, suspects, target, clusters, random_seed), p_values)
    difference = float(rows[target].mean() - usual[target].mean())
    rounding = _ROUNDING * float(usual[target].abs().max())
    caveats = [*ungrouped(scm, abnormal), *_caveats(scm, suspects, target)]
    return RootCauses(target, difference, len(rows), _ranked(frame, difference, rounding), caveats)


def _upstream(scm: FittedSCM, target: str) -> list[str]:
    if target not in scm.graph:
        raise GraphError(f"{target!r} is no node of the model; known are {', '.join(scm.graph)}", node=target)
    above = nx.ancestors(scm.graph, target) | {target}
    return [node for node in scm.order if node in above and node not in scm.derived]


def _clusters(scm: FittedSCM, rows: pd.DataFrame, random_seed: int) -> IntArray:
    return deal_blocks(rows.get(scm.groups), len(rows), stream(random_seed, "clusters"))


def _p_value(
    noise: FloatArray,
    usual: FloatArray,
    clusters: IntArray,
    usual_blocks: IntArray,
    enough: int,
    rng: np.random.Generator,
) -> float:
    observed = abs(noise.mean() - usual.mean()) * (1 - 1e-12)
    for num_batches in (_NULL_BATCHES, enough):
        null = null_means(usual, usual_blocks, np.bincount(clusters), num_batches, rng)
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


def _contributions(
    scm: FittedSCM,
    rows: pd.DataFrame,
    usual_noise: Mapping[str, FloatArray],
    errors: Mapping[str, FloatArray],
    suspects: list[str],
    target: str,
    clusters: IntArray,
    random_seed: int,
) -> dict[str, FloatArray]:
    """Return each suspect's contribution by the fitted model first and then by each replicate.

    `errors` are the replicates' deviations of normal means, for nodes where no refit stands for them.
    """
    repeats = -(-_DONOR_ROWS // len(rows))
    repeated = rows.iloc[np.repeat(np.arange(len(rows)), repeats)]
    coefficients = {
        node: np.hstack([mechanism.coefficients[:, None], scm.replicates[node]])
        for node, mechanism in scm.mechanisms.items()
    }
    values = {str(node): repeated[[node]].to_numpy() for node in repeated}
    own = abduct(scm, repeated, list(usual_noise), coefficients)
    weights = _row_weights(scm, clusters, repeats, random_seed)
    found = {}
    for node in suspects:
        donors = _donors(usual_noise[node], len(repeated), stream(random_seed, f"donors {node}"))
        donors = donors + errors.get(node, 0.0)
        affected = nx.descendants(scm.graph, node) | {node}
        kept = {other: value for other, value in values.items() if other not in affected}
        healed = propagate(scm, {**own, node: donors}, None, coefficients, kept, until=target)[target]
        found[node] = np.einsum("br,rb->b", weights, np.broadcast_to(values[target] - healed, weights.T.shape))
    return found


def _mean_errors(scm: FittedSCM, usual: FloatArray, blocks: IntArray, same_rows: bool, random_seed: int) -> FloatArray:
    """Return by how much the mean of the normal rows is off: 0 for the rows themselves, then in each replicate."""
    drawn = scm.replicate_weights
    if not same_rows:
        drawn = resampled_weights(int(blocks.max()) + 1, len(drawn), stream(random_seed, "normal"))
    weights = drawn[:, blocks]
    means = weights @ usual[:, 0] / weights.sum(axis=1)
    return np.concatenate([[0.0], means - usual.mean()])


def _row_weights(scm: FittedSCM, clusters: IntArray, repeats: int, random_seed: int) -> FloatArray:
    num_replicates = len(scm.replicate_weights)
    drawn = resampled_weights(int(clusters.max()) + 1, num_replicates, stream(random_seed, "abnormal"))
    weights = np.vstack([np.ones(len(clusters)), drawn[:, clusters]])
    weights = np.repeat(weights, repeats, axis=1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _donors(usual: FloatArray, num_rows: int, rng: np.random.Generator) -> FloatArray:
    # Evenly spaced quantiles in random order: normal noise without the sampling error of a random draw.
    spread = np.quantile(usual, (np.arange(num_rows) + 0.5) / num_rows)
    return rng.permutation(spread)[:, None]


def _frame(contributions: Mapping[str, FloatArray], p_values: Mapping[str, float]) -> pd.DataFrame:
    rows = [(node, values[0], *interval95(values[1:]), p_values[node]) for node, values in contributions.items()]
    return pd.DataFrame(rows, columns=["node", "contribution", "low", "high", "p_value"])


def _ranked(frame: pd.DataFrame, difference: float, rounding: float) -> pd.DataFrame:
    # A node whose noise is unusual but cannot be told from harmless to the target is no cause of it.
    away_from_zero = (frame["low"] > 0) | (frame["high"] < 0)
    told = frame[away_from_zero & (frame["contribution"].abs() > rounding)]
    worst_first = np.argsort(-told["contribution"].to_numpy() * np.sign(difference), kind="stable")
    return told.iloc[worst_first].reset_index(drop=True)


def _caveats(scm: FittedSCM, suspects: list[str], target: str) -> list[str]:
    unset = [node for node in suspects if node not in scm.mechanisms and scm.role(node) != "knob"]
    found = [
        f"{node} was not set at random: an unmeasured common cause of it and {target} could explain this"
        for node in unset
    ]
    weak = [node for node in suspects if node in scm.report.failed_nodes]
    found += [f"{node} failed validation: what its parents do not explain may be an unrecorded cause" for node in weak]
    return [*found, *data_caveats(scm)]
