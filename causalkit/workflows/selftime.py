"""A step's time without its children, a run's time outside all steps, and what running side by side saved."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from causalkit.critical_path import own_times
from causalkit.workflows.records import StepTrace, WorkflowTrace

# Clocks are read one after the other: children may seem to overlap by this much though they ran in turn.
_CLOCK_SLACK_MS = 0.05


def self_times(run: WorkflowTrace) -> dict[str, float]:
    """Return the self time of each step of a run in milliseconds, summed over steps of the same name.

    Together with `unaccounted_ms` and `parallel_ms` they add up to the run's total latency exactly.

    Parameters
    ----------
    run : WorkflowTrace
        A finished run.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> told = {"start": datetime(2026, 1, 2, tzinfo=UTC), "success": True}
    >>> outer = StepTrace(step_id="1", step_name="answer", latency_ms=5.0, **told)
    >>> inner = StepTrace(step_id="2", parent_id="1", step_name="search", latency_ms=3.0, **told)
    >>> run = WorkflowTrace(request_id="a", success=True, total_latency_ms=6.0, steps=(outer, inner))
    >>> self_times(run), unaccounted_ms(run), parallel_ms(run)
    ({'answer': 2.0, 'search': 3.0}, 1.0, 0.0)
    """
    total: dict[str, float] = defaultdict(float)
    for step, time in zip(run.steps, own_times_of_steps(run), strict=True):
        total[step.step_name] += time
    return dict(total)


def own_times_of_steps(run: WorkflowTrace) -> list[float]:
    """Return how long each step of a run, in their order, ran while none of its children did, in milliseconds."""
    children = children_of(run)
    return [step.latency_ms - _covered(children[step.step_id], step.start, step.latency_ms) for step in run.steps]


def unaccounted_ms(run: WorkflowTrace) -> float:
    """Return the run's time outside all steps in milliseconds; NaN for a crashed run.

    Examples
    --------
    >>> unaccounted_ms(WorkflowTrace(request_id="a", success=True, total_latency_ms=6.0))
    6.0
    """
    if run.total_latency_ms is None:
        return float("nan")
    return run.total_latency_ms - _covered(children_of(run)[None], run.timestamp, run.total_latency_ms)


def parallel_ms(run: WorkflowTrace) -> float:
    """Return the time saved because steps ran side by side, as a number of at most 0; NaN for a crashed run.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> told = {"start": datetime(2026, 1, 2, tzinfo=UTC), "success": True}
    >>> slow = StepTrace(step_id="1", step_name="search", latency_ms=5.0, **told)
    >>> fast = StepTrace(step_id="2", step_name="look_up", latency_ms=3.0, **told)
    >>> parallel_ms(WorkflowTrace(request_id="a", success=True, total_latency_ms=6.0, steps=(slow, fast)))
    -3.0
    """
    if run.total_latency_ms is None:
        return float("nan")
    rest = run.total_latency_ms - math.fsum([unaccounted_ms(run), *own_times_of_steps(run)])
    return rest if abs(rest) > _CLOCK_SLACK_MS / 2 else 0.0


def side_by_side(run: WorkflowTrace) -> set[str]:
    """Return the names of the steps that ran while another one did that neither called them nor was called by them."""
    parents = {step.step_id: step.parent_id for step in run.steps}
    running: list[StepTrace] = []
    found: set[str] = set()
    for step in sorted(run.steps, key=lambda step: step.start):
        running = [other for other in running if _end_ms(other, step.start) > _CLOCK_SLACK_MS]
        callers: set[str | None] = set()
        caller = step.parent_id
        while caller is not None and caller not in callers:
            callers.add(caller)
            caller = parents.get(caller)
        beside = {other.step_name for other in running if other.step_id not in callers}
        if beside and step.latency_ms > _CLOCK_SLACK_MS:
            found |= {step.step_name, *beside}
        running.append(step)
    return found


def children_of(run: WorkflowTrace) -> defaultdict[str | None, list[StepTrace]]:
    """Return the steps that ran directly in each step, by its id; under None those of the run itself."""
    known = {step.step_id for step in run.steps}
    children: defaultdict[str | None, list[StepTrace]] = defaultdict(list)
    for step in run.steps:
        children[step.parent_id if step.parent_id in known else None].append(step)
    return children


def _covered(steps: Sequence[StepTrace], begun: datetime | None, latency_ms: float) -> float:
    """Return how much of a time its steps cover: their sum where they ran in turn, for clocks are not that exact."""
    ordered = sorted(steps, key=lambda step: step.start)
    if not ordered:
        return 0.0
    zero = begun or ordered[0].start
    spans = [((step.start - zero).total_seconds() * 1e3, _end_ms(step, zero)) for step in ordered]
    in_turn = all(after[0] >= before[1] - _CLOCK_SLACK_MS for before, after in pairwise(spans))
    if in_turn and spans[0][0] >= -_CLOCK_SLACK_MS and (begun is None or spans[-1][1] <= latency_ms + _CLOCK_SLACK_MS):
        return sum(step.latency_ms for step in ordered)
    within: dict[str | None, tuple[float, float]] = {str(number): span for number, span in enumerate(spans)}
    inside: dict[str | None, list[str]] = {None: list(map(str, range(len(spans))))}
    return latency_ms - own_times(within | {None: (0.0, latency_ms)}, inside)[None]


def _end_ms(step: StepTrace, zero: datetime) -> float:
    return (step.start - zero).total_seconds() * 1e3 + step.latency_ms
