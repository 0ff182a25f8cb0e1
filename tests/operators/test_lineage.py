from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from causalkit.operators.calls import calls_of
from causalkit.operators.capture import summary
from causalkit.operators.events import ExecutionContext
from causalkit.operators.lineage import bits, linked_ensembles
from causalkit.operators.listening import collect_events
from causalkit.operators.tracing import trace
from tests.operators.pipelines import Pipeline

SPECIAL = {"answer": "it was the pump behind valve 17", "scores": [0.7316235, 0.118231]}
COMMON = [
    True, False, None, 0, 1, -3, 42, 1000, 1_000_000_000, 0.5, 0.0, 1 / 3, math.pi, math.nan, math.inf, 10**5000, 1e300,
    "", "yes", "cat", "not enough information", b"\0" * 99, "a" * 150, [0] * 60, [3, 3, 5, 7, 1, 9, 0], [1, 2, 3, 4, 5],
    [], (), {}, {"label": 3, "ok": True}, [0.5] * 20, [1 / 3, 2 / 3], [True, False] * 9,
    summary("a" * 300), summary(list(range(100))), summary(np.zeros(64)), summary(np.ones((9, 9))), summary(object()),
    summary(np.full(70, np.nan)), summary(np.arange(100)), summary(np.zeros(90, bool)), np.zeros((8, 8)),
]  # fmt: skip


def linked(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return the stages of the ensembles that each judge is linked to, by the judge's call id."""
    calls = calls_of(pipeline.events)
    found = linked_ensembles([call for call in calls.values() if call.is_judge], calls)
    return {judge: [str(call.stage) for call in ensembles] for judge, ensembles in found.items()}


def one_run(given: Any, *results: Any, links: tuple[int, ...] = ()) -> list[str]:
    pipeline = Pipeline()
    with pipeline.call("pipeline"):
        made = [pipeline.ensemble([1, 2], f"ensemble_{n}", result) for n, result in enumerate(results)]
        judge = pipeline.judge([made[place].call_id for place in links], votes=given)
    return linked(pipeline)[judge.call_id]


def test_a_link_says_it_whatever_the_values_are() -> None:
    assert one_run(True, True, True, links=(1,)) == ["ensemble_1"]
    assert one_run(0, True, True, links=(1, 0, 1)) == ["ensemble_0", "ensemble_1"]


def test_a_link_to_what_is_no_ensemble_or_not_there_is_none() -> None:
    pipeline = Pipeline()
    with pipeline.call("pipeline"):
        search = pipeline.begin("search")
        pipeline.end([3])
        judge = pipeline.judge([search.call_id, "gone"], votes=[3])
    assert linked(pipeline) == {judge.call_id: []}


@pytest.mark.parametrize(
    "value", [SPECIAL, SPECIAL["answer"], summary(np.random.default_rng(0).random(90)), 7316235118]
)
def test_a_special_value_links_to_the_only_ensemble_that_returned_it(value: Any) -> None:
    assert bits(value) >= 24
    assert one_run(copy.deepcopy(value), value, "another") == ["ensemble_0"]
    assert one_run(value, "one", "other") == []


@pytest.mark.parametrize("value", COMMON, ids=range(len(COMMON)))
def test_a_common_value_never_links(value: Any) -> None:
    assert bits(value) < 24
    assert one_run(value, value) == []


def test_of_two_ensembles_that_returned_equal_values_neither_is_linked() -> None:
    assert one_run(SPECIAL, SPECIAL, copy.deepcopy(SPECIAL)) == []


def test_an_ensemble_that_had_not_ended_or_is_of_another_run_is_not_linked() -> None:
    pipeline = Pipeline()
    with pipeline.call("pipeline"):
        pipeline.ensemble([1], result=SPECIAL)
    with pipeline.call("pipeline"):
        other = pipeline.judge(votes=SPECIAL)
        pipeline.ensemble([1], result=SPECIAL)
    with pipeline.call("panel", "ensemble", "ensemble_2") as result:
        within = pipeline.judge(votes=SPECIAL)
        result.append(SPECIAL)
    assert linked(pipeline) == {other.call_id: [], within.call_id: []}


@pytest.mark.parametrize("by", ["pipeline", "ensemble"])
def test_a_value_that_was_there_before_the_ensemble_says_nothing(by: str) -> None:
    pipeline = Pipeline()
    with pipeline.call("pipeline", inputs={"question": SPECIAL} if by == "pipeline" else {}):
        with pipeline.call("panel", "ensemble", inputs={"question": SPECIAL} if by == "ensemble" else {}) as result:
            result.append(SPECIAL)
        judge = pipeline.judge(question=SPECIAL)
    assert linked(pipeline) == {judge.call_id: []}


def test_a_value_given_also_where_no_ensemble_returned_it_is_a_constant() -> None:
    pipeline = Pipeline()
    judges = []
    for result in (SPECIAL, "pump 3 leaks", SPECIAL):
        with pipeline.call("pipeline"):
            pipeline.ensemble([1], result=result)
            judges.append(pipeline.judge(fallback=SPECIAL, answer="the verdict on " + str(result)))
    assert linked(pipeline) == {judge.call_id: [] for judge in judges}


def test_the_very_object_links_and_equal_ones_at_the_same_address_do_not() -> None:
    @trace(operator_type="ensemble")
    def panel(votes: list[int]) -> list[int]:
        return list(votes)

    @trace(operator_type="judge")
    def judge(votes: list[int]) -> int:
        return votes[0]

    @trace
    def passes_on(votes: list[int]) -> int:
        return judge(panel(votes))

    @trace
    def makes_anew(votes: list[int]) -> int:
        panel(votes)
        return judge([*votes])

    with collect_events(capture="none") as events:
        for number in range(300):
            (passes_on if number % 2 else makes_anew)([number, number])
            # Without a caller around them, and their results gone at once.
            panel([number])
            judge([number])
    calls = calls_of(events)
    found = linked_ensembles([call for call in calls.values() if call.is_judge], calls)
    for judge_id, ensembles in found.items():
        caller = calls[judge_id].parent
        around = caller.operator_id.rpartition(".")[2] if caller else None
        assert [call.parent for call in ensembles] == ([caller] if around == "passes_on" else [])


def test_an_explicit_link_is_recorded() -> None:
    with collect_events() as events:
        with ExecutionContext.operator("panel", stage="ensemble_1") as panel:  # type: ignore[arg-type]
            panel.result = [3, 3]
        with ExecutionContext.operator("judge", stage="judge_1"):  # type: ignore[arg-type]
            ExecutionContext.link(panel.call_id)
    calls = calls_of(events)
    judge = next(call for call in calls.values() if call.is_judge)
    assert linked_ensembles(iter([judge]), calls) == {judge.call_id: [calls[panel.call_id]]}
