"""What a flow of operators consists of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

EdgeKind = Literal["calls", "passes result to"]


@dataclass(frozen=True)
class FlowNode:
    """All calls of one operator in one stage.

    Attributes
    ----------
    id : str
        ``n0``, ``n1``...: its name in DOT and Mermaid.
    operator_id, operator_type, stage : str
        The stage may be None.
    role : {"ensemble", "judge", "outside", ""}
        ``outside`` stands for whatever called, or gave results, without being among the events itself.
    layer : int
        How far from the left it stands: behind whoever calls it or gives it results.
    calls, errors, not_ended : int
    mean_ms, p95_ms : float
        Latency of the calls that ended; NaN if none did.
    accuracy : float
        Mean of the metric ``correct``, or of ``accuracy`` where a call has no other; NaN if there is none.
    num_judged : int
        How many calls the accuracy is known from.
    """

    id: str
    operator_id: str
    operator_type: str
    stage: str | None
    role: Literal["ensemble", "judge", "outside", ""]
    layer: int
    calls: int
    errors: int = 0
    not_ended: int = 0
    mean_ms: float = math.nan
    p95_ms: float = math.nan
    accuracy: float = math.nan
    num_judged: int = 0


@dataclass(frozen=True)
class FlowEdge:
    """All calls of one operator by another, or all results of one that another was given.

    Attributes
    ----------
    source, target : str
        Ids of nodes.
    kind : {"calls", "passes result to"}
    count : int
    disagreement : float
        Where an ensemble calls a member: the share of the member's votes that differ from the plurality; in a tie of k
        groups a vote of one of them counts as 1 - 1/k, as if the plurality were drawn from them. Where an ensemble
        passes its result on: the share of these results whose votes were not unanimous. Else NaN.
    num_compared : int
        From how many it is known. A member's single vote is not compared, nor are votes that were not captured whole.
    """

    source: str
    target: str
    kind: EdgeKind
    count: int
    disagreement: float = math.nan
    num_compared: int = 0
