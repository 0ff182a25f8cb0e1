"""Nodes that are the exact sum or maximum of their parents, and should be declared as derived."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from causalkit.scm.derived import FORMULAS
from causalkit.scm.preparing import Prepared, combine_rows
from causalkit.scm.validation import EXACT, PROVEN, NodeScore


def declarable(prepared: Prepared, scores: Sequence[NodeScore]) -> dict[str, str]:
    """Return the formula of every node that is one, though it was not declared.

    Parameters
    ----------
    prepared : Prepared
    scores : sequence of NodeScore
        Only nodes of two and more parents whose formula explains all but 1e-6 of their variance are named.

    Returns
    -------
    dict of str to {"sum", "max"}
    """
    found = {}
    for score in scores:
        parents = sorted(prepared.graph.predecessors(score.node))
        if len(parents) < 2 or score.score != "R2" or score.verdict == PROVEN:
            continue
        family = prepared.table[[*parents, score.node]].dropna()
        target = family[score.node].to_numpy()
        for formula in FORMULAS:
            off = combine_rows(formula, family, prepared.levels) - target
            if np.mean(off**2) < EXACT * np.var(target):
                found[score.node] = formula
    return found
