"""Checks of a whole model that are made on request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.errors import FitError
from causalkit.scm import assembly
from causalkit.scm.arrays import FloatArray
from causalkit.scm.noise import abduct
from causalkit.scm.preparing import MISSING_SUFFIX, prepare
from causalkit.scm.propagate import propagate
from causalkit.scm.questions import draw_values
from causalkit.scm.validation import ValidationReport
from causalkit.tables import check_table

if TYPE_CHECKING:
    from causalkit.scm.model import FittedSCM

# Rounding of a sum of a few terms.
_ROUNDING = 1e-8


def cross_validate(scm: FittedSCM, traces: pd.DataFrame, k: int, random_seed: int) -> ValidationReport:
    """Answer `FittedSCM.cross_validate`."""
    if scm.settings is None:
        raise FitError("this model does not know how it was fitted; fit it with SCMFitter")
    graph = scm.graph.copy()
    graph.remove_nodes_from(
        [node for node in graph if node.endswith(MISSING_SUFFIX) and graph.nodes[node].get("role") == "missing"]
    )
    prepared = prepare(graph, traces, scm.derived, scm.groups, scm.settings.missing)
    most = len(prepared.table) // 2
    if not 2 <= k <= most:
        raise FitError(f"k is {k}; {len(prepared.table)} rows can be dealt into 2 to {most} folds")
    return assembly.cross_validate(replace(scm.settings, random_seed=random_seed), prepared, k, random_seed)


def divergence(scm: FittedSCM, traces: pd.DataFrame, random_seed: int) -> float:
    """Answer `FittedSCM.divergence`."""
    from sklearn.neighbors import NearestNeighbors

    nodes = [node for node in scm.graph if node not in scm.derived]
    recorded = check_table(traces, nodes, levels=scm.levels)
    drawn = draw_values(scm, len(recorded), {}, random_seed)[nodes]
    spread = recorded.std().replace(0.0, 1.0)
    first, second = ((rows / spread).to_numpy() for rows in (recorded, drawn))
    own = NearestNeighbors(n_neighbors=2).fit(first).kneighbors(first)[0][:, 1]
    other = NearestNeighbors(n_neighbors=1).fit(second).kneighbors(first)[0][:, 0]
    kept = (own > 0) & (other > 0)
    if not kept.any():
        raise FitError("every row is recorded more than once: columns of few values have no density to compare")
    ratio = np.log(len(second) / (len(first) - 1))
    return float(first.shape[1] * np.mean(np.log(other[kept] / own[kept])) + ratio)


def invertible(scm: FittedSCM) -> bool:
    """Answer `FittedSCM.invertible`."""
    noise = abduct(scm, scm.table, [node for node in scm.graph if node not in scm.derived])
    known: dict[str, FloatArray] = {node: scm.table[[node]].to_numpy() for node in scm.derived}
    values = propagate(scm, noise, known=known)
    return all(
        np.allclose(values[node][:, 0], scm.table[node], rtol=_ROUNDING, atol=_ROUNDING * np.abs(scm.table[node]).max())
        for node in scm.mechanisms
    )
