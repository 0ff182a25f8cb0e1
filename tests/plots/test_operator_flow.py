from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from causalkit.operators.flow import OperatorFlow
from causalkit.operators.flow_parts import EdgeKind, FlowEdge, FlowNode
from causalkit.operators.flow_text import edge_line, node_lines
from causalkit.plots.operator_flow import plot_operator_flow
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts


def node(n: int, layer: int, name: str = "svm", role: str = "", calls: int = 40) -> FlowNode:
    return FlowNode(f"n{n}", name, "member", "ensemble_1", role, layer, calls, mean_ms=1.0, p95_ms=2.0)  # type: ignore[arg-type]


def edge(source: int, target: int, count: int = 40, kind: EdgeKind = "calls", differs: float = 0.25) -> FlowEdge:
    return FlowEdge(f"n{source}", f"n{target}", kind, count, differs, count)


def panels(*sizes: int) -> OperatorFlow:
    """A pipeline of ensembles of so many members, and a judge that is given their results."""
    ensembles = [node(1 + n, 1, f"panel {n}", "ensemble") for n in range(len(sizes))]
    members = [(of, size) for of, size in enumerate(sizes, start=1) for _ in range(size)]
    first = 1 + len(sizes)
    judge = first + len(members)
    edges = [edge(0, n) for n in (*range(1, first), judge)]
    edges += [edge(of, n) for n, (of, _) in enumerate(members, start=first)]
    edges += [edge(n, judge, kind="passes result to") for n in range(1, first)]
    nodes = [node(n, 2, f"member {n}") for n in range(first, judge)]
    return OperatorFlow((node(0, 0, "run"), *ensembles, *nodes, node(judge, 2, "judge", "judge")), tuple(edges))


def boxes(ax: Axes) -> dict[str | None, FancyBboxPatch]:
    return {patch.get_gid(): patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)}


def arrows(ax: Axes) -> dict[str | None, FancyArrowPatch]:
    return {patch.get_gid(): patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)}


def way(arrow: FancyArrowPatch) -> np.ndarray:
    return np.vstack(arrow._path_original.to_polygons(closed_only=False))  # type: ignore[attr-defined]


def test_each_operator_and_each_connection_is_drawn_with_its_numbers_as_text() -> None:
    flow = panels(7, 3)
    ax = flow.plot()
    wanted = [edge_line(edge) for edge in flow.connections]
    for operator in flow.operators:
        name, *facts = node_lines(operator)
        wanted += [name, "\n".join(facts)]
    assert texts(ax) == wanted
    assert len(boxes(ax)) == 14
    assert ax.get_title() == "Flow of 14 operators"
    assert_only_the_house_colours(ax)


def test_roles_differ_in_outline_and_kinds_in_dashes_which_the_legend_names() -> None:
    ax = panels(2).plot()
    assert [boxes(ax)[f"n{n}"].get_linestyle() for n in (0, 1, 4)] == ["-", "-", "--"]
    assert [arrows(ax)[name].get_linestyle() for name in ("n0 -> n1", "n1 -> n4")] == ["-", "--"]
    assert legend_texts(ax) == [
        "ensemble", "judge", "operator", "calls (wider: more often)", "passes its result to (wider: more often)",
    ]  # fmt: skip


def test_arrows_are_the_wider_the_more_often_they_were_taken() -> None:
    flow = OperatorFlow((node(0, 0), node(1, 1), node(2, 1)), (edge(0, 1, 1), edge(0, 2, 100)))
    widths = {name: arrow.get_linewidth() for name, arrow in arrows(flow.plot()).items()}
    assert widths == {"n0 -> n1": 1.0, "n0 -> n2": 4.0}


def test_who_calls_stands_left_of_who_is_called() -> None:
    ax = panels(7, 3).plot()
    lefts = {name: box.get_x() for name, box in boxes(ax).items()}
    assert lefts["n0"] < lefts["n1"] == lefts["n2"] < lefts["n3"] == lefts["n13"]


