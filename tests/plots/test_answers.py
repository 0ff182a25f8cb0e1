"""Pictures of further answers: curves, changes, counterfactuals, strengths, and causes in their graph."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from causalkit.errors import CausalkitError, GraphError
from causalkit.plots.causes_graph import plot_causes_on_graph
from causalkit.plots.change import plot_change
from causalkit.plots.counterfactual import plot_counterfactual
from causalkit.plots.effect_curve import plot_effect_curve
from causalkit.plots.interventions import plot_intervention
from causalkit.plots.strengths import plot_strengths
from causalkit.plots.style import VERMILION
from causalkit.scm.causes import RootCauses
from causalkit.scm.changes import Change
from causalkit.scm.counterfactuals import Counterfactual
from causalkit.scm.effect_curves import EffectCurve
from causalkit.scm.model import FittedSCM
from causalkit.scm.questions import InterventionResult
from causalkit.scm.strengths import Strengths
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts, tick_labels
from tests.truth import Service


def _curve(values: list[object], extrapolated: list[bool], *, experimental: bool = True) -> EffectCurve:
    means = 10.0 + np.arange(len(values))
    frame = pd.DataFrame({"value": values, "mean": means, "low": means - 1, "high": means + 2})
    return EffectCurve("depth", "total_ms", frame.assign(extrapolated=extrapolated), experimental, [])


def _change(*contributions: float, of: str = "mean") -> Change:
    rows = [(f"step_{i}_ms", "mechanism", each, each - 0.5, each + 1, 0.001) for i, each in enumerate(contributions)]
    frame = pd.DataFrame(rows, columns=["node", "kind", "contribution", "low", "high", "p_value"])
    moved = sum(contributions) + 0.25
    return Change("total_ms", of, 50.0, 50 + moved, moved, (moved - 1, moved + 1), frame, 0.25, (300, 300), [])


def _rows(number: int) -> Counterfactual:
    rng = np.random.default_rng(0)
    observed = pd.DataFrame({"depth": rng.normal(size=number), "total_ms": rng.normal(50, 9, number)})
    return Counterfactual({"depth": 4}, observed, observed + rng.normal(size=(number, 2)), "total_ms", [])


def _labels() -> Counterfactual:
    observed = pd.DataFrame({"mode": ["fast", "fast", "slow", "best"], "ok": [True, False, True, True]}, index=[7] * 4)
    after = observed.assign(mode=["fast", "slow", "slow", "slow"])
    return Counterfactual({"depth": 4}, observed, after, "mode", [])


def _strengths(**values: float) -> Strengths:
    frame = pd.DataFrame({"parent": list(values), "strength": list(values.values()), "share": 0.5})
    return Strengths(frame.assign(low=frame["strength"] - 1, high=frame["strength"] + 1), [], "total_ms", "variance")


def _causes(target: str, **contributions: float) -> RootCauses:
    rows = [(node, each, each - 1, each + 1, 0.001) for node, each in contributions.items()]
    frame = pd.DataFrame(rows, columns=["node", "contribution", "low", "high", "p_value"])
    return RootCauses(target, 12.0, 40, frame, [])


PICTURES: dict[str, Callable[[Axes | None], Axes]] = {
    "curve": lambda ax: plot_effect_curve(_curve([1, 2, 3, 9], [False, False, False, True]), ax=ax),
    "curve of labels": lambda ax: plot_effect_curve(_curve(["fast", "slow"], [False] * 2, experimental=False), ax=ax),
    "change": lambda ax: plot_change(_change(4.0, -2.0), ax=ax),
    "pairs": lambda ax: _rows(5).plot(ax=ax),
    "cloud": lambda ax: _rows(41).plot(ax=ax),
    "counts": lambda ax: _labels().plot(ax=ax),
    "strengths": lambda ax: plot_strengths(_strengths(depth=4, load=-9), ax=ax),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_given_axes_are_used_and_returned_titled_and_labelled(name: str) -> None:
    ax = plt.figure().add_subplot()
    assert PICTURES[name](ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.get_title()
    assert ax.get_xlabel()


@pytest.mark.parametrize("name", PICTURES)
def test_without_axes_one_figure_is_made_in_the_house_colours(name: str) -> None:
    ax = PICTURES[name](None)
    assert plt.get_fignums() == [ax.figure.number]
    assert_only_the_house_colours(ax)


class TestEffectCurve:
    def test_the_extrapolated_part_is_dashed_hatched_and_named(self) -> None:
        ax = plot_effect_curve(_curve([1, 2, 3, 9], [False, False, False, True]))
        recorded, beyond = ax.lines
        assert (recorded.get_linestyle(), beyond.get_linestyle()) == ("-", "--")
        assert np.isfinite(recorded.get_ydata()).tolist() == [True, True, True, False]
        assert np.isfinite(beyond.get_ydata()).tolist() == [False, False, True, True]
        assert [band.get_hatch() for band in ax.collections] == ["", "//"]
        assert legend_texts(ax) == ["recorded, 95 % interval", "extrapolation"]

    def test_nothing_is_called_extrapolation_where_all_settings_were_recorded(self) -> None:
        ax = plot_effect_curve(_curve([1, 2], [False, False]))
        assert len(ax.lines) == len(ax.collections) == 1
        assert legend_texts(ax) == ["recorded, 95 % interval"]

    def test_labels_are_points_with_error_bars(self) -> None:
        ax = plot_effect_curve(_curve([True, False], [False, False]))
        assert [label.get_text() for label in ax.get_xticklabels()] == ["True", "False"]
        assert len(ax.containers) == 1
        assert list(ax.containers[0].lines[0].get_ydata()) == [10, 11]

    def test_random_and_observational_differ_in_words_colour_and_marker(self) -> None:
        known, guessed = (plot_effect_curve(_curve([1, 2], [False] * 2, experimental=e)) for e in (True, False))
        assert ("(set at random)" in known.get_title(), "(observational)" in guessed.get_title()) == (True, True)
        assert known.lines[0].get_color() != guessed.lines[0].get_color()
        assert known.lines[0].get_marker() != guessed.lines[0].get_marker()
        assert known.get_ylabel() == "mean total_ms (milliseconds)"

    def test_a_curve_without_settings_is_refused(self) -> None:
        with pytest.raises(CausalkitError, match="no setting"):
            plot_effect_curve(_curve([], []))


class TestChange:
    def test_bars_lead_from_before_to_after_without_a_gap(self) -> None:
        change = _change(4.0, -2.0, 1.0)
        ax = plot_change(change)
        level = change.before
        for bar in ax.patches:
            assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((level, level + bar.get_width()))
            level += bar.get_width()
        assert level == pytest.approx(change.after)
        assert tick_labels(ax) == ["before", *(f"step_{i}_ms\nmechanism" for i in range(3)), "unexplained", "after"]

    def test_every_bar_carries_its_value_and_interval(self) -> None:
        ax = plot_change(_change(4.0))
        assert texts(ax) == ["+4.00 (+3.50 to +5.00)", "+0.25", "50.00", "54.25"]
        assert [53.5, 55.0] in [list(line.get_xdata()) for line in ax.lines]

    def test_up_down_and_unexplained_differ_in_colour_and_hatch(self) -> None:
        looks = {(to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in plot_change(_change(4.0, -2.0)).patches}
        assert len({colour for colour, _ in looks}) == len({hatch for _, hatch in looks}) == 3

    def test_nothing_changed_stands_on_the_picture(self) -> None:
        ax = plot_change(_change())
        assert "no mechanism changed" in texts(ax)
        assert legend_texts(ax) == ["unexplained"]

    def test_a_variance_is_not_labelled_with_the_unit_of_its_node(self) -> None:
        assert "p95 of total_ms (milliseconds)" in plot_change(_change(of="p95")).get_xlabel()
        assert "milliseconds" not in plot_change(_change(of="variance")).get_xlabel()


class TestCounterfactual:
    def test_rows_are_pairs_ordered_by_their_difference(self) -> None:
        result = _rows(40)
        before, after = result.plot().lines
        rises = np.array(after.get_xdata()) - np.array(before.get_xdata())
        assert list(rises) == sorted(result.difference()["total_ms"])
        assert before.get_marker() != after.get_marker()

    def test_many_rows_are_a_cloud_beside_the_diagonal(self) -> None:
        result = _rows(41)
        diagonal, cloud = result.plot("depth").lines
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
        assert list(cloud.get_ydata()) == list(result.frame["depth"])

    def test_labels_are_counted_from_which_to_which(self) -> None:
        ax = _labels().plot()
        assert tick_labels(ax) == ["best", "fast", "slow"]
        assert texts(ax) == ["0", "0", "1", "0", "1", "1", "0", "0", "1"]
        assert "50% would have been another" in ax.get_title()
        moved = [text.get_text() for text in ax.texts if text.get_weight() == "bold"]
        assert moved == ["1", "1"]

    def test_booleans_are_labels(self) -> None:
        assert texts(_labels().plot("ok")) == ["1", "0", "0", "3"]

    def test_an_unknown_node_is_named(self) -> None:
        with pytest.raises(GraphError, match="'latency'") as caught:
            plot_counterfactual(_rows(3), "latency")
        assert caught.value.node == "latency"


class TestStrengths:
    def test_the_largest_is_on_top_with_its_interval(self) -> None:
        ax = plot_strengths(_strengths(a=1.0, b=-9.0, c=4.0))
        assert tick_labels(ax) == ["a", "c", "b"]
        assert texts(ax)[-1] == "-9.00 (-10.00 to -8.00)"
        assert [3, 5] in [list(line.get_xdata()) for line in ax.lines]

    def test_what_lowers_differs_in_hatching_too(self) -> None:
        bars = plot_strengths(_strengths(a=1.0, b=-9.0)).patches
        assert {(bar.get_width() > 0, bool(bar.get_hatch())) for bar in bars} == {(True, False), (False, True)}

    def test_an_empty_ranking_stands_on_the_picture(self) -> None:
        assert texts(plot_strengths(_strengths())) == ["nothing to draw"]


class TestCausesOnGraph:
    def test_causes_are_marked_with_rank_contribution_and_interval(self) -> None:
        ax = plot_causes_on_graph(_causes("total_ms", rank_ms=9.0, load=3.0), Service().graph)
        first, second = (next(text for text in ax.texts if text.get_text().startswith(rank)) for rank in ("1.", "2."))
        assert first.get_text() == "1. rank_ms\n+9.00\n(+8.00 to +10.00)"
        assert second.get_text().startswith("2. load\n+3.00")
        assert to_hex(first.get_bbox_patch().get_facecolor()) == VERMILION.lower()
        assert first.get_bbox_patch().get_linewidth() > second.get_bbox_patch().get_linewidth()
        assert first.get_fontsize() > second.get_fontsize()

    def test_the_target_is_outlined_and_the_others_are_pale(self) -> None:
        ax = plot_causes_on_graph(_causes("total_ms", rank_ms=9.0), Service().graph)
        boxes = {text.get_text(): text for text in ax.texts if text.get_text()}
        assert boxes["total_ms"].get_bbox_patch().get_linestyle() == "--"
        assert boxes["load"].get_color() != boxes["total_ms"].get_color()
        assert legend_texts(ax) == ["a cause: rank, contribution, 95 % interval", "the target", "behaved as normal"]
        assert_only_the_house_colours(ax)

    def test_the_target_itself_may_be_a_cause(self) -> None:
        ax = plot_causes_on_graph(_causes("rank_ms", rank_ms=9.0), Service().graph)
        (box,) = (text.get_bbox_patch() for text in ax.texts if text.get_text().startswith("1. rank_ms"))
        assert box.get_linestyle() == "--"
        assert to_hex(box.get_facecolor()) == VERMILION.lower()

    def test_no_cause_is_said(self) -> None:
        ax = plot_causes_on_graph(_causes("total_ms"), Service().graph)
        assert ax.get_title() == "Nothing upstream of total_ms is abnormal"
        assert set(filter(None, texts(ax))) == set(Service().graph)

    def test_of_a_large_graph_only_what_is_upstream_is_drawn_and_names_do_not_overlap(self) -> None:
        names = [f"service_{i}_ms" for i in range(42)]
        graph = nx.DiGraph(
            [(names[i], names[i // 2]) for i in range(1, 36)] + [(names[0], names[i]) for i in range(36, 42)]
        )
        ax = plot_causes_on_graph(_causes(names[0], service_9_ms=9.0, service_4_ms=2.0), graph)
        ax.figure.canvas.draw()
        boxes = [text.get_bbox_patch().get_window_extent() for text in ax.texts if text.get_text()]
        assert len(boxes) == 36
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])

    def test_the_graph_of_the_caller_stays_and_a_given_ax_is_used(self) -> None:
        graph, ax = Service().graph, plt.figure().add_subplot()
        assert plot_causes_on_graph(_causes("total_ms", rank_ms=9.0), graph, ax=ax) is ax
        assert nx.utils.graphs_equal(graph, Service().graph)

    @pytest.mark.parametrize(("target", "missing"), [("latency", "latency"), ("total_ms", "rank")])
    def test_a_graph_without_the_target_or_a_cause_is_refused(self, target: str, missing: str) -> None:
        with pytest.raises(GraphError, match=f"'{missing}' of the answer") as caught:
            plot_causes_on_graph(_causes(target, rank=9.0), Service().graph)
        assert caught.value.node == missing


class TestInterventionOnLabels:
    @pytest.fixture
    def result(self, scm: FittedSCM) -> InterventionResult:
        found = scm.intervene({"depth": 4}, 10)
        found.baseline["mode"], found.samples["mode"] = ["fast", "slow"] * 5, ["fast"] * 10
        found.baseline.loc[0, "total_ms"] = np.nan
        return found

    @pytest.mark.parametrize("name", ["mode", "mode=slow"])
    def test_the_share_of_every_label_is_drawn_before_and_after(self, result: InterventionResult, name: str) -> None:
        ax = plot_intervention(result, name)
        assert [bar.get_height() for bar in ax.patches] == [0.5, 0.5, 1.0, 0.0]
        assert ax.get_title() == "mode under do(depth = 4)"
        assert ax.patches[0].get_hatch() != ax.patches[2].get_hatch()

    def test_runs_without_a_value_are_left_out(self, result: InterventionResult) -> None:
        assert plot_intervention(result, "total_ms").get_ylabel() == "runs of 10 drawn"

    def test_no_intervention_is_called_so(self, scm: FittedSCM) -> None:
        assert plot_intervention(scm.intervene({})).get_title() == "total_ms under no intervention"

    def test_the_title_says_which_runs_were_asked_about(self, scm: FittedSCM) -> None:
        title = plot_intervention(scm.intervene({"depth": 4}, given={"load": (0, 1)})).get_title()
        assert title.startswith("total_ms under do(depth = 4) among runs with ")
