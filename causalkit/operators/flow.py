"""How a pipeline of operators runs: who calls whom, who is given whose result, and how far members agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import Equal, groups
from causalkit.operators.calls import OperatorCall, calls_of
from causalkit.operators.events import OperatorEvent
from causalkit.operators.flow_layers import OUTSIDE, Key, Way, layers_of
from causalkit.operators.flow_parts import EdgeKind, FlowEdge, FlowNode
from causalkit.operators.flow_text import counted, flow_as_dot, flow_as_mermaid
from causalkit.operators.lineage import linked_ensembles
from causalkit.operators.verdicts import verdicts
from causalkit.operators.votes import is_known, members_of, votes_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from causalkit.operators.selection import CallSelection

_LARGEST_FOR_A_NOTEBOOK = 30


def visualize_operator_flow(
    events: Iterable[OperatorEvent] | CallSelection, *, equal: Equal | None = None
) -> OperatorFlow:
    r"""Return who calls whom and who is given whose result, summed up over all calls, to be printed or drawn.

    Parameters
    ----------
    events : iterable of OperatorEvent, or OperatorAnalysis
        Of an analysis the calls asked about; what surrounds them is then one node, not in these events.
    equal : callable, optional
        Whether two votes are equal. Default: `causalkit.operators.agreement.same`.

    Returns
    -------
    OperatorFlow
        Printed it is DOT, the language of Graphviz. It does not depend on the order of the events.

    Raises
    ------
    CausalkitError
        If these are no events, or a metric ``correct`` or ``accuracy`` is not from 0 to 1.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> @trace(operator_type="ensemble")
    ... def panel(x):
    ...     return [trace(lambda x, y=y: x // y, operator_id=f"by {y}", operator_type="member")(x) for y in (1, 2, 2)]
    >>> with collect_events() as events:
    ...     votes = panel(0), panel(1)
    >>> flow = visualize_operator_flow(events)
    >>> flow.edges[["source_operator", "target_operator", "count", "disagreement"]]
      source_operator target_operator  count  disagreement
    0           panel            by 1      2           0.5
    1           panel            by 2      4           0.0
    >>> print(flow)
    digraph operators {...
      n0 -> n1 [label="2 calls, differs 50%", penwidth=...];
      n0 -> n2 [label="4 calls, differs 0%", penwidth=4.0];
    }
    """
    calls = _calls(events)
    ways = _ways(calls)
    of_node: dict[Key, list[OperatorCall]] = {}
    for call in calls.values():
        of_node.setdefault(_key(call), []).append(call)
    num_outside = len({origin for call in calls.values() for origin in _origins(call)} - calls.keys())
    layers = layers_of({_key(call) for call in calls.values() if call.parent_call_id is None}, of_node, ways)
    order = {key: n for n, key in enumerate(layers)}
    nodes = [
        _operator(f"n{n}", key, layers[key], of_node[key]) if key else _outside(f"n{n}", num_outside)
        for key, n in order.items()
    ]
    differs, splits = _disagreements(calls.values(), equal)
    edges = [
        _edge(f"n{order[source]}", f"n{order[target]}", kind, passages, differs if kind == "calls" else splits)
        for (source, target, kind), passages in sorted(
            ways.items(), key=lambda way: (order[way[0][0]], order[way[0][1]], way[0][2])
        )
    ]
    return OperatorFlow(tuple(nodes), tuple(edges))


@dataclass(frozen=True, repr=False)
class OperatorFlow:
    """Who calls whom, and who is given whose result.

    Printed it is DOT; JupyterLab draws flows of up to 30 operators by itself, `plot` draws any.

    Parameters
    ----------
    operators : tuple of FlowNode
    connections : tuple of FlowEdge
    """

    operators: tuple[FlowNode, ...]
    connections: tuple[FlowEdge, ...]

    def __repr__(self) -> str:
        operators = counted(sum(node.role != "outside" for node in self.operators), "operator")
        return f"<OperatorFlow: {operators}, {counted(len(self.connections), 'connection')}>"

    def __str__(self) -> str:
        return self.to_dot()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        drawn = {"text/vnd.mermaid": self.to_mermaid()} if len(self.operators) <= _LARGEST_FOR_A_NOTEBOOK else {}
        return {"text/plain": repr(self), **drawn}

    @property
    def nodes(self) -> pd.DataFrame:
        """One row for each `FlowNode`, by its id."""
        return _frame(FlowNode, self.operators).set_index("id")

    @property
    def edges(self) -> pd.DataFrame:
        """One row for each `FlowEdge`, with the ids of the operators at both ends."""
        names = {node.id: node.operator_id for node in self.operators}
        frame = _frame(FlowEdge, self.connections)
        return frame.assign(source_operator=frame["source"].map(names), target_operator=frame["target"].map(names))

    def to_dot(self) -> str:
        """Return the flow in the language of Graphviz."""
        return flow_as_dot(self)

    def to_mermaid(self) -> str:
        """Return the flow as a Mermaid flowchart, which GitHub and JupyterLab draw."""
        return flow_as_mermaid(self)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the flow from left to right; see `causalkit.plots.operator_flow.plot_operator_flow`."""
        from causalkit.plots.operator_flow import plot_operator_flow

        return plot_operator_flow(self, ax=ax)


def _frame(kind: type[FlowNode | FlowEdge], records: Iterable[FlowNode | FlowEdge]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([asdict(record) for record in records], columns=list(kind.__dataclass_fields__))


def _calls(events: Any) -> dict[str, OperatorCall]:
    calls = getattr(events, "calls", None)
    if isinstance(calls, Mapping):
        return dict(calls)
    if calls is not None:
        return {call.call_id: call for call in calls}
    if not isinstance(events, Iterable):
        raise CausalkitError(
            f"a {type(events).__name__} holds no events; give those of collect_events() or load_events()",
            given=type(events).__name__,
        )
    return calls_of(events)


def _key(call: OperatorCall | None) -> Key:
    if call is None:
        return OUTSIDE
    return str(call.operator_id), str(call.operator_type), None if call.stage is None else str(call.stage)


def _origins(call: OperatorCall) -> list[str]:
    return [*([] if call.parent_call_id is None else [call.parent_call_id]), *call.links]


def _ways(calls: Mapping[str, OperatorCall]) -> dict[Way, list[str]]:
    """Return by which ways calls and results went; for each way the ids of the calls made, or of those passed on."""
    ways: dict[Way, list[str]] = {}
    worked_on = linked_ensembles((call for call in calls.values() if call.is_judge), calls)
    for call in calls.values():
        if call.parent_call_id is not None:
            caller = _key(calls.get(call.parent_call_id))
            ways.setdefault((caller, _key(call), "calls"), []).append(call.call_id)
        for link in dict.fromkeys([*call.links, *(ensemble.call_id for ensemble in worked_on.get(call.call_id, ()))]):
            ways.setdefault((_key(calls.get(link)), _key(call), "passes result to"), []).append(link)
    return ways


def _disagreements(calls: Iterable[OperatorCall], equal: Equal | None) -> tuple[dict[str, float], dict[str, float]]:
    """Return how far each member's call differs from the plurality, and whether each ensemble's was not unanimous."""
    differs: dict[str, float] = {}
    splits: dict[str, float] = {}
    for call in calls:
        if not call.is_ensemble:
            continue
        voters = [member for member in members_of(call) if member.has_result and is_known(member.result)]
        votes = [member.result for member in voters] or list(votes_of(call).values())
        if not votes:
            continue
        found = groups(votes, equal)
        splits[call.call_id] = float(len(found) > 1)
        if len(votes) == 1:
            continue
        sizes = [len(group) for group in found]
        for group in found if voters else ():
            agrees = 1 / sizes.count(max(sizes)) if len(group) == max(sizes) else 0.0
            differs.update((voters[place].call_id, 1 - agrees) for place in group)
    return differs, splits


def _operator(node_id: str, key: tuple[str, str, str | None], layer: int, calls: list[OperatorCall]) -> FlowNode:
    import numpy as np

    durations = [call.duration_ms for call in calls if call.duration_ms is not None]
    judged = [right for _, right in verdicts(calls)]
    return FlowNode(
        node_id,
        *key,
        "ensemble" if any(call.is_ensemble for call in calls) else "judge" if any(c.is_judge for c in calls) else "",
        layer,
        len(calls),
        sum(call.ended == "error" for call in calls),
        sum(call.ended is None for call in calls),
        _mean(durations),
        float(np.percentile(durations, 95)) if durations else math.nan,
        _mean(judged),
        len(judged),
    )


def _outside(node_id: str, num_outside: int) -> FlowNode:
    return FlowNode(node_id, "not in these events", "outside", None, "outside", 0, num_outside)


def _mean(values: list[float]) -> float:
    # Not by plain sums: these depend on the order in which threads came to an end.
    return math.fsum(values) / len(values) if values else math.nan


def _edge(source: str, target: str, kind: EdgeKind, passages: list[str], known: Mapping[str, float]) -> FlowEdge:
    compared = [known[passage] for passage in passages if passage in known]
    return FlowEdge(source, target, kind, len(passages), _mean(compared), len(compared))
