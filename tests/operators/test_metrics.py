"""What is measured of each result."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.listening import collect_events
from causalkit.operators.metrics import AccuracyMetric
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import TracedOperator, trace
from tests.operators.family import operator, parents


def measured(events: Any) -> list[tuple[str, Any]]:
    return [(event.data["name"], event.data["value"]) for event in events if event.event_type == "metric"]


def test_accuracy_is_whether_the_result_is_the_truth_that_came_with_the_input() -> None:
    class Judge(TracedOperator, metrics=[AccuracyMetric("label")]):
        def __call__(self, votes: list[int], label: int) -> int:
            return max(set(votes), key=votes.count)

    judge = Judge()
    with collect_events() as events:
        judge([3, 3, 5], 3)
        judge([3, 5, 5], label=3)
        judge(votes=[1], label=1)
    assert measured(events) == [("accuracy", 1.0), ("accuracy", 0.0), ("accuracy", 1.0)]


def test_the_truth_may_stand_in_an_argument_that_is_a_mapping() -> None:
    traced = trace(lambda case: np.int64(case["image"]), metrics=[AccuracyMetric("label", name="right")])
    with collect_events(capture="none") as events:
        traced({"image": 3, "label": 3})
        traced({"image": 3, "label": "3"})
    assert measured(events) == [("right", 1.0), ("right", 0.0)]


def test_the_user_says_what_equal_means() -> None:
    near = AccuracyMetric("label", equal=lambda result, truth: abs(result - truth) <= 1)
    assert (near(3, {"label": 4}), near(3, {"label": 5})) == (1.0, 0.0)
    assert AccuracyMetric("label")(0.1 + 0.2, {"label": 0.3}) == 1.0
    assert AccuracyMetric("label")(None, {"label": None}) == 1.0


def test_an_input_without_the_truth_is_said_in_a_sentence() -> None:
    with pytest.raises(CausalkitError, match="the input has no 'label', so nothing says what is right"):
        AccuracyMetric("label")(3, {"image": 1})
    with pytest.raises(CausalkitError, match="has no 'label'"):
        AccuracyMetric("label")(3, "image")


def test_a_metric_is_any_object_called_with_result_and_input_and_none_reports_nothing() -> None:
    class Confidence:
        name = "confidence"

        def __call__(self, result: Any, inputs: dict[str, Any]) -> float | None:
            return inputs["x"] / 10 if result else None

    def doubled(result: int, inputs: dict[str, Any]) -> int:
        return 2 * result

    traced = trace(lambda x: x, metrics=[Confidence(), doubled, lambda result, inputs: None])
    with collect_events() as events:
        traced(3), traced(0)
    assert measured(events) == [("confidence", 0.3), ("doubled", 6), ("doubled", 0)]


def test_a_metric_that_raises_disturbs_nothing_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(result: Any, inputs: Any) -> float:
        raise ZeroDivisionError("broken metric")

    def other_broken(result: Any, inputs: Any) -> float:
        raise ZeroDivisionError("another of the same name")

    other_broken.__name__ = "broken"
    one = operator("first of two", lambda x: x, metrics=[broken, lambda result, inputs: 1])
    other = operator("second of two", lambda x: x, metrics=[broken, other_broken])
    with caplog.at_level(logging.ERROR), collect_events() as events:
        assert [one(number) for number in range(3)] == [0, 1, 2]
        assert other(3) == 3
    assert measured(events) == [("<lambda>", 1)] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "the metric broken of first of two raised ZeroDivisionError('broken metric')" in caplog.text
    assert "the metric broken of second of two raised ZeroDivisionError('another of the same name')" in caplog.text


def test_metrics_of_generators_see_what_they_return_and_failed_calls_have_none() -> None:
    def generate() -> Iterator[int]:
        yield 1
        return 5

    def fail() -> None:
        raise ValueError("no")

    got: list[Any] = []
    metric = [lambda result, inputs: got.append(result)]
    with collect_events() as events:
        assert [*operator("generator", generate, metrics=metric)()] == [1]
        with pytest.raises(ValueError, match="no"):
            operator("fail", fail, metrics=metric)()
    assert got == [5]
    parents(events)


def test_operators_called_by_a_metric_are_called_within_the_call_it_measures() -> None:
    def by_operator(result: Any, inputs: Any) -> Any:
        return operator("judge", lambda: 1)()

    with collect_events() as events:
        operator("member", metrics=[by_operator])()
    assert parents(events) == {"member": None, "judge": "member"}


def test_metrics_emitted_inside_a_call_belong_to_it_with_their_role() -> None:
    def work() -> None:
        emit_metric("noise", 0.5, role="knob")
        operator("inner", lambda: emit_metric("correct", True))()
        emit_metric("votes", [1] * 1000)

    with collect_events() as events:
        operator("outer", work)()
    metrics = [event for event in events if event.event_type == "metric"]
    assert [(event.operator_id, event.data) for event in metrics[:2]] == [
        ("outer", {"name": "noise", "value": 0.5, "role": "knob"}),
        ("inner", {"name": "correct", "value": True}),
    ]
    assert metrics[2].data["value"]["size"] == 1000
