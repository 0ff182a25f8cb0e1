from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import GraphError
from causalkit.graphs import check_graph, topological_order


def test_an_acyclic_graph_is_handed_back_itself() -> None:
    graph = nx.DiGraph([("x", "y")])
    assert check_graph(graph) is graph


def test_a_cycle_is_named_in_the_sentence_and_as_a_fact() -> None:
    with pytest.raises(GraphError, match="b -> c -> b") as caught:
        check_graph(nx.DiGraph([("c", "b"), ("b", "c"), ("a", "b")]))
    assert caught.value.cycle == ["b", "c", "b"]


def test_a_node_that_causes_itself_is_a_cycle() -> None:
    with pytest.raises(GraphError, match="a -> a"):
        topological_order(nx.DiGraph([("a", "a")]))


@pytest.mark.parametrize("graph", [nx.Graph(), nx.MultiDiGraph(), [("x", "y")], {"x": ["y"]}, None])
def test_what_is_no_directed_graph_is_refused_with_what_to_write(graph: Any) -> None:
    with pytest.raises(GraphError, match=r"networkx\.DiGraph"):
        check_graph(graph)


def test_a_node_that_is_no_text_is_named() -> None:
    with pytest.raises(GraphError, match="3") as caught:
        check_graph(nx.DiGraph([("x", 3)]))
    assert caught.value.node == 3


def test_an_empty_graph_is_a_graph() -> None:
    assert topological_order(nx.DiGraph()) == []


@given(st.permutations([("b", "d"), ("c", "d"), ("a", "c"), ("z", "b")]), st.permutations("abcdz"))
def test_the_order_does_not_depend_on_how_the_graph_was_put_together(
    edges: list[tuple[str, str]], nodes: list[str]
) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    assert topological_order(graph) == ["a", "c", "z", "b", "d"]
