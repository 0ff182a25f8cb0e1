"""Those who hear what operators report, and whether there are any.

A listener never disturbs an operator: what it raises is kept, reported once by logging, and the next event is still
given to it. While nobody listens, nothing is made for it to hear.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable
from typing import Any

from causalkit.errors import CausalkitError
from causalkit.operators.capture import SUMMARY, Capture, Policy, capture_of, keeping, summary
from causalkit.operators.events import OperatorEvent, event_of
from causalkit.spans import Span, carry_across_threads
from causalkit.wording import one_line

Deliver = Callable[[OperatorEvent], object]

_log = logging.getLogger("causalkit.operators")
_lock = threading.RLock()
_num_listening = 0
# Called with True when somebody begins to listen, with False when nobody does any more.
switches: list[Callable[[bool], None]] = []
# Those of the whole process; replaced as a whole, so that an event under way has one or the other.
everywhere: tuple[Receiver, ...] = ()


class Listening(Span):
    """A stretch of work whose events somebody collects.

    Attributes
    ----------
    receivers : tuple of Receiver or None
        Who hears them, those around it included; None when it has ended. Events hold their calls and these hold the
        span, which must not lead back to where the events are kept.
    """

    __slots__ = ("receivers",)

    def __init__(self) -> None:
        super().__init__(None)
        self.receivers: tuple[Receiver, ...] | None = None


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

    def __init__(
        self, deliver: Deliver, capture: Policy | Capture, take: Callable[[Any], object] | None = None
    ) -> None:
        kept = capture_of(capture)
        self.keep = keeping(self._isolated(kept) if callable(capture) and kept else kept)
        self.deliver = deliver
        self.take = take or self._make_and_deliver
        self.error: Exception | None = None
        self.num_errors = 0
        self.open = False

    def __repr__(self) -> str:
        state = "listening" if self.open else "not listening"
        return f"<{type(self).__name__} {state}{f', raised {self.num_errors} times' * bool(self.num_errors)}>"

    def _isolated(self, capture: Capture) -> Capture:
        # Where a user's function raises, the event is still heard; what it calls itself is only summarised.
        busy: set[int] = set()

        def keep(value: Any) -> Any:
            thread = threading.get_ident()
            if thread in busy:
                return summary(value)
            busy.add(thread)
            try:
                return capture(value)
            except Exception as error:
                self.failed(error)
                return {SUMMARY: type(value).__qualname__, "not_captured": type(error).__name__}
            finally:
                busy.discard(thread)

        return keep

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


def join(receiver: Receiver, *, of_process: bool = False) -> None:
    """Let a receiver hear events; the first one switches tracing on."""
    global everywhere, _num_listening
    carry_across_threads()
    with _lock:
        receiver.open = True
        if of_process:
            everywhere = (*everywhere, receiver)
        _num_listening += 1
        if _num_listening == 1:
            for switch in switches:
                switch(True)


def leave(receiver: Receiver) -> None:
    """Let a receiver hear nothing any more; the last one switches tracing off. Leaving twice does no harm."""
    global everywhere, _num_listening
    with _lock:
        if not receiver.open:
            return
        receiver.open = False
        everywhere = tuple(other for other in everywhere if other is not receiver)
        _num_listening -= 1
        if not _num_listening:
            for switch in switches:
                switch(False)


def filtered(keep: Deliver, where: Callable[[OperatorEvent], object] | None, sample: float | None) -> Deliver:
    """Return what gives on only the events of some runs, or those that a function chooses."""
    if where is not None and not callable(where):
        raise CausalkitError(f"where is a {type(where).__name__}; give a function of one event", where=where)
    if sample is not None and not (isinstance(sample, int | float) and 0 <= sample <= 1):
        raise CausalkitError(f"sample is {sample!r}; give the share of the runs to keep, 0 to 1", sample=sample)
    if where is not None:
        chosen = where

        def keep_where(event: OperatorEvent, keep: Deliver = keep) -> None:
            if chosen(event):
                keep(event)

        keep = not_within_itself(keep_where)
    if sample is None:
        return keep
    last = sample * 2**32
    # By the run's id, so that all processes and collectors choose the same runs.
    return lambda event: keep(event) if zlib.crc32(event.run_id.encode("utf-8", "replace")) < last else None


def not_within_itself(callback: Deliver) -> Deliver:
    """Return what hears an event unless the function is at work in this thread, and has set it off itself."""
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
