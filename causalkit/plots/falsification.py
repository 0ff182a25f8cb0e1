"""A causal graph, and what the data say against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from causalkit.plots.dag import layered_layout
from causalkit.plots.style import BLACK, BLUE, GREY, VERMILION, axes_to_draw_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.falsify import Falsification

_Place = tuple[float, float]
_Dashes = Literal["-", ":", "--"]
# Edges end before the boxes, by so many points.
_GAP = 16.0
# How far an arc's control point stands off, as a share of its chord.
_BEND = 0.35
# Where on an arc its label stands: not in the middle, which is often above a column of nodes.
_LABEL = 0.4


def plot_falsification(result: Falsification, *, ax: Axes | None = None) -> Axes:
    """Draw a causal graph with the pairs it leaves dependent and the edges that the data do not show.

    Parameters
    ----------
    result : Falsification
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Supported and untested edges are solid, edges that the data do not show dotted; dashed arcs with their adjusted
        p-value join pairs between which an edge or a common cause is missing.

    Examples
    --------
    >>> import networkx as nx
    >>> import numpy as np
    >>> import pandas as pd
    >>> from causalkit.scm.falsify import falsify
    >>> x, y, z = np.random.default_rng(0).normal(size=(3, 500))
    >>> traces = pd.DataFrame({"x": x, "y": x + y, "z": x + y + z})
    >>> plot_falsification(falsify(nx.DiGraph([("x", "y"), ("x", "z")]), traces, progress=False)).get_title()
    'Contradicted: 1 of 1 independencies rejected'
    """
    places = layered_layout(result.graph)
    tallest = max((abs(y) for _, y in places.values()), default=0.0) * 2 + 1
    columns = max((x for x, _ in places.values()), default=0.0)
    ax = axes_to_draw_on(ax, width=9.0, height=2.4 + 0.7 * tallest)
    weak, missing = result.unsupported_edges, result.missing_edges
    arcs = {pair: _arc(places[pair[0]], places[pair[1]]) for pair in missing}
    lowest, highest = -tallest / 2, tallest / 2
    for _, control, _ in arcs.values():
        lowest, highest = min(lowest, control[1] / 2 - 0.2), max(highest, control[1] / 2 + 0.2)
    ax.set(xlim=(-0.5, columns + 0.5), ylim=(lowest - 0.2, highest + 0.2))
    shown = sorted(set(result.graph.edges) - set(weak))
    _draw_edges(ax, places, shown, BLUE, "-")
    _draw_edges(ax, places, weak, GREY, ":")
    for pair, arc in arcs.items():
        _draw_arc(ax, arc, _chance(result, pair))
    for node, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": BLACK}
        ax.text(x, y, node, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    ax.set_title(_title(result))
    ax.set_axis_off()
    _legend(ax, shown, weak, missing)
    return ax


def _draw_edges(
    ax: Axes, places: Mapping[str, _Place], edges: Sequence[tuple[str, str]], colour: str, dashes: _Dashes
) -> None:
    for parent, child in edges:
        line = FancyArrowPatch(
            places[parent], places[child], arrowstyle="-|>", linestyle=dashes, color=colour, linewidth=1.4,
            shrinkA=_GAP, shrinkB=_GAP, mutation_scale=12, zorder=1,
        )  # fmt: skip
        ax.add_patch(line)


def _arc(start: _Place, end: _Place) -> tuple[_Place, _Place, _Place]:
    (x0, y0), (x1, y1) = start, end
    control = ((x0 + x1) / 2 + _BEND * (y1 - y0), (y0 + y1) / 2 - _BEND * (x1 - x0))
    return start, control, end


def _draw_arc(ax: Axes, arc: tuple[_Place, _Place, _Place], text: str) -> None:
    curve = Path(arc, [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    ax.add_patch(FancyArrowPatch(path=curve, arrowstyle="-", linestyle="--", color=VERMILION, linewidth=1.4, zorder=2))
    weights = ((1 - _LABEL) ** 2, 2 * _LABEL * (1 - _LABEL), _LABEL**2)
    x, y = (sum(weight * point[axis] for weight, point in zip(weights, arc, strict=True)) for axis in (0, 1))
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box, zorder=4)


def _chance(result: Falsification, pair: tuple[str, str]) -> str:
    tests = result.to_frame()
    of_pair = [{node, other} == set(pair) for node, other in zip(tests["node"], tests["other"], strict=True)]
    least = float(tests.loc[of_pair, "adjusted"].min())
    return "p < .001" if least < 0.001 else f"p = {least:.2g}"


def _title(result: Falsification) -> str:
    claims = result.to_frame().query("kind == 'independence'")
    if claims.empty:
        return "Nothing to test: the graph claims no independence"
    wrong = int(claims["rejected"].sum())
    return f"{result.verdict.capitalize()}: {wrong} of {len(claims)} independencies rejected"


def _legend(ax: Axes, shown: Sequence[object], weak: Sequence[object], missing: Sequence[object]) -> None:
    looks: tuple[tuple[Sequence[object], str, _Dashes, str], ...] = (
        (shown, BLUE, "-", "edge"),
        (weak, GREY, ":", "edge that the data do not show"),
        (missing, VERMILION, "--", "missing: an edge or a common cause (adjusted p)"),
    )
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, label=label) for pairs, colour, dashes, label in looks if pairs
    ]
    if handles:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=8, frameon=False)
