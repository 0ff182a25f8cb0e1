"""Read what OpenTelemetry's ConsoleSpanExporter prints, and the ``{"spans": […]}`` of any-agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.otlp_values import KINDS, key_values, number_of
from causalkit.workflows.readers.rows import name_of
from causalkit.workflows.readers.sources import json_lines
from causalkit.workflows.readers.span_events import error_of, otlp_part
from causalkit.workflows.readers.span_records import text_of
from causalkit.workflows.readers.spans import Redact, Span, gathered
from causalkit.workflows.readers.tabular import nanoseconds

if TYPE_CHECKING:
    import os

    from causalkit.workflows.traces import Traces

EXPECTED = 'spans as OpenTelemetry\'s ConsoleSpanExporter prints them, or {"spans": [...]} of any-agent'


def read_console(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[str, Any],
    *,
    redact: Redact | None = None,
) -> Traces:
    """Read the spans that OpenTelemetry's console exporter printed: root spans become runs, the others their steps.

    Parameters
    ----------
    source : path-like, iterable of path-like, or dict
        Objects, one a line or indented, one behind the other; also gzipped. Or such an object, parsed.
    redact : callable, optional
        Takes each record as a dict and returns what may be kept of it; by default everything is.

    Returns
    -------
    Traces
        As of `read_otlp`; the times that the exporter prints end at the microsecond.

    Raises
    ------
    TraceFormatError
        If a file holds something else, or no span at all.

    Examples
    --------
    >>> span = {"name": "answer", "context": {"trace_id": "0x1f", "span_id": "0x2a"}, "parent_id": None}
    >>> span |= {"start_time": "2026-11-20T23:02:08.25Z", "end_time": "2026-11-20T23:02:08.5Z", "status": {}}
    >>> read_console(span)[0]
    <WorkflowTrace answer ok: 0 steps, 250.0 ms>
    """
    damage: list[Damage] = []
    name = name_of(source)
    return gathered(_spans(source, name, damage), source=name, damage=damage, redact=redact)


_KNOWN = {
    *("name", "context", "parent_id", "parent", "kind", "start_time", "end_time", "status", "attributes", "events"),
    *("links", "resource"),
}
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


def _spans(source: Any, name: str, damage: list[Damage]) -> Iterator[Span]:
    good = False
    for row in json_lines(source, EXPECTED):
        if isinstance(row, Damage):
            damage.append(row)
            continue
        spans, answer = row.value.get("spans"), row.value.get("final_output")
        for told in spans if isinstance(spans, list) else [row.value]:
            try:
                yield _span(told, answer)
                good = True
            except _MALFORMED as error:
                what = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
                damage.append(Damage(row.path, row.start, row.end, f"no span of the console exporter ({what})"))
    if not good:
        reason = damage[0].reason if damage else "it is empty"
        raise TraceFormatError(
            f"{name} holds no spans: {reason}; expected {EXPECTED}",
            path=name,
            byte=damage[0].start if damage else 0,
            expected=EXPECTED,
            damage=tuple(damage),
        )


def _span(told: Mapping[str, Any], answer: Any) -> Span:
    context, notes = told["context"], []
    parent = told["parent"]["span_id"] if told.get("parent") else told.get("parent_id")
    times = {name: _instant(told.get(name)) for name in ("start_time", "end_time")}
    for name, time in times.items():
        if time is None and told.get(name) is not None:
            notes.append(f"{name} is no time: {str(told[name])[:80]}")
    status = told.get("status") or {}
    code, message = str(status.get("status_code") or "UNSET").upper(), status.get("description")
    events = [{**event, "time_ns": _instant(event.get("timestamp"))} for event in told.get("events") or ()]
    attributes = {
        **(told.get("attributes") or {}),
        **{f"console.{name}": value for name, value in told.items() if name not in _KNOWN},
        **_otlp(told, otlp_part(events, [_link(one) for one in told.get("links") or ()], code, message)),
    }
    return Span(
        trace_id=_id(context["trace_id"], 32),
        span_id=_id(context["span_id"], 16),
        parent_id=None if parent is None else _id(parent, 16),
        name=text_of(told["name"]),
        start_ns=times["start_time"],
        end_ns=times["end_time"],
        ok=code != "ERROR",
        error=error_of(events, message) or None if code == "ERROR" else None,
        attributes=attributes,
        run={} if answer is None else {"final_answer": text_of(answer)},
        notes=notes,
    )


def _otlp(told: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    otlp = dict(part.get("causalkit.otlp", {}))
    resource = told.get("resource") or {}
    if resource.get("attributes"):
        otlp["resource"] = {"attributes": key_values(resource["attributes"])}
    if resource.get("schema_url"):
        otlp["resourceSchemaUrl"] = resource["schema_url"]
    kind = number_of(str(told.get("kind") or "").removeprefix("SpanKind.").upper(), KINDS, "")
    if kind:
        otlp["kind"] = kind
    state = told["context"].get("trace_state")
    if state and state not in ("[]", {"entries": {}}):
        otlp["traceState"] = text_of(state)
    return {"causalkit.otlp": otlp} if otlp else {}


def _link(told: Mapping[str, Any]) -> dict[str, Any]:
    ids = {name: _id(told["context"][name], size) for name, size in (("trace_id", 32), ("span_id", 16))}
    return {**ids, "attributes": told.get("attributes")}


def _instant(told: Any) -> int | None:
    # any-agent writes nanoseconds.
    if isinstance(told, int) and not isinstance(told, bool):
        return told
    found = nanoseconds(told)
    return found[0] if found else None


def _id(told: Any, digits: int) -> str:
    """Return an id in hex; any-agent writes it as a number, the exporter behind 0x."""
    if isinstance(told, bool) or not isinstance(told, str | int) or told == "":
        raise ValueError(f"an id is text or a number, not {str(told)[:80]!r}")
    if isinstance(told, int):
        return f"{told:0{digits}x}"
    text = told.lower()
    return text.removeprefix("0x").zfill(digits) if text.startswith("0x") else told
