from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.workflows.quality import QualitySignals, QualitySignalWarning, compute_signals, quality_signal
from causalkit.workflows.records import StepTrace, WorkflowTrace

BUILT_IN = list(QualitySignals.from_trace(WorkflowTrace(request_id="a", success=True)).to_dict())


class Hostile:
    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


ODD_VALUES: list[Any] = [
    None, True, 0, 3, -1, 2.0, math.nan, math.inf, 10**400, 1j, "", "doc://a", b"a", (), ["a", None], {"a": 1}, {"a"},
    (letter for letter in "abc"), np.int64(2), np.arange(3), np.array(1), pd.DataFrame({"a": [1, 2]}), pd.NA, object(),
    Hostile(),
]  # fmt: skip


def step(name: str, success: bool = True) -> StepTrace:
    return StepTrace(step_id=name, step_name=name, start=datetime.now(UTC), latency_ms=1.0, success=success)


def run(*steps: StepTrace, **fields: Any) -> WorkflowTrace:
    return WorkflowTrace(
        **{"request_id": "a", "steps": steps, "success": all(part.success for part in steps), **fields}
    )


@pytest.fixture(autouse=True)
def _no_signal_is_left_behind() -> Iterator[None]:
    yield
    for name in quality_signal.registered:
        quality_signal.unregister(name)


def test_an_empty_run_has_no_signal() -> None:
    assert not any(QualitySignals.from_trace(run()).to_dict().values())
    assert QualitySignals.from_trace(run(), {}) == QualitySignals.from_trace(run(), None)


@pytest.mark.parametrize(
    ("state", "trace", "signal", "value"),
    [
        ({"citations": ["a", "b"]}, run(urls_used=["c"]), "citation_count", 2),
        ({"citations": []}, run(urls_used=["c"]), "citation_count", 0),
        ({"citations": None}, run(urls_used=["c"]), "citation_count", 1),
        ({}, run(urls_used=["c", "d"]), "citation_count", 2),
        ({"citations": 4}, run(), "citation_count", 4),
        ({"citations": np.int64(4)}, run(), "citation_count", 4),
        ({"citations": -4}, run(), "citation_count", 0),
        ({"citations": math.nan}, run(urls_used=["c"]), "citation_count", 1),
        ({"citations": "doc://a"}, run(), "citation_count", 1),
        ({"citations": " "}, run(urls_used=["c"]), "citation_count", 0),
        ({"citations": {"a": "text", "b": "text"}}, run(), "citation_count", 2),
        ({"citations": ["a"]}, run(), "has_citations", True),
        ({"citations": []}, run(urls_used=["c"]), "has_citations", False),
        ({}, run(urls_used=["c"]), "has_citations", True),
        ({"final_answer": "four"}, run(final_answer="longer"), "answer_length", 4),
        ({"final_answer": ""}, run(final_answer="longer"), "answer_length", 0),
        ({"final_answer": None}, run(final_answer="longer"), "answer_length", 6),
        ({"final_answer": 1234567}, run(), "answer_length", 7),
        ({}, run(), "answer_length", 0),
        ({"lesson_explain_structured": {"a": 1}}, run(), "has_structure", True),
        ({"lesson_explain_structured": {}}, run(), "has_structure", False),
        ({"lesson_explain_structured": np.arange(2)}, run(), "has_structure", True),
        ({"final_answer": "So:\n- one [1]\n- two [2]"}, run(), "has_structure", True),
        ({}, run(final_answer="## Why\nso"), "has_structure", True),
        ({"final_answer": "first\n  2) then"}, run(), "has_structure", True),
        ({"final_answer": "#1 is -5 degrees\n-5\n**bold**\n1990. That year"}, run(), "has_structure", False),
        ({}, run(step("web_search")), "has_search", True),
        ({}, run(step("Retrieve documents")), "has_search", True),
        ({}, run(step("web_Search", success=False)), "has_search", True),
        ({}, run(step("rerank")), "has_search", False),
        ({}, run(step("a"), step("b", success=False)), "failure_occurred", True),
        ({}, run(step("a"), success=False), "failure_occurred", True),
        ({}, run(step("a")), "failure_occurred", False),
    ],
)
def test_each_signal_says_one_thing_of_the_state_or_the_run(
    state: dict[str, Any], trace: WorkflowTrace, signal: str, value: object
) -> None:
    found = QualitySignals.from_trace(trace, state).to_dict()[signal]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("key", ["citations", "final_answer", "lesson_explain_structured"])
@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: type(value).__name__)
def test_no_value_of_the_state_breaks_the_signals(key: str, value: Any) -> None:
    assert list(compute_signals(run(), {key: value})) == BUILT_IN


def test_sources_that_can_be_read_only_once_are_left_to_the_workflow() -> None:
    citations = iter(["a", "b"])
    assert QualitySignals.from_trace(run(urls_used=["c"]), {"citations": citations}).citation_count == 1
    assert list(citations) == ["a", "b"]