@pytest.mark.parametrize("sizes", [(7, 3), (1,), (20, 1, 10), (3, 3, 3, 3)])
def test_boxes_do_not_overlap_and_no_arrow_runs_through_one(sizes: tuple[int, ...]) -> None:
    ax = panels(*sizes).plot()
    outlines = {name: (box.get_x(), box.get_x() + box.get_width(), box.get_y(), box.get_y() + box.get_height())
                for name, box in boxes(ax).items()}  # fmt: skip
    for one, other in combinations(outlines.values(), 2):
        assert one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
    for arrow in arrows(ax).values():
        x, y = way(arrow).T
        for left, right, bottom, top in outlines.values():
            assert not ((left + 0.01 < x) & (x < right - 0.01) & (bottom < y) & (y < top)).any()


def test_ways_back_of_recursion_are_curved() -> None:
    nodes = node(0, 0, "ping"), node(1, 1, "pong"), node(2, 1, "pang")
    flow = OperatorFlow(nodes, (edge(0, 0), edge(0, 1), edge(1, 0), edge(1, 2), edge(2, 1), edge(0, 2)))
    ax = flow.plot()
    drawn = arrows(ax)
    assert len(drawn) == len(flow.connections)
    box = boxes(ax)["n0"]
    assert way(drawn["n0 -> n0"])[:, 1].max() > box.get_y() + box.get_height()
    assert way(drawn["n1 -> n0"])[:, 1].min() < min(one.get_y() for one in boxes(ax).values())
    assert way(drawn["n1 -> n2"])[:, 0].min() < boxes(ax)["n1"].get_x()
    assert way(drawn["n1 -> n0"])[:, 1].min() > ax.get_ylim()[0]


def test_of_more_than_40_operators_the_best_connected_are_drawn_and_the_others_counted() -> None:
    ax = panels(50, 30).plot()
    assert len(boxes(ax)) == 40
    assert {"n0", "n1", "n2", "n83"} <= set(boxes(ax))
    assert ax.get_title() == "Flow of 84 operators\n44 with few connections are not drawn"
    assert ax.figure.get_size_inches()[1] < 40  # type: ignore[union-attr]


def test_what_is_not_among_the_events_is_no_operator() -> None:
    outside = FlowNode("n0", "not in these events", "outside", None, "outside", 0, 2)
    ax = OperatorFlow((outside, node(1, 1)), (edge(0, 1),)).plot()
    assert ax.get_title() == "Flow of 1 operator"
    assert boxes(ax)["n0"].get_linestyle() == ":"
    assert "not in these events" in texts(ax)


def test_letters_are_smaller_in_small_axes() -> None:
    given = plt.figure(figsize=(4, 3)).add_subplot()
    ax = plot_operator_flow(panels(7, 3), ax=given)
    assert ax is given
    assert max(text.get_fontsize() for text in ax.texts) < 4
    assert max(text.get_fontsize() for text in panels(7, 3).plot().texts) == 8


def test_names_stay_within_their_boxes() -> None:
    long = OperatorFlow((node(0, 0, "a rather long name of an operator"), node(1, 1, "knn")), (edge(0, 1),))
    ax = long.plot()
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    for box in boxes(ax).values():
        around = box.get_window_extent()
        inside = [text.get_window_extent() for text in ax.texts if text.get_weight() == "bold"]
        assert any(around.x0 <= text.x0 and text.x1 <= around.x1 for text in inside)


def test_formula_signs_are_drawn_as_plain_text() -> None:
    ax = OperatorFlow((node(0, 0, "cost of $x_{ $y$ \\frac"),), ()).plot()
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    assert texts(ax)[0].startswith("cost of $x_{ $y$ \\frac")


def test_no_operators_are_drawn_as_none() -> None:
    ax = OperatorFlow((), ()).plot()
    assert ax.get_title() == "No call was recorded"
    assert ax.get_legend() is None
