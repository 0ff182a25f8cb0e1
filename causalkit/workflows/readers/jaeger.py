"""Traces of Jaeger: what its UI downloads and its query API answers, and spans as its stores keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.otlp_values import KINDS, key_values
from causalkit.workflows.readers.rows import name_of
from causalkit.workflows.readers.sources import json_lines
from causalkit.workflows.readers.span_events import otlp_part
from causalkit.workflows.readers.spans import Redact, Span, gathered

if TYPE_CHECKING:
    from causalkit.workflows.traces import Traces

Json = Mapping[str, Any]

_EXPECTED = 'Jaeger JSON ({"data": [{"traceID": …, "spans": […], "processes": {…}}]})'
_OWN = {"traceID", "spanID", "parentSpanID", "operationName", "references", "startTime", "duration", "tags", "logs"}
_OWN |= {"processID", "process"}
# Under which names exceptions stand in logs: those of OpenTelemetry and of OpenTracing.
_ERROR = {
    "type": ("exception.type", "error.kind"),
    "message": ("exception.message", "message", "error.message", "error.object"),
    "stack": ("exception.stacktrace", "stack"),
}
# Where libraries put their own name, the old one last.
_SCOPES = {"name": ("otel.scope.name", "otel.library.name"), "version": ("otel.scope.version", "otel.library.version")}
_WRONG = (AttributeError, KeyError, TypeError, ValueError, OverflowError)


def read_jaeger(source: Any, *, redact: Redact | None = None) -> Traces:
    """Read what Jaeger's UI downloads or ``/api/traces`` answers.

    Parameters
    ----------
    source : path-like, dict, or iterable of path-like or dict
        JSON, also gzipped: answers with ``data``, single traces, or spans one a line as Elasticsearch has them.
    redact : callable, optional
        Takes each run and each step as a dict and returns what may be kept of it.

    Returns
    -------
    Traces
        The parent of a span is its first CHILD_OF reference into the same trace, else its first FOLLOWS_FROM, as
        Jaeger shows it; every other reference, and every FOLLOWS_FROM, is kept as a link. A span failed if its tag
        ``otel.status_code`` says ERROR or its tag ``error`` is true. Tags are the attributes under their own names;
        logs, links, process and kind stand in ``causalkit.otlp`` as OTLP has them.

    Raises
    ------
    TraceFormatError
        If there is no span; of a file that holds OTLP, as newer versions of Jaeger write it, it says so.

    Examples
    --------
    >>> span = {"traceID": "1", "spanID": "2", "operationName": "answer", "startTime": 1_000_000, "duration": 5_000}
    >>> read_jaeger({"data": [{"traceID": "1", "spans": [span], "processes": {}}]})[0]
    <WorkflowTrace answer ok: 0 steps, 5.0 ms>
    """
    damage: list[Damage] = []
    return gathered(_spans(source, damage), source=name_of(source), damage=damage, redact=redact)


def _spans(source: Any, damage: list[Damage]) -> Iterator[Span]:
    for row in json_lines(source, _EXPECTED):
        if isinstance(row, Damage):
            damage.append(row)
            continue
        _refuse_otlp(row.value, row.path)
        for span, process, warnings in _told_in(row.value):
            try:
                yield _span(span, process, warnings)
            except _WRONG as error:
                reason = f"no span of Jaeger ({type(error).__name__}: {error})"
                damage.append(Damage(row.path, row.start, row.end, reason))


def _refuse_otlp(value: Json, path: str) -> None:
    inner = value.get("result")
    if "resourceSpans" in value or (isinstance(inner, dict) and "resourceSpans" in inner):
        use = "read_otlp or read_traces" if "resourceSpans" in value else "read_otlp for what is under 'result'"
        raise TraceFormatError(
            f"{path or 'this'} is OTLP, not Jaeger's own JSON; use {use}", path=path, expected=_EXPECTED
        )


def _told_in(value: Json) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each span with its process and the warnings of its trace."""
    data = value.get("data")
    for trace in data if isinstance(data, list) else [value]:
        spans = trace.get("spans", [trace]) if isinstance(trace, dict) else [trace]
        if not isinstance(spans, list):
            spans = [spans]
        processes = trace.get("processes") if isinstance(trace, dict) else None
        for span in spans:
            told = span if isinstance(span, dict) else {}
            known = processes.get(str(told.get("processID")), {}) if isinstance(processes, dict) else {}
            yield span, told.get("process") or known, trace.get("warnings") if trace is not span else None


