"""Runs go out as OTLP and come back as they were; and so do the spans of other tools."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from msgspec import structs

from causalkit.errors import CausalkitError
from causalkit.workflows.otlp_writing import document, write_otlp
from causalkit.workflows.readers.otlp import read_otlp
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import load_traces
from tests.workflows.journals import some_runs
from tests.workflows.readers.otlp_forms import Json, canonical, documents

OTLP = [
    "otlp-proto-examples/trace.json", "otlp2parquet/trace.json", "otlp2parquet/traces.jsonl",
    "jaeger/otel_traces_01.json", "otlp2parquet/trace_invalid_base64.json", "duckdb-otlp/multifile_valid_traces.jsonl",
    "duckdb-otlp/traces_nulls.jsonl", "duckdb-otlp/traces_simple.jsonl",
    "generated-by-official-libs/otlp_file_exporter.jsonl",
]  # fmt: skip


def written(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def by_id(runs: Iterable[WorkflowTrace]) -> dict[str, WorkflowTrace]:
    """Return the runs; steps that began at once may have changed places when they were grouped by resource."""
    return {run.request_id: structs.replace(run, steps=tuple(sorted(run.steps, key=_place))) for run in runs}


def _place(step: StepTrace) -> tuple[datetime, str]:
    return step.start, step.step_id


def raw(path: Path) -> list[Json]:
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]


@pytest.mark.parametrize("name", OTLP)
def test_spans_of_others_go_out_as_they_came(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "traces" / name

    read_otlp(path).to_otlp(tmp_path / "again.jsonl")

    assert canonical(written(tmp_path / "again.jsonl")) == canonical(raw(path))


def test_any_spans_go_out_as_they_came(tmp_path: Path, proof: bool) -> None:
    @settings(max_examples=500 if proof else 12)
    @given(documents)
    def check(told: list[Json]) -> None:
        path = tmp_path / "spans.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in told))
        traces = read_otlp(path)
        again = traces.to_otlp(tmp_path / "again.jsonl")
        assert canonical(written(again)) == canonical(told)
        assert by_id(read_otlp(again)) == by_id(traces)

    check()


def test_our_own_runs_come_back_as_they_were(tmp_path: Path) -> None:
    runs = list(load_traces(some_runs(60)))

    write_otlp(runs, tmp_path / "runs.jsonl.gz")

    assert list(read_otlp(tmp_path / "runs.jsonl.gz")) == runs
    with gzip.open(tmp_path / "runs.jsonl.gz") as lines:
        assert len(lines.readlines()) == len(runs)


def test_what_a_tracer_recorded_comes_back_and_other_tools_see_names_times_and_errors(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with (
        pytest.raises(KeyError),
        tracer.workflow("answer", question="why?", knobs={"depth": 3}, load=0.5) as run,
        run.step("search", **{"gen_ai.request.model": "m"}),
        run.step("fetch"),
    ):
        raise KeyError("page")
    traces = load_traces(tmp_path / "runs.jsonl")

    traces.to_otlp(tmp_path / "out.jsonl")

    assert list(read_otlp(tmp_path / "out.jsonl")) == list(traces)
    (told,) = written(tmp_path / "out.jsonl")
    root, search, fetch = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [root["name"], search["name"], fetch["name"]] == ["answer", "search", "fetch"]
    assert "parentSpanId" not in root
    assert (search["parentSpanId"], fetch["parentSpanId"]) == (root["spanId"], search["spanId"])
    assert {"key": "gen_ai.request.model", "value": {"stringValue": "m"}} in search["attributes"]
    assert fetch["status"]["code"] == 2
    assert fetch["events"][0]["name"] == "exception"
    assert all(len(span["traceId"]) == 32 and len(span["spanId"]) == 16 for span in (root, search, fetch))


def test_attributes_that_are_called_as_our_fields_and_times_before_1970_come_back(tmp_path: Path) -> None:
    early = datetime(1969, 1, 1, tzinfo=UTC)
    odd = {"causalkit.run.question": "no", "causalkit.record": "neither", "n": None, "deep": [[1, 0.1], {"": {}}]}
    step = StepTrace(step_id="0" * 16, step_name="", start=early, latency_ms=1e-7, success=False, attributes=odd)
    runs = [
        WorkflowTrace(
            request_id="a", success=True, total_latency_ms=0.1, attributes=odd, timestamp=early, steps=(step,)
        ),
        WorkflowTrace(request_id="b", success=False, crashed=True),
    ]

    write_otlp(runs, tmp_path / "runs.jsonl")

    assert list(read_otlp(tmp_path / "runs.jsonl")) == runs


def test_a_run_that_was_read_and_then_changed_is_written_with_its_change(tmp_path: Path) -> None:
    (told,) = documents_of_one_span()
    run = structs.replace(read_otlp(told)[0], question="changed")

    write_otlp([run], tmp_path / "runs.jsonl")

    assert list(read_otlp(tmp_path / "runs.jsonl")) == [run]


def test_a_file_is_replaced_only_when_everything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text("before")

    def failing() -> object:
        yield some_runs(1)[0]
        raise OSError("no space")

    with pytest.raises(CausalkitError, match=r"runs.jsonl cannot be written \(no space\)"):
        write_otlp(failing(), path)  # type: ignore[arg-type]
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings(), pytest.raises(CausalkitError, match="no run is left"):
        read_otlp(documents_of_one_span()[0]).filter_by_workflow("none").to_otlp(tmp_path / "runs.jsonl")


def documents_of_one_span() -> list[Json]:
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "answer", "startTimeUnixNano": "5", "endTimeUnixNano": "9"}
    return [{"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}]


def test_a_run_is_one_object_with_its_spans_grouped_by_resource_and_scope() -> None:
    told = document(some_runs(3)[1])

    assert [len(resource["scopeSpans"]) for resource in told["resourceSpans"]] == [1]


@pytest.mark.parametrize("write", ["to_otlp", "to_parquet"])
def test_where_no_file_can_be_written_is_said_and_leaves_nothing(write: str, tmp_path: Path) -> None:
    traces = load_traces([WorkflowTrace(request_id="a", workflow_name="qa", success=True, total_latency_ms=1.0)])
    with pytest.raises(CausalkitError, match=r"there is no folder .*absent for runs; make it first"):
        getattr(traces, write)(tmp_path / "absent" / "runs")
    with pytest.raises(CausalkitError, match="is a folder; name a file in it"):
        getattr(traces, write)(tmp_path)
    assert not list(tmp_path.iterdir())
