"""`read_traces` finds out by itself which tool wrote a file."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.operators.event_journal import save_events
from causalkit.operators.listening import collect_events
from causalkit.operators.tracing import trace
from causalkit.workflows.parquet import write_parquet
from causalkit.workflows.readers.recognising import read_traces
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import DamagedJournalWarning, load_traces

TIMES = {"start_time": "2026-11-20T10:00:00.000000Z", "end_time": "2026-11-20T10:00:01.000000Z"}
IDS = {"context": {"trace_id": "0x" + "1" * 32, "span_id": "0x" + "2" * 16}, "parent_id": None}
OTLP = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "1" * 32, "spanId": "2" * 16, "name": "answer"}]}]}]}
CONSOLE = {"name": "answer", **IDS, "kind": "SpanKind.INTERNAL", **TIMES, "status": {"status_code": "OK"}}
PHOENIX = {"name": "answer", **IDS, "span_kind": "CHAIN", **TIMES, "status_code": "OK", "attributes": {}}
MLFLOW = {
    "info": {"trace_id": "tr-1", "state": "OK", "request_time": "2026-01-02T03:04:05Z", "execution_duration_ms": 12,
             "tags": {"mlflow.traceName": "answer"}},
    "data": {"spans": []},
}  # fmt: skip
OBSERVATION = {"id": "b", "traceId": "a", "traceName": "answer", "type": "TOOL", "name": "search",
               "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:02Z"}  # fmt: skip
LANGFUSE = {"trace": {"id": "a", "name": "answer", "timestamp": "2026-01-01T00:00:00Z"}, "observations": []}
SPAN = {"traceID": "1", "spanID": "2", "operationName": "answer", "startTime": 1_000_000, "duration": 5_000}
INSPECT = {
    "version": 2,
    "status": "success",
    "eval": {"task": "answer"},
    "samples": [{"id": 1, "epoch": 1, "input": "q"}],
}
DOCUMENTS = {
    "OTLP": OTLP,
    "OTLP of Tempo": {"batches": OTLP["resourceSpans"]},
    "the console exporter": CONSOLE,
    "any-agent": {"spans": [CONSOLE]},
    "Phoenix": PHOENIX,
    "Phoenix, a page": {"data": [PHOENIX], "next_cursor": None},
    "MLflow": MLFLOW,
    "MLflow, a page": {"traces": [MLFLOW]},
    "Langfuse": LANGFUSE,
    "Langfuse, an observation": OBSERVATION,
    "Langfuse, a page": {"data": [OBSERVATION], "meta": {}},
    "Jaeger": {"data": [{"traceID": "1", "spans": [SPAN], "processes": {}}]},
    "Jaeger, a trace": {"traceID": "1", "spans": [SPAN], "processes": {}},
    "Inspect": INSPECT,
}
FRAMES = {
    "Phoenix": pd.DataFrame([{"context.trace_id": "1", "context.span_id": "2", "name": "answer", **TIMES}]),
    "MLflow": pd.DataFrame([{"trace_id": "t", "trace": json.dumps(MLFLOW), "state": "OK", "spans": "[]"}]),
    "Langfuse": pd.DataFrame([{"id": "b", "trace_id": "a", "trace_name": "answer", "type": "SPAN", "name": "s",
                               "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}]),
    "an event log": pd.DataFrame([{"Case ID": "1", "Activity": "ask", "Timestamp": "2026-01-01"}]),
}  # fmt: skip


@pytest.mark.parametrize("tool", DOCUMENTS)
def test_a_document_is_known_by_its_keys_whatever_the_name_of_its_file(tmp_path: Path, tool: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(json.dumps(DOCUMENTS[tool]))

    assert [run.workflow_name for run in read_traces(path)] == ["answer"]


@pytest.mark.parametrize("tool", ["OTLP", "MLflow", "Langfuse", "Jaeger", "Inspect", "Phoenix"])
def test_what_was_parsed_already_is_known_by_the_same_keys(tool: str) -> None:
    assert [run.workflow_name for run in read_traces(DOCUMENTS[tool])] == ["answer"]


@pytest.mark.parametrize("tool", ["OTLP", "Inspect"])
def test_a_document_is_known_indented_behind_blank_space_in_another_encoding_and_packed(
    tmp_path: Path, tool: str
) -> None:
    text, path = "\n " + json.dumps(DOCUMENTS[tool], indent=2), tmp_path / "x"
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"), gzip.compress(text.encode())):
        path.write_bytes(content)
        assert [run.workflow_name for run in read_traces(path)] == ["answer"]


@pytest.mark.parametrize("tool", FRAMES)
@pytest.mark.parametrize("form", ["parsed", "csv", "parquet"])
def test_a_table_is_known_by_its_columns(tmp_path: Path, tool: str, form: str) -> None:
    frame, path = FRAMES[tool], tmp_path / "export"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "parquet":
        frame.to_parquet(path)

    assert len(read_traces(frame if form == "parsed" else path)) == 1


def test_our_own_journal_and_parquet_are_known_and_not_masked_a_second_time(tmp_path: Path) -> None:
    journal = _journal(tmp_path / "runs.jsonl")
    parquet = write_parquet(load_traces(journal), tmp_path / "runs.bin")

    for path in (journal, parquet):
        assert [run.workflow_name for run in read_traces(path)] == ["answer"]
        with pytest.raises(TraceFormatError, match="masked when it was written: leave redact= away"):
            read_traces(path, redact=dict)


def test_a_strange_or_damaged_first_line_hides_no_file(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_text('{"resourceSpans": [{"sc\n{"hello": 1}\n' + json.dumps(OTLP))

    with pytest.warns(DamagedJournalWarning):
        assert len(read_traces(path)) == 1


def test_all_files_of_a_folder_and_several_paths_are_read_together(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / f"{number}.json").write_text(json.dumps({**INSPECT, "eval": {"task": "answer", "eval_id": number}}))
    (tmp_path / ".hidden").write_text("no")

    assert len(read_traces(tmp_path)) == len(read_traces([tmp_path / "1.json", tmp_path / "2.json"])) == 2


def test_the_segments_of_a_journal_in_a_folder_are_read_once(tmp_path: Path) -> None:
    _journal(tmp_path / "runs.jsonl")
    _journal(tmp_path / "runs.0001.jsonl")

    traces = read_traces(tmp_path)
    assert (len(traces), traces.caveats) == (2, ())


def test_files_of_another_kind_among_the_others_are_named(tmp_path: Path) -> None:
    for name, document in (("a.json", INSPECT), ("b.json", OTLP), ("c.json", OTLP)):
        (tmp_path / name).write_text(json.dumps(document))

    with pytest.raises(
        TraceFormatError, match=r"2 of 3 files are OTLP/JSON, but not .*a\.json \(an evaluation log"
    ) as refused:
        read_traces(tmp_path)
    assert len(refused.value.others) == 1


def _picture() -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def _zip_of(name: str) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(name, "{}")
    return whole.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"resourceLogs": []}', "holds OTLP logs, not traces"),
        (b'{"resourceMetrics": [', "holds OTLP metrics, not traces"),
        (json.dumps({"result": OTLP}).encode(), "is OTLP, not Jaeger's own JSON; use read_otlp"),
        (_picture(), "is a picture"),
        (b"", "is empty"),
        (b" \n\t", "nothing but blank space"),
        (b"\x0a\x8f\x01\0\x12binary", "is binary"),
        (b"<?xml version='1.0'?><log/>", "is XML"),
        (b"%PDF-1.7", "is a PDF"),
        (b"SQLite format 3\0", "is a database of SQLite"),
        (b"\x28\xb5\x2f\xfd....", "unpack it first"),
        (b'{"a": 1, "b": [2]}', r"is of no known kind \(its keys or columns: a, b\)"),
        (b"[1, 2]", "holds neither JSON nor a table"),
        (b'{"a": 1, "b": ', "is no JSON at byte 13"),
        (b"city,people\nUlm,126000\n", r"its keys or columns: city, people\)"),
        (b"just some words", "holds neither JSON nor a table"),
        (b"PAR1....PAR1", "binary"),
        (gzip.compress(json.dumps(OTLP).encode())[:10], "gzip file that is broken where it begins"),
        (gzip.compress(json.dumps(OTLP).encode())[:-30], "no JSON|breaks off"),
        (_zip_of("word/document.xml"), r"zip archive of word/document\.xml"),
        (_zip_of("header.json")[:-9], "zip archive that is cut off or damaged"),
    ],
)
def test_what_is_no_trace_is_refused_by_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(content)

    with pytest.raises(TraceFormatError, match=message) as refused:
        read_traces(path)
    assert refused.value.path == str(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent.json", "is not there"),
        ("a\0b", "absent|not there|cannot be opened"),
        ("a" * 5000, "not there|cannot be opened"),
        (5, "got a int"),
        (None, "got a NoneType"),
        ([], "no file was named"),
        ({}, "holds neither JSON nor a table"),
        ({"a": 1}, "is of no known kind"),
        ({"schema": 1, "kind": "run"}, "name the file"),
        (pd.DataFrame({"x": [1]}), r"columns: x\)"),
    ],
)
def test_what_is_no_source_is_refused(source: Any, message: str) -> None:
    with pytest.raises(TraceFormatError, match=message):
        read_traces(source)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="is a folder without files"):
        read_traces(tmp_path)


def test_a_journal_of_operator_events_only_is_refused_and_one_with_runs_behind_them_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with collect_events() as events:
        trace(lambda: 1)()
    save_events(path, events)

    with pytest.raises(TraceFormatError, match="holds operator events, and no run; read them with load_events"):
        read_traces(path)

    runs = _journal(tmp_path / "runs.jsonl").read_bytes()
    path.write_bytes(path.read_bytes() * 60 + runs)
    assert len(read_traces(path)) == 1


def _journal(path: Path) -> Path:
    with Tracer(path).workflow("answer") as run, run.step("search"):
        pass
    return path
