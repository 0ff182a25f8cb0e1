"""What a router can learn from: which question went to which workflow, what came out, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.workflows.cost_stats import run_costs

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.traces import Traces


def to_router_table(traces: Traces) -> pd.DataFrame:
    """Return one row per run: the question, the workflow it went to, quality signals and costs.

    Parameters
    ----------
    traces : Traces
        The runs.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``request_id``: ``question workflow_name router_version success``, one column for each quality
        signal, the run's costs as far as they were recorded (``latency_ms vram_mb model_loads tokens cost_usd``), and
        their means over all runs of that workflow (``avg_latency_ms`` ...). Which workflow a question went to was
        chosen, not drawn at random: what a run of the other one would have given is not in it.

    Examples
    --------
    >>> from causalkit.workflows.tracer import Tracer
    >>> from causalkit.workflows.traces import load_traces
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer", question="why?") as run, run.step("search"):
    ...     pass
    >>> load_traces(tracer.runs).to_router_table()[["question", "workflow_name", "has_search"]].values.tolist()
    [['why?', 'answer', True]]
    """
    import pandas as pd

    rows = [
        {
            "request_id": run.request_id,
            "question": run.question,
            "workflow_name": run.workflow_name,
            "router_version": run.router_version,
            "success": run.success,
            **run.quality_signals,
            **run_costs(run),
        }
        for run in traces
    ]
    table = pd.DataFrame(rows).set_index("request_id")
    costs = [name for name in run_costs(traces[0]) if table[name].notna().any()]
    table = table.drop(columns=[name for name in run_costs(traces[0]) if name not in costs])
    means = table.groupby("workflow_name")[costs].transform("mean").add_prefix("avg_")
    return table.join(means)
