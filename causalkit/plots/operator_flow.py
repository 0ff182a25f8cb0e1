"""A flow of operators: callers left of those they call, ensembles left of the judges that get their results."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path

from causalkit.operators.flow_text import counted, edge_line, edge_widths, node_lines
from causalkit.plots.style import BLACK, BLUE, ORANGE, SKY, VERMILION, axes_to_draw_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.operators.flow import OperatorFlow
    from causalkit.operators.flow_parts import FlowEdge, FlowNode

_MOST = 40
# In inches, which are the units of the axes too.
_LETTER, _BOX_HEIGHT, _ROW, _LANE, _GAP, _LOOP = 0.064, 0.56, 0.88, 0.34, 0.55, 0.36
_LANE_MARK = "past "
_Point = tuple[float, float]
_Look = tuple[str, str, Literal["-", "--", ":"]]

_ROLES: dict[str, _Look] = {
    "ensemble": ("ensemble", ORANGE, "-"),
    "judge": ("judge", SKY, "--"),
    "": ("operator", "white", "-"),
    "outside": ("not among these events", "white", ":"),
}
_KINDS: dict[str, _Look] = {
    "calls": ("calls", BLUE, "-"),
    "passes result to": ("passes its result to", VERMILION, "--"),
}
# A cubic curve, and what its four points weigh in its middle.
_CURVE, _MIDDLE = [Path.MOVETO, *[Path.CURVE4] * 3], (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def plot_operator_flow(flow: OperatorFlow, *, ax: Axes | None = None) -> Axes:
    """Draw who calls whom and who is given whose result.

    Parameters
    ----------
    flow : OperatorFlow
        Of more than 40 operators those with the most connections are drawn, and the others counted.
    ax : matplotlib.axes.Axes, optional
        Letters are made smaller where it has little room.

    Returns
    -------
    matplotlib.axes.Axes
        Boxes differ in outline and arrows in dashes, and have their numbers as text; the more often an arrow was taken,
        the wider it is. Ways back of recursion are curved.

    Examples
    --------
    >>> from causalkit.operators.flow import OperatorFlow
    >>> from causalkit.operators.flow_parts import FlowEdge, FlowNode
    >>> nodes = FlowNode("n0", "run", "function", None, "", 0, 2), FlowNode("n1", "svm", "member", None, "", 1, 2)
    >>> ax = plot_operator_flow(OperatorFlow(nodes, (FlowEdge("n0", "n1", "calls", 2),)))
    >>> [text.get_text() for text in ax.texts]
    ['2 calls', 'run · function', '2 calls', 'svm · member', '2 calls']
    """
    nodes, edges = _to_draw(flow)
    layout = _layout(nodes, edges)
    width, (low, high) = layout.width, layout.across
    if ax is None:
        ax, scale = axes_to_draw_on(None, width=max(width + 0.3, 6.0), height=high - low + 1.0), 1.0
    else:
        room = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
        scale = min(1.0, room.width / width, room.height / (high - low))
    edge_width = edge_widths(flow)
    for edge in edges:
        _draw_edge(ax, edge, layout, edge_width(edge), scale)
    for node in nodes:
        _draw_node(ax, node, layout, scale)
    ax.set(xlim=(0, width), ylim=(low, high), aspect="equal")
    ax.set_axis_off()
    ax.set_title(_title(flow, len(nodes)), fontsize=10)
    _legend(ax, nodes, edges)
    return ax


class _Layout(NamedTuple):
    middles: dict[str, _Point]
    half_widths: dict[str, float]
    routes: dict[FlowEdge, list[_Point]]
    width: float
    across: tuple[float, float]


def _to_draw(flow: OperatorFlow) -> tuple[list[FlowNode], list[FlowEdge]]:
    ends = Counter(end for edge in flow.connections for end in {edge.source, edge.target})
    most = sorted(flow.operators, key=lambda node: (-ends[node.id], -node.calls))[:_MOST]
    ids = {node.id for node in most}
    nodes = [node for node in flow.operators if node.id in ids]
    return nodes, [edge for edge in flow.connections if {edge.source, edge.target} <= ids]


def _layout(nodes: list[FlowNode], edges: list[FlowEdge]) -> _Layout:
    """Return where the boxes stand, and through which points the edges between columns run."""
    layers = sorted({node.layer for node in nodes})
    columns = {node.id: layers.index(node.layer) for node in nodes}
    # An edge past other columns has a lane through each of them, so that it does not run through a box.
    stops = {
        edge: [
            edge.source,
            *(f"{_LANE_MARK}{n} {column}" for column in range(columns[edge.source] + 1, columns[edge.target])),
            edge.target,
        ]
        for n, edge in enumerate(edges)
        if columns[edge.source] < columns[edge.target]
    }
    for edge, row in stops.items():
        columns.update((stop, columns[edge.source] + n) for n, stop in enumerate(row))
    xs, halves = _across(nodes, stops, columns)
    heights = _heights(columns, [pair for row in stops.values() for pair in pairwise(row)])
    middles = {stop: (xs[column], heights[stop]) for stop, column in columns.items()}
    half_widths = {stop: halves[column] for stop, column in columns.items()}
    ports = _ports(stops, middles)
    routes = {edge: _route(row, middles, half_widths, ports[edge]) for edge, row in stops.items()}
    bottom = _ROW if any(edge not in stops and edge.source != edge.target for edge in edges) else 0.0
    low, high = min(heights.values(), default=0.0), max(heights.values(), default=0.0)
    width = (xs[-1] + halves[-1] if xs else 0.0) + 0.1
    return _Layout(middles, half_widths, routes, width, (low - _ROW * 0.6 - bottom, high + _ROW * 0.7))


def _across(
    nodes: list[FlowNode], stops: dict[FlowEdge, list[str]], columns: dict[str, int]
) -> tuple[list[float], list[float]]:
    """Return the middle of each column, and half the width of its boxes."""
    letters = [0] * (max(columns.values(), default=-1) + 1)
    before = letters.copy()
    for node in nodes:
        letters[columns[node.id]] = max(letters[columns[node.id]], *map(len, node_lines(node)))
    for edge in stops:
        before[columns[edge.target]] = max(before[columns[edge.target]], len(edge_line(edge)))
    halves = [0.16 + _LETTER * count / 2 for count in letters]
    xs: list[float] = []
    for n, half in enumerate(halves):
        xs.append(xs[-1] + halves[n - 1] + _GAP + 0.85 * _LETTER * before[n] + half if xs else half + 0.1)
    return xs, halves


def _heights(columns: dict[str, int], pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Return how high each stands: in the order of those to the left, and in the middle of those to the right."""
    before: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    for left, right in pairs:
        before.setdefault(right, []).append(left)
        behind.setdefault(left, []).append(right)
    heights: dict[str, float] = {}

    def height_of(others: list[str]) -> float:
        return fmean(heights[other] for other in others)

    members = [[stop for stop in columns if columns[stop] == n] for n in range(max(columns.values(), default=-1) + 1)]
    for column in members:
        column.sort(key=lambda stop: -height_of(before[stop]) if stop in before else 0.0)
        heights.update(zip(column, _apart(column, [0.0] * len(column)), strict=True))
    for column in reversed(members[:-1]):
        heights.update(
            zip(column, _apart(column, [height_of(behind.get(stop, [stop])) for stop in column]), strict=True)
        )
    return heights


