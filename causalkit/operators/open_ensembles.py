"""Calls that are open, and what the members of the ensembles among them have voted so far."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from causalkit.operators.calls import OperatorCall
from causalkit.operators.events import OperatorEvent
from causalkit.operators.roles import is_ensemble
from causalkit.operators.votes import votes_of

# What is remembered of pipelines that never end: open calls, and calls made by open ensembles.
_MOST_OPEN, _MOST_MEMBERS = 100_000, 100_000


class OpenEnsembles:
    """Puts the votes of members together by the call of their ensemble, from its beginning to its end.

    What is remembered is bounded, also where calls are never closed: the oldest are let go.

    Attributes
    ----------
    num_open : int
        How many calls have begun and not ended.
    num_let_go : int
        How many of these, or of their votes, are no longer remembered.

    Examples
    --------
    >>> from causalkit.operators.listening import EventCollector
    >>> from causalkit.operators.tracing import trace
    >>> def hear(event):
    ...     if event.event_type == "call":
    ...         ensembles.began(event)
    ...     else:
    ...         votes.append(ensembles.ended(event))
    >>> ensembles, votes = OpenEnsembles(), []
    >>> with EventCollector.register(hear):
    ...     trace(lambda votes: votes, operator_type="ensemble")([3, 3, 5])
    [3, 3, 5]
    >>> votes
    [[3, 3, 5]]
    """

    def __init__(self) -> None:
        self.num_let_go = self._num_members = 0
        # With their stages, the oldest first; the calls themselves only of ensembles and of what these call.
        self._open = OrderedDict[str, str | None]()
        self._ensembles = OrderedDict[str, OperatorCall]()
        self._members: dict[str, OperatorCall] = {}

    @property
    def num_open(self) -> int:
        """How many calls have begun and not ended."""
        return len(self._open)

    def began(self, event: OperatorEvent) -> None:
        """Take the beginning of a call."""
        around, caller = event.context and event.context.parent, event.parent_call_id or ""
        ensemble = is_ensemble(event.operator_type, event.stage, around.stage if around else self._open.get(caller))
        parent = self._ensembles.get(caller)
        self._open[event.call_id] = event.stage
        if ensemble or parent is not None:
            call = _call(event)
            if parent is not None:
                parent.children.append(call)
                self._members[event.call_id] = call
                self._num_members += 1
            if ensemble:
                self._take(event.call_id)
                self._ensembles[event.call_id] = call
        self._let_go()

    def ended(self, event: OperatorEvent) -> list[Any]:
        """Take the end of a call; return the votes that have come, if it is an ensemble that returned."""
        self._open.pop(event.call_id, None)
        member, ensemble = self._members.pop(event.call_id, None), self._take(event.call_id)
        if event.event_type == "error":
            return []
        for call in (member, ensemble):
            if call is not None and "result" in event.data:
                call.result, call.has_result = event.data["result"], True
        return [] if ensemble is None else [*votes_of(ensemble).values()]

    def forget(self) -> None:
        """Forget all calls that are open, as no more is heard of them."""
        self._num_members = 0
        for remembered in (self._open, self._ensembles, self._members):
            remembered.clear()

    def _take(self, call_id: str) -> OperatorCall | None:
        ensemble = self._ensembles.pop(call_id, None)
        if ensemble is not None:
            self._num_members -= len(ensemble.children)
        return ensemble

    def _let_go(self) -> None:
        if len(self._open) > _MOST_OPEN:
            call_id, _ = self._open.popitem(last=False)
            self._members.pop(call_id, None)
            self._take(call_id)
            self.num_let_go += 1
        while self._num_members > _MOST_MEMBERS:
            self._take(next(iter(self._ensembles)))
            self.num_let_go += 1


def _call(event: OperatorEvent) -> OperatorCall:
    who = event.operator_id, event.operator_type, event.stage, event.call_id, event.parent_call_id
    return OperatorCall(*who, event.run_id, event.timestamp)
