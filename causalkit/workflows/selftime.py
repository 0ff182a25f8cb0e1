"""A step's time without its children, and a run's time outside all steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from causalkit.errors import TraceFormatError
from causalkit.workflows.records import StepTrace, WorkflowTrace

# Clocks are read one after the other: children may seem to overlap by this much though they ran in turn.
_CLOCK_SLACK_MS = 0.05


def self_times(run: WorkflowTrace) -> dict[str, float]:
    """Return the self time of each step of a run in milliseconds, summed over steps of the same name.

    Together with `unaccounted_ms` they add up to the run's total latency exactly.

    Parameters
    ----------
    run : WorkflowTrace
        A finished run.

    Raises
    ------
    TraceFormatError
        If steps of one parent ran at the same time: their times do not add up, so a sum would be no total.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> told = {"start": datetime(2026, 1, 2, tzinfo=UTC), "success": True}
    >>> outer = StepTrace(step_id="1", step_name="answer", latency_ms=5.0, **told)
    >>> inner = StepTrace(step_id="2", parent_id="1", step_name="search", latency_ms=3.0, **told)
    >>> run = WorkflowTrace(request_id="a", success=True, total_latency_ms=6.0, steps=(outer, inner))
    >>> self_times(run), unaccounted_ms(run)
    ({'answer': 2.0, 'search': 3.0}, 1.0)
    """
    children = children_of(run)
    total: dict[str, float] = defaultdict(float)
    for step in run.steps:
        total[step.step_name] += step.latency_ms - _in_turn(run, children[step.step_id])
    return dict(total)


def unaccounted_ms(run: WorkflowTrace) -> float:
    """Return the run's time outside all steps in milliseconds; NaN for a crashed run.

    Examples
    --------
    >>> unaccounted_ms(WorkflowTrace(request_id="a", success=True, total_latency_ms=6.0))
    6.0
    """
    if run.total_latency_ms is None:
        return float("nan")
    return run.total_latency_ms - _in_turn(run, children_of(run)[None])


def children_of(run: WorkflowTrace) -> defaultdict[str | None, list[StepTrace]]:
    """Return the steps that ran directly in each step, by its id; under None those of the run itself."""
    known = {step.step_id for step in run.steps}
    children: defaultdict[str | None, list[StepTrace]] = defaultdict(list)
    for step in run.steps:
        children[step.parent_id if step.parent_id in known else None].append(step)
    return children


def _in_turn(run: WorkflowTrace, steps: Iterable[StepTrace]) -> float:
    ordered = sorted(steps, key=lambda step: step.start)
    for before, after in pairwise(ordered):
        gap_ms = (after.start - before.start).total_seconds() * 1e3 - before.latency_ms
        if gap_ms < -_CLOCK_SLACK_MS:
            raise TraceFormatError(
                f"steps {before.step_name!r} and {after.step_name!r} of run {run.request_id!r} ran at the same time; "
                "self times of parallel steps do not add up to a total, so filter such runs out",
                request_id=run.request_id,
                steps=(before.step_name, after.step_name),
            )
    return sum(step.latency_ms for step in ordered)
