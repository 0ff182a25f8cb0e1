"""A flow of operators as text: the lines of a label, DOT and Mermaid. Names are other people's text and stay inside."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from causalkit.wording import number, one_line

if TYPE_CHECKING:
    from causalkit.operators.flow import OperatorFlow
    from causalkit.operators.flow_parts import FlowEdge, FlowNode

_NAME, _WORD = 24, 14
_THINNEST, _WIDEST = 1.0, 4.0
# What neither DOT, SVG nor a font can show: control characters, halves of characters, and no characters at all.
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DOT_SPECIAL = {"&": "&amp;", '"': '\\"', "\\": "\\\\"}
# What is not named here is plain in Mermaid, in its Markdown and in HTML.
_MERMAID_SPECIAL = re.compile(r"(?!\b[.]\b)[^\w ,·%]|\b_+|_+\b|ﬂ")
# Mermaid reads these again once entities are signs (line breaks, icons, formulas, its own form of entities), but not
# where an invisible word joiner stands behind them.
_MERMAID_READS_AGAIN, _WORD_JOINER = "\\:$ﬂ¶", "#8288;"
_DOT_SHAPES = {
    "ensemble": "shape=box, peripheries=2",
    "judge": "shape=hexagon",
    "outside": "shape=ellipse, style=dashed",
    "": 'shape=box, style="rounded"',
}
_MERMAID_SHAPES = {"ensemble": "[[{}]]", "judge": "{{{{{}}}}}", "outside": "([{}])", "": "({})"}


def flow_as_dot(flow: OperatorFlow) -> str:
    r"""Return a flow in the language of Graphviz.

    Examples
    --------
    >>> from causalkit.operators.flow import OperatorFlow
    >>> from causalkit.operators.flow_parts import FlowNode
    >>> print(flow_as_dot(OperatorFlow((FlowNode("n0", 'the "best"', "member", None, "", 0, 3),), ())))
    digraph operators {
      rankdir=LR;
      node [fontname="Helvetica", fontsize=10];
      edge [fontname="Helvetica", fontsize=9];
      n0 [label="the \"best\" · member\n3 calls", shape=box, style="rounded"];
    }
    """
    lines = ["digraph operators {", "  rankdir=LR;"]
    lines += [f'  {what} [fontname="Helvetica", fontsize={size}];' for what, size in (("node", 10), ("edge", 9))]
    for node in flow.operators:
        label = "\\n".join(_escaped_for_dot(line) for line in node_lines(node))
        lines.append(f'  {node.id} [label="{label}", {_DOT_SHAPES[node.role]}];')
    width = edge_widths(flow)
    for edge in flow.connections:
        dashed = ", style=dashed" if edge.kind == "passes result to" else ""
        told = f'label="{edge_line(edge)}", penwidth={width(edge):.1f}{dashed}'
        lines.append(f"  {edge.source} -> {edge.target} [{told}];")
    return "\n".join([*lines, "}"])


def flow_as_mermaid(flow: OperatorFlow) -> str:
    """Return a flow as a Mermaid flowchart.

    Examples
    --------
    >>> from causalkit.operators.flow import OperatorFlow
    >>> from causalkit.operators.flow_parts import FlowNode
    >>> print(flow_as_mermaid(OperatorFlow((FlowNode("n0", 'the "best"', "member", None, "", 0, 3),), ())))
    flowchart LR
      n0("the #34;best#34; · member<br/>3 calls")
    """
    lines = ["flowchart LR"]
    for node in flow.operators:
        label = "<br/>".join(_escaped_for_mermaid(line) for line in node_lines(node))
        lines.append(f"  {node.id}" + _MERMAID_SHAPES[node.role].format(f'"{label}"'))
    for edge in flow.connections:
        arrow = "-.->" if edge.kind == "passes result to" else "-->"
        lines.append(f'  {edge.source} {arrow}|"{edge_line(edge)}"| {edge.target}')
    width = edge_widths(flow)
    lines += [f"  linkStyle {n} stroke-width:{width(edge):.1f}px" for n, edge in enumerate(flow.connections)]
    return "\n".join(lines)


def node_lines(node: FlowNode) -> list[str]:
    """Return what a label says of an operator: who it is, its calls, and how long they took and how often were right.

    Examples
    --------
    >>> from causalkit.operators.flow_parts import FlowNode
    >>> node_lines(FlowNode("n0", "svm", "member", "ensemble_1", "", 1, 40, errors=2, mean_ms=1.5, p95_ms=3))
    ['svm · member · ensemble_1', '40 calls, 2 errors', '1.50 ms, p95 3.00']
    """
    if node.role == "outside":
        return [node.operator_id, counted(node.calls, "call")]
    words = [_shown(word, _WORD) for word in (node.operator_type, node.stage) if word]
    facts = [counted(node.calls, "call")]
    facts += [counted(node.errors, "error")] if node.errors else []
    facts += [f"{node.not_ended:,} not ended"] if node.not_ended else []
    measured = [] if math.isnan(node.mean_ms) else [f"{number(node.mean_ms)} ms, p95 {number(node.p95_ms)}"]
    measured += [f"right {_share(node.accuracy)} of {node.num_judged:,}"] if node.num_judged else []
    lines = " · ".join([_shown(node.operator_id, _NAME), *words]), ", ".join(facts), " · ".join(measured)
    return [line for line in lines if line]


def edge_line(edge: FlowEdge) -> str:
    """Return what a label says of a connection.

    Examples
    --------
    >>> from causalkit.operators.flow_parts import FlowEdge
    >>> edge_line(FlowEdge("n0", "n1", "calls", 40, 0.125, 40))
    '40 calls, differs 12.5%'
    """
    count = counted(edge.count, "call" if edge.kind == "calls" else "result")
    if not edge.num_compared:
        return count
    share = _share(edge.disagreement)
    return f"{count}, differs {share}" if edge.kind == "calls" else f"{count}, {share} not unanimous"


def edge_widths(flow: OperatorFlow) -> Callable[[FlowEdge], float]:
    """Return how wide each edge is to be drawn, in points: by the logarithm of its count."""
    most = max((edge.count for edge in flow.connections), default=1)
    return lambda edge: _THINNEST + (_WIDEST - _THINNEST) * math.log(edge.count) / math.log(max(most, 2))


def counted(count: int, what: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "call"), counted(1200, "call")
    ('1 call', '1,200 calls')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"


def _shown(text: str, most: int) -> str:
    return _UNSHOWABLE.sub("\ufffd", one_line(text, most)) or "(no name)"


def _share(share: float) -> str:
    return f"{100 * share:.3g}%"


def _escaped_for_dot(line: str) -> str:
    return "".join(_DOT_SPECIAL.get(sign, sign) for sign in line)


def _escaped_for_mermaid(line: str) -> str:
    return _MERMAID_SPECIAL.sub(lambda found: "".join(map(_mermaid_entity, found[0])), line)


def _mermaid_entity(sign: str) -> str:
    return f"#{ord(sign)};" + _WORD_JOINER * (sign in _MERMAID_READS_AGAIN)