@given(successes=st.lists(st.booleans(), min_size=1))
def test_the_failure_rate_is_exactly_the_share_of_failed_runs(successes: list[bool]) -> None:
    failed = [QualitySignals.from_trace(run(step("a", success))).failure_occurred for success in successes]
    assert sum(failed) / len(failed) == successes.count(False) / len(successes)


def test_signals_of_the_users_follow_the_built_in_ones_in_the_order_of_their_registration() -> None:
    @quality_signal
    def tone(trace: WorkflowTrace, state: Mapping[str, Any]) -> str:
        return f"{state['mood']} {trace.question}"

    @quality_signal(name="loudness")
    def shouted(trace: WorkflowTrace, state: Mapping[str, Any]) -> float:
        return 0.5

    assert list(quality_signal.registered.values()) == [tone, shouted]
    signals = compute_signals(run(question="why?"), {"mood": "calm"})
    assert list(signals) == [*BUILT_IN, "tone", "loudness"]
    assert (signals["tone"], signals["loudness"]) == ("calm why?", 0.5)


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (3, 3),
        (True, True),
        ("warm", "warm"),
        (None, None),
        (math.nan, None),
        (-math.inf, None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(3), 3),
        (np.float64("nan"), None),
        (pd.NA, None),
        (10**400, 10**400),
    ],
)
def test_a_signal_is_a_number_bool_or_text_of_pythons_own_or_none(returned: Any, value: object) -> None:
    quality_signal(name="mine")(lambda trace, state: returned)
    problems: list[Exception] = []
    found = compute_signals(run(), problems=problems)["mine"]
    assert (found, type(found), problems) == (value, type(value), [])


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _raise(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: _raise(ValueError("too deep")), "ValueError: too deep"),
        (lambda: _raise(UnspeakableError()), "UnspeakableError"),
        (lambda: [1], "returned a list; return one number, bool or text"),
        (lambda: 1j, "returned a complex"),
        (lambda: np.arange(2), "returned a ndarray"),
        (lambda: Hostile(), "returned a Hostile"),
    ],
)
def test_a_failing_signal_is_none_and_its_problem_names_it(answer: Any, said: str) -> None:
    quality_signal(name="broken")(lambda trace, state: answer())
    quality_signal(name="sound")(lambda trace, state: 1)
    problems: list[Exception] = []
    signals = compute_signals(run(), {}, problems)
    assert (signals["broken"], signals["sound"]) == (None, 1)
    (problem,) = problems
    assert isinstance(problem, CausalkitError)
    assert problem.signal == "broken"
    assert "'broken'" in str(problem)
    assert said in str(problem)
    assert isinstance(problem.__cause__, Exception)


def test_without_a_list_a_problem_is_a_warning_and_every_signal_is_there() -> None:
    quality_signal(name="broken")(lambda trace, state: state["missing"])
    quality_signal(name="sound")(lambda trace, state: 1)
    with pytest.warns(QualitySignalWarning, match="'broken' has no value.*KeyError: 'missing'"):
        signals = compute_signals(run())
    assert (signals["broken"], signals["sound"]) == (None, 1)


def test_a_signal_cannot_change_the_state_that_the_others_see() -> None:
    quality_signal(name="meddler")(lambda trace, state: state.update(final_answer="mine"))
    state = {"final_answer": "so"}
    problems: list[Exception] = []
    assert compute_signals(run(), state, problems)["answer_length"] == 2
    assert state == {"final_answer": "so"}
    assert len(problems) == 1


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_signal_cannot_be_taken(name: str) -> None:
    with pytest.raises(CausalkitError, match=f"'{name}' is a signal of every run already") as caught:
        quality_signal(name=name)(lambda trace, state: 1)
    assert caught.value.signal == name


def test_running_a_cell_again_replaces_its_signal_silently() -> None:
    for factor in (1, 2):

        @quality_signal
        def mine(trace: WorkflowTrace, state: Mapping[str, Any], factor: int = factor) -> int:
            return factor

    assert compute_signals(run())["mine"] == 2


def test_a_second_signal_of_one_name_from_another_place_is_refused() -> None:
    def mine(trace: WorkflowTrace, state: Mapping[str, Any]) -> int:
        return 1

    quality_signal(mine)
    with pytest.raises(CausalkitError, match=r"the signal 'mine' is .*\.mine already; give .*<lambda>.* another name"):
        quality_signal(name="mine")(lambda trace, state: 2)
    assert compute_signals(run())["mine"] == 1


@pytest.mark.parametrize("function", ["tone", None, 3])
def test_what_is_no_function_is_refused_with_the_right_way_to_write_it(function: Any) -> None:
    with pytest.raises(CausalkitError, match="write @quality_signal above a function"):
        quality_signal(name="tone")(function)


def test_a_name_given_without_its_keyword_is_refused() -> None:
    with pytest.raises(CausalkitError, match=r"@quality_signal\(name="):
        quality_signal("tone")  # type: ignore[call-overload]


def test_unregistering_twice_does_no_harm() -> None:
    quality_signal(name="mine")(lambda trace, state: 1)
    quality_signal.unregister("mine")
    quality_signal.unregister("mine")
    assert list(compute_signals(run())) == BUILT_IN
