"""A causal graph, causes to the left of their effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import networkx as nx
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from causalkit.graphs import check_graph
from causalkit.plots.style import BLACK, BLUE, GREY, ORANGE, SKY, VERMILION, YELLOW, axes_to_draw_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_Dashes = Literal["-", "--", "-.", ":"] | tuple[int, tuple[int, ...]]


class _Look(NamedTuple):
    label: str
    colour: str
    style: _Dashes


# Boxes differ in outline and edges in dashes or form too: nothing is told by colour alone.
_ROLES = {
    "knob": _Look("knob, set at random", ORANGE, "-"),
    "confounder": _Look("may confound", SKY, "--"),
    "time": _Look("a step's own time", "white", "-"),
    "derived": _Look("derived: a formula of its parts", YELLOW, "-."),
    "": _Look("variable", "white", "-"),
}
_EDGES = {
    "direct": _Look("the step read the knob", BLUE, "-"),
    "dataflow": _Look("was given what the knob may have changed", BLUE, ":"),
    "unrecorded": _Look("not ruled out", GREY, ":"),
    "confounder": _Look("may bear on anything that runs", GREY, "--"),
    "data": _Look("computed from it", BLUE, "-"),
    "control": _Look("decides what runs", BLUE, "--"),
    "call": _Look("is waited for, or called", BLUE, ":"),
    "step": _Look("of one step", BLUE, "-"),
    "sum": _Look("accounting", BLACK, "-."),
    "user": _Look("on the user's word", VERMILION, "-"),
    "shared": _Look("arc without an arrow: shared case, no cause", GREY, (0, (1, 2))),
    "": _Look("causes", BLUE, "-"),
}
# In inches; a letter is one of 9 points.
_LEAST_WIDTH, _MOST_WIDTH = 9.5, 16.0
_ROW_HEIGHT, _LETTER_WIDTH, _GAP = 0.42, 0.066, 0.45
_BOX_PAD = 0.35
# A line is so many pieces, of which one bears the arrow; nearer than so many rows to a node it seems to touch it.
_STEPS, _ARROW_AT, _BESIDE = 20, 13, 0.35
_Point = tuple[float, float]


def plot_dag(graph: nx.DiGraph[str], *, ax: Axes | None = None) -> Axes:
    """Draw a causal graph.

    Parameters
    ----------
    graph : networkx.DiGraph
        Acyclic. Node attribute ``role`` and edge attribute ``kind``, where there are any, decide the looks and stand
        in the legend. Edges of kind ``"shared"`` are no causes: they are arcs without an arrow.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    GraphError
        If the graph has a cycle.

    Examples
    --------
    >>> ax = plot_dag(nx.DiGraph([("depth", "latency")]))
    >>> sorted(text.get_text() for text in ax.texts if text.get_text())
    ['depth', 'latency']
    """
    places = layered_layout(check_graph(graph))
    rows = _rows(places)
    ax = axes_to_draw_on(ax, width=_width(places), height=_height(rows))
    _draw_edges(ax, graph, places)
    for node, (x, y) in places.items():
        look = _ROLES[_role(graph.nodes[node])]
        box = {
            "boxstyle": f"round,pad={_BOX_PAD}",
            "facecolor": look.colour,
            "edgecolor": BLACK,
            "linestyle": look.style,
        }
        ax.text(x, y, node, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    columns = max((x for x, _ in places.values()), default=0)
    ax.set(xlim=(-0.5, columns + 0.5), ylim=(-rows / 2 - 0.2, rows / 2 + 0.2))
    ax.set_title("Causal graph: causes stand left of their effects")
    ax.set_axis_off()
    _legend(ax, graph)
    return ax


def layered_layout(graph: nx.DiGraph[str]) -> dict[str, tuple[float, float]]:
    """Return a place for each node: x is its layer, y is its rank by the mean place of its parents.

    Edges of kind ``"shared"`` make no layers.
    """
    causal = graph.copy()
    causal.remove_edges_from([(u, v) for u, v, data in graph.edges(data=True) if _kind(data) == "shared"])
    places: dict[str, tuple[float, float]] = {}
    for layer, members in enumerate(nx.topological_generations(causal)):
        ordered = sorted(members, key=lambda node: (_mean_height(causal, node, places), _role_rank(graph, node)))
        for rank, node in enumerate(ordered):
            places[node] = (float(layer), (len(ordered) - 1) / 2 - rank)
    return places


def figure_size(graph: nx.DiGraph[str]) -> tuple[float, float]:
    """Return the inches of width and height that a graph is drawn well in."""
    places = layered_layout(graph)
    return _width(places), _height(_rows(places))


def _rows(places: Mapping[str, _Point]) -> float:
    return max((abs(y) for _, y in places.values()), default=0) * 2 + 1


def _height(rows: float) -> float:
    return 1.6 + _ROW_HEIGHT * rows


def _width(places: Mapping[str, tuple[float, float]]) -> float:
    """Return the inches that keep the boxes of neighbouring layers apart."""
    longest: dict[float, int] = {}
    for node, (x, _) in places.items():
        longest[x] = max(longest.get(x, 0), len(node))
    letters = [longest[x] for x in sorted(longest)]
    pairs = [(one + other) / 2 for one, other in pairwise(letters)]
    needed = len(letters) * (_LETTER_WIDTH * max(pairs, default=0) + _GAP)
    return min(max(needed, _LEAST_WIDTH), _MOST_WIDTH)


def _mean_height(graph: nx.DiGraph[str], node: str, places: Mapping[str, tuple[float, float]]) -> float:
    heights = [places[parent][1] for parent in graph.predecessors(node)]
    return -sum(heights) / len(heights) if heights else 0.0


def _role_rank(graph: nx.DiGraph[str], node: str) -> int:
    return list(_ROLES).index(_role(graph.nodes[node]))


def _role(data: Mapping[str, Any]) -> str:
    role = data.get("role") or ("derived" if data.get("derived") else "")
    return role if role in _ROLES else ""


def _draw_edges(ax: Axes, graph: nx.DiGraph[str], places: Mapping[str, tuple[float, float]]) -> None:
    layers: dict[float, list[float]] = {}
    for x, y in places.values():
        layers.setdefault(x, []).append(y)
    lines: dict[str, list[list[_Point]]] = {}
    for u, v, data in graph.edges(data=True):
        kind, ends = _kind(data), (places[u], places[v])
        lines.setdefault(kind, []).append(_arc(*ends) if kind == "shared" else _way(*ends, layers))
    for kind, drawn in lines.items():
        look = _EDGES[kind]
        ax.add_collection(
            LineCollection(drawn, colors=look.colour, linestyles=look.style, linewidths=1.1, alpha=0.75, zorder=1)
        )
        for line in drawn if kind != "shared" else ():
            ax.annotate(
                "",
                xy=line[_ARROW_AT],
                xytext=line[_ARROW_AT - 1],
                arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 0, "mutation_scale": 14},
                zorder=2,
            )


def _way(start: _Point, end: _Point, layers: Mapping[float, list[float]]) -> list[_Point]:
    """Return a straight line, or where nodes stand in its way, one that passes above or below them."""
    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    lines = [_curve(start, (middle[0], middle[1] + lift), end) for lift in (0.0, 1.0, -1.0)]
    return min(lines, key=lambda line: _met(line, layers))


def _met(line: Sequence[_Point], layers: Mapping[float, list[float]]) -> int:
    """Return how many nodes between its ends a line meets."""
    along, across = np.transpose(line)
    between = [x for x in layers if along[0] < x < along[-1]]
    heights = {x: float(np.interp(x, along, across)) for x in between}
    return sum(abs(y - heights[x]) < _BESIDE for x in between for y in layers[x])


def _arc(start: _Point, end: _Point) -> list[_Point]:
    """Return a curve that passes to the right of what stands between its ends."""
    (x0, y0), (x1, y1) = start, end
    return _curve(start, ((x0 + x1) / 2 + 0.8 + 0.05 * abs(y0 - y1), (y0 + y1) / 2), end)


def _curve(start: _Point, towards: _Point, end: _Point) -> list[_Point]:
    steps = [step / _STEPS for step in range(_STEPS + 1)]
    weights = [((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in steps]
    (x0, y0), (x, y), (x1, y1) = start, towards, end
    return [(a * x0 + b * x + c * x1, a * y0 + b * y + c * y1) for a, b, c in weights]


def _kind(data: Mapping[str, Any]) -> str:
    kind = data.get("kind", "")
    return kind if kind in _EDGES else ""


def _legend(ax: Axes, graph: nx.DiGraph[str]) -> None:
    roles = {_role(data) for _, data in graph.nodes(data=True)}
    kinds = {_kind(data) for _, _, data in graph.edges(data=True)}
    handles: list[Patch | Line2D] = [
        Patch(facecolor=look.colour, edgecolor=BLACK, linestyle=look.style, label=look.label)
        for role, look in _ROLES.items()
        if role in roles
    ]
    handles += [
        Line2D([], [], color=look.colour, linestyle=look.style, label=look.label)
        for kind, look in _EDGES.items()
        if kind in kinds
    ]
    if handles:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=8, frameon=False)
