"""What OpenTelemetry's console exporter prints, and any-agent's files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.console import read_console
from causalkit.workflows.readers.otlp import read_otlp
from causalkit.workflows.traces import DamagedJournalWarning

Json = dict[str, Any]


def span(span_id: str = "0x2a", parent: str | None = None, **told: Any) -> Json:
    context = {"trace_id": "0x1F", "span_id": span_id, "trace_state": "[]"}
    times = {"start_time": "2026-11-20T23:02:08.250001Z", "end_time": "2026-11-20T23:02:08.500001Z"}
    return {
        "name": "answer",
        "context": context,
        "parent_id": parent,
        **times,
        "status": {"status_code": "UNSET"},
        **told,
    }


def test_ids_behind_0x_times_and_parents_are_read() -> None:
    (run,) = read_console([span("0x3", "0x2a"), span()])  # type: ignore[list-item]

    assert run.request_id == "0" * 30 + "1f"
    assert [(step.step_id, step.parent_id) for step in run.steps] == [("0" * 15 + "3", "0" * 14 + "2a")]
    assert run.attributes["causalkit.start_ns"] % 10**9 == 250_001_000
    assert run.total_latency_ms == 250.0


def test_events_links_status_resource_and_what_is_unknown_are_kept() -> None:
    event = {"name": "exception", "timestamp": "2026-11-20T23:02:08.3Z", "attributes": {"exception.type": "OSError"}}
    link = {"context": {"trace_id": "0x1", "span_id": "0x2"}, "attributes": {}}
    told = span(
        kind="SpanKind.CLIENT", status={"status_code": "ERROR", "description": "no"}, events=[event], links=[link],
        resource={"attributes": {"service.name": "a"}, "schema_url": "u"}, dropped=3, attributes={"n": 1},
    )  # fmt: skip

    (run,) = read_console(told)

    assert (run.success, run.error) == (False, {"type": "OSError"})
    assert (run.attributes["n"], run.attributes["console.dropped"]) == (1, 3)
    otlp = run.attributes["causalkit.otlp"]
    assert (otlp["kind"], otlp["status"], otlp["resourceSchemaUrl"]) == (3, {"code": 2, "message": "no"}, "u")
    assert otlp["events"][0]["name"] == "exception"
    assert otlp["links"] == [{"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "2"}]


def test_indented_objects_behind_one_another_lines_and_packed_files_hold_the_same(tmp_path: Path) -> None:
    told = [span("0x3", "0x2a"), span()]
    (tmp_path / "a").write_text("\n".join(json.dumps(one) for one in told))
    (tmp_path / "b").write_text("".join(json.dumps(one, indent=4) + "\n" for one in told))
    (tmp_path / "c").write_bytes(gzip.compress((tmp_path / "b").read_bytes()))

    read = [list(read_console(tmp_path / name)) for name in "abc"]

    assert len(read[0][0].steps) == 1
    assert read[0] == read[1] == read[2]


def test_the_sample_holds_the_runs_of_the_same_otlp_file(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "traces/generated-by-official-libs"
    console, otlp = (
        {run.request_id: run for run in runs}
        for runs in (
            read_console(folder / "otel_console_exporter.jsonl"),
            read_otlp(folder / "otlp_file_exporter.jsonl"),
        )
    )

    assert console.keys() == otlp.keys()
    for name, run in console.items():
        other = otlp[name]
        assert (run.success, run.error, run.workflow_name) == (other.success, other.error, other.workflow_name)
        assert [(step.step_id, step.parent_id, step.step_name, step.error) for step in run.steps] == [
            (step.step_id, step.parent_id, step.step_name, step.error) for step in other.steps
        ]


@pytest.mark.parametrize("name", ["AGNO", "GOOGLE", "LANGCHAIN", "OPENAI"])
def test_numbers_as_ids_of_any_agent_are_read_to_the_last_digit(shared_data: Path, name: str) -> None:
    path = shared_data / f"traces/any-agent/{name}_trace.json"
    raw = json.loads(path.read_text())

    (run,) = read_console(path)

    root = next(one for one in raw["spans"] if not (one.get("parent") or {}).get("span_id"))
    assert int(run.request_id, 16) == root["context"]["trace_id"]
    told = {int(step.step_id, 16): step for step in run.steps}
    assert len(told) == len(raw["spans"]) - 1
    for one in raw["spans"]:
        if one is not root:
            step = told[one["context"]["span_id"]]
            assert int(step.parent_id or "", 16) == one["parent"]["span_id"]
            assert step.attributes["causalkit.start_ns"] == one["start_time"]
            assert step.latency_ms == (one["end_time"] - one["start_time"]) / 1e6
    tokens = sum(step.attributes.get("gen_ai.usage.input_tokens", 0) for step in run.steps)
    assert tokens == sum(one["attributes"].get("gen_ai.usage.input_tokens", 0) for one in raw["spans"])
    assert run.final_answer


@pytest.mark.parametrize(
    "text", ['{"resourceSpans": []}', "no json", "[]", '{"spans": []}', '{"name": "a", "context": 3}']
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)

    with pytest.raises(TraceFormatError, match="holds no spans") as refused:
        read_console(path)
    assert refused.value.path == str(path)


def test_what_is_no_span_between_others_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_text("\n".join([json.dumps(span()), '{"name": "b"}', "a warning that was printed between"]) + "\n")

    with pytest.warns(DamagedJournalWarning, match="it has no context"):
        traces = read_console(path)
    assert [part.reason.partition(" (")[0] for part in traces.damage] == ["no span of the console exporter", "not JSON"]
