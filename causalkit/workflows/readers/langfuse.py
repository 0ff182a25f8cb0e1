"""Traces of Langfuse: what its UI, its public API and its export to blob storage write.

A trace is the run, with its own input, output and scores; its observations are the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.journal_lines import Damage
from causalkit.workflows.readers.langfuse_fields import fields_of, from_metadata, kept, number
from causalkit.workflows.readers.langfuse_observations import observation_span
from causalkit.workflows.readers.rows import any_rows, name_of
from causalkit.workflows.readers.span_records import text_of
from causalkit.workflows.readers.spans import Redact, Span, gathered
from causalkit.workflows.readers.tabular import nanoseconds

if TYPE_CHECKING:
    from causalkit.workflows.traces import Traces

_EXPECTED = "a Langfuse export (traces as JSON; observations as JSON, JSONL, CSV, Parquet or a DataFrame)"
# A file of which so many rows in a row say nothing is one of another kind.
_PATIENCE = 1000
# A trace that lasted longer is a number gone wrong.
_LONGEST_S = 1e9
_OWN = {"id", "name", "timestamp", "latency", "input", "output", "metadata", "sessionId", "version", "release"}
# What an export of observations says about the trace in every row.
_OF_TRACE = {
    "traceName": "name",
    "traceTimestamp": "timestamp",
    "traceTags": "tags",
    **{name: name for name in ("userId", "sessionId", "tags", "release", "bookmarked", "public")},
}


def read_langfuse(source: Any, *, redact: Redact | None = None) -> Traces:
    """Read what Langfuse exports.

    Parameters
    ----------
    source : path-like, dict, DataFrame, or iterable of path-like or dict
        A trace as the UI downloads it or the API gives it; a list of them; observations (JSON, JSONL, CSV, Parquet, a
        DataFrame), also together with the files ``traces/`` and ``scores/`` of one export.
    redact : callable, optional
        Takes each run and each step as a dict and returns what may be kept of it.

    Returns
    -------
    Traces
        Each trace is a run and each of its observations a step; scores of traces are `quality_signals`, and all scores
        stand whole under the attribute ``langfuse.scores``. A run failed if an observation without a parent did.
        Tokens are those of ``usageDetails`` as Langfuse adds them up, cost is in USD. Of traces without a row of their
        own, times, input and output are those of their observations.

    Raises
    ------
    TraceFormatError
        If there is neither a trace nor an observation.

    Examples
    --------
    >>> times = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:02Z"}
    >>> read_langfuse({"id": "b", "traceId": "a", "traceName": "answer", "type": "TOOL", "name": "search", **times})[0]
    <WorkflowTrace answer ok: 1 steps, 2000.0 ms>
    """
    damage: list[Damage] = []
    spans = _Traces(damage).spans(any_rows(source, _EXPECTED))
    return gathered(spans, source=name_of(source), damage=damage, redact=redact)


class _Trace(msgspec.Struct):
    """What is known about a trace so far."""

    start: int | None = None
    end: int | None = None
    tops: list[Span] = msgspec.field(default_factory=list)
    failed: Span | None = None
    told: dict[str, Any] = msgspec.field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)

    def add(self, span: Span) -> None:
        times = [time for time in (span.start_ns, span.end_ns) if time is not None]
        self.start = min((self.start, *times), default=None) if self.start is not None else min(times, default=None)
        self.end = max((self.end, *times), default=None) if self.end is not None else max(times, default=None)
        if span.parent_id == span.trace_id:
            # Two are enough to know that none of them is the trace; the rest would only be held.
            self.tops = [*self.tops, span][:2]
            self.failed = self.failed if span.ok else span


class _Traces:
    """Turns rows into spans: those of observations at once, those of traces when all is read."""

    def __init__(self, damage: list[Damage]) -> None:
        self._damage = damage
        self._known: dict[str, _Trace] = {}

    def spans(self, rows: Iterable[Any]) -> Iterator[Span]:
        for row in rows:
            if isinstance(row, Damage):
                self._damage.append(row)
                continue
            for told in _flat(row.value):
                try:
                    yield from self._span(fields_of(told), told)
                except (AttributeError, TypeError, ValueError) as wrong:
                    place = f"{row.place}: " if hasattr(row, "place") else ""
                    self._damage.append(Damage(row.path, row.start, row.end, f"{place}{wrong}"))
            if len(self._damage) > _PATIENCE and not self._known:
                return
        for trace_id, trace in self._known.items():
            yield _trace_span(trace_id, trace)

    def _span(self, told: dict[str, Any], row: Mapping[str, Any]) -> Iterator[Span]:
        if "traceId" in told and told.keys() & {"startTime", "type"}:
            trace = self._of(told["traceId"])
            for name in told.keys() & _OF_TRACE.keys():
                trace.told.setdefault(_OF_TRACE[name], told.pop(name))
            span = observation_span(told)
            trace.add(span)
            yield span
        elif "traceId" in told and told.keys() & {"value", "stringValue", "longStringValue"} and "name" in told:
            self._of(told["traceId"]).scores[str(told.get("id", told["name"]))] = told
        elif "id" in told and told.keys() & {"timestamp", "observations"} and "traceId" not in told:
            self._of(told["id"]).told |= told
        else:
            raise ValueError(_stranger(row))

    def _of(self, trace_id: Any) -> _Trace:
        if not isinstance(trace_id, str | int):
            raise TypeError(f"a trace id is text, not {type(trace_id).__name__}")
        return self._known.setdefault(str(trace_id), _Trace())


def _flat(value: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the traces, observations and scores of what an export or an answer of the API says."""
    listed = next((value[name] for name in ("data", "traces") if isinstance(value.get(name), list)), None)
    for one in [value] if listed is None else listed:
        yield from _parts(one) if isinstance(one, Mapping) else [one]


