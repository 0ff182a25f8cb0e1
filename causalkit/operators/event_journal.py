"""Operator events in a journal: written as they happen, read back, and given once more to whoever listens.

A journal of events is a trace journal (`causalkit.journal`): the runs of a `Tracer` may stand in the same file.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, overload

from causalkit.errors import CausalkitError
from causalkit.journal import JournalWriter
from causalkit.operators.capture import Capture, Policy
from causalkit.operators.event_lines import QuickLines, Redact, slow_line
from causalkit.operators.event_reading import load_events as load_events
from causalkit.operators.events import OperatorEvent, Report, check_event, event_of
from causalkit.operators.listening import EventCollection, EventCollector
from causalkit.redaction import mask_secrets

_PathLike = str | os.PathLike[str]


class EventJournal:
    """A listener that writes each event as one line of a journal; what it was given survives the process.

    Parameters
    ----------
    path : path-like
        The journal; made if it is not there, added to if it is.
    redact : callable, optional
        Gets each event as a dict and returns what to write; default masks keys, tokens, passwords and e-mail addresses
        in the file (never in the events). None writes everything.
    durability, rotate_mb
        As for `JournalWriter`.

    Examples
    --------
    The events of the whole process, whatever thread or task they come from. An operator never fails because its event
    could not be written: the error is logged, and kept as ``listening.error``.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from causalkit.operators.tracing import trace
    >>> double = trace(lambda x: 2 * x, operator_id="double")
    >>> path = Path(tempfile.mkdtemp()) / "events.jsonl"
    >>> with EventJournal(path) as journal, EventCollector.register(journal) as listening:
    ...     double(3)
    6
    >>> listening.error
    >>> load_events(path)
    <EventList of 2 events>
    """

    def __init__(
        self,
        path: _PathLike,
        *,
        redact: Redact | None = mask_secrets,
        durability: Literal["process", "power"] = "process",
        rotate_mb: float | None = None,
    ) -> None:
        if redact is not None and not callable(redact):
            raise CausalkitError(f"redact is a {type(redact).__name__}; give a function of a dict, or None")
        self._redact = redact
        self._writer = JournalWriter(path, durability=durability, rotate_mb=rotate_mb)
        known = redact is None or redact is mask_secrets
        self._quick_line = QuickLines(redact is not None).line if known else None
        self._busy: set[int] = set()

    def __call__(self, event: OperatorEvent) -> None:
        """Write one event.

        Parameters
        ----------
        event : OperatorEvent

        Raises
        ------
        OSError
            If not all of it could be written.
        """
        self.take_report(check_event(event))

    def take_report(self, happened: Report | OperatorEvent) -> None:
        """Write one event, or what an event would be made of."""
        if self._quick_line is not None and type(happened) is Report:
            line = self._quick_line(happened)
            if line is not None:
                self._writer.write(line)
                return
        thread = threading.get_ident()
        # What is asked for a text, or redacts, may be traced itself.
        if thread in self._busy:
            return
        self._busy.add(thread)
        try:
            problems: list[BaseException] = []
            self._writer.write(slow_line(event_of(happened), self._redact, problems))
        finally:
            self._busy.discard(thread)
        if problems:
            raise problems[0]

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EventJournal {self._writer.path.name}>"


class EventSaving(EventCollection):
    """The events of one context on their way into a journal; see `save_events`."""

    __slots__ = ("_journal",)

    def __init__(
        self,
        journal: EventJournal,
        sample: float | None,
        where: Callable[[OperatorEvent], object] | None,
        capture: Policy | Capture,
    ) -> None:
        super().__init__(None, sample, where, capture, journal.take_report)
        self._journal = journal

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, stack)
        self._journal.close()
        failure = self.receiver.error
        if failure is None:
            return
        if error is None:
            raise failure
        error.add_note(f"and {self.receiver.num_errors} events were not saved: {type(failure).__name__}: {failure}")

    def __repr__(self) -> str:
        return f"<EventSaving to {self._journal!r}>"


@overload
def save_events(
    path: _PathLike,
    events: None = None,
    *,
    sample: float | None = None,
    where: Callable[[OperatorEvent], object] | None = None,
    capture: Policy | Capture = "summary",
    redact: Redact | None = mask_secrets,
) -> EventSaving: ...


@overload
def save_events(path: _PathLike, events: Iterable[OperatorEvent], *, redact: Redact | None = mask_secrets) -> int: ...


def save_events(
    path: _PathLike,
    events: Iterable[OperatorEvent] | None = None,
    *,
    sample: float | None = None,
    where: Callable[[OperatorEvent], object] | None = None,
    capture: Policy | Capture = "summary",
    redact: Redact | None = mask_secrets,
) -> EventSaving | int:
    """Write events into a journal: given ones, or by ``with`` / ``async with`` those of a block as they happen.

    Parameters
    ----------
    path : path-like
        The journal; made if it is not there, added to if it is.
    events : iterable of OperatorEvent, optional
        Without them the events of this context, and of what it starts, are written as they happen.
    sample, where, capture
        As for `collect_events`; of events that are given, choose before.
    redact : callable, optional
        As for `EventJournal`.

    Returns
    -------
    int, or a context manager
        How many were written. Leaving the block raises the first error of writing, if there was one.

    Raises
    ------
    CausalkitError
        If something that is no event stands among them.
    OSError
        If not all could be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from causalkit.operators.tracing import trace
    >>> double = trace(lambda x: 2 * x, operator_id="double")
    >>> folder = Path(tempfile.mkdtemp())
    >>> with save_events(folder / "events.jsonl"):
    ...     double(3)
    6
    >>> events = load_events(folder / "events.jsonl")
    >>> save_events(folder / "results.jsonl", [event for event in events if event.event_type == "result"])
    1
    """
    if events is None:
        return EventSaving(EventJournal(path, redact=redact), sample, where, capture)
    if (sample, where, capture) != (None, None, "summary"):
        raise CausalkitError(
            "sample, where and capture are for events as they happen; choose among given events before"
        )
    count = 0
    given = _events(events)
    with EventJournal(path, redact=redact) as journal:
        for count, event in enumerate(given, 1):  # noqa: B007 - what is counted is also what is returned
            journal(event)
    return count


def replay(events: Iterable[OperatorEvent], *, speed: float | None = None, progress: bool = False) -> int:
    """Give recorded events to whoever listens now, in the order of their times.

    Parameters
    ----------
    events : iterable of OperatorEvent
        As `load_events` or `collect_events` give them.
    speed : float, optional
        1.0 waits between them as long as it took when they were recorded, 2.0 half as long; default without waiting.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    CausalkitError
        If something that is no event stands among them, or the speed is no number above 0.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> with collect_events() as events:
    ...     trace(lambda x: 2 * x)(3)
    6
    >>> with collect_events() as again:
    ...     replay(events)
    2
    >>> list(again) == list(events)
    True
    """
    if speed is not None and not (isinstance(speed, int | float) and not isinstance(speed, bool) and speed > 0):
        raise CausalkitError(
            f"speed is {speed!r}; give a number above 0, 1.0 for the recorded tempo, or None", speed=speed
        )
    ordered: Any = sorted(map(check_event, _events(events)), key=lambda event: event.timestamp)
    first, begun = ordered[0].timestamp if ordered else None, time.monotonic()
    if progress:
        from tqdm.auto import tqdm

        ordered = tqdm(ordered, unit="event")
    for event in ordered:
        if speed is not None:
            time.sleep(max(0.0, (event.timestamp - first).total_seconds() / speed - (time.monotonic() - begun)))
        EventCollector.emit(event)
    return len(ordered)


def _events(given: Any) -> Iterable[Any]:
    if isinstance(given, str | os.PathLike):
        raise CausalkitError(f"{given} is a path, not events; give load_events({str(given)!r})", given=given)
    if not isinstance(given, Iterable):
        raise CausalkitError(f"a {type(given).__name__} holds no events; give a list of OperatorEvent", given=given)
    return given
