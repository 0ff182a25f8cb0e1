from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.workflows.records import WorkflowTrace, merge_records

START = "2026-01-02T03:04:05Z"


def step(step_id: str, request_id: str = "r", **fields: Any) -> dict[str, Any]:
    told = {"step_name": step_id, "start": START, "latency_ms": 1.0, "success": True}
    return {"schema": 1, "kind": "step", "request_id": request_id, "step_id": step_id, **told, **fields}


def run(request_id: str = "r", **fields: Any) -> dict[str, Any]:
    told = {"workflow_name": "answer", "success": True, "total_latency_ms": 5.0}
    return {"schema": 1, "kind": "run", "request_id": request_id, **told, **fields}


def test_unknown_keys_are_kept_and_written_again() -> None:
    (trace,), refused = merge_records([run(tenant="acme", extra={"deep": 1})])
    assert trace.extra == {"tenant": "acme", "extra": {"deep": 1}}
    assert trace.to_record()["tenant"] == "acme"
    assert merge_records([trace.to_record()]) == ([trace], [])
    assert refused == []


def test_records_of_other_kinds_are_passed_over() -> None:
    assert merge_records([{"schema": 1, "kind": "event"}, {"a": 1}]) == ([], [])


@given(order=st.permutations([run(), step("a"), step("b"), run("other"), step("c", "other")]))
def test_the_order_of_the_lines_does_not_matter(order: list[dict[str, Any]]) -> None:
    traces, refused = merge_records(order)
    found = {trace.request_id: sorted(step.step_id for step in trace.steps) for trace in traces}
    assert found == {"r": ["a", "b"], "other": ["c"]}
    assert not any(trace.crashed for trace in traces)
    assert refused == []


def test_steps_inside_a_run_and_on_lines_of_their_own_are_one() -> None:
    inside = {name: value for name, value in step("a").items() if name not in ("schema", "kind", "request_id")}
    (trace,), _ = merge_records([step("a"), step("b"), run(steps=[inside])])
    assert [step.step_id for step in trace.steps] == ["a", "b"]


def test_the_later_record_wins() -> None:
    (trace,), _ = merge_records([step("a", latency_ms=1.0), run(mode="x"), step("a", latency_ms=2.0), run(mode="y")])
    assert (trace.steps[0].latency_ms, trace.mode) == (2.0, "y")


def test_steps_stand_in_the_order_in_which_they_began() -> None:
    starts = {name: f"2026-01-02T03:04:0{number}Z" for number, name in enumerate("abc")}
    for order in itertools.permutations("abc"):
        (trace,), _ = merge_records([step(name, start=starts[name]) for name in order])
        assert [step.step_id for step in trace.steps] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "bad",
    [
        step("b", latency_ms=None),
        step("b", start="2026-01-02T03:04:05"),
        step("b", request_id=None),
        step("b", request_id=["r"]),
        run(success="yes"),
        run(steps=None),
        run(steps=5),
        run(timestamp="yesterday"),
        {"kind": "run", "success": True},
        {"kind": "step"},
    ],
)
def test_a_record_of_other_types_is_refused_with_a_reason_and_the_rest_is_read(bad: dict[str, Any]) -> None:
    traces, refused = merge_records([step("a"), bad, run("s")])
    assert [(trace.request_id, trace.crashed) for trace in traces] == [("r", True), ("s", False)]
    (reason,) = refused
    assert reason.startswith("record of ")


def test_a_refused_record_names_the_run_and_the_field() -> None:
    _, (reason,) = merge_records([step("a", latency_ms="fast")])
    assert reason == "record of r: Expected `float`, got `str` - at `$[0].latency_ms`"


def test_fields_at_their_defaults_are_left_out_of_a_record() -> None:
    record = WorkflowTrace(request_id="a", success=True).to_record()
    assert record == {"schema": 1, "kind": "run", "request_id": "a", "success": True}


def test_a_record_survives_json() -> None:
    (trace,), _ = merge_records([step("a", attributes={"x": 1}), run(quality_signals={"answer_length": 3})])
    again = msgspec.json.decode(msgspec.json.encode(trace.to_record()))
    assert merge_records([again]) == ([trace], [])


def test_the_repr_is_short_and_says_how_the_run_ended() -> None:
    (good, bad), _ = merge_records([run(), run("s", success=False)])
    assert repr(good) == "<WorkflowTrace answer ok: 0 steps, 5.0 ms>"
    assert repr(bad) == "<WorkflowTrace answer failed: 0 steps, 5.0 ms>"
