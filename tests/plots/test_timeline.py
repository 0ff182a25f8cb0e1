from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes

import causalkit as ck
from causalkit.plots.timeline import plot_timeline
from causalkit.workflows.records import StepTrace, WorkflowTrace
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts, tick_labels

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)


def step(id_: str, parent: str | None, name: str, begun: float, took: float, error: str | None = None) -> StepTrace:
    failure: dict[str, Any] = {"success": error is None, "error": {"type": error} if error else None}
    start = BEGAN + timedelta(milliseconds=begun)
    return StepTrace(step_id=id_, parent_id=parent, step_name=name, start=start, latency_ms=took, **failure)


def run(*steps: StepTrace, **fields: Any) -> WorkflowTrace:
    told = {"request_id": "r1", "workflow_name": "qa", "success": True, "timestamp": BEGAN, "total_latency_ms": 100.0}
    return WorkflowTrace(**{**told, **fields}, steps=steps)


PARALLEL = run(
    step("1", None, "answer", 1, 95),
    step("2", "1", "search", 2, 50),
    step("3", "2", "slow_source", 3, 45, "TimeoutError"),
    step("4", "2", "fast_source", 5, 10),
    step("5", "1", "rerank", 55, 40),
    success=False,
)


def spans(ax: Axes) -> list[tuple[float, float]]:
    return [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in ax.patches]


def test_each_step_is_a_bar_from_its_start_as_long_as_it_took() -> None:
    given = plt.figure().add_subplot()
    ax = plot_timeline(PARALLEL, ax=given)
    assert ax is given
    assert spans(ax) == [(1, 95), (2, 50), (3, 45), (5, 10), (55, 40)]
    assert ax.get_xlabel() == "milliseconds since the run began"
    assert ax.get_title() == "qa r1: 5 steps, 100.00 ms, failed"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert_only_the_house_colours(ax)


def test_names_are_indented_by_nesting_and_carry_the_latency() -> None:
    labels = tick_labels(plot_timeline(PARALLEL))
    assert [len(label) - len(label.lstrip()) for label in labels] == [0, 2, 4, 4, 2]
    assert [label.split() for label in labels][2] == ["slow_source", "45.00", "ms"]
    assert len({len(label) for label in labels}) == 1


def test_a_failed_step_is_hatched_and_names_its_error() -> None:
    ax = plot_timeline(PARALLEL)
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, False, True, False, False]
    assert texts(ax) == ["✗ TimeoutError"]
    assert "failed" in legend_texts(ax)


def test_steps_that_the_run_waited_for_have_a_bold_outline() -> None:
    ax = plot_timeline(PARALLEL)
    assert [bar.get_linewidth() > 2 for bar in ax.patches] == [True, True, True, False, True]
    assert any("critical path" in text for text in legend_texts(ax))


def test_steps_stand_in_the_order_in_which_they_began_a_parent_first() -> None:
    ax = plot_timeline(
        run(step("b", "a", "inner", 4, 1), step("c", None, "first", 0, 2), step("a", None, "outer", 4, 3))
    )
    assert [label.split()[0] for label in tick_labels(ax)] == ["first", "outer", "inner"]


def test_a_crashed_run_says_so_and_has_no_end() -> None:
    ax = plot_timeline(run(step("1", None, "search", 0, 5), success=False, crashed=True, total_latency_ms=None))
    assert ax.get_title() == "qa r1: 1 step, crashed before it ended"
    assert not ax.lines


def test_a_run_that_raised_outside_its_steps_names_the_error() -> None:
    ax = plot_timeline(run(success=False, error={"type": "ValueError"}))
    assert ax.get_title() == "qa r1: 0 steps, 100.00 ms, failed with ValueError"


@pytest.mark.parametrize("told", [{}, {"timestamp": None, "total_latency_ms": None}])
def test_a_run_without_steps_is_drawn_empty(told: dict[str, Any]) -> None:
    ax = plot_timeline(run(**told))
    assert not ax.patches
    assert ax.get_title().startswith("qa r1: 0 steps")
    assert texts(ax) == ["no step was recorded"]


def test_a_run_of_unknown_start_begins_with_its_first_step() -> None:
    assert (
        spans(plot_timeline(run(step("1", None, "a", 30, 5), step("2", None, "b", 36, 1), timestamp=None)))[0][0] == 0
    )


def test_of_many_steps_the_longest_60_are_drawn_and_the_others_counted() -> None:
    steps = [step(str(n), None, "s", n, n + 1, "KeyError" if n < 2 else None) for n in range(200)]
    ax = plot_timeline(run(*steps))
    assert spans(ax) == [(n, n + 1) for n in range(140, 200)]
    assert ax.get_xlabel().endswith("and 140 shorter ones (2 of them failed)")


def test_long_names_and_formula_signs_are_drawn_as_short_plain_text() -> None:
    ax = plot_timeline(run(step("1", None, "cost of $x_{ and \n $y" + "z" * 100, 0, 5, "$E$" * 50), success=False))
    ax.figure.draw_without_rendering()
    assert len(tick_labels(ax)[0]) < 50
    assert len(texts(ax)[0]) < 40


def test_steps_that_stand_in_one_another_are_drawn_all_the_same() -> None:
    assert len(plot_timeline(run(step("1", "2", "a", 0, 5), step("2", "1", "b", 1, 2))).patches) == 2


def test_recorded_runs_are_drawn_from_zero_to_their_end() -> None:
    recorded = next(iter(ck.load_recording()))
    ax = plot_timeline(recorded)
    assert len(ax.patches) == len(recorded.steps)
    assert ax.get_xlim()[0] == 0
    assert recorded.total_latency_ms is not None
    assert ax.get_xlim()[1] >= recorded.total_latency_ms
