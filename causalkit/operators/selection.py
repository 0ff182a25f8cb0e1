"""Which recorded calls are asked about: filters that leave all that surrounds a call as it is."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from functools import cached_property
from html import escape
from os import PathLike
from typing import Self

from causalkit.errors import CausalkitError
from causalkit.operators.calls import OperatorCall, calls_of
from causalkit.operators.events import OperatorEvent
from causalkit.operators.verdicts import clusters_of

_MOST_NAMES = 20


class CallSelection:
    """Some of the calls that events tell of; filters give a new selection each.

    Attributes
    ----------
    calls : tuple of OperatorCall
        Those asked about, in the order in which they began.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> with collect_events() as events:
    ...     trace(lambda votes: votes, operator_type="ensemble")([3, 5])
    ...     trace(lambda votes: 3, operator_type="judge")([3, 5])
    [3, 5]
    3
    >>> CallSelection(events).operator_type("ensemble")
    <CallSelection: 1 of 2 calls in 1 runs>
    """

    def __init__(self, events: Iterable[OperatorEvent], *, cluster: str | None = None) -> None:
        if isinstance(events, str | PathLike):
            raise CausalkitError(f"{events} is a path, not events; give load_events({str(events)!r})", given=events)
        if not isinstance(events, Iterable):
            raise CausalkitError(f"a {type(events).__name__} holds no events; give those of collect_events()")
        self._all = _Recorded(events, cluster)
        self._filters: tuple[Callable[[OperatorCall], object], ...] = ()

    def __len__(self) -> int:
        return len(self.calls)

    def __repr__(self) -> str:
        runs = len({call.run_id for call in self.calls})
        chosen = f" of {len(self._all.calls)}" if self._filters else ""
        return f"<{type(self).__name__}: {len(self)}{chosen} calls in {runs} runs>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"

    @cached_property
    def calls(self) -> tuple[OperatorCall, ...]:
        """The calls asked about, in the order in which they began."""
        chosen: Iterable[OperatorCall] = self._all.calls.values()
        for keep in self._filters:
            chosen = filter(keep, chosen)
        return tuple(chosen)

    def stage(self, *names: str) -> Self:
        """Ask about calls in these stages."""
        return self._named("stage", names)

    def operator_type(self, *names: str) -> Self:
        """Ask about calls of operators of these types."""
        return self._named("operator_type", names)

    def run(self, run_id: str) -> Self:
        """Ask about the calls of one run."""
        return self._named("run_id", (run_id,))

    def where(self, predicate: Callable[[OperatorCall], object]) -> Self:
        """Ask about the calls for which a function returns something true."""
        if not callable(predicate):
            raise CausalkitError(f"where() takes a function of an OperatorCall, not a {type(predicate).__name__}")
        asked = object.__new__(type(self))
        asked._all, asked._filters = self._all, (*self._filters, predicate)
        return asked

    def between(self, start: datetime | str | None = None, end: datetime | str | None = None) -> Self:
        """Ask about calls that began from `start` to `end`, dates or ISO 8601 texts; UTC where they name no zone.

        A day as the end includes all of it.
        """
        first, last = _instant(start, "start", time()), _instant(end, "end", time.max)
        if first and last and first > last:
            raise CausalkitError(f"start={start!r} is after end={end!r}; exchange them", start=start, end=end)
        return self.where(lambda call: (not first or call.start >= first) and (not last or call.start <= last))

    def cluster(self, run_id: str) -> Hashable:
        """Return what a run is about; one that does not say so is of its own."""
        clusters = self._all.clusters
        return clusters.get(run_id, (_Recorded, run_id)) if clusters else run_id

    def _named(self, field: str, names: tuple[str, ...]) -> Self:
        known = {getattr(call, field) for call in self._all.calls.values()}
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            there = sorted(name for name in known if name is not None)
            told = ", ".join(map(repr, there[:_MOST_NAMES])) + " and others" * (len(there) > _MOST_NAMES)
            raise CausalkitError(
                f"there is no {field} {', '.join(map(repr, unknown)) or 'without a name'}; there is {told or 'none'}",
                **{field: unknown[0] if unknown else None, "known": there},
            )
        return self.where(lambda call: getattr(call, field) in names)


@contextmanager
def collected_later() -> Iterator[None]:
    """Let the garbage collector wait: it would look through a million records again and again, of which none can go."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Recorded:
    """All calls there are, put together once."""

    def __init__(self, events: Iterable[OperatorEvent], cluster: str | None) -> None:
        self._events, self.named = events, cluster

    @cached_property
    @collected_later()
    def calls(self) -> dict[str, OperatorCall]:
        return calls_of(self._events)

    @cached_property
    def clusters(self) -> dict[str, Hashable]:
        return {} if self.named is None else clusters_of(self.calls.values(), self.named)


def _instant(given: datetime | date | str | None, which: str, day: time) -> datetime | None:
    if given is None:
        return None
    try:
        told = given if isinstance(given, date) else datetime.fromisoformat(str(given).strip())
        if not isinstance(told, datetime) or (isinstance(given, str) and len(given.strip()) <= len("2026-11-21")):
            told = datetime.combine(told, day)
        return told.replace(tzinfo=told.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CausalkitError(
            f"{which}={given!r} is no date; write one as '2026-11-21' or '2026-11-21T08:30+01:00', or give a datetime",
            given=given,
        ) from None
