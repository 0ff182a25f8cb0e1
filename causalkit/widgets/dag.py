"""A causal graph to edit: edges are added, removed and reversed, and nothing that is no causal graph comes of it."""

from __future__ import annotations

import io
from html import escape
from typing import Any

import ipywidgets as widgets
import networkx as nx
from matplotlib.figure import Figure

from causalkit.errors import GraphError
from causalkit.graphs import check_graph
from causalkit.plots.dag import figure_size, plot_dag

_DPI = 90
_CELL = "text-align:left;padding-right:1.5em"
_MOST_ROWS = 200


class DagEditor(widgets.VBox):  # type: ignore[misc] # ipywidgets has no types
    """Add, remove and reverse the edges of a causal graph.

    Parameters
    ----------
    graph : networkx.DiGraph
        Left as it is.

    Attributes
    ----------
    cause, effect : ipywidgets.Dropdown
        The ends of the edge that the buttons are about.
    adder, remover, reverser, undoer : ipywidgets.Button
    reading : ipywidgets.HTML
        What was done last, or why not.
    picture : ipywidgets.Image
        The graph as it is now.
    table : ipywidgets.HTML
        Its edges, each with its reason.

    Raises
    ------
    GraphError
        If it is no causal graph, or has fewer than two nodes.

    Examples
    --------
    >>> editor = DagEditor(nx.DiGraph([("depth", "latency")]))
    >>> editor.reverse("depth", "latency")
    >>> list(editor.graph.edges), editor.text
    ([('latency', 'depth')], 'Reversed: latency causes depth. The graph has 2 nodes and 1 edge.')
    """

    def __init__(self, graph: nx.DiGraph[str]) -> None:
        self._versions = [check_graph(graph).copy()]
        nodes = list(graph)
        if len(nodes) < 2:
            raise GraphError("a graph with fewer than two nodes has no edge to edit; give one with more")
        self.cause = widgets.Dropdown(options=nodes, value=nodes[0], description="cause")
        self.effect = widgets.Dropdown(options=nodes, value=nodes[1], description="effect")
        self.adder, self.remover = widgets.Button(description="Add"), widgets.Button(description="Remove")
        self.reverser, self.undoer = widgets.Button(description="Reverse"), widgets.Button(description="Undo")
        for button, change in ((self.adder, self.add), (self.remover, self.remove), (self.reverser, self.reverse)):
            button.on_click(lambda _, change=change: self._try(change))
        self.undoer.on_click(lambda _: self.undo())
        self.reading, self.table = widgets.HTML(), widgets.HTML()
        self.picture = widgets.Image(format="png")
        self.picture.add_class("causalkit-picture")
        self.reading.add_class("causalkit-reading")
        buttons = widgets.HBox([self.adder, self.remover, self.reverser, self.undoer])
        super().__init__([widgets.HBox([self.cause, self.effect]), buttons, self.reading, self.picture, self.table])
        self._show("Nothing is changed.")

    def __repr__(self) -> str:
        return f"<DagEditor: {_size(self._versions[-1])}, {len(self._versions) - 1} changes>"

    @property
    def graph(self) -> nx.DiGraph[str]:
        """A copy of the graph as it is now; edges that were added here are of the kind ``user``."""
        return self._versions[-1].copy()

    @property
    def text(self) -> str:
        """The reading as it is shown."""
        return self._text

    def add(self, cause: str, effect: str) -> None:
        """Add an edge.

        Raises
        ------
        GraphError
            If an end is no node, the edge is there already, or it would close a cycle; the graph is as it was.
        """
        graph = self._with_ends(cause, effect)
        if graph.has_edge(cause, effect):
            raise GraphError(f"{cause} -> {effect} is there already", edge=(cause, effect))
        graph.add_edge(cause, effect, kind="user", why="added by the user")
        self._take(graph, f"Added: {cause} causes {effect}.")

    def remove(self, cause: str, effect: str) -> None:
        """Remove an edge.

        Raises
        ------
        GraphError
            If there is no such edge, or a derived node is computed from it.
        """
        graph = self._with_ends(cause, effect)
        self._drop(graph, cause, effect)
        self._take(graph, f"Removed: {cause} does not cause {effect}.")

    def reverse(self, cause: str, effect: str) -> None:
        """Turn an edge around.

        Raises
        ------
        GraphError
            If there is no such edge, a derived node is computed from it, or the reverse would close a cycle.
        """
        graph = self._with_ends(cause, effect)
        self._drop(graph, cause, effect)
        graph.add_edge(effect, cause, kind="user", why="reversed by the user")
        self._take(graph, f"Reversed: {effect} causes {cause}.")

    def undo(self) -> None:
        """Take the last change back."""
        if len(self._versions) > 1:
            self._versions.pop()
            self._show("The last change is taken back.")

    def _with_ends(self, cause: str, effect: str) -> nx.DiGraph[str]:
        graph = self.graph
        for node in (cause, effect):
            if node not in graph:
                raise GraphError(f"{node!r} is no node of the graph; known are {', '.join(graph)}", node=node)
        return graph

    def _drop(self, graph: nx.DiGraph[str], cause: str, effect: str) -> None:
        if not graph.has_edge(cause, effect):
            raise GraphError(f"there is no edge {cause} -> {effect}", edge=(cause, effect))
        if graph.nodes[effect].get("derived"):
            raise GraphError(f"{effect} is computed from {cause}: that is accounting, no guess", edge=(cause, effect))
        graph.remove_edge(cause, effect)

    def _take(self, graph: nx.DiGraph[str], done: str) -> None:
        for cause, effect in set(graph.edges) - set(self._versions[-1].edges):
            if graph.nodes[effect].get("derived"):
                raise GraphError(f"{effect} is computed from its parts, of which {cause} is none", edge=(cause, effect))
        self._versions.append(check_graph(graph))
        self._show(done)

    def _try(self, change: Any) -> None:
        try:
            change(self.cause.value, self.effect.value)
        except GraphError as error:
            self._show(f"Not done: {error}.")

    def _show(self, said: str) -> None:
        graph = self._versions[-1]
        self._text = f"{said} The graph has {_size(graph)}."
        self.reading.value = f"<p role='status'>{escape(self._text)}</p>"
        self.table.value, self.picture.value = _edges(graph), _drawn(graph)
        self.undoer.disabled = len(self._versions) == 1


def _size(graph: nx.DiGraph[str]) -> str:
    edges = graph.number_of_edges()
    return f"{len(graph)} nodes and {edges} edge{'s' if edges != 1 else ''}"


def _edges(graph: nx.DiGraph[str]) -> str:
    rows = [(cause, effect, str(data.get("why", ""))) for cause, effect, data in graph.edges(data=True)]
    more = f", {len(rows) - _MOST_ROWS} more are not shown" if len(rows) > _MOST_ROWS else ""
    lines = [tuple(f"<td style='{_CELL}'>{escape(cell)}</td>" for cell in row) for row in rows[:_MOST_ROWS]]
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    head = "".join(f"<th scope='col' style='{_CELL}'>{title}</th>" for title in ("cause", "effect", "why"))
    caption = f"<caption style='text-align:left'>Edges{more}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _drawn(graph: nx.DiGraph[str]) -> bytes:
    # A figure of its own, outside pyplot: nothing is left open, however often it is drawn.
    figure = Figure(figsize=figure_size(graph))
    plot_dag(graph, ax=figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight")
    return buffer.getvalue()
