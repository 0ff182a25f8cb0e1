"""Which kinds of failure occur in more questions after than before, or in fewer: a sign test over questions.

A model of whether a step succeeds lumps all its failures together. A defect brings a kind of its own, an error of one
type in one step: that it strikes questions after which it spared before stands out against the few that always fail.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.records import WorkflowTrace
    from causalkit.workflows.traces import Traces

Kind = tuple[str, str]


def changed_failures(traces: Traces, clusters: pd.Series[Any], later: set[str]) -> dict[str, tuple[float, bool]]:
    """Return the steps that fail in a changed number of clusters, with p-values adjusted over kinds of failure.

    Parameters
    ----------
    traces : Traces
        The runs before and after.
    clusters : pandas.Series
        The cluster of each run, by its request id; runs that are not in it are passed over.
    later : set of str
        Which of them are from after.

    Returns
    -------
    dict of str to (float, bool)
        The least p-value of the kinds of a step, by Holm's method, and whether that kind never occurred before.
    """
    struck: defaultdict[Kind, tuple[set[object], set[object]]] = defaultdict(lambda: (set(), set()))
    for run in traces:
        if run.request_id in clusters.index:
            for kind in _kinds(run):
                struck[kind][run.request_id in later].add(clusters[run.request_id])
    after = clusters.index.isin(list(later))
    sizes = clusters[~after].nunique(), clusters[after].nunique()
    kinds = sorted(struck)
    p_values = np.array([_p_value(*struck[kind], sizes[1] / sum(sizes)) for kind in kinds])
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * (len(kinds) - np.arange(len(kinds))))
    found: dict[str, tuple[float, bool]] = {}
    for place, value in zip(order, adjusted, strict=True):
        found.setdefault(kinds[place][0], (min(1.0, float(value)), not struck[kinds[place]][0]))
    return found


def _kinds(run: WorkflowTrace) -> set[Kind]:
    """Return the failures of a run, each where it began: not the callers that failed with it."""
    callers = {step.parent_id for step in run.steps if not step.success}
    began = [step for step in run.steps if not step.success and step.step_id not in callers]
    return {(step.step_name, str((step.error or {}).get("type", ""))) for step in began}


def _p_value(before: set[object], after: set[object], share: float) -> float:
    gone, new = len(before - after), len(after - before)
    return float(binomtest(new, gone + new, share).pvalue) if gone + new else 1.0
