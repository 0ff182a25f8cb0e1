"""Jaeger's JSON becomes runs and steps."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.jaeger import read_jaeger
from causalkit.workflows.traces import DamagedJournalWarning

TRACE = "00000000000000000000000000000001"
START = 1485467191639875


def test_an_answer_of_the_query_api_becomes_one_run_with_its_steps(tmp_path: Path) -> None:
    path = tmp_path / "traces.json.gz"
    spans = [_span("3", "search", parent="2", duration=1_500), _span("2", "answer", duration=4_000)]
    path.write_bytes(gzip.compress(json.dumps({"data": [_trace(*spans)], "total": 0, "errors": None}).encode()))

    (run,) = read_jaeger(path)

    assert (run.request_id, run.workflow_name, run.total_latency_ms) == (TRACE, "answer", 4.0)
    assert run.attributes["causalkit.start_ns"] == START * 1000
    ((step_id, parent, name, latency),) = [(s.step_id, s.parent_id, s.step_name, s.latency_ms) for s in run.steps]
    assert (step_id, parent, name, latency) == ("3", "2", "search", 1.5)


def test_process_kind_library_and_flags_are_kept() -> None:
    tags = [_tag("span.kind", "server"), _tag("otel.scope.name", "lib"), _tag("otel.scope.version", "1.2")]

    (run,) = read_jaeger(_trace(_span("2", tags=tags, flags=1, warnings=["clock skew"])))

    assert run.attributes["jaeger.flags"] == 1
    assert run.attributes["jaeger.warnings"] == ["clock skew"]
    assert run.attributes["span.kind"] == "server"
    assert run.attributes["causalkit.otlp"] == {
        "kind": 2,
        "scope": {"name": "lib", "version": "1.2"},
        "resource": {
            "attributes": [
                {"key": "service.name", "value": {"stringValue": "service-x"}},
                {"key": "host", "value": {"stringValue": "h1"}},
            ]
        },
    }


def test_tags_come_in_their_types_also_where_all_values_are_text() -> None:
    tags = [
        _tag("n", "9223372036854775222", "int64"),
        _tag("m", 3, "int64"),
        _tag("x", "72.5", "float64"),
        _tag("yes", "true", "bool"),
        _tag("no", False, "bool"),
        _tag("blob", "AAAwOQ==", "binary"),
        _tag("text", "12", "string"),
        _tag("odd", "none", "int64"),
    ]

    (run,) = read_jaeger(_trace(_span("2", tags=tags)))

    expected = {"n": 9223372036854775222, "m": 3, "x": 72.5, "yes": True, "no": False}
    assert expected.items() <= run.attributes.items()
    assert [run.attributes[name] for name in ("blob", "text", "odd")] == ["AAAwOQ==", "12", "none"]


@pytest.mark.parametrize(
    ("tags", "ok"),
    [
        ([], True),
        ([("error", True, "bool")], False),
        ([("error", "true", "bool")], False),
        ([("error", False, "bool")], True),
        ([("error", "timeout", "string")], False),
        ([("otel.status_code", "ERROR", "string")], False),
        ([("otel.status_code", "OK", "string"), ("error", True, "bool")], True),
    ],
)
def test_the_tags_say_whether_a_span_failed(tags: list[tuple[str, Any, str]], ok: bool) -> None:
    (run,) = read_jaeger(_trace(_span("2", tags=[_tag(*tag) for tag in tags])))

    assert run.success is ok
    assert (run.error is None) is ok


def test_the_exception_of_a_failed_span_is_that_of_its_log_and_all_logs_are_kept() -> None:
    logs = [
        _log(START + 1, event="cache miss", key="k"),
        _log(START + 2, **{"event": "exception", "exception.type": "ValueError", "exception.message": "bad"})
        | {"x": 1},
        _log(START + 3, **{"event": "error", "error.kind": "IOError", "message": "gone", "stack": "line 1"}),
    ]
    tags = [_tag("error", True, "bool"), _tag("otel.status_description", "failed")]

    traces = read_jaeger(_trace(_span("2", logs=logs[:2], tags=tags), _span("3", parent="2", logs=logs[2:], tags=tags)))

    (run,) = traces
    assert run.error == {"type": "ValueError", "message": "bad", "stack": ""}
    assert run.steps[0].error == {"type": "IOError", "message": "gone", "stack": "line 1"}
    events = run.attributes["causalkit.otlp"]["events"]
    assert [(event["name"], event["timeUnixNano"]) for event in events] == [
        ("cache miss", str((START + 1) * 1000)),
        ("exception", str((START + 2) * 1000)),
    ]
    assert run.attributes["causalkit.otlp"]["status"] == {"code": 2, "message": "failed"}


def test_the_first_child_of_in_the_same_trace_is_the_parent_and_the_rest_are_links() -> None:
    references = [
        {"refType": "CHILD_OF", "traceID": "ff", "spanID": "ee"},
        {"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": "3"},
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "2"},
    ]

    (run,) = read_jaeger(_trace(_span("2"), _span("3", parent="2"), _span("4", references=references)))

    step = run.steps[-1]
    assert (step.step_id, step.parent_id) == ("4", "2")
    links = step.attributes["causalkit.otlp"]["links"]
    assert [(link["traceId"], link["spanId"]) for link in links] == [("ff", "ee"), (TRACE, "3")]
    assert links[1]["attributes"][0]["value"] == {"stringValue": "follows_from"}


def test_a_span_that_only_follows_from_another_stands_below_it_as_jaeger_shows_it() -> None:
    references = [{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": "2"}]

    (run,) = read_jaeger(_trace(_span("2"), _span("3", references=references)))

    assert run.steps[0].parent_id == "2"
    assert len(run.steps[0].attributes["causalkit.otlp"]["links"]) == 1


def test_spans_one_a_line_as_elasticsearch_has_them_are_read_in_any_order(tmp_path: Path) -> None:
    process = {"serviceName": "service-x", "tags": [_tag("n", "3", "int64")]}
    spans = [_span("3", parent="2", process=process), _span("2", process=process, parentSpanID="0")]
    path = tmp_path / "spans.jsonl"
    path.write_text("".join(json.dumps(span) + "\n" for span in spans))

    (run,) = read_jaeger(path)

    assert len(run.steps) == 1
    assert run.attributes["causalkit.otlp"]["resource"]["attributes"][1]["value"] == {"intValue": "3"}


def test_several_traces_are_several_runs_and_two_spans_of_one_id_are_one() -> None:
    first, second = _trace(_span("2", "old"), _span("2", "new")), _trace(_span("2", "other", traceID="b"))

    traces = read_jaeger({"data": [first, second]})

    assert sorted(run.workflow_name for run in traces) == ["new", "other"]
    assert len(traces.caveats) == 1


def test_a_span_that_is_none_is_left_out_and_named() -> None:
    wrong = [{"traceID": TRACE}, 7, None, _span("4", startTime="soon"), _span("5", tags=[1]), _span("", traceID=3)]

    with pytest.warns(DamagedJournalWarning):
        traces = read_jaeger({"data": [_trace(_span("2"), *wrong), "no trace"]})

    assert len(traces) == 1
    assert len(traces.damage) == len(wrong) + 1


@pytest.mark.parametrize("name", ["example_trace.json", "otel_traces_01.json"])
def test_of_otlp_under_jaegers_name_it_is_said_that_it_is_otlp(shared_data: Path, name: str) -> None:
    path = shared_data / "traces" / "jaeger" / name

    with pytest.raises(
        TraceFormatError, match="is OTLP, not Jaeger's own JSON; use read_otlp or read_traces"
    ) as caught:
        read_jaeger(path)

    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"data": null, "errors": [{"code": 404}]}', b'{"data": []}', b"[]", b"\x89PNG", b"a,b\n1,2\n"],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(content)

    with pytest.raises(TraceFormatError, match=r"given\.json"):
        read_jaeger(path)


def test_the_answer_of_the_newer_api_is_refused_as_otlp() -> None:
    with pytest.raises(TraceFormatError, match="read_otlp for what is under 'result'"):
        read_jaeger({"result": {"resourceSpans": []}})


def _trace(*spans: Any) -> dict[str, Any]:
    processes = {"p1": {"serviceName": "service-x", "tags": [_tag("host", "h1")]}}
    return {"traceID": TRACE, "spans": list(spans), "processes": processes, "warnings": None}


def _span(span_id: str, name: str = "work", parent: str | None = None, **told: Any) -> dict[str, Any]:
    references = [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": parent}] if parent else []
    ids = {"traceID": TRACE, "spanID": span_id, "operationName": name, "references": references, "processID": "p1"}
    return {**ids, "startTime": START, "duration": 5, "tags": [], "logs": [], "warnings": None, **told}


def _tag(key: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def _log(timestamp: int, **fields: Any) -> dict[str, Any]:
    return {"timestamp": timestamp, "fields": [_tag(name, value) for name, value in fields.items()]}
