"""Our own runs and steps as spans of OTLP, and back: fields are ``causalkit.run.…`` and ``causalkit.step.…``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec

from causalkit.journal import SCHEMA
from causalkit.workflows.readers.otlp_values import is_id, key_values
from causalkit.workflows.readers.spans import Span
from causalkit.workflows.records import StepTrace, WorkflowTrace, read_record

MARK = "causalkit.record"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = {"run": "workflow_name", "step": "step_name"}
_TIME = {"run": "timestamp", "step": "start"}
_OUTCOME = ("kind", "status", "events", "links", "flags", "traceState")
_ERROR = {"type": "exception.type", "message": "exception.message", "stack": "exception.stacktrace"}


def own_spans(run: WorkflowTrace) -> list[dict[str, Any]]:
    """Return a run and its steps as spans from which `own_span` makes them again."""
    trace, root = id_of(16, run.request_id), id_of(8, run.request_id, "")
    ids = {step.step_id: id_of(8, run.request_id, step.step_id) for step in run.steps}
    fields = msgspec.to_builtins(run)
    steps = fields.pop("steps", ())
    spans = [_span("run", fields, run.timestamp, run.total_latency_ms)]
    for step, told in zip(run.steps, steps, strict=True):
        span = _span("step", {**told, "request_id": run.request_id}, step.start, step.latency_ms)
        spans.append({"spanId": ids[step.step_id], "parentSpanId": ids.get(step.parent_id or "", root), **span})
    return [{"traceId": trace, "spanId": root, **span} for span in spans]


def own_span(name: str, start_ns: int | None, attributes: dict[str, Any]) -> Span:
    """Return the record that a span of `own_spans` holds."""
    kind = attributes.pop(MARK)
    known = {"run": WorkflowTrace, "step": StepTrace}[kind].__struct_fields__
    prefix = f"causalkit.{kind}."
    fields = {field: attributes.pop(prefix + field) for field in ("request_id", *known) if prefix + field in attributes}
    record = {"schema": SCHEMA, "kind": kind, _NAME[kind]: name, "attributes": attributes}
    if start_ns is not None:
        record[_TIME[kind]] = _EPOCH + timedelta(microseconds=start_ns // 1000)
    read, refused = read_record(record | fields.pop("extra", {}) | fields)
    if read is None:
        raise ValueError(refused[0])
    request = read["request_id"]
    span_id = read.get("step_id", request)
    return Span(trace_id=request, span_id=span_id, name=name, start_ns=start_ns, end_ns=None, record=read)


def id_of(size: int, *names: str) -> str:
    """Return an id of OTLP for a name: itself, if it is one.

    Examples
    --------
    >>> id_of(8, "run-1", "0123456789abcdef"), id_of(8, "run-1", "search")
    ('0123456789abcdef', '84edb571a612938d')
    """
    if is_id(names[-1], size):
        return names[-1]
    return blake2b("\0".join(names).encode("utf-8", "replace"), digest_size=size).hexdigest()


def _span(kind: str, told: dict[str, Any], start: datetime | None, latency_ms: float | None) -> dict[str, Any]:
    attributes = told.pop("attributes", {})
    name, time = told.pop(_NAME[kind], ""), told.pop(_TIME[kind], None)
    span: dict[str, Any] = {"name": name, "kind": 1}
    start_ns = None if start is None else (start - _EPOCH) // timedelta(microseconds=1) * 1000
    if start_ns is not None and start_ns > 0:
        # What is known more precisely than a microsecond is told so.
        exact = attributes.get("causalkit.start_ns")
        start_ns = exact if isinstance(exact, int) and exact // 1000 == start_ns // 1000 else start_ns
        span["startTimeUnixNano"] = str(start_ns)
        if latency_ms is not None:
            span["endTimeUnixNano"] = str(start_ns + max(0, round(latency_ms * 1e6)))
    elif time is not None:
        told[_TIME[kind]] = time
    if any(key.startswith(("causalkit.run.", "causalkit.step.", MARK)) for key in attributes):
        told["attributes"], attributes = attributes, {}
    fields = {MARK: kind, **{f"causalkit.{kind}.{field}": value for field, value in told.items()}}
    return {**span, "attributes": key_values(attributes | fields), **_outcome(told, attributes, span)}


def _outcome(told: Mapping[str, Any], attributes: Mapping[str, Any], span: Mapping[str, Any]) -> dict[str, Any]:
    """Return status, events and the like, for other tools."""
    known = attributes.get("causalkit.otlp")
    if isinstance(known, dict):
        return {key: value for key, value in known.items() if key in _OUTCOME}
    if told["success"]:
        return {"status": {}}
    error = told.get("error") or {}
    status = {"code": 2, "message": str(error.get("message", ""))}
    if not error:
        return {"status": status}
    parts = {_ERROR[part]: str(value) for part, value in error.items() if part in _ERROR}
    event = {"timeUnixNano": span.get("endTimeUnixNano", "0"), "name": "exception", "attributes": key_values(parts)}
    return {"status": status, "events": [event]}
