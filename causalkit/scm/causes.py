"""Whose fault: which nodes made the target abnormal in some rows.

Each row's noise is recovered from the model (abduction; Pearl 2009, *Causality*, sec. 7.1), and two things are asked of
every node upstream of the target. *Is its noise unlike the normal rows' noise?* (the p-value), and *how far back would
the target move if just this node had behaved as normal, all else staying as it was?* (the contribution). What a node
merely passes on from its parents is not its fault: only its own noise counts, as in the noise-based attribution of
Budhathoki et al. 2022 (*Causal structure-based root cause analysis of outliers*). Contributions are one at a time, in
the unit of the target; where mechanisms interact they need not add up to the whole difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError
from causalkit.scm.abnormality import Batch, adjusted_p_values
from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import deal_blocks, interval95
from causalkit.scm.caveats import data_caveats, refuse_biased, ungrouped
from causalkit.scm.finding import Finding
from causalkit.scm.healing import contributions
from causalkit.streams import stream
from causalkit.tables import check_table
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState


# Contributions below this share of the target's size are rounding: what an exact mechanism leaves unexplained.
_ROUNDING = 1e-9


@dataclass(frozen=True, repr=False)
class RootCauses(Finding):
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


def root_causes(
    scm: FittedState, abnormal: pd.DataFrame, target: str, normal: pd.DataFrame | None, alpha: float, random_seed: int
) -> RootCauses:
    """Answer `FittedSCM.root_causes`: first who is unusual, then by how much each of them moved the target."""
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha}; it is a share between 0 and 1")
    odd = _batch(scm, abnormal, target, "abnormal", random_seed)
    refuse_biased(scm, dict.fromkeys(odd.noise, 0.0), [target])
    usual = _usual(scm, target) if normal is None else _batch(scm, normal, target, "normal", random_seed)
    p_values = adjusted_p_values(odd, usual, alpha, random_seed)
    suspects = [node for node in odd.noise if p_values[node] <= alpha]
    frame = _frame(contributions(scm, odd, usual, suspects, target, random_seed), p_values)
    difference = float(odd.rows[target].mean() - usual.rows[target].mean())
    rounding = _ROUNDING * float(usual.rows[target].abs().max())
    caveats = [*ungrouped(scm, abnormal), *_caveats(scm, suspects, target)]
    return RootCauses(target, difference, len(odd.rows), _ranked(frame, difference, rounding), caveats)


def _batch(scm: FittedState, table: pd.DataFrame, target: str, kind: str, random_seed: int) -> Batch:
    upstream = _upstream(scm, target)
    rows = check_table(table, scm.graph.subgraph({*nx.ancestors(scm.graph, target), target}), levels=scm.levels)
    if rows.empty:
        raise FitError(f"there are no {kind} rows; the table is empty")
    clusters = deal_blocks(table.get(scm.groups), len(rows), stream(random_seed, "clusters"))
    return Batch.of(scm, rows, clusters, upstream)


def _usual(scm: FittedState, target: str) -> Batch:
    return Batch.of(scm, scm.table, scm.blocks, _upstream(scm, target))


def _upstream(scm: FittedState, target: str) -> list[str]:
    if target not in scm.graph:
        raise GraphError(f"{target!r} is no node of the model; known are {', '.join(scm.graph)}", node=target)
    above = nx.ancestors(scm.graph, target) | {target}
    return [node for node in scm.order if node in above and node not in scm.derived]


def _frame(contributions: Mapping[str, FloatArray], p_values: Mapping[str, float]) -> pd.DataFrame:
    rows = [(node, values[0], *interval95(values[1:]), p_values[node]) for node, values in contributions.items()]
    return pd.DataFrame(rows, columns=["node", "contribution", "low", "high", "p_value"])


def _ranked(frame: pd.DataFrame, difference: float, rounding: float) -> pd.DataFrame:
    # A node whose noise is unusual but cannot be told from harmless to the target is no cause of it.
    away_from_zero = (frame["low"] > 0) | (frame["high"] < 0)
    told = frame[away_from_zero & (frame["contribution"].abs() > rounding)]
    worst_first = np.argsort(-told["contribution"].to_numpy() * np.sign(difference), kind="stable")
    return told.iloc[worst_first].reset_index(drop=True)


def _caveats(scm: FittedState, suspects: list[str], target: str) -> list[str]:
    unset = [node for node in suspects if node not in scm.mechanisms and scm.role(node) != "knob"]
    found = [
        f"{node} was not set at random: an unmeasured common cause of it and {target} could explain this"
        for node in unset
    ]
    weak = [node for node in suspects if node in scm.report.failed_nodes]
    found += [f"{node} failed validation: what its parents do not explain may be an unrecorded cause" for node in weak]
    return [*found, *data_caveats(scm)]