def _apart(column: list[str], wished: list[float]) -> list[float]:
    """Return heights near the wished ones and in this order, with room for each."""
    rooms = [_LANE if stop.startswith(_LANE_MARK) else _ROW for stop in column]
    placed = wished[:1]
    for n in range(1, len(column)):
        placed.append(min(wished[n], placed[-1] - (rooms[n - 1] + rooms[n]) / 2))
    drift = fmean(wished) - fmean(placed)
    return [height + drift for height in placed]


def _ports(stops: dict[FlowEdge, list[str]], middles: dict[str, _Point]) -> dict[FlowEdge, float]:
    """Return how far above the middle of its target each edge ends: in the order in which they come."""
    ending: dict[str, list[FlowEdge]] = {}
    for edge, row in sorted(stops.items(), key=lambda entry: -middles[entry[1][-2]][1]):
        ending.setdefault(row[-1], []).append(edge)
    return {
        edge: _BOX_HEIGHT * (0.5 - (n + 0.5) / len(edges)) for edges in ending.values() for n, edge in enumerate(edges)
    }


def _route(row: list[str], middles: dict[str, _Point], half_widths: dict[str, float], port: float) -> list[_Point]:
    """Return the points between which an edge bends, from the right side of one box to the left side of another."""
    sides = [(x + side * half_widths[stop], y) for stop in row for x, y in [middles[stop]] for side in (-1, 1)]
    x, y = sides[-2]
    return [*sides[1:-2], (x, y + port)]


