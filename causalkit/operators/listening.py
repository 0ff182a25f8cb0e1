"""Who listens: collectors of one context and what it starts, and listeners of the whole process.

A listener never disturbs an operator: what it raises is kept, reported once by logging, and the next event is still
given to it. While nobody listens, nothing is made for it to hear.
"""

from __future__ import annotations

import logging
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, overload

from causalkit.errors import CausalkitError
from causalkit.operators.capture import Capture, Policy, capture_of, keeping
from causalkit.operators.events import OperatorEvent, Report, check_event, event_of
from causalkit.spans import Span, carry_across_threads, current
from causalkit.wording import one_line

Deliver = Callable[[OperatorEvent], object]

_log = logging.getLogger("causalkit.operators")
_lock = threading.RLock()
_num_listening = 0
# Called with True when somebody begins to listen, with False when nobody does any more.
switches: list[Callable[[bool], None]] = []
# Those of the whole process; replaced as a whole, so that an event under way has one or the other.
everywhere: tuple[Receiver, ...] = ()


class Receiver:
    """One who listens.

    Attributes
    ----------
    keep : dict of str to callable
        What is kept of the values of each type of event.
    deliver : callable
        Gets each event.
    take : callable
        Gets what happened as a report, of which `causalkit.operators.events.event_of` makes the event.
    error : Exception or None
        The first one that it raised.
    num_errors : int
        How often it raised.
    """

    __slots__ = ("deliver", "error", "keep", "num_errors", "open", "take")

    def __init__(self, deliver: Deliver, capture: Policy | Capture, take: Callable[[Any], object] | None = None) -> None:
        self.keep = keeping(capture_of(capture))
        self.deliver = deliver
        self.take = take or self._make_and_deliver
        self.error: Exception | None = None
        self.num_errors = 0
        self.open = False

    def __repr__(self) -> str:
        state = "listening" if self.open else "not listening"
        return f"<{type(self).__name__} {state}{f', raised {self.num_errors} times' * bool(self.num_errors)}>"

    def _make_and_deliver(self, report: Any) -> None:
        self.deliver(event_of(report))

    def failed(self, error: Exception) -> None:
        """Keep an error, and report the first one."""
        self.num_errors += 1
        if self.error is None:
            self.error = error
            _log.error(
                "a listener to operator events raised %s; operators go on, further errors of it are only counted",
                one_line(repr(error), 200),
                exc_info=error,
            )


class Handle(Receiver):
    """A registered listener: `unregister` it, or let ``with`` do so."""

    __slots__ = ()

    def unregister(self) -> None:
        """Hear nothing any more; doing so twice does no harm."""
        global everywhere
        with _lock:
            if self.open:
                self.open = False
                everywhere = tuple(receiver for receiver in everywhere if receiver is not self)
                _leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.unregister()


class EventCollection(Span, Sequence[OperatorEvent]):
    """The events of one context and of what it starts; see `collect_events`.

    Attributes
    ----------
    dropped : int
        How many older events were let go because of the limit.
    receiver : Receiver
        What a filter of its own raised.
    """

    __slots__ = ("_reports", "_seen", "receiver", "receivers")

    def __init__(
        self, limit: int | None, sample: float | None, where: Deliver | None, capture: Policy | Capture, to: Any = None
    ) -> None:
        super().__init__(None)
        # Events are made of the reports when somebody looks: the pipeline does not wait for it.
        self._reports: deque[Report | OperatorEvent] | list[Report | OperatorEvent]
        self._reports = [] if _checked_limit(limit) is None else deque(maxlen=limit)
        self._seen = [0]
        keep: Any = to or (self._reports.append if limit is None else _counting(self._reports.append, self._seen))
        chosen = _filtered(keep, where, sample)
        self.receiver = Receiver(chosen, capture, keep if chosen is keep and to is None else None)
        self.receivers: tuple[Receiver, ...] = ()

    @property
    def dropped(self) -> int:
        """How many older events were let go because of the limit."""
        return max(0, self._seen[0] - len(self._reports))

    def __enter__(self) -> Self:
        if self.open is not None:
            raise CausalkitError("these events were collected already; call collect_events() anew for each block")
        carry_across_threads()
        self.begin(sys._getframe(1))
        self.receivers = (*receivers_within(self.outer), self.receiver)
        with _lock:
            self.receiver.open = True
            _join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.end()
        with _lock:
            self.receiver.open = False
            _leave()

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

    # Two collections are the same only if they are one; a span is looked for among others.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

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
        global everywhere
        if not callable(callback):
            raise CausalkitError(f"a {type(callback).__name__} cannot be called; register a function of one event")
        handle = Handle(_filtered(_not_within_itself(callback), where, sample), capture)
        carry_across_threads()
        with _lock:
            handle.open = True
            everywhere = (*everywhere, handle)
            _join()
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


def receivers_within(span: Span | None) -> tuple[Receiver, ...]:
    """Return the collectors around a span, it included."""
    while span is not None:
        receivers: tuple[Receiver, ...] | None = getattr(span, "receivers", None)
        if receivers is not None:
            return receivers
        span = span.outer
    return ()


def deliver(event: OperatorEvent, receivers: tuple[Receiver, ...]) -> None:
    """Give one event to these receivers and to those of the whole process."""
    for receiver in (*receivers, *everywhere):
        if receiver.open:
            try:
                receiver.deliver(event)
            except Exception as error:
                receiver.failed(error)


def _join() -> None:
    global _num_listening
    _num_listening += 1
    if _num_listening == 1:
        for switch in switches:
            switch(True)


def _leave() -> None:
    global _num_listening
    _num_listening -= 1
    if not _num_listening:
        for switch in switches:
            switch(False)


def _filtered(keep: Deliver, where: Callable[[OperatorEvent], object] | None, sample: float | None) -> Deliver:
    if where is not None and not callable(where):
        raise CausalkitError(f"where is a {type(where).__name__}; give a function of one event", where=where)
    if sample is not None and not (isinstance(sample, int | float) and 0 <= sample <= 1):
        raise CausalkitError(f"sample is {sample!r}; give the share of the runs to keep, 0 to 1", sample=sample)
    if where is not None:
        chosen = where

        def keep_where(event: OperatorEvent, keep: Deliver = keep) -> None:
            if chosen(event):
                keep(event)

        keep = keep_where
    if sample is None:
        return keep
    last = sample * 2**32
    # By the run's id, so that all processes and collectors choose the same runs.
    return lambda event: keep(event) if zlib.crc32(event.run_id.encode("utf-8", "replace")) < last else None


def _not_within_itself(callback: Deliver) -> Deliver:
    busy: set[int] = set()

    def hear(event: OperatorEvent) -> None:
        thread = threading.get_ident()
        if thread not in busy:
            busy.add(thread)
            try:
                callback(event)
            finally:
                busy.discard(thread)

    return hear


def _counting(append: Callable[[Any], None], seen: list[int]) -> Callable[[Any], None]:
    def count(report: Any) -> None:
        seen[0] += 1
        append(report)

    return count


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise CausalkitError(f"limit is {limit!r}; give how many events are kept, 1 or more", limit=limit)
    return limit

