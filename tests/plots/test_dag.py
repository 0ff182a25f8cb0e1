from __future__ import annotations

import time

import matplotlib.pyplot as plt
import networkx as nx
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
