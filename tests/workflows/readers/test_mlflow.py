from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.mlflow import read_mlflow
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import DamagedJournalWarning

SAMPLES = "traces/generated-by-official-libs"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """What MLflow itself recorded: a run, one that failed, one within one, and what people said of them."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Under warnings that are errors MLflow records nothing, and says nothing.
        warnings.simplefilter("ignore")
        for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            patch.setenv(name, "true")
        patch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
        # It is set below, and must not outlive this.
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.chdir(tmp_path_factory.mktemp("mlflow"))
        import mlflow
        from mlflow.entities import AssessmentSource, SpanEvent

        mlflow.set_tracking_uri(Path("store").absolute().as_uri())

        @mlflow.trace(span_type="RETRIEVER", attributes={"top_k": 3, "exact": False})
        def search(question: str) -> list[str]:
            return [question, "ä", "\U0001f600"]

        @mlflow.trace(span_type="LLM")
        def answer(question: str, texts: list[str]) -> dict[str, Any]:
            span = mlflow.get_current_active_span()
            usage = {"input_tokens": 10 * len(texts), "output_tokens": 4, "total_tokens": 10 * len(texts) + 4}
            span.set_attribute("mlflow.chat.tokenUsage", usage)
            span.add_event(SpanEvent("retry", attributes={"n": 2, "why": ["busy", "slow"]}))
            if question == "late?":
                raise TimeoutError("no answer")
            return {"text": question.upper(), "score": 0.1}

        @mlflow.trace(name="outer")
        def ask(question: str, depth: int = 0) -> Any:
            mlflow.update_current_trace(tags={"team": "a"}, metadata={"mlflow.trace.session": "s1"})
            return ask(question, depth - 1) if depth else answer(question, search(question))

        ask("why?", 2)
        with pytest.raises(TimeoutError):
            ask("late?")
        first = mlflow.get_last_active_trace_id()
        human = AssessmentSource("HUMAN", "someone")
        mlflow.log_feedback(trace_id=first, name="correct", value=False, source=human, rationale="it was late")
        mlflow.log_expectation(trace_id=first, name="facts", value={"all": [1]}, source=human)
        ask("how?")
        yield mlflow.search_traces(return_type="list", include_spans=True)
        mlflow.tracing.reset()


FORMS: dict[str, Callable[[list[Any], Path], Any]] = {
    "lines": lambda traces, folder: _lines(folder / "traces.jsonl", traces),
    "packed lines": lambda traces, folder: _packed(_lines(folder / "traces.jsonl", traces)),
    "several files": lambda traces, folder: [_lines(folder / f"{n}.json", [one]) for n, one in enumerate(traces)],
    "one list": lambda traces, folder: _text(folder / "a.json", json.dumps([json.loads(t.to_json()) for t in traces])),
    "DataFrame": lambda traces, folder: pd.DataFrame([trace.to_pandas_dataframe_row() for trace in traces]),
    "DataFrame without JSON": lambda traces, folder: FORMS["DataFrame"](traces, folder).drop(columns="trace"),
    "CSV": lambda traces, folder: _csv(FORMS["DataFrame"](traces, folder), folder),
    "CSV without JSON": lambda traces, folder: _csv(FORMS["DataFrame without JSON"](traces, folder), folder),
    "objects": lambda traces, folder: traces,
}


@pytest.mark.parametrize("form", FORMS)
def test_ids_parents_times_status_and_attributes_are_those_that_mlflow_tells(
    written: list[Any], tmp_path: Path, form: str
) -> None:
    runs = {run.request_id: run for run in read_mlflow(FORMS[form](written, tmp_path))}
    assert runs.keys() == {trace.info.trace_id for trace in written}
    for trace in written:
        run, spans = runs[trace.info.trace_id], {span.span_id: span for span in trace.data.spans}
        (root,) = [span for span in spans.values() if span.parent_id is None]
        assert_same(run, run.attributes["causalkit.span_id"], run.total_latency_ms, root)
        assert run.workflow_name == "outer"
        assert {step.step_id for step in run.steps} == spans.keys() - {root.span_id}
        for step in run.steps:
            span = spans[step.step_id]
            assert_same(step, step.step_id, step.latency_ms, span)
            assert (step.step_name, step.parent_id) == (span.name, span.parent_id)


def assert_same(ours: WorkflowTrace | StepTrace, span_id: str, latency_ms: float | None, span: Any) -> None:
    start = ours.attributes["causalkit.start_ns"]
    assert (span_id, start, latency_ms) == (
        span.span_id,
        span.start_time_ns,
        (span.end_time_ns - span.start_time_ns) / 1e6,
    )
    assert ours.success is (span.status.status_code.value == "OK")
    assert {name: ours.attributes[name] for name in span.attributes} == span.attributes
    otlp = ours.attributes["causalkit.otlp"]
    assert otlp["status"]["code"] == {"OK": 1, "ERROR": 2}[span.status.status_code.value]
    told = [(event["name"], int(event["timeUnixNano"])) for event in otlp.get("events", [])]
    assert told == [(event.name, event.timestamp) for event in span.events]
    if not ours.success:
        raised = span.events[-1].attributes
        stack = raised["exception.stacktrace"]
        assert ours.error == {"type": "TimeoutError", "message": "no answer", "stack": stack}


def test_what_went_in_and_came_out_and_what_was_said_is_that_of_the_run(written: list[Any]) -> None:
    runs = {json.loads(run.question)["question"]: run for run in read_mlflow(written)}
    assert json.loads(runs["why?"].final_answer or "") == {"text": "WHY?", "score": 0.1}
    late = runs["late?"]
    assert late.quality_signals == {"correct": False, "facts": {"all": [1]}}
    assert late.conversation_id == "s1"
    assert late.attributes["mlflow.tags"]["team"] == "a"
    assert {one.get("rationale") for one in late.attributes["mlflow.assessments"]} == {"it was late", None}
    (retry, _) = next(step for step in late.steps if step.step_name == "answer").attributes["causalkit.otlp"]["events"]
    assert retry["attributes"][0] == {"key": "n", "value": {"intValue": "2"}}


def test_tokens_are_counted_once(written: list[Any]) -> None:
    traces = read_mlflow(written)
    for run, trace in zip(traces, written, strict=True):
        usage = json.loads(trace.info.trace_metadata["mlflow.trace.tokenUsage"])
        assert tokens(run) == (usage["input_tokens"], usage["output_tokens"])


def tokens(run: WorkflowTrace) -> tuple[int, int]:
    everything = [run.attributes, *(step.attributes for step in run.steps)]
    told = [[one.get(f"gen_ai.usage.{kind}_tokens", 0) for one in everything] for kind in ("input", "output")]
    return sum(told[0]), sum(told[1])


@pytest.mark.parametrize("name", ["mlflow_traces.jsonl", "mlflow_search_traces.csv"])
def test_the_samples_have_as_many_runs_spans_errors_and_tokens_as_counted_by_hand(shared_data: Path, name: str) -> None:
    raw = [json.loads(line) for line in (shared_data / SAMPLES / "mlflow_traces.jsonl").read_text().splitlines()]
    spans = [span for trace in raw for span in trace["data"]["spans"]]
    traces = read_mlflow(shared_data / SAMPLES / name)
    assert len(traces) == len(raw)
    assert len(traces) + sum(len(run.steps) for run in traces) == len(spans)
    failed = sum(span["status"]["code"] == "STATUS_CODE_ERROR" for span in spans)
    assert (
        sum(not run.success for run in traces) + sum(not step.success for run in traces for step in run.steps) == failed
    )
    usage = [json.loads(span["attributes"].get("mlflow.chat.tokenUsage", "{}")) for span in spans]
    counted = [sum(one.get(kind, 0) for one in usage) for kind in ("input_tokens", "output_tokens")]
    assert [sum(both) for both in zip(*map(tokens, traces), strict=True)] == counted != [0, 0]


VERSION_2: dict[str, Any] = {
    "info": {
        "request_id": "7c4d1dbcdd1e4a6fa8f2ed7fbf2b1b7e",
        "experiment_id": "0",
        "timestamp_ms": 1718000000123,
        "execution_time_ms": 30,
        "status": "ERROR",
        "request_metadata": {"mlflow.traceInputs": '{"q": "why?"}', "mlflow.trace_schema.version": "2"},
        "tags": {"mlflow.traceName": "predict"},
    },
    "data": {
        "request": '{"q": "why?"}',
        "response": None,
        "spans": [
            {
                "name": "predict",
                "context": {"span_id": "0x00f4dc4f26b1eb3b", "trace_id": "0x5de2fbc9d7ab3dbd9a9d2a6d9f5d7e8a"},
                "parent_id": None,
                "start_time": 1718000000123456789,
                "end_time": 1718000000153456788,
                "status_code": "ERROR",
                "status_message": "no",
                "attributes": {
                    "mlflow.traceRequestId": '"7c4d1dbcdd1e4a6fa8f2ed7fbf2b1b7e"',
                    "mlflow.spanType": '"CHAIN"',
                    "mlflow.spanInputs": '{"q": "why?"}',
                },
                "events": [],
            },
            {
                "name": "find",
                "context": {"span_id": "0xa3dcf6b2d9dbc4a1", "trace_id": "0x5de2fbc9d7ab3dbd9a9d2a6d9f5d7e8a"},
                "parent_id": "0x00f4dc4f26b1eb3b",
                "start_time": 1718000000133456789,
                "end_time": 1718000000143456789,
                "status_code": "OK",
                "status_message": "",
                "attributes": {"mlflow.traceRequestId": '"7c4d1dbcdd1e4a6fa8f2ed7fbf2b1b7e"', "note": "no JSON"},
                "events": [{"name": "seen", "timestamp": 1718000000133456999, "attributes": {"n": 1}}],
            },
        ],
    },
}


def test_version_2_says_the_same_under_other_names() -> None:
    (run,) = read_mlflow(VERSION_2)
    (step,) = run.steps
    assert (run.request_id, run.workflow_name, run.question) == (
        "7c4d1dbcdd1e4a6fa8f2ed7fbf2b1b7e",
        "predict",
        '{"q":"why?"}',
    )
    assert (run.success, run.error, run.total_latency_ms) == (False, {"message": "no"}, 29.999999)
    assert run.attributes["mlflow.otel_trace_id"] == "5de2fbc9d7ab3dbd9a9d2a6d9f5d7e8a"
    assert (step.step_id, step.parent_id) == ("a3dcf6b2d9dbc4a1", "00f4dc4f26b1eb3b")
    assert step.attributes["causalkit.start_ns"] == 1718000000133456789
    assert step.attributes["causalkit.otlp"]["events"][0]["timeUnixNano"] == "1718000000133456999"
    assert step.attributes["note"] == "no JSON"


def test_the_rest_interface_tells_pairs_and_durations_in_seconds() -> None:
    info = {**VERSION_2["info"], "tags": [{"key": "mlflow.traceName", "value": "predict"}], "request_metadata": []}
    assert read_mlflow({"traces": [{**VERSION_2, "info": info}]})[0].workflow_name == "predict"
    known = {
        "trace_id": "tr-1",
        "state": "OK",
        "request_time": "2026-01-02T03:04:05.006Z",
        "execution_duration": "1.5s",
    }
    (run,) = read_mlflow({"traces": [known]})
    assert (run.total_latency_ms, run.attributes["causalkit.start_ns"]) == (1500, 1767323045006000000)


def test_a_trace_without_its_spans_is_a_run_with_what_is_told_of_it() -> None:
    usage = '{"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}'
    metadata = {
        "mlflow.trace.tokenUsage": usage,
        "mlflow.traceOutputs": '"yes"',
        "mlflow.trace.cost": '{"total_cost": 0.5}',
    }
    info = {"trace_id": "tr-1", "state": "ERROR", "request_time": 1767323045006, "execution_duration": 20}
    (run,) = read_mlflow(pd.DataFrame([{**info, "request": {"q": 1}, "trace_metadata": metadata, "spans": []}]))
    assert (run.success, run.question, run.final_answer, run.steps) == (False, '{"q":1}', "yes", ())
    assert (tokens(run), run.attributes["causalkit.cost_usd"], run.total_latency_ms) == ((7, 2), 0.5, 20)
    assert run.notes == ["MLflow told of this trace without its spans"]
    (running,) = read_mlflow({"info": {**info, "state": "IN_PROGRESS"}})
    assert running.crashed


def test_a_later_assessment_counts_and_what_was_found_goes_before_what_was_expected() -> None:
    said = [
        {"assessment_name": "good", "feedback": {"value": 0.2}, "valid": False},
        {"assessment_name": "good", "feedback": {"value": 0.7}, "valid": True},
        {"assessment_name": "same", "feedback": {"value": "found"}},
        {"assessment_name": "same", "expectation": {"value": "expected"}},
        {"assessment_name": "judge failed", "feedback": {"value": None, "error": {"error_code": "TIMEOUT"}}},
    ]
    (run,) = read_mlflow({**VERSION_2, "info": {**VERSION_2["info"], "assessments": said}})
    assert run.quality_signals == {"good": 0.7, "same": "found"}


def test_ids_that_are_none_are_kept_with_a_note_and_spans_without_one_are_left_out() -> None:
    first, second = VERSION_2["data"]["spans"]
    odd = {**second, "context": {**second["context"], "span_id": "span nr. 1"}}
    none = {**second, "context": {**second["context"], "span_id": None}}
    with pytest.warns(DamagedJournalWarning, match="span 3 of trace 7c4d"):
        traces = read_mlflow({**VERSION_2, "data": {"spans": [first, odd, none]}})
    (step,) = traces[0].steps
    assert step.step_id == "span nr. 1"
    assert "neither 16 hex digits nor base64" in step.notes[0]
    assert len(traces.damage) == 1


def test_what_is_told_of_a_trace_outlives_its_root() -> None:
    _, second = VERSION_2["data"]["spans"]
    orphans = [second, {**second, "context": {**second["context"], "span_id": "0x01"}, "parent_id": "0x02"}]
    for spans in (orphans, orphans[:1]):
        (run,) = read_mlflow({**VERSION_2, "data": {"spans": spans}})
        told = [run.attributes, *(step.attributes for step in run.steps)]
        assert [one["mlflow.tags"] for one in told if "mlflow.tags" in one] == [VERSION_2["info"]["tags"]]
        assert run.crashed is bool(run.steps)


def test_a_torn_line_and_a_line_of_something_else_are_left_out(tmp_path: Path) -> None:
    good = json.dumps(VERSION_2)
    path = _text(tmp_path / "traces.jsonl", f'{good}\n{{"info": "none"}}\n{good[:100]}')
    with pytest.warns(DamagedJournalWarning):
        traces = read_mlflow(path)
    assert len(traces) == 1
    assert [(part.start, part.end) for part in traces.damage] == [
        (len(good) + 1, len(good) + 18),
        (len(good) + 18, len(good) + 118),
    ]


def test_inputs_and_outputs_of_any_size_and_kind_come_through(tmp_path: Path) -> None:
    spans = [dict(VERSION_2["data"]["spans"][0])]
    odd = {
        "mlflow.spanInputs": json.dumps("[no list"),
        "nan": "NaN",
        "deep": "[" * 5000,
        "huge": json.dumps("x" * 10**6),
    }
    spans[0]["attributes"] = {**odd, "half": '"\\ud83d"'}
    row = {"request": "[why?", "trace_id": "tr-1", "state": "OK", "request_time": 0, "spans": json.dumps(spans)}
    (run,) = read_mlflow(_csv(pd.DataFrame([row]), tmp_path))
    assert (run.question, run.attributes["nan"], len(run.attributes["huge"])) == ("[no list", None, 10**6)
    assert run.attributes["deep"] == "[" * 5000


def test_secrets_are_masked_as_told(written: list[Any]) -> None:
    def masked(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "question": "", "attributes": {}, "final_answer": None}

    assert {run.question for run in read_mlflow(written, redact=masked)} == {""}


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", '{"resourceSpans": []}', "[]", "[1]", "\x89PNG\r\n", '{"trace_id": "a"}', '{"spans": "x"}'],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, text: str) -> None:
    path = _text(tmp_path / "other", text)
    with pytest.raises(TraceFormatError) as refused:
        read_mlflow(path)
    assert str(path) in str(refused.value)
    assert refused.value.expected in str(refused.value)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "absent", 7, None, [], pd.DataFrame({"a": [1]}), {}):
        with pytest.raises(TraceFormatError):
            read_mlflow(source)


def _lines(path: Path, traces: list[Any]) -> Path:
    return _text(path, "".join(trace.to_json() + "\n" for trace in traces))


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _packed(path: Path) -> Path:
    packed = path.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def _csv(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "traces.csv", index=False)
    return folder / "traces.csv"