def _draw_edge(ax: Axes, edge: FlowEdge, layout: _Layout, width: float, scale: float) -> None:
    _, colour, dashes = _KINDS[edge.kind]
    route, side = layout.routes.get(edge), "right"
    if route is None:
        points, side = _way_back(edge, layout), "center"
        path = Path(points, _CURVE)
        x, y = (sum(weight * point[axis] for weight, point in zip(_MIDDLE, points, strict=True)) for axis in (0, 1))
    else:
        path, (x, y) = _forward(route), (route[-1][0] - 0.2, route[-1][1])
    ax.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle="-|>", mutation_scale=(7 + 2 * width) * scale, color=colour, linestyle=dashes,
            linewidth=width * scale, alpha=0.75, zorder=1, gid=f"{edge.source} -> {edge.target}",
        )
    )  # fmt: skip
    ax.text(
        x, y, edge_line(edge), ha=side, va="center", fontsize=7 * scale, zorder=2, parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )  # fmt: skip


def _forward(route: list[_Point]) -> Path:
    points, codes = [route[0]], [Path.MOVETO]
    for n, ((x0, y0), (x1, y1)) in enumerate(pairwise(route)):
        if n % 2:
            points.append((x1, y1))
            codes.append(Path.LINETO)
        else:
            middle = (x0 + x1) / 2
            points += [(middle, y0), (middle, y1), (x1, y1)]
            codes += _CURVE[1:]
    return Path(points, codes)


def _way_back(edge: FlowEdge, layout: _Layout) -> list[_Point]:
    """Return the way back of a recursion: over the box, beside the column, or below the boxes."""
    (x0, y0), (x1, y1) = layout.middles[edge.source], layout.middles[edge.target]
    wide, high = layout.half_widths[edge.source], _BOX_HEIGHT / 2
    if edge.source == edge.target:
        top, side = y0 + high, wide / 3
        return [(x0 + side, top), (x0 + side, top + _LOOP), (x0 - side, top + _LOOP), (x0 - side, top)]
    if x0 == x1:
        beside = x0 - wide - _GAP
        return [(x0 - wide, y0), (beside, y0), (beside, y1), (x1 - wide, y1)]
    below = min(y0, y1) - high - _ROW
    return [(x0, y0 - high), (x0, below), (x1, below), (x1, y1 - high)]


def _draw_node(ax: Axes, node: FlowNode, layout: _Layout, scale: float) -> None:
    (x, y), half = layout.middles[node.id], layout.half_widths[node.id]
    _, colour, dashes = _ROLES[node.role]
    ax.add_patch(
        FancyBboxPatch(
            (x - half, y - _BOX_HEIGHT / 2), 2 * half, _BOX_HEIGHT, boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour, edgecolor=BLACK, linestyle=dashes, linewidth=1.2 * scale, zorder=3, gid=node.id,
        )
    )  # fmt: skip
    name, *facts = node_lines(node)
    told: dict[str, Any] = {"ha": "center", "zorder": 4, "parse_math": False}
    ax.text(x, y + 0.05, name, va="bottom", weight="bold", fontsize=8 * scale, **told)
    ax.text(x, y + 0.04, "\n".join(facts), va="top", fontsize=7.5 * scale, **told)


def _title(flow: OperatorFlow, num_drawn: int) -> str:
    if not flow.operators:
        return "No call was recorded"
    operators = counted(sum(node.role != "outside" for node in flow.operators), "operator")
    others = len(flow.operators) - num_drawn
    left_out = f"\n{others} with few connections are not drawn" if others else ""
    return f"Flow of {operators}{left_out}"


def _legend(ax: Axes, nodes: list[FlowNode], edges: list[FlowEdge]) -> None:
    roles, kinds = {node.role for node in nodes}, {edge.kind for edge in edges}
    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, edgecolor=BLACK, linestyle=dashes, label=label)
        for role, (label, colour, dashes) in _ROLES.items()
        if role in roles
    ]
    handles += [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=2, label=f"{label} (wider: more often)")
        for kind, (label, colour, dashes) in _KINDS.items()
        if kind in kinds
    ]
    if handles:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=8, frameon=False)
