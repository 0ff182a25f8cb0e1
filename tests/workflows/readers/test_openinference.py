from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.openinference import read_openinference
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import DamagedJournalWarning

DOCUMENTS = [
    {"document.content": "ä", "document.score": 0.5},
    {"document.content": "b", "document.metadata": '{"n": 1}'},
]


@pytest.fixture(scope="module")
def written() -> list[Any]:
    """Spans that OpenInference's own instrumentation recorded: two runs, one of which failed."""
    from openinference.instrumentation import TracerProvider, get_llm_attributes, using_metadata, using_session
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    @tracer.tool
    def search(question: str, top_k: int = 2) -> list[str]:
        with tracer.start_as_current_span("read", openinference_span_kind="retriever") as span:
            span.set_input(question)
            for number, document in enumerate(DOCUMENTS):
                for name, value in document.items():
                    span.set_attribute(f"retrieval.documents.{number}.{name}", value)
            span.add_event("cached", {"hits": 2})
        return ["a", "b"][:top_k]

    @tracer.chain
    def answer(question: str) -> str:
        texts = search(question)
        with tracer.start_as_current_span("model", openinference_span_kind="llm") as span:
            usage = {"prompt": 10 * len(texts), "completion": 4, "total": 24}
            messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": question}]
            span.set_attributes(get_llm_attributes(model_name="m-1", input_messages=messages, token_count=usage))
            if question == "late?":
                raise TimeoutError("no answer")
            span.set_attributes(get_llm_attributes(output_messages=[{"role": "assistant", "content": "yes"}]))
        return "yes"

    with using_session("s-1"), using_metadata({"tenant": "acme"}):
        answer("why?")
        with pytest.raises(TimeoutError):
            answer("late?")
    return list(exporter.get_finished_spans())


def rest(span: Any) -> dict[str, Any]:
    """Return a span as Phoenix' REST interface tells it."""
    attributes = dict(span.attributes)
    return {
        "id": f"U3Bhbjo{span.context.span_id}",
        "name": span.name,
        "context": {"trace_id": f"{span.context.trace_id:032x}", "span_id": f"{span.context.span_id:016x}"},
        "span_kind": attributes.pop("openinference.span.kind"),
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "start_time": pd.Timestamp(span.start_time, tz="UTC").isoformat(),
        "end_time": pd.Timestamp(span.end_time, tz="UTC").isoformat(),
        "status_code": span.status.status_code.name,
        "status_message": span.status.description or "",
        "attributes": attributes,
        "events": [
            {
                "name": one.name,
                "timestamp": pd.Timestamp(one.timestamp, tz="UTC").isoformat(),
                "attributes": {**one.attributes},
            }
            for one in span.events
        ],
    }


def frame_of(spans: list[Any]) -> pd.DataFrame:
    """Return spans as Phoenix' DataFrame has them: numbered attributes as lists of dicts, metadata as dicts."""
    rows = []
    for told in map(rest, spans):
        columns: dict[str, Any] = {"openinference.span.kind": told["span_kind"]}
        for name, value in told.pop("attributes").items():
            for listed in ("retrieval.documents", "llm.input_messages", "llm.output_messages"):
                if name.startswith(listed):
                    number, _, part = name.removeprefix(f"{listed}.").partition(".")
                    items = columns.setdefault(listed, [])
                    items += [{} for _ in range(int(number) + 1 - len(items))]
                    items[int(number)][part] = json.loads(value) if part.endswith("metadata") else value
                    break
            else:
                columns[name] = json.loads(value) if name == "metadata" else value
        context = told.pop("context")
        times = {edge: pd.Timestamp(told.pop(edge)) for edge in ("start_time", "end_time")}
        attributes = {f"attributes.{name}": value for name, value in columns.items()}
        rows.append({**told, **times, **attributes, **{f"context.{name}": value for name, value in context.items()}})
    return pd.DataFrame(rows).drop(columns="id").set_index("context.span_id", drop=False)


def timed(spans: list[Any], told: Callable[[pd.Timestamp], Any]) -> pd.DataFrame:
    """Return the DataFrame with its times as texts or numbers: pandas' own JSON has them to the microsecond only."""
    frame = frame_of(spans)
    return frame.assign(**{edge: frame[edge].map(told) for edge in ("start_time", "end_time")})


