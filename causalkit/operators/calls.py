"""Events put together: one record for each call, with what it was given, what came out, and what it is linked to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Literal

import msgspec

from causalkit.operators.events import LINK, OperatorEvent, check_event
from causalkit.operators.roles import is_ensemble, is_judge


class OperatorCall(msgspec.Struct, eq=False):
    """One call of an operator.

    Attributes
    ----------
    operator_id, operator_type, stage, call_id, parent_call_id, run_id
        As the events say.
    tags : tuple of str
    start : datetime
        UTC.
    duration_ms : float or None
        Milliseconds on the monotonic clock; None for a call that is not closed.
    end : datetime or None
        UTC. It began working so many milliseconds before: what it is given is captured in between.
    ended : {"result", "error"} or None
    inputs : dict
        Arguments by name, as captured.
    result : Any
        As captured; None too where nothing was.
    has_result : bool
        Whether a result was captured.
    error : dict
        ``type message stack``.
    metrics : dict
        The last value of each metric reported during the call.
    roles : dict of str to str
        Which of them are a ``knob``, a ``covariate`` or an ``input``.
    links : sequence of str
        Ids of the calls whose very result it was given, or that it was explicitly linked to.
    parent : OperatorCall or None
        Its caller.
    children : sequence of OperatorCall
        The calls made directly by it, in the order in which they began.
    """

    operator_id: str
    operator_type: str
    stage: str | None
    call_id: str
    parent_call_id: str | None
    run_id: str
    start: datetime
    tags: tuple[str, ...] = ()
    duration_ms: float | None = None
    end: datetime | None = None
    ended: Literal["result", "error"] | None = None
    inputs: dict[str, Any] = msgspec.field(default_factory=dict)
    result: Any = None
    has_result: bool = False
    error: dict[str, Any] = msgspec.field(default_factory=dict)
    metrics: dict[str, Any] = msgspec.field(default_factory=dict)
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    links: list[str] = msgspec.field(default_factory=list)
    parent: OperatorCall | None = None
    children: list[OperatorCall] = msgspec.field(default_factory=list)

    def __repr__(self) -> str:
        took = "" if self.duration_ms is None else f", {self.duration_ms:.2f} ms"
        return f"<OperatorCall of {self.operator_id}: {self.ended or 'not closed'}{took}>"

    @property
    def is_ensemble(self) -> bool:
        """Whether its type or stage says that it is an ensemble (`causalkit.operators.roles`)."""
        return is_ensemble(self.operator_type, self.stage, self.parent and self.parent.stage)

    @property
    def is_judge(self) -> bool:
        """Whether its type or stage says that it is a judge."""
        return is_judge(self.operator_type, self.stage, self.parent and self.parent.stage)


def calls_of(events: Iterable[OperatorEvent]) -> dict[str, OperatorCall]:
    """Return the calls that events tell of, by id, in the order in which they began.

    Parameters
    ----------
    events : iterable of OperatorEvent
        In any order; of a call whose call event is missing what the others say is known.

    Raises
    ------
    CausalkitError
        If something else stands among them.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> with collect_events() as events:
    ...     trace(lambda x: 2 * x, operator_id="double")(3)
    6
    >>> [(call.operator_id, call.inputs, call.result) for call in calls_of(events).values()]
    [('double', {'x': 3}, 6)]
    """
    calls: dict[str, OperatorCall] = {}
    # Those whose call event has not come, and when each metric was reported last.
    unbegun: set[str] = set()
    measured: dict[tuple[str, str], datetime] = {}
    # The callers of those that were called in the step of a workflow.
    callers: dict[str, str] = {}
    for event in events:
        if type(event) is not OperatorEvent:
            check_event(event)
        call_id, kind, data = event.call_id, event.event_type, event.data
        call = calls.get(call_id)
        if call is None:
            context = event.context
            call = calls[call_id] = OperatorCall(
                event.operator_id,
                event.operator_type,
                event.stage,
                call_id,
                event.parent_call_id,
                call_id if context is None else context.run_id,
                event.timestamp,
                () if context is None else context.metadata.tags,
                links=_NONE,
                children=_NONE,
            )
            caller = None if context is None else context.parent
            if caller is not None and caller.call_id != event.parent_call_id:
                callers[call_id] = caller.call_id
            if kind != "call":
                unbegun.add(call_id)
        if kind == "call":
            unbegun.discard(call_id)
            call.start = event.timestamp
            call.inputs = data.get("inputs") or {}
            if "links" in data:
                call.links = [*call.links, *data["links"]]
        elif kind == "metric":
            _measured(call, event, measured)
        else:
            call.ended, call.end, call.duration_ms = kind, event.timestamp, event.duration_ms
            if kind == "error":
                call.error = data
            elif "result" in data:
                call.result, call.has_result = data["result"], True
        if call_id in unbegun:
            call.start = min(call.start, event.timestamp - (event.duration or timedelta()))
    return _in_order(calls, callers)


def _measured(call: OperatorCall, event: OperatorEvent, measured: dict[tuple[str, str], datetime]) -> None:
    name, value = str(event.data.get("name")), event.data.get("value")
    if name == LINK:
        call.links = [*call.links, str(value)]
    elif event.timestamp >= measured.get((call.call_id, name), event.timestamp):
        measured[call.call_id, name] = event.timestamp
        call.metrics[name] = value
        call.roles.pop(name, None)
        if "role" in event.data:
            call.roles[name] = str(event.data["role"])


def _in_order(calls: dict[str, OperatorCall], callers: dict[str, str]) -> dict[str, OperatorCall]:
    # Equal starts stay as they came: the caller's event comes before that of the one it calls.
    ordered = {call.call_id: call for call in sorted(calls.values(), key=attrgetter("start"))}
    for call in ordered.values():
        parent = calls.get(callers.get(call.call_id) or call.parent_call_id or "")
        if parent is not None and parent is not call:
            call.parent = parent
            if parent.children:
                parent.children.append(call)
            else:
                parent.children = [call]
    return ordered


# Most calls make none, and of a million empty lists the collector would look into each.
_NONE: Any = ()
