"""Event logs as process mining has them: each case is a run, each event a step."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.journal_lines import Damage
from causalkit.workflows.readers.event_columns import EXPECTED, Columns, columns_of
from causalkit.workflows.readers.spans import Redact, Span, gathered
from causalkit.workflows.readers.tabular import TableRow, nanoseconds, table_rows

if TYPE_CHECKING:
    from causalkit.workflows.traces import Traces

# What ends an activity in the life cycle of the XES standard, and whether it was then done.
_ENDED = {
    "complete": True,
    "autoskip": True,
    "manualskip": True,
    "withdraw": False,
    "ate_abort": False,
    "pi_abort": False,
}
_KNOB = "causalkit.knob."
_SINCE = (
    "of {n} events one time is known: their latency is the time since the event before them in the case, waiting "
    "included, and 0 for the first one of a case"
)
_NAIVE = "{n} times name no time zone and were read as UTC"


def read_event_log(
    source: Any,
    *,
    case: str = "case",
    activity: str = "activity",
    time: str = "time",
    end: str | None = None,
    redact: Redact | None = None,
) -> Traces:
    """Read an event log.

    Parameters
    ----------
    source : path-like, iterable of path-like, or DataFrame
        CSV (also gzipped; commas, semicolons, tabs or bars), Parquet, or a table. One case may go on in another file.
    case, activity, time : str
        The columns that name the case, what was done, and when. Where one is not there, the usual names are tried:
        ``case:concept:name``, ``concept:name``, ``time:timestamp`` of XES, ``Case ID``, ``Activity``, ``timestamp``.
    end : str, optional
        The column with the end of each event; `time` is then its begin. Default: ``end_time``, ``complete_timestamp``
        or the like beside `time`, or `time` itself beside ``start_timestamp``.
    redact : callable, optional
        Takes each run and each step as a dict and returns what may be kept of it.

    Returns
    -------
    Traces
        Each case is a run, each event a step. Begin and end of a step are those of its row, or of the two rows that
        ``lifecycle:transition`` calls ``start`` and ``complete``. Where an event has one time only, nobody knows how
        long it lasted, and 0 would be wrong: its step begins at the event before it in the same case, so that its
        latency is what it took to get to it, waiting included; only the first one of a case has 0. `caveats` says of
        how many events this holds. Columns that begin with ``case:`` become attributes of the run, others of the step,
        ``causalkit.knob.…`` knobs. Times without a zone are UTC. Rows without a case, an activity or a readable time
        are left out (`damage`).

    Raises
    ------
    TraceFormatError
        If there is no such column, or no event.

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"case": ["a", "a"], "activity": ["ask", "answer"], "time": ["2026-01-01", "2026-01-02"]})
    >>> [(step.step_name, step.latency_ms) for step in read_event_log(log)[0].steps]
    [('ask', 0.0), ('answer', 86400000.0)]
    """
    damage: list[Damage] = []
    rows: list[TableRow] = []
    for row in table_rows(source, EXPECTED):
        (damage if isinstance(row, Damage) else rows).append(row)  # type: ignore[arg-type]
    paths = ", ".join(dict.fromkeys(row.path for row in rows))
    name = "a DataFrame" if hasattr(source, "itertuples") else paths or str(source)
    columns = columns_of(rows, {"case": case, "activity": activity, "time": time, "end": end}, name)
    log = _Log(columns, damage)
    for row in rows:
        log.add(row)
    workflow = Path(rows[0].path).name.partition(".")[0] or "event log" if rows else ""
    traces = gathered(log.spans(workflow), source=name, damage=damage, redact=redact)
    told = [text.format(n=n) for text, n in ((_SINCE, log.alone), (_NAIVE, log.naive)) if n]
    return replace(traces, caveats=(*traces.caveats, *told))


class _Event(msgspec.Struct):
    name: str
    begin: int | None
    end: int | None
    transition: str
    instance: str
    number: int
    row: dict[str, Any]

    @property
    def at(self) -> int:
        return self.end if self.end is not None else self.begin or 0


class _Log:
    """The events of each case."""

    def __init__(self, columns: Columns, damage: list[Damage]) -> None:
        self.naive = self.alone = 0
        self._columns = columns
        self._damage = damage
        self._cases: dict[str, list[_Event]] = defaultdict(list)
        self._rows = 0

    def add(self, row: TableRow) -> None:
        self._rows += 1
        told, columns = row.value, self._columns
        absent = [name for name in (columns.case, columns.activity) if told.get(name) is None]
        times = {name: nanoseconds(told[name]) for name in (columns.begin, columns.end) if name and name in told}
        wrong = [name for name, time in times.items() if time is None]
        if absent or wrong or not times:
            reason = f"no {absent[0]}" if absent else f"{told[wrong[0]]!r} is no time" if wrong else f"no {columns.end}"
            self._damage.append(row.damage(reason))
            return
        self.naive += sum(not time[1] for time in times.values() if time)
        begin, end = ((times.get(name) or (None,))[0] if name else None for name in (columns.begin, columns.end))
        event = _Event(
            str(told[columns.activity]),
            begin,
            end,
            str(told.get(columns.transition or "", "")).lower(),
            str(told.get(columns.instance or "", "")),
            self._rows,
            told,
        )
        self._cases[str(told[columns.case])].append(event)

    def spans(self, workflow: str) -> Iterator[Span]:
        paired = any(event.transition == "start" for events in self._cases.values() for event in events)
        for case, events in self._cases.items():
            # Of one instant, in the order of the log.
            events.sort(key=lambda event: event.at)
            steps = [*self._steps(case, events, paired)]
            yield from steps
            yield Span(
                trace_id=case,
                span_id=case,
                name=workflow,
                start_ns=min(step.start_ns or 0 for step in steps),
                end_ns=max(event.at for event in events),
                attributes=self._of_case(events),
            )

    def _steps(self, case: str, events: Collection[_Event], paired: bool) -> Iterator[Span]:
        begun: dict[tuple[str, str], deque[Span]] = defaultdict(deque)
        before: int | None = None
        for event in events:
            opened = begun[event.name, event.instance]
            if paired and event.transition in _ENDED and opened:
                span = opened.popleft()
                span.end_ns = event.at
                span.attributes |= self._of_step(event)
                yield self._judged(span, event)
            elif paired and event.transition == "start":
                opened.append(self._span(case, event, event.at, None))
            else:
                yield self._judged(self._alone(case, event, before), event)
            before = event.at
        # What was begun and never ended.
        yield from (span for opened in begun.values() for span in opened)

    def _alone(self, case: str, event: _Event, before: int | None) -> Span:
        if event.begin is not None:
            return self._span(case, event, event.begin, event.end)
        self.alone += 1
        span = self._span(case, event, event.at if before is None else before, event.at)
        span.attributes["causalkit.since_previous"] = before is not None
        return span

    def _span(self, case: str, event: _Event, begin: int, end: int | None) -> Span:
        other = event.transition and event.transition != "start" and event.transition not in _ENDED
        return Span(
            trace_id=case,
            span_id=str(event.number),
            parent_id=case,
            name=f"{event.name} ({event.transition})" if other else event.name,
            start_ns=begin,
            end_ns=end,
            attributes=self._of_step(event),
        )

    def _judged(self, span: Span, event: _Event) -> Span:
        if not _ENDED.get(event.transition, True):
            span.ok, span.error = False, {"type": event.transition, "message": "", "stack": ""}
        return span

    def _of_step(self, event: _Event) -> dict[str, Any]:
        known = {*self._columns[:4]}
        return {
            name: value
            for name, value in event.row.items()
            if name not in known and not name.startswith(("case:", _KNOB))
        }

    def _of_case(self, events: Iterable[_Event]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for event in events:
            for name, value in event.row.items():
                if name.startswith(("case:", _KNOB)) and name != self._columns.case:
                    told.setdefault(name.removeprefix("case:") if _KNOB in name else name, value)
        return told
