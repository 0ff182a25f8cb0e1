from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from causalkit.workflows.quality import QualitySignals
from causalkit.workflows.records import StepTrace


def step(name: str, success: bool = True) -> StepTrace:
    return StepTrace(step_id=name, step_name=name, start=datetime.now(UTC), latency_ms=1.0, success=success)


def test_an_empty_run_has_no_signal() -> None:
    assert not any(QualitySignals.from_state({}, []).to_dict().values())


@pytest.mark.parametrize(
    ("state", "steps", "signal", "value"),
    [
        ({"citations": ["a", "b"]}, [], "citation_count", 2),
        ({"citations": ["a"]}, [], "has_citations", True),
        ({"citations": None}, [], "has_citations", False),
        ({"final_answer": "four"}, [], "answer_length", 4),
        ({"final_answer": None}, [], "answer_length", 0),
        ({"lesson_explain_structured": {"a": 1}}, [], "has_structure", True),
        ({}, [step("web_search")], "has_search", True),
        ({}, [step("rerank")], "has_search", False),
        ({}, [step("a"), step("b", success=False)], "failure_occurred", True),
        ({}, [step("a")], "failure_occurred", False),
    ],
)
def test_each_signal_says_one_thing_of_the_state_or_the_steps(
    state: dict[str, Any], steps: list[StepTrace], signal: str, value: object
) -> None:
    assert QualitySignals.from_state(state, iter(steps)).to_dict()[signal] == value