FORMS: dict[str, Callable[[list[Any], Path], Any]] = {
    "parsed": lambda spans, _: [rest(span) for span in spans],
    "lines": lambda spans, path: _text(path, "".join(json.dumps(rest(span)) + "\n" for span in spans)),
    "a page": lambda spans, path: _text(path, json.dumps({"data": [rest(one) for one in spans], "next_cursor": None})),
    "packed": lambda spans, path: _packed(FORMS["a page"](spans, path)),
    "DataFrame": lambda spans, _: frame_of(spans),
    "DataFrame whose index holds the ids": lambda spans, _: frame_of(spans).drop(columns="context.span_id"),
    "Parquet": lambda spans, path: _parquet(frame_of(spans).reset_index(drop=True), path),
    "Parquet whose index holds the ids": lambda spans, path: _parquet(
        frame_of(spans).drop(columns="context.span_id"), path
    ),
    **{
        orient: lambda spans, path, orient=orient: _text(path, timed(spans, str).to_json(orient=orient))  # type: ignore[misc]
        for orient in ("records", "columns", "split", "index")
    },
    "numbers for times": lambda spans, path: _text(path, timed(spans, lambda time: time.value).to_json()),
}


@pytest.mark.parametrize("form", FORMS)
def test_ids_parents_times_status_and_attributes_are_those_that_were_recorded(
    written: list[Any], tmp_path: Path, form: str
) -> None:
    spans = {f"{span.context.span_id:016x}": span for span in written}
    traces = read_openinference(FORMS[form](written, tmp_path / "spans"))
    assert len(traces) == 2
    seen = set()
    for run in traces:
        assert_same(run, spans[root := run.attributes["causalkit.span_id"]], run.total_latency_ms)
        assert spans[root].parent is None
        assert run.request_id == f"{spans[root].context.trace_id:032x}"
        assert (run.workflow_name, run.conversation_id) == ("answer", "s-1")
        for step in run.steps:
            assert_same(step, spans[step.step_id], step.latency_ms)
            assert step.parent_id == f"{spans[step.step_id].parent.span_id:016x}"
            assert step.step_name == spans[step.step_id].name
        seen |= {root, *(step.step_id for step in run.steps)}
    assert seen == spans.keys()


def assert_same(ours: WorkflowTrace | StepTrace, span: Any, latency_ms: float | None) -> None:
    assert ours.attributes["causalkit.start_ns"] == span.start_time
    assert latency_ms == (span.end_time - span.start_time) / 1e6
    assert ours.success is (span.status.status_code.name != "ERROR")
    for name, value in span.attributes.items():
        told = ours.attributes[name]
        assert (told if isinstance(value, str) == isinstance(told, str) else json.dumps(told)) == value, name
    otlp = ours.attributes.get("causalkit.otlp", {})
    events = [(event["name"], int(event["timeUnixNano"])) for event in otlp.get("events", ())]
    assert events == [(event.name, event.timestamp) for event in span.events]
    if not ours.success:
        assert otlp["status"] == {"code": 2, "message": span.status.description}
        raised = span.events[-1].attributes
        assert ours.error == {part: raised[f"exception.{name}"] for part, name in PARTS.items()}


PARTS = {"type": "type", "message": "message", "stack": "stacktrace"}


@pytest.mark.parametrize("form", ["lines", "DataFrame", "Parquet"])
def test_what_it_means_is_told_in_one_vocabulary(written: list[Any], tmp_path: Path, form: str) -> None:
    runs = {run.question: run for run in read_openinference(FORMS[form](written, tmp_path / "spans"))}
    good, late = runs["why?"], runs["late?"]
    assert (good.final_answer, good.success, late.success, late.final_answer) == ("yes", True, False, None)
    steps = {step.step_name: step.attributes for step in good.steps}
    model = {name: steps["model"][f"gen_ai.{name}"] for name in ("operation.name", "request.model")}
    assert model == {"operation.name": "chat", "request.model": "m-1"}
    assert steps["search"]["gen_ai.tool.name"] == "search"
    assert steps["read"]["causalkit.num_documents"] == len(DOCUMENTS)
    usage = [steps["model"].get(f"gen_ai.usage.{kind}_tokens") for kind in ("input", "output")]
    assert usage == [20, 4]


