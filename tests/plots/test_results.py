"""Pictures of answers: effects, interventions, causes, validation, backtests."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from causalkit.errors import CausalkitError, GraphError
from causalkit.plots.backtest import plot_backtest
from causalkit.plots.causes import plot_root_causes
from causalkit.plots.effects import plot_effects
from causalkit.plots.interventions import plot_intervention
from causalkit.plots.validation import plot_validation
from causalkit.scm.causes import RootCauses
from causalkit.scm.model import FittedSCM
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts, tick_labels
from tests.truth import Service


def _slow(shifts: dict[str, float]) -> pd.DataFrame:
    return Service().table(np.random.default_rng(9), 240, shifts)


PICTURES: dict[str, Callable[[FittedSCM, pd.DataFrame, Axes | None], Axes]] = {
    "effects": lambda scm, _, ax: plot_effects([scm.effect("depth", "total_ms")], ax=ax),
    "intervention": lambda scm, _, ax: plot_intervention(scm.intervene({"depth": 4}), ax=ax),
    "causes": lambda scm, _, ax: plot_root_causes(scm.root_causes(_slow({"rank_ms": 9}), "total_ms"), ax=ax),
    "validation": lambda scm, _, ax: plot_validation(scm.report, ax=ax),
    "backtest": lambda scm, table, ax: plot_backtest(scm.backtest(table, ["depth"], "total_ms"), ax=ax),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_given_axes_are_used_and_returned(name: str, scm: FittedSCM, table: pd.DataFrame) -> None:
    ax = plt.figure().add_subplot()
    assert PICTURES[name](scm, table, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.get_title()
    assert ax.get_xlabel()


@pytest.mark.parametrize("name", PICTURES)
def test_without_axes_one_figure_is_made(name: str, scm: FittedSCM, table: pd.DataFrame) -> None:
    ax = PICTURES[name](scm, table, None)
    assert plt.get_fignums() == [ax.figure.number]


@pytest.mark.parametrize("name", PICTURES)
def test_colours_are_those_of_okabe_and_ito(name: str, scm: FittedSCM, table: pd.DataFrame) -> None:
    assert_only_the_house_colours(PICTURES[name](scm, table, None))


@pytest.mark.parametrize("name", ["effects", "intervention", "causes"])
def test_times_carry_their_unit(name: str, scm: FittedSCM, table: pd.DataFrame) -> None:
    assert "total_ms (milliseconds)" in PICTURES[name](scm, table, None).get_xlabel()


class TestEffects:
    def test_one_line_and_one_marker_for_each_and_zero(self, scm: FittedSCM) -> None:
        effects = [scm.effect(node, "total_ms") for node in ("depth", "load", "search_ms")]
        ax = plot_effects(effects)
        intervals = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() != "#7F7F7F"]
        assert {tuple(line.get_xdata()) for line in intervals} == {effect.interval for effect in effects}
        points = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
        assert points == sorted((effect.value for effect in effects), key=abs)
        assert len(tick_labels(ax)) == 3

    def test_random_and_observational_differ_in_marker_and_colour(self, scm: FittedSCM) -> None:
        ax = plot_effects([scm.effect("depth", "total_ms"), scm.effect("load", "total_ms")])
        looks = {(line.get_marker(), line.get_color()) for line in ax.lines if len(line.get_xdata()) == 1}
        assert len({marker for marker, _ in looks}) == len({colour for _, colour in looks}) == 2
        assert legend_texts(ax) == ["set at random", "observational"]

    def test_effects_on_different_outcomes_or_none_are_refused(self, scm: FittedSCM) -> None:
        with pytest.raises(CausalkitError, match="not on 2 outcomes"):
            plot_effects([scm.effect("depth", "total_ms"), scm.effect("depth", "rank_ms")])
        with pytest.raises(CausalkitError, match="not on 0 outcomes"):
            plot_effects([])


class TestIntervention:
    def test_both_distributions_and_both_means_are_drawn(self, scm: FittedSCM) -> None:
        result = scm.intervene({"depth": 4})
        ax = plot_intervention(result, "rank_ms")
        means = [line.get_xdata()[0] for line in ax.lines]
        assert means == [result.of("rank_ms")["baseline_mean"], result.of("rank_ms")["mean"]]
        assert ax.get_title() == "rank_ms under do(depth = 4)"
        assert ax.get_ylabel() == "runs of 1000 drawn"
        assert {"as it is", "do(depth = 4)"} < set(legend_texts(ax))
        assert len(legend_texts(ax)) == 4

    def test_before_and_after_differ_in_dashes_and_filling(self, scm: FittedSCM) -> None:
        ax = plot_intervention(scm.intervene({"depth": 4}))
        assert [line.get_linestyle() for line in ax.lines] == ["--", "-"]
        assert {patch.get_fill() for patch in ax.patches} == {True, False}

    def test_a_node_that_does_not_vary_is_drawn(self, scm: FittedSCM) -> None:
        assert plot_intervention(scm.intervene({"depth": 4}), "depth").get_title() == "depth under do(depth = 4)"

    def test_an_unknown_node_is_named(self, scm: FittedSCM) -> None:
        with pytest.raises(GraphError, match="'latency'"):
            plot_intervention(scm.intervene({"depth": 4}), "latency")


class TestRootCauses:
    def test_one_bar_for_each_cause_best_on_top(self, scm: FittedSCM) -> None:
        found = scm.root_causes(_slow({"rank_ms": 12.0, "search_ms": -4.0}), "total_ms")
        ax = plot_root_causes(found)
        assert [bar.get_width() for bar in ax.patches][::-1] == list(found.frame["contribution"])
        assert tick_labels(ax)[::-1] == list(found.frame["node"])

    def test_what_pushes_and_what_holds_back_differ_in_hatching_too(self, scm: FittedSCM) -> None:
        ax = plot_root_causes(scm.root_causes(_slow({"rank_ms": 12.0, "search_ms": -4.0}), "total_ms"))
        assert {(bar.get_width() > 0, bool(bar.get_hatch())) for bar in ax.patches} == {(True, False), (False, True)}

    def test_nothing_abnormal_stands_on_the_picture(self) -> None:
        names = ["node", "contribution", "low", "high", "p_value"]
        ax = plot_root_causes(RootCauses("total_ms", 0.1, 5, pd.DataFrame(columns=names), []))
        assert "nothing abnormal" in texts(ax)
        assert len(ax.patches) == 0


class TestValidation:
    def test_one_row_for_each_node_with_its_verdict_and_the_threshold(self, scm: FittedSCM) -> None:
        ax = plot_validation(scm.report)
        ordered = sorted(scm.report.scores, key=lambda score: score.r2)
        assert tick_labels(ax) == [score.node for score in ordered]
        assert [f"{score.r2:.2f}  {score.verdict}" for score in ordered] == texts(ax)[:-1]
        assert texts(ax)[-1] == "threshold 0.7"
        assert "split by question" in ax.get_title()

    def test_passed_and_failed_differ_in_marker_and_colour(self, scm: FittedSCM) -> None:
        assert {score.passed for score in scm.report.scores} == {True, False}
        points = [line for line in plot_validation(scm.report).lines if len(line.get_xdata()) == 1]
        assert {line.get_marker() for line in points} == {"o", "X"}
        assert len({line.get_color() for line in points}) == 2


class TestBacktest:
    def test_one_point_for_each_setting_and_the_diagonal(self, scm: FittedSCM, table: pd.DataFrame) -> None:
        result = scm.backtest(table, ["depth"], "total_ms")
        ax = plot_backtest(result)
        diagonal, *rest = ax.lines
        assert diagonal.get_linestyle() == "--"
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
        drawn = sum(len(box.lines[0].get_xdata()) for box in ax.containers)
        assert drawn == len(result.frame) == 8
        assert rest

    def test_hits_and_misses_differ_in_marker_and_stand_counted_in_the_legend(self, scm: FittedSCM) -> None:
        changed = Service(interaction=0.8).table(np.random.default_rng(3))
        result = scm.backtest(changed, ["depth"], "total_ms")
        hits = int(result.frame["covered"].sum())
        assert 0 < hits < len(result.frame)
        ax = plot_backtest(result)
        assert f"difference within its interval ({hits})" in legend_texts(ax)
        assert f"outside ({len(result.frame) - hits})" in legend_texts(ax)
        assert len({box.lines[0].get_marker() for box in ax.containers}) == 2
