"""Whose fault: which nodes made the target abnormal in some rows.

Each row's noise is recovered from the model (abduction; Pearl 2009, *Causality*, sec. 7.1), and two things are asked of
every node upstream of the target. *Is its noise unlike the normal rows' noise?* (the p-value, `abnormality`), and *how
far would the target move back if it had behaved as normal?* (the contribution, `healing`). What a node merely passes on
from its parents is not its fault: only its own noise counts, as in the noise-based attribution of Budhathoki et al.
2022 (*Causal structure-based root cause analysis of outliers*). Ranking by how unusual nodes are, as score ordering
(Orchard et al. 2024) and BARO (Pham et al. 2024) do without a model, blames whatever lies below a fault; here what a
node did on its own is measured first, with the error that extrapolating its mechanism beyond the recorded parents
brings.

Cost: one pass over the rows for the p-values, and for contributions one pass in all refits a suspect (a second or two
for hundreds of nodes); where suspects interact, the passes that `healing` tells of.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError
from causalkit.finding import Finding
from causalkit.scm.abnormality import Batch, adjusted_p_values, taken_over
from causalkit.scm.blocks import deal_blocks, interval95
from causalkit.scm.caveats import biased_on_the_way, data_caveats, refuse_nodes, ungrouped
from causalkit.scm.gaps import blur, filled, recorded, with_gaps
from causalkit.scm.healing import Healing
from causalkit.streams import stream
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState


# Contributions below this share of the target's size are rounding: what an exact mechanism leaves unexplained.
_ROUNDING = 1e-9
# A node that cannot have moved the target by this share of its normal scatter is odd, but no cause of it.
_HARMLESS = 0.01
# A p-value below this is sure enough: among sure causes the one that moved the target furthest comes first.
_SURE = 1e-4


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
        interval (over abnormal clusters and refits; for a single row over refits only: what the model does not know,
        not what other rows would show), and the p-value adjusted over all nodes by Holm's method. Empty when nothing
        is abnormal.
    caveats : list of str
    examined : pandas.DataFrame
        Every node that was asked, ``node, p_value``, the most unusual first, whether named or not.

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
    examined: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["node", "p_value"]))

    @property
    def sentence(self) -> str:
        """The finding in words."""
        rows = f"these {self.num_rows} rows" if self.num_rows > 1 else "this row"
        if self.frame.empty:
            return f"Nothing upstream of {self.target} is abnormal in {rows}."
        best = self.frame.to_dict("records")[0]
        return (
            f"{best['node']} is the first cause: its own behaviour moved the mean of {self.target} in {rows} by "
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
    scm: FittedState,
    abnormal: pd.DataFrame,
    target: str,
    normal: pd.DataFrame | None,
    *,
    alpha: float,
    random_seed: int,
    progress: bool,
    timeout_s: float | None,
) -> RootCauses:
    """Answer `FittedSCM.root_causes`: first who is unusual, then by how much each of them moved the target."""
    check_question(scm, target, alpha, timeout_s)
    deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    odd, notes = batch_of(scm, abnormal, target, "abnormal", random_seed)
    usual, more = (
        (usual_of(scm, target), []) if normal is None else batch_of(scm, normal, target, "normal", random_seed)
    )
    p_values = adjusted_p_values(scm, odd, usual, random_seed)
    frame, left_open = ranking(Healing(scm, odd, usual, target, random_seed, progress, deadline), p_values, alpha)
    difference = float(odd.rows[target].mean() - usual.rows[target].mean())
    caveats = [*left_open, *notes, *more, *ungrouped(scm, abnormal)]
    caveats += causes_caveats(scm, list(frame["node"]), target, len(odd.rows))
    asked = sorted(p_values, key=lambda node: p_values[node])
    examined = pd.DataFrame({"node": asked, "p_value": [p_values[node] for node in asked]})
    return RootCauses(target, difference, len(odd.rows), frame, caveats, examined)


def ranking(healing: Healing, p_values: Mapping[str, float], alpha: float) -> tuple[pd.DataFrame, list[str]]:
    """Return the causes among nodes whose own behaviour is unusual, best first, and what is left open, in words."""
    # The most unusual first: it is the last to fall victim to a timeout.
    suspects = sorted((node for node in p_values if p_values[node] <= alpha), key=lambda node: (p_values[node], node))
    refuse_nodes(healing.scm, suspects)
    blamed = taken_over(healing.scm, healing.odd, healing.usual, suspects)
    moved, left_open = replace(healing, blamed=blamed).contributions([node for node in suspects if node not in blamed])
    rows = [(node, values[0], *interval95(values[1:]), p_values[node]) for node, values in moved.items()]
    frame = pd.DataFrame(rows, columns=["node", "contribution", "low", "high", "p_value"])
    now, normal = (batch.rows[healing.target] for batch in (healing.odd, healing.usual))
    told = [left_open] if left_open else []
    told += [
        f"{', '.join(causes)} never varied before: what {node} did beyond its other parents counts as its doing"
        for node, causes in blamed.items()
    ]
    return _ranked(frame, float(now.mean() - normal.mean()), normal), told


def check_question(scm: FittedState, target: str, alpha: float, timeout_s: float | None) -> None:
    """Refuse a target of labels without an order, and what is no level or no time."""
    if len(scm.levels.get(target, ())) > 2:
        raise GraphError(f"{target!r} holds labels, which have no mean; ask about a node of numbers", node=target)
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha}; it is a share between 0 and 1")
    if timeout_s is not None and not timeout_s > 0:
        raise FitError(f"timeout_s is {timeout_s}; give seconds, or None to wait as long as it takes")


def batch_of(
    scm: FittedState, table: pd.DataFrame, target: str, kind: str, random_seed: int
) -> tuple[Batch, list[str]]:
    """Return rows with their noise, missing values taken from the model, and what that leaves open, in words."""
    nodes = [node for node in scm.order if node in scm.upstream(target)]
    rows = with_gaps(scm, table, nodes, kind)
    gaps = rows.isna()
    clusters = deal_blocks(table.get(scm.groups), len(rows), stream(random_seed, "clusters"))
    asked = [node for node in nodes if node not in scm.derived]
    wider = blur(scm, gaps.to_numpy(), nodes, asked)
    missing = [f"{node} ({int(count)} of {len(rows)})" for node, count in gaps.sum().items() if count]
    note = (
        f"not recorded in the {kind} rows and taken from the model: {', '.join(missing)}; what such a node did on its "
        "own shows only in the nodes below it"
    )
    return Batch.of(scm, filled(scm, rows), clusters, asked, wider), [note] if missing else []


def usual_of(scm: FittedState, target: str) -> Batch:
    """Return the rows that the model was fitted to, with their noise."""
    asked = [node for node in scm.order if node in scm.upstream(target) and node not in scm.derived]
    wider = {node: np.where(recorded(scm, node), 1.0, np.inf) for node in asked}
    return Batch.of(scm, scm.table, scm.blocks, asked, wider)


def _ranked(frame: pd.DataFrame, difference: float, normal: pd.Series[float]) -> pd.DataFrame:
    """Return the causes that can have moved the target at all, first those that moved it far and surely, as it went.

    Far alone would put an extrapolated mechanism first, surely alone a node that everything else outweighs.
    """
    reach = np.maximum(frame["low"].abs(), frame["high"].abs())
    rounding = _ROUNDING * float(normal.abs().max())
    told = frame[reach > max(rounding, _HARMLESS * float(normal.std()))]
    pushed = told["contribution"] * (np.sign(difference) or 1) * -np.log(told["p_value"].clip(_SURE))
    return told.iloc[np.argsort(-pushed.to_numpy(), kind="stable")].reset_index(drop=True)


def causes_caveats(scm: FittedState, causes: list[str], target: str, num_rows: int) -> list[str]:
    """Return what an answer that names these causes does not say."""
    unset = [node for node in causes if node not in scm.mechanisms and scm.role(node) != "knob"]
    found = [
        f"{node} was not set at random: an unmeasured common cause of it and {target} could explain this"
        for node in unset
    ]
    weak = [node for node in causes if node in scm.report.failed_nodes]
    found += [f"{node} failed validation: what its parents do not explain may be an unrecorded cause" for node in weak]
    if causes and num_rows == 1:
        found.append("one row: intervals tell what the model does not know, not how other such rows would be")
    return [*found, *biased_on_the_way(scm, causes, target), *data_caveats(scm)]