def _span(span: Json, process: Json, warnings: Any) -> Span:
    tags, notes = _fields(span.get("tags"))
    parent = _parent(span)
    start, lasted = int(span["startTime"]) * 1000, span.get("duration")
    events = [_event(log) for log in span.get("logs") or ()]
    code = str(tags.get("otel.status_code", "")).upper()
    failed = code == "ERROR" or (code != "OK" and str(tags.get("error", "false")).lower() not in ("false", "0", ""))
    message = tags.get("otel.status_description")
    rest = {f"jaeger.{name}": value for name, value in span.items() if name not in _OWN and value not in (None, [])}
    told = otlp_part(events, _links(span, parent), code or ("ERROR" if failed else ""), message)
    otlp = told.get("causalkit.otlp", {}) | _context(tags, process)
    return Span(
        trace_id=_id(span["traceID"]),
        span_id=_id(span["spanID"]),
        parent_id=parent,
        name=str(span["operationName"]),
        start_ns=start,
        end_ns=None if lasted is None else start + int(lasted) * 1000,
        ok=not failed,
        error=_error(events, tags, message) if failed else None,
        attributes={
            **tags,
            **rest,
            **({"jaeger.trace.warnings": warnings} if warnings else {}),
            **({"causalkit.otlp": otlp} if otlp else {}),
        },
        notes=notes,
    )


def _id(told: Any) -> str:
    if not isinstance(told, str) or not told:
        raise ValueError(f"an id is text, not {told!r}")
    return told.lower()


def _references(span: Json) -> list[Json]:
    return [one for one in span.get("references") or () if one.get("spanID")]


def _parent(span: Json) -> str | None:
    near = [one for one in _references(span) if one.get("traceID", span["traceID"]) == span["traceID"]]
    first = {one.get("refType"): one for one in reversed(near)}
    told = (first.get("CHILD_OF") or first.get("FOLLOWS_FROM") or {}).get("spanID") or span.get("parentSpanID")
    # All zeros is how some stores say that there is none.
    return _id(told) if told and str(told).strip("0") else None


def _links(span: Json, parent: str | None) -> Iterator[dict[str, Any]]:
    for one in _references(span):
        kind, trace = str(one.get("refType", "")).lower(), one.get("traceID", span["traceID"])
        if kind != "child_of" or (trace, _id(one["spanID"])) != (span["traceID"], parent):
            attributes = {"opentracing.ref_type": kind}
            yield {"trace_id": _id(trace), "span_id": _id(one["spanID"]), "attributes": attributes}


def _event(log: Json) -> dict[str, Any]:
    fields, _ = _fields(log.get("fields"))
    name = str(fields.pop("event", fields.get("message", "")))
    return {"name": name, "time_ns": int(log["timestamp"]) * 1000, "attributes": fields}


def _error(events: list[dict[str, Any]], tags: Json, message: Any) -> dict[str, str]:
    found = {"type": str(tags.get("error.type", "")), "message": str(message or ""), "stack": ""}
    if not message and isinstance(tags.get("error"), str) and tags["error"].lower() != "true":
        found["message"] = tags["error"]
    for event in events:
        fields = event["attributes"]
        if event["name"] in ("exception", "error") or "exception.type" in fields or "error.kind" in fields:
            told = {
                part: next((fields[name] for name in names if name in fields), None) for part, names in _ERROR.items()
            }
            found |= {part: str(value) for part, value in told.items() if value is not None}
    return found


def _context(tags: Json, process: Json) -> dict[str, Any]:
    """Return kind, library, trace state and process as OTLP has them."""
    kind = str(tags.get("span.kind", "")).upper()
    scope = {part: next((tags[name] for name in names if name in tags), None) for part, names in _SCOPES.items()}
    scope = {part: str(value) for part, value in scope.items() if value is not None}
    resource, _ = _fields(process.get("tags"))
    if process.get("serviceName"):
        resource = {"service.name": process["serviceName"], **resource}
    told = {
        "kind": KINDS.index(kind) if kind in KINDS else 0,
        "scope": scope,
        "traceState": tags.get("w3c.tracestate"),
        "resource": {"attributes": key_values(resource)} if resource else None,
    }
    return {name: value for name, value in told.items() if value}


def _fields(tags: Any) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    notes = []
    for tag in tags or ():
        name, value = str(tag["key"]), _typed(tag.get("type"), tag.get("value"))
        if name in found and found[name] != value:
            notes.append(f"tag {name!r} stands there more than once; the last one counts")
        found[name] = value
    return found, notes


def _typed(kind: Any, value: Any) -> Any:
    """Return a value that may be written as text: large integers always are, in Elasticsearch all values."""
    if not isinstance(value, str) or kind in (None, "string", "binary"):
        return value
    try:
        return value.lower() == "true" if kind == "bool" else {"int64": int, "float64": float}[kind](value)
    except (KeyError, ValueError):
        return value
