"""Who called whom, as events tell it, and operators made for a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from causalkit.operators.events import OperatorEvent
from causalkit.operators.listening import collect_events
from causalkit.operators.tracing import trace

Parents = dict[str, str | None]


def parents(events: Iterable[OperatorEvent]) -> Parents:
    """Return for each operator the name of its caller; each call must be closed once, after it began."""
    events = [event for event in events if event.event_type != "metric"]
    names = {event.call_id: event.operator_id for event in events}
    ids = [event.call_id for event in events if event.event_type == "call"]
    assert Counter(ids) == Counter(event.call_id for event in events if event.event_type != "call")
    assert max(Counter(ids).values(), default=0) <= 1
    begun: set[str] = set()
    for event in events:
        assert (event.call_id in begun) == (event.event_type != "call")
        begun.add(event.call_id)
        above = event.context and event.context.parents
        assert (above or (None,))[-1] == event.parent_call_id
    return {event.operator_id: event.parent_call_id and names[event.parent_call_id] for event in events}


def heard(work: Callable[[], object]) -> Parents:
    """Do some work and return who was called by whom."""
    with collect_events() as events:
        work()
    return parents(events)


def operator(name: str, work: Callable[..., Any] = lambda: None, **told: Any) -> Callable[..., Any]:
    """Return an operator of this name."""
    return trace(work, operator_id=name, **told)


def endings(events: Iterable[OperatorEvent]) -> dict[str, str]:
    """Return for each operator how its last call ended: the type of its error, or ``result``."""
    return {
        event.operator_id: event.data["type"] if event.event_type == "error" else "result"
        for event in events
        if event.event_type in ("result", "error")
    }
