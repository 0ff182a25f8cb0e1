"""What an answer of the model does not say: every result carries these sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import networkx as nx
import pandas as pd

from causalkit.errors import ValidationError
from causalkit.scm.interventions import Intervention, apply, describe
from causalkit.scm.validation import NodeScore

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState

# Cluster bootstraps with fewer clusters than this are too narrow (Cameron, Gelbach & Miller 2008, section I).
_FEW_BLOCKS = 30
# An action that takes a smaller share of the runs out of the recorded range is carried by the others.
_RARE = 0.01


def caveats_of(scm: FittedState, interventions: Mapping[str, Intervention], outcome: str) -> list[str]:
    """Return the caveats of an answer about `outcome` under `interventions`.

    Returns
    -------
    list of str
        What is observational, what is extrapolated, which mechanism on the way failed validation, how few clusters
        there are, and what was left out before the fit.
    """
    found = [_observational(node, outcome) for node in interventions if scm.role(node) != "knob"]
    found += [_extrapolated(scm, node, action) for node, action in interventions.items() if _outside(scm, node, action)]
    way = _on_the_way(scm, interventions, outcome)
    weak = sorted(way & set(scm.report.failed_nodes))
    found += [
        f"{node} lies on the way and predicts single runs badly (held-out R2 {scm.report.r2_scores[node]:.2f})"
        for node in weak
    ]
    found += [f"{score.node} lies on the way and is not calibrated: {score.miscalibration}" for score in _off(scm, way)]
    return found + data_caveats(scm)


def refuse_biased(scm: FittedState, interventions: Mapping[str, Intervention], outcomes: list[str]) -> None:
    """Refuse means that go through a mechanism whose residuals depend on its parents, unless the model is trusted.

    Raises
    ------
    ValidationError
        With the mechanisms in ``.failed_nodes`` and the model in ``.scm``.
    """
    way = {node for outcome in outcomes for node in _on_the_way(scm, interventions, outcome)}
    _refuse(scm, [score for score in _off(scm, way) if not score.unbiased])


def refuse_uncalibrated(scm: FittedState, nodes: set[str]) -> None:
    """Refuse what rests on the noise of these nodes if one is not calibrated, unless the model is trusted.

    Raises
    ------
    ValidationError
        With the mechanisms in ``.failed_nodes`` and the model in ``.scm``.
    """
    _refuse(scm, _off(scm, nodes))


def refuse_nodes(scm: FittedState, nodes: list[str]) -> None:
    """Refuse to judge what these nodes did on their own if residuals of one depend on its parents anyway.

    Raises
    ------
    ValidationError
        With the mechanisms in ``.failed_nodes`` and the model in ``.scm``.
    """
    _refuse(scm, [score for score in _off(scm, set(nodes)) if not score.unbiased])


def biased_on_the_way(scm: FittedState, causes: list[str], outcome: str) -> list[str]:
    """Return the caveats about mechanisms between causes and outcome whose residuals depend on their parents."""
    way = _on_the_way(scm, dict.fromkeys(causes, 0.0), outcome)
    return [
        f"{score.node} lies on the way and is not calibrated: {score.miscalibration}"
        for score in _off(scm, way)
        if not score.unbiased
    ]


def _refuse(scm: FittedState, wrong: list[NodeScore]) -> None:
    if scm.trusted or not wrong:
        return
    told = "; ".join(f"{score.node}: {score.miscalibration}" for score in wrong)
    raise ValidationError(
        f"the answer would rest on mechanisms that are not calibrated ({told}); add the causes that are missing, or "
        "ask all the same: scm.trust()",
        failed_nodes=tuple(score.node for score in wrong),
        r2_scores=scm.report.r2_scores,
        mean_r2=scm.report.mean_r2,
        threshold=scm.report.threshold,
        scm=scm,
    )


def _off(scm: FittedState, nodes: set[str]) -> list[NodeScore]:
    return [score for score in scm.report.scores if score.node in nodes and not score.calibrated]


def data_caveats(scm: FittedState) -> list[str]:
    """Return the caveats that hold for any answer of this model."""
    num_blocks = int(scm.blocks.max()) + 1
    few = (
        [f"only {num_blocks} independent groups of runs: intervals are too narrow"] if num_blocks < _FEW_BLOCKS else []
    )
    return [*few, *scm.caveats]


def ungrouped(scm: FittedState, rows: pd.DataFrame) -> list[str]:
    """Return the caveat that rows whose groups are not known were taken as independent, where that is so."""
    if scm.groups is None or scm.groups in rows:
        return []
    return [f"the rows have no column {scm.groups}: they count as independent, which may be too sure of itself"]


def _observational(node: str, outcome: str) -> str:
    return f"{node} was not set at random: an unmeasured common cause of it and {outcome} could explain this"


def _outside(scm: FittedState, node: str, action: Intervention) -> bool:
    return node not in scm.levels and _share_outside(scm, node, action) >= _RARE


def _share_outside(scm: FittedState, node: str, action: Intervention) -> float:
    seen = scm.table[[node]].to_numpy()
    done = apply(action, seen)
    return float(((done < seen.min()) | (done > seen.max())).mean())


def _extrapolated(scm: FittedState, node: str, action: Intervention) -> str:
    seen = scm.table[node]
    told = f"{seen.min():g} to {seen.max():g}): this is extrapolation"
    if not callable(action):
        return f"{node} = {action:g} was never recorded (seen: {told}"
    share = f"{100 * _share_outside(scm, node, action):.0f} % of the runs"
    return f"{describe({node: action})} takes {share} outside what was recorded (seen: {told}"


def _on_the_way(scm: FittedState, interventions: Mapping[str, Intervention], outcome: str) -> set[str]:
    below = {node for treated in interventions for node in nx.descendants(scm.graph, treated)}
    return below & (nx.ancestors(scm.graph, outcome) | {outcome})
