"""Runs as OTLP/JSON, one line each, for every tool that reads traces of OpenTelemetry."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

import causalkit
from causalkit.replacing import replaced
from causalkit.workflows.readers.otlp_own import own_spans
from causalkit.workflows.readers.otlp_spans import MALFORMED, RESERVED, read_span
from causalkit.workflows.readers.otlp_values import SHARED, key_values
from causalkit.workflows.readers.span_records import NOT_ENDED, knobs_in, run_record, step_record
from causalkit.workflows.readers.spans import Span
from causalkit.workflows.records import StepTrace, WorkflowTrace

# A span, behind the resource and scope it has in common with others.
_Shared = tuple[dict[str, Any], dict[str, Any]]
_encode = msgspec.json.Encoder().encode


def write_otlp(runs: Iterable[WorkflowTrace], path: str | os.PathLike[str]) -> Path:
    """Write runs as OTLP/JSON lines that `read_otlp` brings back as they are.

    Parameters
    ----------
    runs : iterable of WorkflowTrace
        Spans that were read from OTLP are written as they were; of other runs what OTLP has no word for becomes an
        attribute ``causalkit.run.…`` or ``causalkit.step.…``.
    path : path-like
        Replaced when everything is written; packed if it ends in ``.gz``.

    Raises
    ------
    CausalkitError
        If no file can be written there.
    """
    path = Path(path)
    with replaced(path) as draft, gzip.open(draft, "wb") if path.suffix == ".gz" else draft.open("wb") as lines:
        for run in runs:
            lines.write(_encode(document(run)) + b"\n")
    return path


def document(run: WorkflowTrace) -> dict[str, Any]:
    """Return a run as an object with ``resourceSpans``.

    Examples
    --------
    >>> told = document(WorkflowTrace(request_id="a", workflow_name="qa", success=True))
    >>> told["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"]
    'qa'
    """
    spans = _spans_read(run)
    if spans is None:
        service = {"attributes": key_values({"service.name": run.workflow_name or "causalkit"})}
        scope = {"name": "causalkit", "version": causalkit.__version__}
        spans = [({"resource": service, "scope": scope}, span) for span in own_spans(run)]
    return _grouped(spans)


def _grouped(spans: Iterable[tuple[Mapping[str, Any], Any]]) -> dict[str, Any]:
    resources: dict[bytes, dict[str, Any]] = {}
    scopes: dict[bytes, dict[str, Any]] = {}
    for shared, span in spans:
        resource, scope = (
            {name: shared[name] for name in names if name in shared} for names in (SHARED[:2], SHARED[2:])
        )
        outer = resources.setdefault(_encode(resource), {**_named(resource), "scopeSpans": []})
        key = _encode([resource, scope])
        if key not in scopes:
            scopes[key] = {**_named(scope), "spans": []}
            outer["scopeSpans"].append(scopes[key])
        scopes[key]["spans"].append(span)
    return {"resourceSpans": list(resources.values())}


def _named(shared: Mapping[str, Any]) -> dict[str, Any]:
    return {"schemaUrl" if key.endswith("SchemaUrl") else key: value for key, value in shared.items()}


def _spans_read(run: WorkflowTrace) -> list[_Shared] | None:
    """Return the spans that a run was read from; None if it was not, or if it has been changed since."""
    known = run.attributes
    trace, span = known.get("causalkit.trace_id", run.request_id), known.get("causalkit.span_id")
    spans: list[_Shared] = []
    try:
        if span is not None:
            name = known.get("causalkit.name", run.workflow_name)
            spans.append(_span(run, run.total_latency_ms, (trace, span, known.get("causalkit.parent_id")), name))
            record = run_record(step_record(_read(spans[0])))
            if run.request_id == f"{trace}:{span}":
                record["request_id"] = run.request_id
            if not _is(run, record | {"steps": run.steps}):
                return None
        elif known or not run.crashed:
            return None
        for step in run.steps:
            spans.append(_span(step, step.latency_ms, (trace, step.step_id, step.parent_id), step.step_name))
            if not _is(step, step_record(_read(spans[-1]))):
                return None
    except MALFORMED:
        return None
    return spans or None


def _span(
    told: WorkflowTrace | StepTrace, latency_ms: float | None, ids: tuple[str, str, str | None], name: str
) -> _Shared:
    attributes, (trace_id, span_id, parent) = told.attributes, ids
    otlp = attributes.get("causalkit.otlp", {})
    start, end = attributes.get("causalkit.start_ns"), attributes.get("causalkit.end_ns")
    if end is None and start is not None and NOT_ENDED not in told.notes:
        end = start + round((latency_ms or 0.0) * 1e6)
    odd = otlp.get("attributes", [])
    added = {
        *RESERVED,
        *attributes.get("causalkit.folded", ()),
        *(one.get("key") for one in odd if isinstance(one, dict)),
    }
    knobs = knobs_in(attributes)
    if isinstance(told, WorkflowTrace) and knobs and attributes.get("knobs") == knobs:
        added.add("knobs")
    span: dict[str, Any] = {"traceId": trace_id, "spanId": span_id, "parentSpanId": parent, "name": name}
    span |= {"startTimeUnixNano": None if start is None else str(start)}
    span |= {"endTimeUnixNano": None if end is None else str(end)}
    span |= {"attributes": [*key_values({key: one for key, one in attributes.items() if key not in added}), *odd]}
    span |= {key: value for key, value in otlp.items() if key not in (*SHARED, "attributes")}
    shared = {key: otlp[key] for key in SHARED if key in otlp}
    return shared, {key: value for key, value in span.items() if value is not None and value != []}


def _read(span: _Shared) -> Span:
    shared, told = span
    return read_span(dict(told), shared)


def _is(told: WorkflowTrace | StepTrace, record: Mapping[str, Any]) -> bool:
    fields = {name: record[name] for name in told.__struct_fields__ if name in record}
    return bool(type(told)(**fields) == told)
