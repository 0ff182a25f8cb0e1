"""A span as a line of a journal: as a step, and as the run that it turns out to be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.journal import SCHEMA
from causalkit.workflows.readers.vocabulary import folded

if TYPE_CHECKING:
    from causalkit.workflows.readers.spans import Span

Record = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The note of a span that did not end.
NOT_ENDED = "it did not end"
_KNOB = "causalkit.knob."
# Up to here a number of nanoseconds comes out of a float of milliseconds as it went in.
_EXACT_NS = 2**52


def step_record(span: Span) -> Record:
    """Return the line of a step.

    What only a run has stands under ``run``, and ``ended`` is there if the span did not end: `run_record` takes them
    away, and readers of journals leave them alone.
    """
    attributes, notes = folded(span.attributes), span.notes
    start, end, latency_ms, at, ok = span.start_ns, span.end_ns, 0.0, _EPOCH, span.ok
    if start is not None:
        attributes["causalkit.start_ns"] = start
        try:
            at = _EPOCH + timedelta(microseconds=start // 1000)
        except OverflowError:
            notes = [*notes, f"it began at {start} ns, which is no date"]
    else:
        notes = [*notes, "no start was told; it is shown as 1970"]
    if end is None:
        ok, notes = False, [*notes, NOT_ENDED]
    elif start is None or not 0 <= end - start < _EXACT_NS:
        attributes["causalkit.end_ns"] = end
        if start is not None and end < start:
            notes = [*notes, "it ended before it began; its latency is shown as 0"]
    if start is not None and end is not None and end > start:
        latency_ms = (end - start) / 1e6
    record = {
        "schema": SCHEMA,
        "kind": "step",
        "request_id": span.trace_id,
        "step_id": span.span_id,
        "parent_id": span.parent_id,
        "step_name": span.name,
        "start": at,
        "latency_ms": latency_ms,
        "success": ok,
        "attributes": attributes,
    }
    if span.error is not None:
        record["error"] = span.error
    if notes:
        record["notes"] = notes
    if span.run:
        record["run"] = span.run
    if end is None:
        record["ended"] = False
    return record


def run_record(step: Record) -> Record:
    """Return the line of the run that a span is, from its line as a step."""
    attributes, told = step["attributes"], dict(step.get("run") or {})
    name = text_of(attributes.get("gen_ai.workflow.name")) or step["step_name"]
    ids = {"causalkit.trace_id": step["request_id"], "causalkit.span_id": step["step_id"]}
    if step.get("parent_id") is not None:
        ids["causalkit.parent_id"] = step["parent_id"]
    if name != step["step_name"]:
        ids["causalkit.name"] = step["step_name"]
    knobs = knobs_in(attributes)
    attributes = {**attributes, **told.pop("attributes", {}), **ids}
    if knobs:
        attributes.setdefault("knobs", knobs)
    record = {
        "schema": SCHEMA,
        "kind": "run",
        "request_id": step["request_id"],
        "workflow_name": name,
        "question": text_of(attributes.get("causalkit.input")),
        "timestamp": step["start"],
        "success": step["success"],
        "total_latency_ms": step["latency_ms"],
        "attributes": attributes,
    }
    if "gen_ai.conversation.id" in attributes:
        record["conversation_id"] = text_of(attributes["gen_ai.conversation.id"])
    if "causalkit.output" in attributes:
        record["final_answer"] = text_of(attributes["causalkit.output"])
    record |= {name: step[name] for name in ("error", "notes") if name in step}
    if "ended" in step:
        record |= {"crashed": True, "total_latency_ms": None}
    return record | told


def knobs_in(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the knobs that attributes name one by one."""
    return {key.removeprefix(_KNOB): value for key, value in attributes.items() if key.startswith(_KNOB)}


def text_of(value: Any) -> str:
    """Return a text as it is, nothing for None, and anything else as JSON.

    Examples
    --------
    >>> text_of("why?"), text_of({"q": 1}), text_of(None)
    ('why?', '{"q":1}', '')
    """
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
