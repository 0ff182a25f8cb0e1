"""Traces as MLflow keeps them: JSON of versions 2 and 3, and what ``search_traces`` gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from causalkit.journal_lines import Damage
from causalkit.workflows.readers.mlflow_fields import (
    ABOUT,
    BEGAN,
    STATE,
    TOOK,
    TRACE_ID,
    cell,
    decoded,
    first,
    hex_of,
    pairs_of,
    parts_of,
    signals_of,
)
from causalkit.workflows.readers.rows import any_rows, name_of, needed
from causalkit.workflows.readers.span_events import error_of, otlp_part
from causalkit.workflows.readers.span_records import text_of
from causalkit.workflows.readers.spans import Redact, Span, gathered
from causalkit.workflows.readers.tabular import nanoseconds

if TYPE_CHECKING:
    from causalkit.workflows.traces import Traces

_EXPECTED = "traces of MLflow (JSON with info and data.spans, or what search_traces gives, also as CSV)"
_PARENT, _AT = ("parent_span_id", "parent_id"), ("time_unix_nano", "timestamp")
_START, _END = ("start_time_unix_nano", "start_time"), ("end_time_unix_nano", "end_time")
_STATUS = ("status", "status_code", "status_message")
_SPAN_FIELDS = {*_PARENT, *_START, *_END, *_STATUS, "trace_id", "span_id", "context", "name", "attributes"}
_SPAN_FIELDS |= {"events", "links"}
# What went into and out of a trace, the longer text first.
_ENDS = {
    "question": ("request", "request_preview", "mlflow.traceInputs"),
    "final_answer": ("response", "response_preview", "mlflow.traceOutputs"),
}
# What a span says, and the sum of it that is said of the trace.
_TOTALS = {"mlflow.chat.tokenUsage": "mlflow.trace.tokenUsage", "mlflow.llm.cost": "mlflow.trace.cost"}
_MS = 1_000_000
_NOTHING: tuple[Any, ...] = (None, "", {}, [])


def read_mlflow(source: Any, *, redact: Redact | None = None) -> Traces:
    """Read traces of MLflow.

    Parameters
    ----------
    source : DataFrame, path-like, iterable of path-like, or dict
        What ``mlflow.search_traces()`` gives, also as CSV; JSON of traces (``trace.to_json()``, of MLflow 3 or 2), one
        or many in a file, also gzipped; or one as parsed.
    redact : callable, optional
        Takes a record and returns what may be kept of it; by default everything is.

    Returns
    -------
    Traces
        Assessments are the `quality_signals` of a run; what else MLflow says about a trace is among its attributes,
        as ``mlflow.tags`` and the like. A run's `request_id` is MLflow's trace id, its steps have the ids of
        OpenTelemetry in hex.

    Raises
    ------
    TraceFormatError
        If there is no such trace.

    Examples
    --------
    >>> trace = {"info": {"trace_id": "tr-1", "state": "OK", "request_time": "2026-01-02T03:04:05Z",
    ...                   "execution_duration_ms": 12, "tags": {"mlflow.traceName": "answer"}}}
    >>> read_mlflow(trace)
    <Traces: 1 runs of answer, 0 failed>
    """
    damage: list[Damage] = []
    spans = needed(_spans(source, damage), source, damage, _EXPECTED)
    return gathered(spans, source=name_of(source), damage=damage, redact=redact)


def _spans(source: Any, damage: list[Damage]) -> Iterator[Span]:
    for row in any_rows(source, _EXPECTED):
        if isinstance(row, Damage):
            damage.append(row)
            continue
        for told in _traces_in(row.value):
            try:
                info, data = parts_of(told)
                yield from _spans_of(info, data, lost := [])
            except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
                lost = [f"no trace of MLflow ({error})"]
            damage.extend(Damage(row.path, row.start, row.end, reason) for reason in lost)


def _traces_in(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the traces of a JSON object: itself, or those of a page of the REST interface."""
    several = value.get("traces")
    yield from several if isinstance(several, list) else [value]


