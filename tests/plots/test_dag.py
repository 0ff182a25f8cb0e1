from __future__ import annotations

import time

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from causalkit.errors import GraphError
from causalkit.plots.dag import layered_layout, plot_dag
from tests.plots.artists import assert_only_the_house_colours, legend_texts, texts
from tests.truth import Service


def _num_edges(ax: plt.Axes) -> int:
    return sum(len(lines.get_segments()) for lines in ax.collections if isinstance(lines, LineCollection))


def test_every_node_and_every_edge_is_drawn() -> None:
    ax = plot_dag(Service().graph)
    assert {text for text in texts(ax) if text} == set(Service().graph)
    assert _num_edges(ax) == Service().graph.number_of_edges()
    assert "causes stand left" in ax.get_title()


def test_causes_stand_left_of_their_effects() -> None:
    places = layered_layout(Service().graph)
    assert all(places[parent][0] < places[child][0] for parent, child in Service().graph.edges)
    assert len(set(places.values())) == len(places)


def test_the_legend_names_what_occurs_and_looks_differ_not_by_colour_alone() -> None:
    ax = plot_dag(Service().graph)
    assert "knob, set at random" in legend_texts(ax)
    assert "accounting" in legend_texts(ax)
    assert "may confound" not in legend_texts(ax)
    outlines = {text.get_text(): text.get_bbox_patch().get_linestyle() for text in ax.texts if text.get_text()}
    assert outlines["total_ms"] != outlines["depth"]
    dashes = [str(lines.get_linestyle()) for lines in ax.collections]
    assert len(set(dashes)) == len(dashes) == 2


def _panel(num_members: int) -> nx.DiGraph:
    """Members of a panel that are of one case, each of a cause of its own, with a verdict on all."""
    graph = nx.DiGraph()
    members = [f"member_{place}_right" for place in range(num_members)]
    for place, member in enumerate(members):
        graph.add_edge(f"member_{place}_takes_part", member, kind="direct")
        graph.add_edge(member, "verdict", kind="dataflow")
        graph.add_edges_from(((other, member) for other in members[:place]), kind="shared")
    return graph


def test_what_is_of_one_case_stands_in_one_column_however_many_there_are() -> None:
    columns = {node: x for node, (x, _) in layered_layout(_panel(10)).items()}
    assert {x for node, x in columns.items() if node.endswith("_right")} == {1.0}
    assert columns["verdict"] == 2.0


def test_edges_between_what_is_of_one_case_are_arcs_without_an_arrow_beside_the_boxes() -> None:
    ax = plot_dag(_panel(4))
    (shared,) = (lines for lines in ax.collections if np.ptp(lines.get_segments()[0][[0, -1], 0]) == 0)
    assert len(shared.get_segments()) == 6
    assert all(arc[:, 0].min() == 1.0 < arc[:, 0].max() < 2.0 for arc in shared.get_segments())
    assert _num_edges(ax) == 4 + 4 + 6
    assert len([text for text in ax.texts if not text.get_text()]) == 4 + 4
    assert legend_texts(ax)[-1] == "arc without an arrow: shared case, no cause"
    assert_only_the_house_colours(ax)


def test_an_edge_passes_above_what_stands_in_its_way() -> None:
    ax = plot_dag(nx.DiGraph([("depth", "quality"), ("quality", "latency"), ("depth", "latency")]))
    lines = [np.asarray(line) for lines in ax.collections for line in lines.get_segments()]
    (long,) = [line for line in lines if line[-1][0] - line[0][0] > 1]
    assert np.interp(1.0, *long.T) > 0.35
    assert all(np.ptp(line[:, 1]) == 0 for line in lines if line is not long)


def test_without_shared_cases_the_legend_does_not_speak_of_them() -> None:
    assert not any("shared" in text for text in legend_texts(plot_dag(Service().graph)))


@pytest.mark.parametrize(("letters", "least", "most"), [(4, 9.5, 9.5), (30, 13, 15.5), (300, 16, 16)])
def test_columns_are_as_far_apart_as_names_need_up_to_what_a_page_holds(
    letters: int, least: float, most: float
) -> None:
    graph = nx.path_graph([letter * letters for letter in "abcdef"], nx.DiGraph)
    assert least <= plot_dag(graph).figure.get_figwidth() <= most


def test_a_role_or_kind_of_ones_own_looks_like_any_other() -> None:
    graph = nx.DiGraph([("x", "y")])
    graph.nodes["x"]["role"], graph.edges["x", "y"]["kind"] = "mine", "mine"
    assert legend_texts(plot_dag(graph)) == ["variable", "causes"]


def test_colours_are_those_of_okabe_and_ito() -> None:
    assert_only_the_house_colours(plot_dag(Service().graph))


def test_the_given_axes_are_used_and_returned() -> None:
    ax = plt.figure().add_subplot()
    assert plot_dag(Service().graph, ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_a_graph_without_nodes_or_edges_is_drawn() -> None:
    assert texts(plot_dag(nx.DiGraph())) == []
    lonely = nx.DiGraph()
    lonely.add_node("x")
    assert texts(plot_dag(lonely)) == ["x"]


def test_a_cycle_is_named() -> None:
    with pytest.raises(GraphError, match="x -> y -> x"):
        plot_dag(nx.DiGraph([("x", "y"), ("y", "x")]))


def test_a_thousand_nodes_take_less_than_two_seconds() -> None:
    graph = nx.DiGraph([(f"n{i // 3}", f"n{i}") for i in range(3, 1000)])
    graph.add_edges_from((f"n{i // 5}", f"n{i}") for i in range(5, 1000))
    started = time.process_time()
    ax = plot_dag(graph)
    assert time.process_time() - started < 2
    assert _num_edges(ax) == graph.number_of_edges()
