"""Events put together to calls."""

from __future__ import annotations

import random
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.calls import calls_of
from causalkit.operators.events import ExecutionContext
from causalkit.operators.listening import EventCollection, collect_events
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import trace
from causalkit.workflows.tracer import Tracer
from tests.operators.family import operator


@trace(stage="ensemble_1", operator_type="ensemble", tags=["a"])
def panel(image: int) -> list[int]:
    emit_metric("noise", 0.5, role="knob")
    return [operator(f"member{number}", lambda: image, operator_type="member")() for number in range(3)]


@trace(stage="judge_1")
def judge(votes: list[int], label: int) -> int:
    emit_metric("correct", False)
    emit_metric("correct", votes[0] == label)
    return votes[0]


@trace
def pipeline(image: int) -> int:
    return judge(panel(image), 3)


def recording() -> EventCollection:
    with collect_events() as events:
        pipeline(3)
    return events


def told(events: Any) -> dict[str, dict[str, Any]]:
    return {
        call.operator_id: {
            "parent": call.parent and call.parent.operator_id,
            "children": [child.operator_id for child in call.children],
            **{"ended": call.ended, "inputs": call.inputs, "result": call.result, "metrics": call.metrics},
            **{"roles": call.roles, "links": [*call.links], "duration": call.duration_ms, "run": call.run_id},
        }
        for call in calls_of(events).values()
    }


def test_each_call_has_its_inputs_result_metrics_and_family() -> None:
    events = recording()
    calls = {call.operator_id: call for call in calls_of(events).values()}
    assert [*calls] == ["pipeline", "panel", "member0", "member1", "member2", "judge"]
    assert [child.operator_id for child in calls["pipeline"].children] == ["panel", "judge"]
    assert calls["panel"].parent is calls["pipeline"]
    assert (calls["panel"].inputs, calls["panel"].result, calls["panel"].tags) == ({"image": 3}, [3, 3, 3], ("a",))
    assert (calls["panel"].metrics, calls["panel"].roles) == ({"noise": 0.5}, {"noise": "knob"})
    assert calls["judge"].metrics == {"correct": True}
    assert {call.run_id for call in calls.values()} == {calls["pipeline"].call_id}
    assert all(call.ended == "result" and call.has_result and call.duration_ms for call in calls.values())
    assert (calls["panel"].is_ensemble, calls["judge"].is_judge, calls["member0"].is_ensemble) == (True, True, False)


def test_the_very_object_that_an_ensemble_returned_links_the_one_it_is_given_to() -> None:
    calls = {call.operator_id: call for call in calls_of(recording()).values()}
    assert [*calls["judge"].links] == [calls["panel"].call_id]
    with collect_events() as events:
        judge([*panel(3)], 3)
    assert [[*call.links] for call in calls_of(events).values() if call.operator_id == "judge"] == [[]]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_events_does_not_matter(seed: int) -> None:
    events = recording()
    shuffled = [*events]
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    found, expected = told(shuffled), told(events)
    for name, call in found.items():
        assert {**call, "children": {*call["children"]}} == {
            **expected[name],
            "children": {*expected[name]["children"]},
        }


def test_of_a_call_whose_beginning_or_end_is_missing_the_rest_is_known() -> None:
    events = [*recording()]
    ends = calls_of(event for event in events if event.event_type != "call")
    whole = calls_of(events)
    assert {call_id: (call.result, call.parent_call_id) for call_id, call in ends.items()} == {
        call_id: (call.result, call.parent_call_id) for call_id, call in whole.items()
    }
    begun = calls_of(event for event in events if event.event_type == "call")
    assert {call.ended for call in begun.values()} == {None}
    assert not any(call.has_result for call in begun.values())
    assert repr(next(iter(begun.values()))) == "<OperatorCall of pipeline: not closed>"


def test_an_error_is_told_as_one_and_none_as_a_result_is_a_result() -> None:
    def fail() -> None:
        raise ValueError("no")

    with collect_events() as events:
        operator("nothing")()
        with pytest.raises(ValueError, match="no"):
            operator("fail", fail)()
    nothing, failed = calls_of(events).values()
    assert (nothing.result, nothing.has_result, nothing.ended) == (None, True, "result")
    assert (failed.has_result, failed.ended, failed.error["type"]) == (False, "error", "ValueError")


def test_members_called_in_the_steps_of_a_workflow_are_members_still() -> None:
    tracer = Tracer()

    def work() -> None:
        with run.step("voting"):
            operator("member", operator_type="member")()

    with collect_events() as events, tracer.workflow("answer") as run:
        operator("panel", work, operator_type="ensemble", stage="ensemble_1")()
    panel_call, member = calls_of(events).values()
    assert member.parent is panel_call
    assert [*panel_call.children] == [member]
    assert member.stage == "ensemble_1"
    assert member.parent_call_id == tracer.runs[0].steps[0].step_id


def test_an_explicit_link_stands_beside_those_that_were_found() -> None:
    def work(votes: list[int]) -> None:
        ExecutionContext.link("elsewhere")

    with collect_events() as events:
        votes = panel(3)
        operator("judge", work)(votes)
    calls = {call.operator_id: call for call in calls_of(events).values()}
    assert [*calls["judge"].links] == [calls["panel"].call_id, "elsewhere"]


def test_what_is_no_event_is_refused_in_a_sentence() -> None:
    with pytest.raises(CausalkitError, match="a dict is no event"):
        calls_of([{}])  # type: ignore[list-item]
    assert calls_of([]) == {}
