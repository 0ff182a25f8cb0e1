from __future__ import annotations

import pytest

from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import load_traces
from tests.workflows.journals import BEGIN


def run(request_id: str, workflow_name: str, latency_ms: float | None, **fields: object) -> WorkflowTrace:
    told = {"success": True, "question": f"why {request_id}?", **fields}
    return WorkflowTrace(
        request_id=request_id,
        workflow_name=workflow_name,
        total_latency_ms=latency_ms,
        **told,  # type: ignore[arg-type]
    )


def test_each_run_has_its_question_its_signals_its_costs_and_those_of_its_workflow() -> None:
    step = StepTrace(step_id="a", step_name="a", start=BEGIN, latency_ms=1.0, success=True, vram_peak_mb=7.0)
    table = load_traces(
        [
            run("1", "qa", 10.0, quality_signals={"has_search": True}, steps=(step,)),
            run("2", "qa", 20.0, quality_signals={"has_search": False}),
            run("3", "lesson", 50.0),
        ]
    ).to_router_table()
    assert table.index.tolist() == ["1", "2", "3"]
    assert table["question"].tolist() == ["why 1?", "why 2?", "why 3?"]
    assert table["avg_latency_ms"].tolist() == [15.0, 15.0, 50.0]
    assert table["latency_ms"].tolist() == [10.0, 20.0, 50.0]
    assert table["has_search"].tolist()[:2] == [True, False]
    assert table.loc["1", "vram_mb"] == 7.0


@pytest.mark.parametrize("latency_ms", [None, 1.0])
def test_costs_that_nobody_measured_have_no_column(latency_ms: float | None) -> None:
    table = load_traces([run("1", "qa", latency_ms)]).to_router_table()
    assert ("latency_ms" in table) == (latency_ms is not None)
    assert "cost_usd" not in table
    assert table.loc["1", "workflow_name"] == "qa"
