from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import networkx as nx
import pytest

from causalkit.errors import GraphError
from causalkit.widgets.dag import DagEditor


def pipeline() -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node("total_ms", role="derived", derived="sum")
    graph.add_edge("depth", "search_ms", kind="direct", why="the step read 'depth'")
    for part in ("search_ms", "rerank_ms"):
        graph.add_edge(part, "total_ms", kind="sum", why="the total is the sum of its parts")
    return graph


def click(editor: DagEditor, button: str, cause: str, effect: str) -> None:
    editor.cause.value, editor.effect.value = cause, effect
    getattr(editor, button).click()


def test_an_added_edge_is_the_users_and_is_shown() -> None:
    editor = DagEditor(pipeline())
    click(editor, "adder", "depth", "rerank_ms")
    assert editor.graph.edges["depth", "rerank_ms"] == {"kind": "user", "why": "added by the user"}
    assert editor.text == "Added: depth causes rerank_ms. The graph has 4 nodes and 4 edges."
    assert "added by the user" in editor.table.value
    assert editor.text in editor.reading.value


def test_an_edge_is_removed_and_the_reasons_of_the_others_stay() -> None:
    editor = DagEditor(pipeline())
    click(editor, "remover", "depth", "search_ms")
    assert list(editor.graph.edges(data="kind")) == [("search_ms", "total_ms", "sum"), ("rerank_ms", "total_ms", "sum")]
    assert "the step read" not in editor.table.value


def test_an_edge_is_turned_around() -> None:
    editor = DagEditor(pipeline())
    click(editor, "reverser", "depth", "search_ms")
    assert editor.graph.edges["search_ms", "depth"]["kind"] == "user"
    assert not editor.graph.has_edge("depth", "search_ms")


@pytest.mark.parametrize(
    ("button", "cause", "effect", "said"),
    [
        ("adder", "depth", "search_ms", "depth -> search_ms is there already"),
        ("adder", "search_ms", "depth", "the causal graph has the cycle depth -> search_ms -> depth"),
        ("adder", "depth", "depth", "the causal graph has the cycle depth -> depth"),
        ("adder", "depth", "total_ms", "total_ms is computed from its parts, of which depth is none"),
        ("remover", "depth", "rerank_ms", "there is no edge depth -> rerank_ms"),
        ("remover", "search_ms", "total_ms", "total_ms is computed from search_ms: that is accounting"),
        ("reverser", "rerank_ms", "depth", "there is no edge rerank_ms -> depth"),
    ],
)
def test_what_would_be_no_causal_graph_is_refused_in_a_sentence_and_changes_nothing(
    button: str, cause: str, effect: str, said: str
) -> None:
    editor, before = DagEditor(pipeline()), pipeline()
    click(editor, button, cause, effect)
    assert editor.text.startswith(f"Not done: {said}")
    assert nx.utils.graphs_equal(editor.graph, before)


def test_reversing_an_edge_that_has_a_way_round_it_is_refused() -> None:
    editor = DagEditor(nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")]))
    with pytest.raises(GraphError, match="cycle a -> b -> c -> a"):
        editor.reverse("a", "c")
    assert editor.graph.has_edge("a", "c")


@pytest.mark.parametrize("change", ["add", "remove", "reverse"])
def test_an_unknown_node_is_named(change: str) -> None:
    with pytest.raises(GraphError, match="'depht' is no node of the graph; known are total_ms, depth") as caught:
        getattr(DagEditor(pipeline()), change)("depht", "search_ms")
    assert caught.value.node == "depht"


def test_changes_are_taken_back_one_after_the_other() -> None:
    editor = DagEditor(pipeline())
    assert editor.undoer.disabled
    click(editor, "adder", "depth", "rerank_ms")
    click(editor, "remover", "depth", "search_ms")
    editor.undoer.click()
    assert editor.graph.has_edge("depth", "search_ms")
    editor.undoer.click()
    assert nx.utils.graphs_equal(editor.graph, pipeline())
    assert editor.undoer.disabled


def test_the_callers_graph_and_the_editors_are_kept_apart() -> None:
    graph = pipeline()
    editor = DagEditor(graph)
    editor.add("depth", "rerank_ms")
    editor.graph.remove_node("depth")
    assert nx.utils.graphs_equal(graph, pipeline())
    assert "depth" in editor.graph


def test_the_picture_is_of_the_graph_as_it_is_and_no_figure_is_left_open() -> None:
    editor = DagEditor(pipeline())
    before = bytes(editor.picture.value)
    editor.add("depth", "rerank_ms")
    assert before.startswith(b"\x89PNG")
    assert bytes(editor.picture.value) != before
    assert plt.get_fignums() == []


def test_names_are_escaped_and_of_many_edges_the_first_are_shown() -> None:
    editor = DagEditor(nx.DiGraph([("<b>x", f"n{number}") for number in range(205)]))
    assert "<b>x" not in editor.table.value
    assert "&lt;b&gt;x" in editor.table.value
    assert "Edges, 5 more are not shown" in editor.table.value


@pytest.mark.parametrize("wrong", [nx.DiGraph([("a", "b"), ("b", "a")]), nx.DiGraph(), nx.Graph(), None])
def test_what_is_no_causal_graph_is_refused(wrong: Any) -> None:
    with pytest.raises(GraphError):
        DagEditor(wrong)


def test_the_repr_is_short_and_stable() -> None:
    assert repr(DagEditor(pipeline())) == "<DagEditor: 4 nodes and 3 edges, 0 changes>"
