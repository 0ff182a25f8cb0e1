"""A step's own time, and the critical path: which step held a run up at each moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.critical_path import held_up
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.selftime import children_of

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

    from causalkit.workflows.aggregates import TraceAggregates

_OUTSIDE = "(outside all steps)"


def with_self_time(steps: ir.Table) -> ir.Table:
    """Return the steps with ``self_ms``: their latency without what their children cover.

    Parameters
    ----------
    steps : ibis.Table
        With ``request_id step_id parent_id start latency_ms``.
    """
    import ibis

    spans = steps.select("request_id", "step_id", "parent_id", "start", "latency_ms")
    parents = steps.select("request_id", parent_id="step_id", origin="start", until="latency_ms")
    inner = spans.inner_join(parents, ["request_id", "parent_id"])
    # In milliseconds since the parent began: small numbers lose nothing.
    begin = inner.start.delta(inner.origin, unit="microsecond") / 1e3
    begun, ended = ibis.greatest(begin, 0.0), ibis.least(begin + inner.latency_ms, inner.until)
    # A child counts from where those that began before it have all ended.
    inner = inner.select("request_id", "parent_id", "step_id", begun=begun, ended=ended)
    siblings = ibis.window(group_by=["request_id", "parent_id"], order_by=["begun", "step_id"], rows=(None, -1))
    inner = inner.mutate(before=ibis.coalesce(inner.ended.max().over(siblings), inner.begun))
    fresh = ibis.greatest(inner.ended - ibis.greatest(inner.begun, inner.before), 0.0)
    covered = inner.mutate(fresh=fresh).group_by("request_id", step_id="parent_id").agg(covered=lambda t: t.fresh.sum())
    timed = steps.left_join(covered, ["request_id", "step_id"])
    return timed.mutate(self_ms=timed.latency_ms - timed.covered.fill_null(0.0))


def critical_path(run: WorkflowTrace) -> dict[str | None, float]:
    """Return for each step of a run how long it alone held the run up.

    From the end of the run backwards, each moment belongs to the step that was waited for; see `held_up`.

    Parameters
    ----------
    run : WorkflowTrace
        Of a run that crashed what is known of it.

    Returns
    -------
    dict of str to float
        Step id -> milliseconds; under None the time outside all steps. Steps that held nothing up are left out. The
        values add up to the run's total latency.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from causalkit.workflows.records import StepTrace
    >>> told = {"start": (began := datetime(2026, 1, 2, tzinfo=UTC)), "success": True}
    >>> slow = StepTrace(step_id="1", step_name="search", latency_ms=5.0, **told)
    >>> fast = StepTrace(step_id="2", step_name="look_up", latency_ms=3.0, **told)
    >>> run = WorkflowTrace(request_id="a", success=True, timestamp=began, total_latency_ms=6.0, steps=(slow, fast))
    >>> critical_path(run)
    {None: 1.0, '1': 5.0}
    """
    inside = {parent: [step.step_id for step in steps] for parent, steps in children_of(run).items()}
    return held_up(_spans(run), inside)


def critical_times(traces: TraceAggregates) -> pd.DataFrame:
    """Return the critical path by step name over all runs; see `TraceAggregates.critical_path`."""
    import pandas as pd

    rows = []
    for run in traces:
        names = {step.step_id: step.step_name for step in run.steps}
        held = critical_path(run).items()
        rows += [(run.request_id, names[step] if step else _OUTSIDE, time) for step, time in held]
    path = pd.DataFrame(rows, columns=["request_id", "step_name", "ms"])
    by_step = path.groupby("step_name").agg(ms=("ms", "sum"), seen=("request_id", "nunique"))
    times = pd.DataFrame({"avg_ms": by_step["ms"] / len(traces), "share": by_step["ms"] / path["ms"].sum()})
    return times.assign(runs=by_step["seen"] / len(traces)).sort_values("avg_ms", ascending=False)


def _spans(run: WorkflowTrace) -> dict[str | None, tuple[float, float]]:
    """Return when the run (under None) and each of its steps began and ended, in milliseconds."""
    zero = run.timestamp or min((step.start for step in run.steps), default=None)
    begun = {step.step_id: (step.start - zero).total_seconds() * 1e3 for step in run.steps if zero}
    spans: dict[str | None, tuple[float, float]] = {
        step.step_id: (begun[step.step_id], begun[step.step_id] + step.latency_ms) for step in run.steps
    }
    total = run.total_latency_ms
    spans[None] = (0.0, max((end for _, end in spans.values()), default=0.0) if total is None else total)
    return spans
