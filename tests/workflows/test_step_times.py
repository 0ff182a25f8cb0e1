from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.selftime import self_times, unaccounted_ms
from causalkit.workflows.step_times import critical_path
from causalkit.workflows.traces import load_traces

BEGIN = datetime(2026, 1, 2, 3, 4, 59, 999_000, tzinfo=UTC)
# (start, latency) in microseconds, and which of the steps before is its parent; beyond them, none is.
Spans = list[tuple[int, int, int]]
spans = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 2000) | st.just(0), st.integers(0, 6)), max_size=7)


def run(spans: Spans, total_ms: float | None, request_id: str = "r") -> WorkflowTrace:
    steps = [
        StepTrace(
            step_id=str(number),
            parent_id=str(parent) if parent < number else None,
            step_name=f"n{number % 3}",
            start=BEGIN + timedelta(microseconds=start),
            latency_ms=latency / 1e3,
            success=True,
        )
        for number, (start, latency, parent) in enumerate(spans)
    ]
    crashed = total_ms is None
    return WorkflowTrace(
        request_id=request_id,
        success=not crashed,
        crashed=crashed,
        timestamp=BEGIN,
        total_latency_ms=total_ms,
        steps=tuple(steps),
    )


@given(spans=spans, total=st.none() | st.integers(0, 5000))
@settings(max_examples=300)
def test_the_critical_path_adds_up_to_the_total_and_nothing_in_it_is_negative(spans: Spans, total: int | None) -> None:
    recorded = run(spans, None if total is None else total / 1e3)
    held = critical_path(recorded)
    ends = [start + latency for start, latency, _ in spans]
    expected = max(ends, default=0) if total is None else total
    assert math.fsum(held.values()) == pytest.approx(expected / 1e3, abs=1e-9)
    assert all(time > 0 for time in held.values())
    assert set(held) <= {None, *(step.step_id for step in recorded.steps)}
    for step in recorded.steps:
        assert held.get(step.step_id, 0) <= step.latency_ms + 1e-9


@given(spans=spans, total=st.integers(0, 3000))
@settings(max_examples=200)
def test_each_moment_belongs_to_a_step_that_ran_then_or_to_none(spans: Spans, total: int) -> None:
    top = [(start, start + latency) for start, latency, parent in spans]
    covered = {moment for begin, end in top for moment in range(begin, min(end, total))}
    flat = run([(start, latency, 9) for start, latency, _ in spans], total / 1e3)
    assert critical_path(flat).get(None, 0.0) == pytest.approx((total - len(covered)) / 1e3, abs=1e-9)


@given(gaps=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=6), nested=st.booleans())
def test_where_steps_ran_in_turn_the_critical_path_is_the_self_time(gaps: list[tuple[int, int]], nested: bool) -> None:
    clock, spans = 0, []
    for gap, latency in gaps:
        spans.append((clock + gap, latency, 0 if nested else 9))
        clock += gap + latency
    spans = [(0, clock, 9), *spans] if nested else spans
    recorded = run(spans, (clock + 7) / 1e3)
    by_name: defaultdict[str, float] = defaultdict(float)
    names = {step.step_id: step.step_name for step in recorded.steps}
    for step_id, time in critical_path(recorded).items():
        if step_id is not None:
            by_name[names[step_id]] += time
    expected = {name: time for name, time in self_times(recorded).items() if time > 1e-9}
    assert dict(by_name) == pytest.approx(expected, abs=1e-9)
    assert critical_path(recorded).get(None, 0.0) == pytest.approx(unaccounted_ms(recorded), abs=1e-9)


def test_of_parallel_steps_the_one_that_was_waited_for_is_on_the_path() -> None:
    held = critical_path(run([(0, 3000, 9), (0, 5000, 9), (6000, 1000, 9)], 8.0))
    assert held == pytest.approx({"1": 5.0, "2": 1.0, None: 2.0})


def test_a_cycle_of_parents_ends() -> None:
    steps = tuple(
        StepTrace(step_id=own, parent_id=other, step_name=own, start=BEGIN, latency_ms=1.0, success=True)
        for own, other in ("ab", "ba", "cc")
    )
    assert critical_path(WorkflowTrace(request_id="r", success=True, total_latency_ms=2.0, steps=steps)) == {None: 2.0}


def test_over_many_runs_the_path_is_a_share_of_all_their_time() -> None:
    runs = [run([(0, 3000, 9), (1000, 1000, 0)], 4.0, "a"), run([(0, 2000, 9)], 2.0, "b")]
    table = load_traces(runs).critical_path()
    assert table.loc["n0"].to_dict() == pytest.approx({"avg_ms": 2.0, "share": 4 / 6, "runs": 1.0})
    assert table.loc["(outside all steps)", "runs"] == 0.5
    assert table["share"].sum() == pytest.approx(1)
    assert table["avg_ms"].is_monotonic_decreasing


def brute_force(recorded: WorkflowTrace) -> dict[str, float]:
    """Return for each step its microseconds in which no child of it ran."""
    at = {step.step_id: round((step.start - BEGIN) / timedelta(microseconds=1)) for step in recorded.steps}
    moments = {
        step.step_id: set(range(at[step.step_id], at[step.step_id] + round(step.latency_ms * 1e3)))
        for step in recorded.steps
    }
    own = {name: set(those) for name, those in moments.items()}
    for step in recorded.steps:
        if step.parent_id is not None:
            own[step.parent_id] -= moments[step.step_id]
    return {name: len(those) / 1e3 for name, those in own.items()}


@given(drawn=st.lists(spans, min_size=8, max_size=8))
@settings(max_examples=6)
def test_own_times_are_those_of_a_union_of_intervals(drawn: list[Spans]) -> None:
    assume(any(drawn))
    runs = [run(spans, 9.0, f"r{number}") for number, spans in enumerate(drawn)]
    found = load_traces(runs).step_times("request_id")
    expected: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for recorded in runs:
        own = brute_force(recorded)
        for step in recorded.steps:
            expected[recorded.request_id, step.step_name].append(own[step.step_id])
    assert set(found.index) == set(expected)
    for key, times in expected.items():
        row = found.loc[[key]].iloc[0]
        np.testing.assert_allclose(
            row[["n", "min", "max", "avg"]].astype(float),
            [len(times), min(times), max(times), np.mean(times)],
            atol=2e-3,
        )


def test_of_steps_that_ran_at_the_same_time_the_own_times_are_those_of_the_trace_table() -> None:
    recorded = run([(0, 4000, 9), (0, 2000, 0), (1000, 2000, 0)], 4.0)
    assert self_times(recorded) == pytest.approx({"n0": 1.0, "n1": 2.0, "n2": 2.0})
    assert load_traces([recorded]).step_times()["max"].round(3).to_dict() == {"n0": 1.0, "n1": 2.0, "n2": 2.0}


def test_in_turn_is_within_the_slack_of_the_clocks() -> None:
    starts = [0, 1000, 2000]
    recorded = run([(start, 1020, 9) for start in starts], 3.1)
    assert all(later - earlier == 1000 for earlier, later in pairwise(starts))
    assert sum(self_times(recorded).values()) == pytest.approx(3.06)