def _parts(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inner = value.get("trace")
    told = [inner, value] if isinstance(inner, Mapping) else [value]
    lists = {name: [one for trace in told for one in _dicts(trace.get(name))] for name in ("observations", "scores")}
    trace = {name: one for trace in reversed(told) for name, one in trace.items() if one is not inner}
    yield {name: one for name, one in trace.items() if not lists.get(name)}
    for parts in lists.values():
        # The UI writes the observations twice: in the trace and beside it.
        unique = {str(one.get("id", number)): one for number, one in enumerate(parts)}
        yield from ({"traceId": trace.get("id"), **one} for one in unique.values())


def _dicts(listed: Any) -> list[Any]:
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _trace_span(trace_id: str, trace: _Trace) -> Span:
    told, only = trace.told, trace.tops[0] if len(trace.tops) == 1 else None
    start, notes = nanoseconds(told.get("timestamp")), list[str]()
    begin = start[0] if start else trace.start
    lasted, end = number(told.get("latency")), trace.end
    if begin is not None and lasted is not None and 0 <= lasted < _LONGEST_S:
        end = begin + round(lasted * 1e9)
    # Only what was exported without its observations says for itself how it went.
    failed = trace.failed is not None or (trace.start is None and told.get("level") == "ERROR")
    inputs = only.attributes if only else {}
    attributes = {name: inputs[name] for name in inputs if name in ("causalkit.input", "causalkit.output")}
    attributes |= kept(told, _OWN) | from_metadata(told.get("metadata"))
    attributes |= {f"causalkit.{name}": told[name] for name in ("input", "output") if name in told}
    if "release" in told:
        attributes["release"] = told["release"]
    if trace.scores:
        attributes["langfuse.scores"] = [*trace.scores.values()]
    run: dict[str, Any] = {"quality_signals": _signals(trace.scores.values(), notes)}
    if "sessionId" in told:
        attributes["gen_ai.conversation.id"] = str(told["sessionId"])
    if "version" in told:
        run["router_version"] = text_of(told["version"])
    return Span(
        trace_id=trace_id,
        span_id=trace_id,
        name=text_of(told.get("name")) or (trace.tops[0].name if trace.tops else ""),
        start_ns=begin,
        end_ns=begin if end is None else end,
        ok=not failed,
        error=trace.failed.error if trace.failed else None,
        attributes=attributes,
        run=run,
        notes=notes,
    )


def _signals(scores: Iterable[Mapping[str, Any]], notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for score in sorted(scores, key=lambda score: str(score.get("timestamp", ""))):
        name, text = str(score["name"]), score.get("stringValue", score.get("longStringValue"))
        if "observationId" in score:
            continue
        if name in found:
            notes.append(f"score {name!r} was given more than once; the latest counts")
        value, kind = number(score.get("value")), score.get("dataType")
        if kind == "BOOLEAN" and value is not None:
            found[name] = bool(value)
        else:
            found[name] = text if kind in ("CATEGORICAL", "TEXT") or value is None else value
    return found


def _stranger(told: Mapping[str, Any]) -> str:
    if "resourceSpans" in told:
        return "OTLP, not Langfuse; use read_otlp"
    return f"no trace, observation or score of Langfuse; it has {', '.join(map(repr, [*told][:6])) or 'nothing'}"
