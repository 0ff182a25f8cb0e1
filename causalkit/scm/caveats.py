"""What an answer of the model does not say: every result carries these sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import networkx as nx
import pandas as pd

from causalkit.scm.interventions import Intervention

if TYPE_CHECKING:
    from causalkit.scm.model import FittedSCM

# Cluster bootstraps with fewer clusters than this are too narrow (Cameron, Gelbach & Miller 2008, section I).
_FEW_BLOCKS = 30


def caveats_of(scm: FittedSCM, interventions: Mapping[str, Intervention], outcome: str) -> list[str]:
    """Return the caveats of an answer about `outcome` under `interventions`.

    Returns
    -------
    list of str
        What is observational, what is extrapolated, which mechanism on the way failed validation, how few clusters
        there are, and what was left out before the fit.
    """
    found = [_observational(node, outcome) for node in interventions if scm.role(node) != "knob"]
    found += [_extrapolated(scm, node, action) for node, action in interventions.items() if _outside(scm, node, action)]
    weak = sorted(_on_the_way(scm, interventions, outcome) & set(scm.report.failed_nodes))
    found += [
        f"{node} lies on the way and predicts single runs badly (held-out R2 {scm.report.r2_scores[node]:.2f})"
        for node in weak
    ]
    return found + data_caveats(scm)


def data_caveats(scm: FittedSCM) -> list[str]:
    """Return the caveats that hold for any answer of this model."""
    num_blocks = int(scm.blocks.max()) + 1
    few = (
        [f"only {num_blocks} independent groups of runs: intervals are too narrow"] if num_blocks < _FEW_BLOCKS else []
    )
    return [*few, *scm.caveats]


def ungrouped(scm: FittedSCM, rows: pd.DataFrame) -> list[str]:
    """Return the caveat that rows whose groups are not known were taken as independent, where that is so."""
    if scm.groups is None or scm.groups in rows:
        return []
    return [f"the rows have no column {scm.groups}: they count as independent, which may be too sure of itself"]


def _observational(node: str, outcome: str) -> str:
    return f"{node} was not set at random: an unmeasured common cause of it and {outcome} could explain this"


def _outside(scm: FittedSCM, node: str, action: Intervention) -> bool:
    seen = scm.table[node]
    return not callable(action) and not seen.min() <= action <= seen.max()


def _extrapolated(scm: FittedSCM, node: str, action: Intervention) -> str:
    seen = scm.table[node]
    return f"{node} = {action:g} was never recorded (seen: {seen.min():g} to {seen.max():g}): this is extrapolation"


def _on_the_way(scm: FittedSCM, interventions: Mapping[str, Intervention], outcome: str) -> set[str]:
    below = {node for treated in interventions for node in nx.descendants(scm.graph, treated)}
    return below & (nx.ancestors(scm.graph, outcome) | {outcome})
