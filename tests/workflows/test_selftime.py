from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.selftime import parallel_ms, self_times, side_by_side, unaccounted_ms

BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
# A step: the time before it, its name, its children, the time after the last of them.
Step = tuple[int, str, list["Step"], int]
names = st.sampled_from(["search", "rerank", "check"])
micros = st.integers(0, 10**7)
trees = st.recursive(
    st.tuples(micros, names, st.just([]), micros),
    lambda inner: st.tuples(micros, names, st.lists(inner, max_size=3), micros),
    max_leaves=8,
)


def step(name: str, start_ms: float, latency_ms: float, parent_id: str | None = None, step_id: str = "") -> StepTrace:
    return StepTrace(
        step_id=step_id or name,
        parent_id=parent_id,
        step_name=name,
        start=BEGIN + timedelta(milliseconds=start_ms),
        latency_ms=latency_ms,
        success=True,
    )


def run(*steps: StepTrace, total_ms: float | None = 100.0) -> WorkflowTrace:
    return WorkflowTrace(request_id="r1", success=True, total_latency_ms=total_ms, steps=steps)


def lay_out(tree: Step, clock: int, parent_id: str | None, done: list[StepTrace]) -> int:
    """Let a tree of steps run one after the other from `clock` on; return when it ends, in microseconds."""
    before, name, children, after = tree
    step_id = f"{name}{len(done)}{parent_id}"
    begin = clock = clock + before
    for child in children:
        clock = lay_out(child, clock, step_id, done)
    clock += after
    done.append(step(name, begin / 1e3, (clock - begin) / 1e3, parent_id, step_id))
    return clock


@given(forest=st.lists(trees, max_size=4), rest=micros)
def test_self_times_and_the_time_outside_add_up_to_the_total(forest: list[Step], rest: int) -> None:
    steps: list[StepTrace] = []
    clock = 0
    for tree in forest:
        clock = lay_out(tree, clock, None, steps)
    recorded = run(*steps, total_ms=(clock + rest) / 1e3)
    parts = [*self_times(recorded).values(), unaccounted_ms(recorded)]
    assert math.fsum(parts) == pytest.approx((clock + rest) / 1e3, rel=1e-9, abs=1e-6)
    assert all(part > -1e-6 for part in parts)


def test_the_self_time_of_a_step_is_its_time_without_its_children() -> None:
    recorded = run(step("outer", 0, 60), step("a", 10, 20, "outer"), step("b", 30, 25, "outer"), step("last", 70, 10))
    assert self_times(recorded) == {"outer": 15, "a": 20, "b": 25, "last": 10}
    assert unaccounted_ms(recorded) == 30


def test_a_grandchild_is_taken_from_its_parent_only() -> None:
    recorded = run(step("a", 0, 60), step("b", 0, 50, "a"), step("c", 0, 20, "b"))
    assert self_times(recorded) == {"a": 10, "b": 30, "c": 20}


def test_steps_of_one_name_are_summed() -> None:
    recorded = run(step("ask", 0, 10, step_id="1"), step("ask", 20, 30, step_id="2"))
    assert self_times(recorded) == {"ask": 40}


def test_steps_in_parallel_count_once_for_their_parent_and_the_time_they_saved_is_told() -> None:
    nested = run(step("outer", 0, 90), step("a", 10, 20, "outer"), step("b", 29, 5, "outer"))
    assert self_times(nested) == {"outer": 66, "a": 20, "b": 5}
    assert (unaccounted_ms(nested), parallel_ms(nested)) == (10, -1)
    assert side_by_side(nested) == {"a", "b"}
    flat = run(step("a", 10, 20), step("b", 29, 5))
    assert (unaccounted_ms(flat), parallel_ms(flat)) == (76, -1)


def test_steps_in_turn_saved_nothing_and_callers_are_not_beside_their_callees() -> None:
    recorded = run(step("a", 0, 60), step("b", 0, 50, "a"), step("c", 0, 20, "b"), step("d", 60, 40))
    assert parallel_ms(recorded) == 0
    assert side_by_side(recorded) == set()


def test_an_overlap_below_the_resolution_of_the_clocks_is_none() -> None:
    assert self_times(run(step("a", 0, 10.04), step("b", 10, 5))) == {"a": 10.04, "b": 5}


def test_a_step_whose_parent_is_not_in_the_run_stands_directly_under_it() -> None:
    recorded = run(step("orphan", 0, 30, "gone"), step("b", 40, 20))
    assert self_times(recorded) == {"orphan": 30, "b": 20}
    assert unaccounted_ms(recorded) == 50


def test_a_run_without_steps_is_all_unaccounted() -> None:
    assert self_times(run()) == {}
    assert unaccounted_ms(run()) == 100


def test_the_time_outside_all_steps_of_a_crashed_run_is_not_known() -> None:
    assert math.isnan(unaccounted_ms(run(step("a", 0, 10), total_ms=None)))
