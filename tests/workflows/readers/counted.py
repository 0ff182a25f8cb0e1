"""What a file of another tool holds, counted from its raw JSON without any code of the package."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
          "llm.usage.completion_tokens")  # fmt: skip


class RawSpan(NamedTuple):
    trace: Any
    span: Any
    parent: Any
    failed: bool
    input_tokens: int
    output_tokens: int


class Counted(NamedTuple):
    runs: int
    spans: int
    errors: int
    input_tokens: int
    output_tokens: int


def counted(path: Path) -> Counted | None:
    """Return what a file holds; None if it is of no kind that is counted here."""
    told = list(documents(path))
    spans = {(span.trace, span.span): span for document in told for span in _spans(document)}
    if not spans:
        return None
    return Counted(
        _runs(list(spans.values())),
        len(spans),
        sum(span.failed for span in spans.values()),
        sum(span.input_tokens for span in spans.values()),
        sum(span.output_tokens for span in spans.values()),
    )


def documents(path: Path) -> Iterator[Json]:
    """Yield the JSON objects of a file: in a zip, one a line, the only one, or in the cells of a table."""
    raw = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            head = next((name for name in ("header.json", "_journal/start.json") if name in archive.namelist()), None)
            names = [name for name in archive.namelist() if name.startswith("samples/")]
            samples = [json.loads(archive.read(name)) for name in names]
            yield {**json.loads(archive.read(head)), "samples": samples} if head else {}
        return
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig", "replace")
    try:
        whole = json.loads(text)
    except ValueError:
        whole = [_parsed(line) for line in text.splitlines()]
    found = [one for one in (whole if isinstance(whole, list) else [whole]) if isinstance(one, dict)]
    yield from found or _cells(text)


def _cells(text: str) -> Iterator[Json]:
    csv.field_size_limit(sys.maxsize // 2**32)
    for row in csv.DictReader(text.splitlines(keepends=True)):
        if isinstance(whole := _parsed(row.get("trace") or ""), dict):
            yield whole


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _spans(document: Json) -> Iterator[RawSpan]:
    if "resourceSpans" in document:
        yield from _otlp(document)
    elif isinstance(document.get("spans"), list):
        yield from (_printed(span) for span in document["spans"])
    elif "context" in document and isinstance(document.get("status"), dict):
        yield _printed(document)
    elif "info" in document and "data" in document:
        yield from _mlflow(document)
    elif "trace" in document and "observations" in document:
        yield from _langfuse(document)
    elif isinstance(document.get("eval"), dict):
        yield from _inspect(document)
    elif isinstance(document.get("data"), list):
        yield from _jaeger(document)


def _otlp(document: Json) -> Iterator[RawSpan]:
    for resource in document["resourceSpans"]:
        for scope in resource.get("scopeSpans", resource.get("instrumentationLibrarySpans", [])):
            for span in scope.get("spans", []):
                told = {pair["key"]: next(iter(pair["value"].values()), None) for pair in span.get("attributes", [])}
                failed = span.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR")
                ids = (span[name].lower() for name in ("traceId", "spanId"))
                yield RawSpan(*ids, (span.get("parentSpanId") or "").lower(), failed, *_tokens(told))


def _printed(span: Json) -> RawSpan:
    parent = span.get("parent_id") or (span.get("parent") or {}).get("span_id")
    failed = span["status"].get("status_code", "").upper() == "ERROR"
    context = span["context"]
    return RawSpan(context["trace_id"], context["span_id"], parent, failed, *_tokens(span["attributes"]))


def _mlflow(document: Json) -> Iterator[RawSpan]:
    for span in document["data"]["spans"]:
        usage = json.loads(span["attributes"].get("mlflow.chat.tokenUsage", "{}"))
        failed = span["status"]["code"] == "STATUS_CODE_ERROR"
        tokens = (usage.get("input_tokens", 0), usage.get("output_tokens", 0))
        yield RawSpan(span["trace_id"], span["span_id"], span["parent_span_id"], failed, *tokens)


def _langfuse(document: Json) -> Iterator[RawSpan]:
    trace = document["trace"]["id"]
    tops = [one for one in document["observations"] if not one["parentObservationId"]]
    yield RawSpan(trace, "the trace itself", None, any(one["level"] == "ERROR" for one in tops), 0, 0)
    for one in document["observations"]:
        parent, failed = one["parentObservationId"] or "the trace itself", one["level"] == "ERROR"
        yield RawSpan(trace, one["id"], parent, failed, one["inputUsage"], one["outputUsage"])


def _inspect(document: Json) -> Iterator[RawSpan]:
    for number, sample in enumerate(document.get("samples", [])):
        yield RawSpan(number, "the sample itself", None, bool(sample.get("error")), 0, 0)
        events = list(_events(sample.get("events") or sample.get("transcript", {}).get("events", [])))
        proven = [] if events else [one for one in sample["messages"] if one["role"] in ("assistant", "tool")]
        for place, event in enumerate([*events, *proven]):
            usage = (event.get("output") or {}).get("usage") or {} if event.get("event") == "model" else {}
            tokens = (usage.get("input_tokens", 0), usage.get("output_tokens", 0))
            yield RawSpan(number, place, "the sample itself", bool(event.get("error")), *tokens)


def _events(told: list[Json]) -> Iterator[Json]:
    for event in told:
        block = event["event"] == "span_begin" or (event["event"] == "step" and event["action"] == "begin")
        if block or event["event"] in ("model", "tool", "sandbox", "subtask", "score", "error", "sample_limit"):
            yield event
        yield from _events(event.get("events") or [])


def _jaeger(document: Json) -> Iterator[RawSpan]:
    for trace in document["data"]:
        for span in trace.get("spans", []):
            told = {tag["key"]: tag["value"] for tag in span["tags"]}
            parents = [one["spanID"] for one in span.get("references", []) if one["traceID"] == span["traceID"]]
            failed = told.get("error") in (True, "true") or told.get("otel.status_code") == "ERROR"
            yield RawSpan(span["traceID"], span["spanID"], next(iter(parents), None), failed, *_tokens(told))


def _tokens(told: Json) -> tuple[int, int]:
    read = [next((int(told[name]) for name in names if told.get(name) is not None), 0) for names in (INPUT, OUTPUT)]
    return read[0], read[1]


def _runs(spans: list[RawSpan]) -> int:
    """Count the runs: each root is one, and one more is for what belongs to none."""
    traces: dict[Any, dict[Any, Any]] = defaultdict(dict)
    for span in spans:
        traces[span.trace][span.span] = span.parent
    runs = 0
    for parents in traces.values():
        roots = {span for span, parent in parents.items() if not parent}
        held = set(roots)
        while more := {span for span, parent in parents.items() if parent in held} - held:
            held |= more
        lost = len(held) < len(parents) and len(roots) != 1
        runs += len(roots) + lost
    return runs