SPAN: dict[str, Any] = {
    "name": "ask",
    "context": {"trace_id": "ab", "span_id": "cd"},
    "span_kind": "CHAIN",
    "start_time": "2026-01-02T03:04:05Z",
    "end_time": "2026-01-02T03:04:06Z",
    "status_code": "OK",
}


def test_nested_attributes_get_the_flat_names_of_openinference() -> None:
    nested = {"llm": {"token_count": {"prompt": 3}}, "a": {"b": [{"c": 1}, {"c": None}]}, "metadata": {"x.y": {"z": 1}}}
    (run,) = read_openinference({**SPAN, "attributes": nested | {"a.b.0.c": 2, "vector": [0.1, 0.2], "none": None}})
    told = {name: value for name, value in run.attributes.items() if not name.startswith(("causalkit", "gen_ai"))}
    assert told == {
        **{"llm.token_count.prompt": 3, "a.b.0.c": 1, "a.b.0.c (2)": 2, "vector": [0.1, 0.2]},
        **{"metadata": {"x.y": {"z": 1}}, "openinference.span.kind": "CHAIN"},
    }


def test_what_is_not_known_is_kept_under_the_name_of_the_tool() -> None:
    (run,) = read_openinference({**SPAN, "id": "U3Bh", "cumulative_error_count": 2})
    assert (run.attributes["phoenix.id"], run.attributes["phoenix.cumulative_error_count"]) == ("U3Bh", 2)


@pytest.mark.parametrize(
    "told", [1767323045000, 1767323045.0, 1767323045000000, "2026-01-02 03:04:05", "2026-01-02T04:04:05+01:00"]
)
def test_a_time_may_be_a_number_or_a_text(told: Any) -> None:
    (run,) = read_openinference({**SPAN, "start_time": told})
    assert (run.attributes["causalkit.start_ns"], run.total_latency_ms) == (1767323045 * 10**9, 1000)


def test_a_time_that_is_none_is_said_and_a_span_without_end_did_not_end() -> None:
    (run,) = read_openinference({**SPAN, "start_time": "soon", "end_time": None})
    assert run.crashed
    assert "start_time is no instant: 'soon'" in run.notes


def test_an_error_without_exception_has_the_message_of_the_status() -> None:
    (run,) = read_openinference({**SPAN, "status_code": "ERROR", "status_message": "too long"})
    assert run.error == {"message": "too long"}


def test_spans_without_ids_and_torn_lines_are_left_out(tmp_path: Path) -> None:
    good = json.dumps(SPAN)
    path = _text(tmp_path / "spans.jsonl", f"{good}\n{json.dumps({**SPAN, 'context': {}})}\n{good[:30]}")
    with pytest.warns(DamagedJournalWarning, match="trace_id is None"):
        traces = read_openinference(path)
    assert (len(traces), len(traces.damage)) == (1, 2)


def test_a_trace_without_its_root_is_a_crashed_run() -> None:
    children = [{**SPAN, "context": {"trace_id": "ab", "span_id": str(n)}, "parent_id": f"away {n}"} for n in range(2)]
    (run,) = read_openinference(children)
    assert run.crashed
    assert [step.parent_id for step in run.steps] == ["away 0", "away 1"]


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", '{"resourceSpans": []}', "[]", "\x89PNG\r\n", '{"data": [1]}', '{"name": {"0": 1}}']
)
def test_files_of_another_kind_are_refused(tmp_path: Path, text: str) -> None:
    path = _text(tmp_path / "other", text)
    with pytest.raises(TraceFormatError) as refused:
        read_openinference(path)
    assert str(path) in str(refused.value)
    assert refused.value.expected in str(refused.value)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "absent", 7, None, [], pd.DataFrame({"a": [1]}), {}):
        with pytest.raises(TraceFormatError):
            read_openinference(source)


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _packed(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def _parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    return path
