"""Which kinds of failure occur in more questions after than before, or in fewer: a sign test over questions.

A model of whether a step succeeds lumps all its failures together. A defect brings a kind of its own, an error of one
type in one step: that it strikes questions after which it spared before stands out against the few that always fail.

A step that comes late fails more often where there is a time limit, and is not to blame. So where the change of its
failures is one that lateness could bring, each is weighed against the runs that had come as far as late as it: where
most of those are from after, one more from after says little.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import poisson_binom

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.records import StepTrace, WorkflowTrace
    from causalkit.workflows.traces import Traces

Kind = tuple[str, str]
# As late as another: so many runs next to it, or a share of what a run takes.
_NEXT, _NEAR = 25, 0.05


class _Reached(NamedTuple):
    """A run that came as far as a step: after how many milliseconds, how it failed there, if it did."""

    elapsed_ms: float
    cluster: object
    later: bool
    kinds: frozenset[str]


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
    reached: defaultdict[str, list[_Reached]] = defaultdict(list)
    took = []
    for run in traces:
        if run.request_id in clusters.index:
            took.append(run.total_latency_ms or 0.0)
            for step, one in _steps_reached(run, clusters[run.request_id], run.request_id in later):
                reached[step].append(one)
    near_ms = _NEAR * median(took or [0.0])
    kinds = sorted({(step, kind) for step, runs in reached.items() for one in runs for kind in one.kinds})
    told = [_p_value(reached[step], kind, near_ms) for step, kind in kinds]
    p_values = np.array([p_value for p_value, _ in told])
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * (len(kinds) - np.arange(len(kinds))))
    found: dict[str, tuple[float, bool]] = {}
    for place, value in zip(order, adjusted, strict=True):
        found.setdefault(kinds[place][0], (min(1.0, float(value)), told[place][1]))
    return found


def _steps_reached(run: WorkflowTrace, cluster: object, later: bool) -> Iterable[tuple[str, _Reached]]:
    """Yield each step of a run once; its failures where they began: not with the callers that failed with it."""
    callers = {step.parent_id for step in run.steps if not step.success}
    executions: defaultdict[str, list[StepTrace]] = defaultdict(list)
    for step in run.steps:
        executions[step.step_name].append(step)
    for name, steps in executions.items():
        began = [step for step in steps if not step.success and step.step_id not in callers]
        kinds = frozenset(str((step.error or {}).get("type", "")) for step in began)
        yield name, _Reached(_elapsed_ms(run, (began or steps)[0]), cluster, later, kinds)


def _elapsed_ms(run: WorkflowTrace, step: StepTrace) -> float:
    return 0.0 if run.timestamp is None else (step.start - run.timestamp).total_seconds() * 1000


def _p_value(reached: Sequence[_Reached], kind: str, near_ms: float) -> tuple[float, bool]:
    """Return how easily chance strikes clusters as unevenly, and whether none was struck before."""
    struck: tuple[dict[object, float], dict[object, float]] = ({}, {})
    for one in reached:
        if kind in one.kinds:
            struck[one.later].setdefault(one.cluster, one.elapsed_ms)
    before, after = struck
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    if not gone and not new:
        return 1.0, not before
    at_ms = sorted([before[cluster] for cluster in gone] + [after[cluster] for cluster in new])
    alike = [_share_later(reached)] * len(at_ms)
    as_late = _shares_as_late(reached, at_ms, near_ms)
    # Lateness can bring failures, never spare them.
    more, fewer = (as_late, alike) if _median_ms(reached, True) > _median_ms(reached, False) else (alike, as_late)
    tails = poisson_binom.sf(len(new) - 1, more), poisson_binom.cdf(len(new), fewer)
    return min(1.0, 2 * float(min(tails))), not before


def _shares_as_late(reached: Sequence[_Reached], at_ms: Sequence[float], near_ms: float) -> list[float]:
    """Return which share of the clusters that had come as far at these times are from after."""
    runs = sorted(reached, key=lambda one: one.elapsed_ms)
    times = [one.elapsed_ms for one in runs]
    found = []
    for time in at_ms:
        first, end = bisect_left(times, time), bisect_right(times, time)
        low = min(times[max(0, first - _NEXT)], time - near_ms)
        high = max(times[min(len(times), end + _NEXT) - 1], time + near_ms)
        found.append(_share_later(runs[bisect_left(times, low) : bisect_right(times, high)]))
    return found


def _share_later(runs: Sequence[_Reached]) -> float:
    sides = [len({one.cluster for one in runs if one.later == side}) for side in (False, True)]
    return sides[True] / sum(sides)


def _median_ms(reached: Sequence[_Reached], later: bool) -> float:
    return median([one.elapsed_ms for one in reached if one.later == later] or [0.0])
