"""Read operator events back from journals, each with the chain of callers around it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from causalkit.errors import TraceFormatError
from causalkit.journal_reading import Damage, journal_files, scan
from causalkit.operators.event_lines import EventRecord
from causalkit.operators.events import ExecutionContext, OperatorEvent, OperatorMetadata

PathLike = str | os.PathLike[str]
_DAMAGE_SHOWN = 5


class EventList(list[OperatorEvent]):
    """Events that were read back.

    Attributes
    ----------
    damage : list of Damage
        What could not be read, each with file, bytes and reason.
    """

    def __init__(self, events: Iterable[OperatorEvent] = (), damage: Iterable[Damage] = ()) -> None:
        super().__init__(events)
        self.damage = [*damage]

    def __repr__(self) -> str:
        damaged = f", {len(self.damage)} damaged places" if self.damage else ""
        return f"<EventList of {len(self)} events{damaged}>"


def load_events(path: PathLike | Iterable[PathLike]) -> EventList:
    """Read the operator events of journals; the runs and steps in them are for `load_traces`.

    Parameters
    ----------
    path : path-like, or iterable of path-like
        As `save_events` and `EventJournal` write them, also packed with gzip; further segments are read with each.

    Returns
    -------
    EventList
        A list, in the order of the files. Data come back as JSON has them: a tuple as a list, NaN as None. A caller of
        which nothing stands in the journals is known by its id only (``parent_call_id``). Bytes that hold no record,
        and records that are no whole event, are in ``.damage``, and a warning says so.

    Raises
    ------
    TraceFormatError
        If there is no journal, or no event among what it holds.

    Examples
    --------
    >>> import tempfile
    >>> from causalkit.operators.event_journal import save_events
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> with collect_events() as events:
    ...     trace(lambda x: 2 * x)(3)
    6
    >>> path = Path(tempfile.mkdtemp()) / "events.jsonl"
    >>> save_events(path, events)
    2
    >>> load_events(path) == list(events)
    True
    """
    damage: list[Damage] = []
    records: list[EventRecord] = []
    others = 0
    for found in (found for journal in _journals(path) for found in scan(journal)):
        if isinstance(found, Damage):
            damage.append(found)
        elif found.record.get("kind") != "event":
            others += 1
        else:
            try:
                records.append(msgspec.convert(found.record, EventRecord))
            except msgspec.ValidationError as error:
                damage.append(Damage(found.path, found.start, found.end, f"no whole event: {error}"))
    lost = "; ".join(map(str, damage[:_DAMAGE_SHOWN])) + (" and more" if len(damage) > _DAMAGE_SHOWN else "")
    if not records and (others or damage):
        raise TraceFormatError(
            f"{path} holds no operator event, only {f'damage ({lost})' if damage else f'{others} other records'}; name "
            "a journal that save_events or EventJournal wrote",
            path=path,
            damage=damage,
        )
    if damage:
        warnings.warn(f"read {len(records)} events and left out {lost}; see .damage", stacklevel=2)
    return EventList(_Places(records).events(), damage)


def _journals(given: Any) -> Iterator[Path]:
    paths = [given] if isinstance(given, str | os.PathLike) or not isinstance(given, Iterable) else [*given]
    if not paths:
        raise TraceFormatError("no journal was named; give the path of a journal, or several", path="")
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise TraceFormatError(
                f"a {type(path).__name__} is no path; give the path of a journal, or several", path=""
            )
        if Path(path).is_dir():
            raise TraceFormatError(f"{path} is a folder; name the journals in it", path=path)
        if not journal_files(path):
            raise TraceFormatError(f"there is no journal {path}; check the path", path=path)
        yield Path(path)


class _Places:
    """Finds for each record where its call stands: who was called, within which calls."""

    def __init__(self, records: list[EventRecord]) -> None:
        self._records = records
        self._callers: dict[str | None, EventRecord] = {}
        for record in records:
            if record.request_id is not None:
                self._callers.setdefault(record.call_id, record)
        self._contexts: dict[tuple[Any, ...], ExecutionContext] = {}
        self._operators: dict[tuple[str, str, tuple[str, ...]], OperatorMetadata] = {}

    def events(self) -> Iterator[OperatorEvent]:
        """Yield the events of the records."""
        for record in self._records:
            yield OperatorEvent(
                record.operator_id,
                record.operator_type,
                record.event_type,
                record.call_id,
                record.timestamp,
                record.stage,
                record.parent_call_id,
                record.duration_ms,
                None if record.request_id is None else self._context(record),
                record.data,
            )

    def _context(self, record: EventRecord) -> ExecutionContext:
        context = self._contexts.get(_key(record))
        inner: list[EventRecord] = []
        around: EventRecord | None = record
        # Files may say anything: a call may be its own caller.
        passed: set[str] = set()
        while context is None and around is not None and around.call_id not in passed:
            inner.append(around)
            passed.add(around.call_id)
            around = self._callers.get(around.caller_id or around.parent_call_id)
            context = None if around is None else self._contexts.get(_key(around))
        for record in reversed(inner):
            who = record.operator_id, record.operator_type, record.tags
            metadata = self._operators.get(who) or self._operators.setdefault(who, OperatorMetadata(*who))
            context = ExecutionContext(record.call_id, metadata, record.stage, record.request_id or "", context)
            self._contexts[_key(record)] = context
        assert context is not None  # noqa: S101 - of the record itself
        return context


def _key(record: EventRecord) -> tuple[Any, ...]:
    return (
        record.call_id, record.operator_id, record.operator_type, record.tags, record.stage, record.request_id,
        record.caller_id or record.parent_call_id,
    )  # fmt: skip
