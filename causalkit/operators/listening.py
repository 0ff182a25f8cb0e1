"""Who listens: collectors of one context and what it starts, and listeners of the whole process."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, overload

from causalkit.errors import CausalkitError
from causalkit.operators.capture import Capture, Policy
from causalkit.operators.events import OperatorEvent, Report, check_event, event_of
from causalkit.operators.receivers import (
    Deliver,
    Listening,
    Receiver,
    deliver,
    filtered,
    join,
    leave,
    not_within_itself,
    receivers_within,
)
from causalkit.spans import current


class Handle(Receiver):
    """A registered listener: `unregister` it, or let ``with`` do so."""

    __slots__ = ()

    def unregister(self) -> None:
        """Hear nothing any more; doing so twice does no harm."""
        leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.unregister()


class EventCollection(Sequence[OperatorEvent]):
    """The events of one context and of what it starts; see `collect_events`.

    Attributes
    ----------
    dropped : int
        How many older events were let go because of the limit.
    receiver : Receiver
        What a filter of its own raised.
    """

    __slots__ = ("_reports", "_seen", "_span", "receiver")

    def __init__(
        self, limit: int | None, sample: float | None, where: Deliver | None, capture: Policy | Capture, to: Any = None
    ) -> None:
        # Events are made of the reports when somebody looks: the pipeline does not wait for it.
        self._reports: deque[Report | OperatorEvent] | list[Report | OperatorEvent]
        self._reports = [] if _checked_limit(limit) is None else deque(maxlen=limit)
        self._seen = [0]
        keep: Any = to or (self._reports.append if limit is None else _counting(self._reports.append, self._seen))
        chosen = filtered(keep, where, sample)
        self.receiver = Receiver(chosen, capture, keep if chosen is keep else None)
        self._span = Listening()

    @property
    def dropped(self) -> int:
        """How many older events were let go because of the limit."""
        return max(0, self._seen[0] - len(self._reports))

    def __enter__(self) -> Self:
        if self._span.open is not None:
            raise CausalkitError("these events were collected already; call collect_events() anew for each block")
        join(self.receiver)
        self._span.begin(sys._getframe(1))
        self._span.receivers = (*receivers_within(self._span.outer), self.receiver)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._span.end()
        self._span.receivers = None
        leave(self.receiver)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, stack)

    def __len__(self) -> int:
        return len(self._reports)

    def __iter__(self) -> Iterator[OperatorEvent]:
        # A copy: the pipeline may still be running.
        return map(event_of, self._reports.copy())

    @overload
    def __getitem__(self, index: int) -> OperatorEvent: ...

    @overload
    def __getitem__(self, index: slice) -> list[OperatorEvent]: ...

    def __getitem__(self, index: int | slice) -> OperatorEvent | list[OperatorEvent]:
        if isinstance(index, slice):
            return list(map(event_of, list(self._reports)[index]))
        return event_of(self._reports[index])

    def __repr__(self) -> str:
        dropped = f", {self.dropped} older ones dropped" if self.dropped else ""
        return f"<EventCollection of {len(self)} events{dropped}>"


def collect_events(
    *,
    limit: int | None = None,
    sample: float | None = None,
    where: Callable[[OperatorEvent], object] | None = None,
    capture: Policy | Capture = "summary",
) -> EventCollection:
    """Collect the events of this context and of what it starts, by ``with`` or ``async with``.

    What runs in threads, pools, executors, tasks and generators that the block starts is heard, what others do at the
    same time is not. Collectors may be nested (the outer one hears everything) and may end in any order.

    Parameters
    ----------
    limit : int, optional
        How many events are kept: the newest ones.
    sample : float, optional
        Which share of the runs is kept, 0 to 1; a run is kept whole or not at all, in every process alike.
    where : callable, optional
        Gets an event; those it returns something true for are kept.
    capture : {"summary", "copy", "reference", "none"} or callable, default "summary"
        What is kept of arguments and results: what is short as it is, and of the rest type, shape, size and a short
        repr; a deep copy; the very object; nothing; or what a function makes of the value.

    Returns
    -------
    EventCollection
        A sequence of `OperatorEvent`, in the order in which they happened.

    Raises
    ------
    CausalkitError
        If a limit, a share or a policy is none.

    Examples
    --------
    >>> from causalkit.operators.tracing import trace
    >>> @trace(stage="judge_1")
    ... def majority(votes):
    ...     return max(set(votes), key=votes.count)
    >>> with collect_events() as events:
    ...     majority([3, 3, 5])
    3
    >>> [(event.event_type, event.operator_id, event.data) for event in events]
    [('call', 'majority', {'inputs': {'votes': [3, 3, 5]}}), ('result', 'majority', {'result': 3})]
    """
    return EventCollection(limit, sample, where, capture)


class EventCollector:
    """Everyone who listens, here and in the whole process."""

    collect = staticmethod(collect_events)

    @staticmethod
    def register(
        callback: Deliver,
        *,
        sample: float | None = None,
        where: Callable[[OperatorEvent], object] | None = None,
        capture: Policy | Capture = "summary",
    ) -> Handle:
        """Let a function hear the events of the whole process, whatever thread or task they come from.

        Parameters
        ----------
        callback : callable
            Gets each event, in the thread in which it happened. What it raises disturbs no operator: the first error
            is logged and kept in the handle. It does not hear what it sets off itself.
        sample, where, capture
            As for `collect_events`.

        Returns
        -------
        Handle
            Its ``unregister()`` ends it, as leaving a ``with`` block does.

        Examples
        --------
        >>> from causalkit.operators.tracing import trace
        >>> double = trace(lambda x: 2 * x)
        >>> heard = []
        >>> with EventCollector.register(heard.append):
        ...     double(3)
        6
        >>> [event.event_type for event in heard]
        ['call', 'result']
        """
        if not callable(callback):
            raise CausalkitError(f"a {type(callback).__name__} cannot be called; register a function of one event")
        # A journal makes its lines of reports, and sees to it itself that it does not hear itself.
        take = getattr(callback, "take_report", None)
        hear = take or not_within_itself(callback)
        chosen = filtered(hear, where, sample)
        handle = Handle(chosen, capture, take if chosen is hear else None)
        join(handle, of_process=True)
        return handle

    @staticmethod
    def emit(event: OperatorEvent) -> None:
        """Give an event to everyone who listens here.

        Parameters
        ----------
        event : OperatorEvent

        Raises
        ------
        CausalkitError
            If it is none, or has no time zone.
        """
        deliver(check_event(event), receivers_within(current()))


def _counting(append: Callable[[Any], None], seen: list[int]) -> Callable[[Any], None]:
    def count(report: Any) -> None:
        seen[0] += 1
        append(report)

    return count


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise CausalkitError(f"limit is {limit!r}; give how many events are kept, 1 or more", limit=limit)
    return limit
