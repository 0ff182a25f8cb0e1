"""Root causes where they stand in the causal graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from causalkit.errors import GraphError
from causalkit.graphs import check_graph
from causalkit.plots.dag import layered_layout, plot_dag
from causalkit.plots.style import BLACK, GREY, VERMILION, axes_to_draw_on
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.causes import RootCauses

# In a larger graph only what can have moved the target is shown.
_MAX_NODES = 30
_LETTER_WIDTH, _LINE_HEIGHT = 0.085, 0.22
_WIDEST_EDGE = 4.0


def plot_causes_on_graph(result: RootCauses, graph: nx.DiGraph[str], *, ax: Axes | None = None) -> Axes:
    r"""Draw the causal graph with each root cause marked by its rank, its contribution and the 95 % interval.

    Parameters
    ----------
    result : RootCauses
    graph : networkx.DiGraph
        That of the model which was asked; of more than 30 nodes only the target and what is upstream of it are drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    GraphError
        If the graph has a cycle, or lacks the target or a cause.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.causes import RootCauses
    >>> causes = pd.DataFrame({"node": ["rank_ms"], "contribution": [8.0], "low": [6.0], "high": [10.0]})
    >>> found = RootCauses("total_ms", 9.0, 40, causes, [])
    >>> ax = plot_causes_on_graph(found, nx.DiGraph([("search_ms", "rank_ms"), ("rank_ms", "total_ms")]))
    >>> [text.get_text() for text in ax.texts if "1." in text.get_text()]
    ['1. rank_ms\n+8.00\n(+6.00 to +10.00)']
    """
    causes: dict[str, Any] = {cause["node"]: cause for cause in result.frame.to_dict("records")}
    shown = _bare(_part_to_show(check_graph(graph), result.target, causes))
    told = {node: _told(rank, cause) for rank, (node, cause) in enumerate(causes.items(), start=1)}
    ax = plot_dag(shown, ax=_room_for(shown, told) if ax is None else ax)
    largest = max((abs(cause["contribution"]) for cause in causes.values()), default=1.0)
    for text in ax.texts:
        node = text.get_text()
        if node not in shown:
            continue
        share = abs(causes[node]["contribution"]) / largest if node in causes else 0.0
        _mark(text, told.get(node, node), share, is_target=node == result.target)
    for edges in ax.collections:
        edges.set_color(GREY)
    found = f"what moved {result.target} by {number(result.difference, signed=True)}"
    ax.set_title(f"In vermilion {found}" if causes else f"Nothing upstream of {result.target} is abnormal")
    ax.legend(handles=_handles(bool(causes)), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=8,
              frameon=False)  # fmt: skip
    return ax


def _part_to_show(graph: nx.DiGraph[str], target: str, causes: dict[str, Any]) -> nx.DiGraph[str]:
    missing = [node for node in (target, *causes) if node not in graph]
    if missing:
        raise GraphError(
            f"{missing[0]!r} of the answer is no node of this graph; draw it on the graph of the model that was asked",
            node=missing[0],
        )
    if len(graph) <= _MAX_NODES:
        return graph
    upstream: nx.DiGraph[str] = graph.subgraph({*nx.ancestors(graph, target), target})
    return upstream


def _bare(graph: nx.DiGraph[str]) -> nx.DiGraph[str]:
    """Return the graph without roles and kinds: here only causes and the target look special."""
    # What is only shared is no cause.
    causal = [(u, v) for u, v, data in graph.edges(data=True) if data.get("kind") != "shared"]
    bare: nx.DiGraph[str] = nx.DiGraph(causal)
    bare.add_nodes_from(graph)
    return bare


def _told(rank: int, cause: dict[str, Any]) -> str:
    reach = interval((cause["low"], cause["high"]), signed=True)
    return f"{rank}. {cause['node']}\n{number(cause['contribution'], signed=True)}\n({reach})"


def _room_for(graph: nx.DiGraph[str], told: dict[str, str]) -> Axes:
    layers: dict[float, list[str]] = {}
    for node, (x, _) in layered_layout(graph).items():
        layers.setdefault(x, []).append(told.get(node, node))
    widest = max(len(line) for texts in layers.values() for text in texts for line in text.splitlines())
    tallest = max(len(texts) for texts in layers.values())
    lines = 4 if told else 2
    return axes_to_draw_on(
        None, width=max(7.5, len(layers) * (0.5 + _LETTER_WIDTH * widest)), height=1.6 + _LINE_HEIGHT * lines * tallest
    )


def _mark(text: Any, told: str, share: float, *, is_target: bool) -> None:
    box = text.get_bbox_patch()
    text.set_text(told)
    box.set_edgecolor(GREY)
    if share:
        text.set(weight="bold", fontsize=9 + 2 * share)
        box.set(facecolor=VERMILION, edgecolor=BLACK, linewidth=1 + (_WIDEST_EDGE - 1) * share)
    elif not is_target:
        text.set_color(GREY)
    if is_target:
        box.set(edgecolor=BLACK, linestyle="--", linewidth=2.5)


def _handles(any_cause: bool) -> list[Patch | Line2D]:
    marked = [Patch(facecolor=VERMILION, edgecolor=BLACK, label="a cause: rank, contribution, 95 % interval")]
    return [
        *(marked if any_cause else []),
        Patch(facecolor="white", edgecolor=BLACK, linestyle="--", linewidth=2, label="the target"),
        Patch(facecolor="white", edgecolor=GREY, label="behaved as normal"),
    ]
