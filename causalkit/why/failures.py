"""Which kinds of failure occur in more questions after than before, or in fewer: a sign test over questions.

Of a question that was asked on both sides it is counted how easily its failures fall on one side alone, if each of its
runs fails as easily (Fisher 1935); of the others, how many questions there are on that side.

A model of whether a step succeeds lumps all its failures together. A defect brings a kind of its own, an error of one
type in one step: that it strikes questions after which it spared before stands out against the few that always fail.

A step that comes late fails more often where there is a time limit, and is not to blame. So where the change of its
failures is one that lateness could bring, each is weighed against the runs that had come as far as late as it: where
most of those are from after, one more from after says little.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import comb
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import poisson_binom

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.records import StepTrace, WorkflowTrace

Kind = tuple[str, str]
# As late as another: so many runs next to it, or a share of what a run takes.
_NEXT, _NEAR = 25, 0.05


class _Reached(NamedTuple):
    """A run that came as far as a step: after how many milliseconds, how it failed there, if it did."""

    elapsed_ms: float
    cluster: object
    later: bool
    kinds: frozenset[str]


class _Struck(NamedTuple):
    """How easily chance strikes clusters as unevenly, what it would be at most uneven, and whether before none was."""

    p_value: float
    least: float
    new: bool


def changed_failures(
    traces: Iterable[WorkflowTrace], clusters: pd.Series[Any], later: set[str], alpha: float
) -> dict[str, tuple[float, bool]]:
    """Return the steps that fail in a changed number of clusters, with p-values adjusted over kinds of failure.

    Parameters
    ----------
    traces : iterable of WorkflowTrace
        The runs before and after.
    clusters : pandas.Series
        The cluster of each run, by its request id; runs that are not in it are passed over.
    later : set of str
        Which of them are from after.
    alpha : float
        The level that p-values will be held against: kinds too rare to reach it cost the others nothing (Tarone 1990).

    Returns
    -------
    dict of str to (float, bool)
        Of the kinds of a step that are not too rare the least p-value, by Holm's method, and whether that kind never
        occurred before.
    """
    reached: defaultdict[str, list[_Reached]] = defaultdict(list)
    took, known = [], set()
    for run in traces:
        if run.request_id not in clusters.index:
            continue
        cluster, side = clusters[run.request_id], run.request_id in later
        same = cluster, side, run.timestamp, run.total_latency_ms
        # A run that is there twice, as resampling has it, tells nothing twice.
        if run.timestamp is not None and same in known:
            continue
        known.add(same)
        took.append(run.total_latency_ms or 0.0)
        for step, one in _steps_reached(run, cluster, side):
            reached[step].append(one)
    near_ms = _NEAR * median(took or [0.0])
    kinds = sorted({(step, kind) for step, runs in reached.items() for one in runs for kind in one.kinds})
    told = {(step, kind): _struck(reached[step], kind, near_ms) for step, kind in kinds}
    order = sorted((one.p_value, *kind) for kind, one in told.items() if one.least <= alpha)
    found: dict[str, tuple[float, bool]] = {}
    adjusted = 0.0
    for place, (p_value, step, kind) in enumerate(order):
        adjusted = min(1.0, max(adjusted, p_value * (len(order) - place)))
        found.setdefault(step, (adjusted, told[step, kind].new))
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


def _struck(reached: Sequence[_Reached], kind: str, near_ms: float) -> _Struck:
    ran, failed = Counter[tuple[object, bool]](), Counter[tuple[object, bool]]()
    at_ms: dict[object, float] = {}
    for one in reached:
        ran[one.cluster, one.later] += 1
        if kind in one.kinds:
            failed[one.cluster, one.later] += 1
            at_ms.setdefault(one.cluster, one.elapsed_ms)
    struck = sorted(at_ms, key=lambda cluster: (at_ms[cluster], str(cluster)))
    apart = [cluster for cluster in struck if not (failed[cluster, False] and failed[cluster, True])]
    overall = _share_later(reached)
    tails = []
    for side in (False, True):
        # Lateness can bring failures, never spare them.
        if _median_ms(reached, side) > _median_ms(reached, not side):
            later = _shares_as_late(reached, [at_ms[cluster] for cluster in apart], near_ms)
            odds = [share if side else 1 - share for share in later]
        else:
            share = overall if side else 1 - overall
            odds = [
                _odds(ran[one, side], ran[one, not side], failed[one, side] + failed[one, not side], share)
                for one in struck
            ]
        alone = sum(failed[cluster, side] > 0 for cluster in apart)
        tails.append((poisson_binom.sf(alone - 1, odds) if alone else 1.0, np.prod([one for one in odds if one])))
    p_value, least = (min(1.0, 2 * float(min(tail))) for tail in zip(*tails, strict=True))
    return _Struck(p_value, least, not any(failed[cluster, False] for cluster in struck))


def _odds(here: int, there: int, failures: int, share: float) -> float:
    """Return how easily all failures of a cluster are here, by its runs here and there, or else by all clusters."""
    return comb(here, failures) / comb(here + there, failures) if here and there else share


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