def _spans_of(info: Mapping[str, Any], data: Mapping[str, Any], lost: list[str]) -> list[Span]:
    trace_id, spans = first(info, TRACE_ID), list[Span]()
    for number, told in enumerate(data.get("spans") or (), start=1):
        try:
            spans.append(_span(cell(told), trace_id))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            lost.append(f"span {number} of trace {trace_id}: {error}")
    if not spans and trace_id is not None:
        spans.append(_trace_as_span(info, str(trace_id)))
    about, known = pairs_of(first(info, ABOUT)), {span.span_id for span in spans}
    heads = [span for span in spans if span.parent_id is None] or [one for one in spans if one.parent_id not in known]
    for head in heads:
        head.run = _run(info, data, about, "mlflow.spanInputs" in head.attributes)
        if head.parent_id is not None:
            # Of several without their parent none becomes the run; what is known of it stands with the first.
            head.attributes |= head.run["attributes"] if heads[1:] else {}
            break
    for name, total in _TOTALS.items():
        # The sum over a trace stands in for what no span of it tells, and only then: else it would count twice.
        if heads and total in about and not any(name in span.attributes for span in spans):
            heads[0].attributes[name] = decoded(about[total])
    return spans


def _span(told: Mapping[str, Any], trace_id: Any) -> Span:
    ids, notes = told.get("context") or told, list[str]()
    attributes = {name: decoded(value) for name, value in pairs_of(told.get("attributes")).items()}
    otel_id = hex_of(ids.get("trace_id"), 16, notes)
    trace_id = str(trace_id or attributes.get("mlflow.traceRequestId") or otel_id)
    if trace_id.removeprefix("tr-") != otel_id:
        attributes["mlflow.otel_trace_id"] = otel_id
    attributes |= {f"mlflow.{name}": value for name, value in told.items() if name not in _SPAN_FIELDS}
    code, message = _status(told)
    events = [{**event, "time_ns": first(event, _AT)} for event in told.get("events") or ()]
    links = [
        {**link, "trace_id": hex_of(link["trace_id"], 16, notes), "span_id": hex_of(link["span_id"], 8, notes)}
        for link in told.get("links") or ()
    ]
    parent, start, end = (first(told, names) for names in (_PARENT, _START, _END))
    return Span(
        trace_id=trace_id,
        span_id=hex_of(ids.get("span_id"), 8, notes),
        parent_id=hex_of(parent, 8, notes) if parent else None,
        name=str(told["name"]),
        start_ns=None if start is None else int(start),
        end_ns=int(end) if end else None,
        ok=code != "ERROR",
        error=error_of(events, message) if code == "ERROR" else None,
        attributes=attributes | otlp_part(events, links, code, message),
        notes=notes,
    )


def _status(told: Mapping[str, Any]) -> tuple[str, str | None]:
    status = told.get("status")
    if not isinstance(status, dict):
        status = {"code": status or told.get("status_code"), "message": told.get("status_message")}
    return str(status.get("code")).removeprefix("STATUS_CODE_").removeprefix("StatusCode."), status.get("message")


def _trace_as_span(info: Mapping[str, Any], trace_id: str) -> Span:
    began, took, state = first(info, BEGAN), first(info, TOOK), str(first(info, STATE))
    told = nanoseconds(began)
    start = told[0] if told else None if began is None else int(began) * _MS
    # The REST interface has seconds with their unit, everything else milliseconds.
    took_ns = (
        None if took is None else round(float(str(took).removesuffix("s")) * (_MS * 1000 if "s" in str(took) else _MS))
    )
    return Span(
        trace_id=trace_id,
        span_id=trace_id,
        name=str(pairs_of(info.get("tags")).get("mlflow.traceName") or "trace"),
        start_ns=start,
        end_ns=None if start is None or took_ns is None or state == "IN_PROGRESS" else start + took_ns,
        ok=state != "ERROR",
        notes=["MLflow told of this trace without its spans"],
    )


def _run(info: Mapping[str, Any], data: Mapping[str, Any], about: Mapping[str, Any], known: bool) -> dict[str, Any]:
    """Return what MLflow says about a trace as a whole; what went in and out of it only if its root span does not."""
    given = {} if known else {name: data[name] for name in ("request", "response") if name in data}
    told = {name: value for name, value in {**info, **given}.items() if name not in TRACE_ID}
    run: dict[str, Any] = {
        "attributes": {f"mlflow.{name}": value for name, value in told.items() if value not in _NOTHING}
    }
    for field, names in () if known else _ENDS.items():
        if (value := first({**about, **told}, names)) is not None:
            run[field] = text_of(decoded(value))
    if signals := signals_of(info.get("assessments") or ()):
        run["quality_signals"] = signals
    if session := about.get("mlflow.trace.session"):
        run["conversation_id"] = str(session)
    return run
