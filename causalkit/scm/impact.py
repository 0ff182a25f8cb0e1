"""What a node reaches: everything downstream of it, and by how much it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import GraphError
from causalkit.scm.arrays import FloatArray
from causalkit.scm.blocks import interval95
from causalkit.scm.caveats import caveats_of, refuse_biased
from causalkit.scm.interventions import Intervention, Shift, check_interventions, describe, encode
from causalkit.scm.questions import mean_replicates
from causalkit.scm.strengths import Ranking
from causalkit.scm.ways import slope, sums_over_ways
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState


@dataclass(frozen=True, repr=False)
class Impact(Ranking):
    """By how much every node downstream of one moves with it.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``node, effect, low, high, standardised``: the change of the node's mean in its own unit with its 95 % interval,
        and in recorded standard deviations of that node, by whose size the rows are ordered. A node of more than two
        labels has a row a label, ``mode=fast``: its share.
    caveats : list of str
    node : str
    contrast : str
        Which two worlds are compared, in words.
    num_reached : int
        Nodes downstream.

    Examples
    --------
    >>> row = {"node": ["total_ms"], "effect": [2.0], "low": [1.5], "high": [2.5], "standardised": [0.4]}
    >>> Impact(pd.DataFrame(row), [], "depth", "do(depth +1)", 3).sentence
    'do(depth +1) reaches 3 nodes and moves total_ms most: by +2.00 (95 % interval +1.50 to +2.50), +0.40 of its sd.'
    """

    node: str
    contrast: str
    num_reached: int

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.frame.empty:
            return f"Nothing lies downstream of {self.node}."
        most = self.frame.to_dict("records")[0]
        return (
            f"{self.contrast} reaches {self.num_reached} node{'s' if self.num_reached > 1 else ''} and moves "
            f"{most['node']} most: by {number(most['effect'], signed=True)} (95 % interval "
            f"{interval((most['low'], most['high']), signed=True)}), "
            f"{number(most['standardised'], signed=True)} of its sd."
        )

    def bars(self) -> tuple[str, str, pd.DataFrame]:
        """Return a title, what is on the axis, and the bars in standard deviations: ``name, value, low, high``."""
        frame = self.frame.rename(columns={"node": "name", "standardised": "value"})
        ratio = (frame["value"] / frame["effect"]).where(frame["effect"] != 0, 0.0)
        bars = frame.assign(low=frame["low"] * ratio, high=frame["high"] * ratio)
        return f"What {self.contrast} moves", "change in standard deviations", bars


def impact(scm: FittedState, node: str, contrast: float, values: Sequence[Any] | None, random_seed: int) -> Impact:
    """Answer `FittedSCM.impact`: two arms over the same rows and the same noise, in every refit, for all nodes."""
    before, after = _arms(scm, node, contrast, values)
    below = nx.descendants(scm.graph, node)
    refuse_biased(scm, after, list(below))
    changes = _changes(scm, node, before, after, contrast, random_seed)
    rows = []
    for name, spread in _spreads(scm, below).items():
        change = changes[name]
        rows.append((name, change[0], *interval95(change[1:]), change[0] / spread if spread > 0 else 0.0))
    frame = pd.DataFrame(rows, columns=["node", "effect", "low", "high", "standardised"])
    frame = frame.sort_values("standardised", key=abs, ascending=False, kind="stable", ignore_index=True)
    told = describe(after) + (f" instead of {before[node]}" if before else "")
    return Impact(frame, _caveats(scm, [arm for arm in (before, after) if arm], below), node, told, len(below))


def _changes(
    scm: FittedState,
    node: str,
    before: Mapping[str, Intervention],
    after: Mapping[str, Intervention],
    contrast: float,
    random_seed: int,
) -> dict[str, FloatArray]:
    """Return the change of each mean, as fitted and by each refit: in closed form where all ways are linear."""
    below = nx.descendants(scm.graph, node)
    order = [name for name in scm.order if name == node or name in below]
    edges = {edge: slope(scm, *edge) for edge in sorted(scm.graph.subgraph(order).edges)}
    if any(isinstance(each, str) for each in edges.values()):
        low, high = mean_replicates(scm, [before, after], random_seed)
        return {name: high[name] - low[name] for name in high}
    first, last = (dict[str, Any](encode(arm, scm.levels)) for arm in (before, after))
    step = last[node] - first[node] if before else contrast
    return {name: step * each for name, each in sums_over_ways(order, edges).items()}


def _arms(
    scm: FittedState, node: str, contrast: float, values: Sequence[Any] | None
) -> tuple[dict[str, Intervention], dict[str, Intervention]]:
    check_interventions({node: Shift(contrast)}, scm.graph)
    labels = scm.levels.get(node)
    seen = np.unique(scm.table[node]).tolist() if labels is None else list(labels)
    chosen = seen if values is None and len(seen) == 2 else values
    if chosen is None and labels is None:
        return {}, {node: Shift(contrast)}
    if np.shape(chosen or ()) != (2,) or any(callable(value) for value in chosen or ()):
        raise GraphError(f"two settings of {node!r} are compared, not {chosen!r}; give values=(low, high)", node=node)
    first, second = (check_interventions({node: value}, scm.graph, scm.levels) for value in chosen or ())
    return first, second


def _spreads(scm: FittedState, nodes: set[str]) -> dict[str, float]:
    """Return the standard deviation of what is recorded of each node, or of each of its labels."""
    spreads: dict[str, float] = {}
    for node in (node for node in scm.order if node in nodes):
        values, labels = scm.table[node].to_numpy(), scm.levels.get(node, ())
        if len(labels) > 2:
            spreads |= {f"{node}={label}": float(np.std(values == place)) for place, label in enumerate(labels)}
        else:
            spreads[node] = float(np.std(values))
    return spreads


def _caveats(scm: FittedState, arms: list[dict[str, Intervention]], below: set[str]) -> list[str]:
    weak = {*scm.report.failed_nodes, *scm.report.uncalibrated_nodes}
    ordered = [node for node in scm.order if node in below]
    # The last one stands for all that nothing is wrong with: one sentence a node would say the same many times.
    outcomes = [node for node in ordered if node in weak or node == ordered[-1]]
    return list(dict.fromkeys(caveat for arm in arms for node in outcomes for caveat in caveats_of(scm, arm, node)))
