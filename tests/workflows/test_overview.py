from __future__ import annotations

from causalkit.workflows.overview import overview_html
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import load_traces
from tests.workflows.journals import BEGIN, some_runs

SCRIPT = '<script>alert("1")</script>'


def test_whatever_stands_in_a_trace_is_escaped() -> None:
    error = {"type": SCRIPT, "message": SCRIPT, "stack": SCRIPT}
    step = StepTrace(step_id="a", step_name=SCRIPT, start=BEGIN, latency_ms=1.0, success=False, error=error)
    html = overview_html(
        load_traces([WorkflowTrace(request_id="r", workflow_name=SCRIPT, success=False, steps=(step,))])
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_it_is_small_however_many_workflows_and_errors_there_are() -> None:
    step = {"step_id": "a", "start": BEGIN, "latency_ms": 1.0, "success": False}
    runs = [
        WorkflowTrace(
            request_id=str(number),
            workflow_name=f"{number} " + "<" * 500,
            success=False,
            steps=(StepTrace(step_name=f"{number}" * 50, error={"type": "E", "message": "&" * 9000}, **step),),  # type: ignore[arg-type]
        )
        for number in range(60)
    ]
    assert len(overview_html(load_traces(runs)).encode()) < 5_000


def test_it_tells_runs_failures_and_what_has_to_be_said() -> None:
    traces = load_traces(some_runs(30))
    html = overview_html(traces.filter_by_success(False))
    assert "<td>qa</td>" in html
    assert "are left out: the answer is about the others" in html
    assert "<p>&lt;Traces: 0 runs of nothing, 0 failed&gt;</p>" in overview_html(traces.filter_by_mode("none"))
