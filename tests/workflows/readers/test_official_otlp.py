"""Spans that OpenTelemetry's own SDK and exporter wrote are read as the SDK itself saw them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from causalkit.workflows.readers.console import read_console
from causalkit.workflows.readers.otlp import read_otlp
from causalkit.workflows.readers.otlp_values import any_value
from causalkit.workflows.traces import Traces


class _Seen(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[list[ReadableSpan], Path, Path]:
    """Spans of thirty runs, and the files of both exporters."""
    seen, otlp, console = _Seen(), tmp_path / "otlp.jsonl", tmp_path / "console.json"
    provider = TracerProvider(resource=Resource({"service.name": "answers"}))
    provider.add_span_processor(seen)
    with console.open("w") as printed:
        provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(str(otlp))))
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=printed)))
        for number in range(30):
            _run(provider.get_tracer("demo", "1.0"), Random(number))  # noqa: S311  # no secret
        provider.shutdown()
    return seen.spans, otlp, console


def _run(tracer: trace.Tracer, chance: Random) -> None:
    with tracer.start_as_current_span("answer", attributes={"gen_ai.workflow.name": "qa"}) as root:
        for _ in range(chance.randrange(4)):
            links = [trace.Link(root.get_span_context(), {"why": "after"})] if chance.random() < 0.3 else []
            try:
                with tracer.start_as_current_span(
                    "step", kind=chance.choice(list(trace.SpanKind)), links=links
                ) as span:
                    span.set_attributes(_attributes(chance))
                    span.add_event("token", {"n": chance.randrange(9)})
                    with tracer.start_as_current_span("inner"):
                        if chance.random() < 0.3:
                            raise TimeoutError("too late")
            except TimeoutError:
                failed = chance.random() < 0.5
                root.set_status(trace.StatusCode.ERROR if failed else trace.StatusCode.OK, "of all" if failed else None)


def _attributes(chance: Random) -> dict[str, Any]:
    return {
        "text": chance.choice(["", "é\n", "null"]),
        "number": chance.randrange(-(2**63), 2**63),
        "real": chance.choice([0.0, -0.0, 1e300, 3.0, 0.1]),
        "truth": chance.random() < 0.5,
        "items": [chance.random(), 2.0],
        "names": ["a", "b"],
    }


@pytest.mark.parametrize("kind", ["otlp", "console"])
def test_parents_times_status_attributes_and_events_agree_span_by_span(
    recorded: tuple[list[ReadableSpan], Path, Path], kind: str
) -> None:
    seen, otlp, console = recorded
    traces = read_otlp(otlp) if kind == "otlp" else read_console(console)

    told = _told(traces)

    assert len(told) == len(seen)
    for span in seen:
        _compare(span, told[f"{span.context.span_id:016x}"], 1 if kind == "otlp" else 1000)


def test_what_is_written_again_is_what_the_exporter_wrote(
    recorded: tuple[list[ReadableSpan], Path, Path], tmp_path: Path
) -> None:
    from tests.workflows.readers.otlp_forms import canonical

    _, otlp, _ = recorded
    again = read_otlp(otlp).to_otlp(tmp_path / "again.jsonl.gz")
    read_otlp(again).to_otlp(tmp_path / "again.jsonl")

    first, last = (
        [json.loads(line) for line in file.read_bytes().splitlines()] for file in (otlp, tmp_path / "again.jsonl")
    )
    assert canonical(first) == canonical(last)


def _told(traces: Traces) -> dict[str, tuple[str, str, str | None, Any]]:
    """Return for each span its trace, name, parent, and the run or step."""
    told: dict[str, tuple[str, str, str | None, Any]] = {}
    for run in traces:
        name = run.attributes.get("causalkit.name", run.workflow_name)
        told[run.attributes["causalkit.span_id"]] = run.request_id, name, None, run
        told |= {step.step_id: (run.request_id, step.step_name, step.parent_id, step) for step in run.steps}
    return told


def _compare(span: ReadableSpan, told: tuple[str, str, str | None, Any], precision_ns: int) -> None:
    trace_id, name, parent, found = told
    assert (trace_id, name) == (f"{span.context.trace_id:032x}", span.name)
    assert parent == (span.parent and f"{span.parent.span_id:016x}")
    assert span.start_time is not None
    assert span.end_time is not None
    start = found.attributes["causalkit.start_ns"]
    latency = found.total_latency_ms if hasattr(found, "total_latency_ms") else found.latency_ms
    assert abs(start - span.start_time) < precision_ns
    assert abs(start + round(latency * 1e6) - span.end_time) < precision_ns
    assert found.success == (span.status.status_code is not trace.StatusCode.ERROR)
    given = {key: list(one) if isinstance(one, tuple) else one for key, one in (span.attributes or {}).items()}
    assert {key: found.attributes[key] for key in given} == given
    otlp = found.attributes["causalkit.otlp"]
    assert otlp["kind"] == span.kind.value + 1
    assert otlp.get("status", {}).get("message") == (span.status.description or None)
    events = otlp.get("events", [])
    assert [event["name"] for event in events] == [event.name for event in span.events]
    for one, event in zip(events, span.events, strict=True):
        assert abs(int(one["timeUnixNano"]) - event.timestamp) < precision_ns
        told_attributes = {key["key"]: key["value"] for key in one.get("attributes", [])}
        assert told_attributes == {key: any_value(value) for key, value in (event.attributes or {}).items()}
    assert len(otlp.get("links", [])) == len(span.links)
    if not found.success and span.events and span.events[-1].name == "exception":
        attributes = span.events[-1].attributes or {}
        assert found.error["type"] == attributes["exception.type"]
        assert found.error["stack"] == attributes["exception.stacktrace"]
