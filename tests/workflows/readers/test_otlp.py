"""OTLP/JSON is read in every form it has in the wild, or refused by name."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.otlp import read_otlp
from causalkit.workflows.traces import DamagedJournalWarning

Json = dict[str, Any]
TRACE, ROOT, STEP = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b173", "eee19b7ec3c1b174"


def span(span_id: str = ROOT, parent: str | None = None, trace: str = TRACE, **told: Any) -> Json:
    found = {"traceId": trace, "spanId": span_id, "name": "answer" if parent is None else "search"}
    found |= {"startTimeUnixNano": "1795215728272615974", "endTimeUnixNano": "1795215728273615975"}
    return found | ({"parentSpanId": parent} if parent else {}) | told


def document(*spans: Any, **told: Any) -> Json:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}], **told}]}


def attributes(**told: Json) -> list[Json]:
    return [{"key": name, "value": value} for name, value in told.items()]


def test_times_are_kept_to_the_nanosecond() -> None:
    run = read_otlp(document(span()))[0]

    assert run.attributes["causalkit.start_ns"] == 1795215728272615974
    assert run.total_latency_ms == 1.000001
    assert run.timestamp is not None
    assert run.timestamp.microsecond == 272615


def test_every_kind_of_value_is_read_and_bytes_and_nan_are_kept_beside_it() -> None:
    told = attributes(
        text={"stringValue": "a"},
        number={"intValue": "-9223372036854775808"},
        short={"intValue": 7},
        real={"doubleValue": 2},
        truth={"boolValue": False},
        items={"arrayValue": {"values": [{"intValue": "1"}, {}]}},
        table={"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "v"}}]}},
        raw={"bytesValue": "AAAwOQ=="},
        nan={"doubleValue": "NaN"},
        nothing={},
    )

    found = read_otlp(document(span(attributes=told)))[0].attributes

    assert {
        name: found[name] for name in ("text", "number", "short", "real", "truth", "items", "table", "nothing")
    } == {
        **{"text": "a", "number": -(2**63), "short": 7, "real": 2.0, "truth": False},
        **{"items": [1, None], "table": {"k": "v"}, "nothing": None},
    }
    assert isinstance(found["real"], float)
    assert (found["raw"], found["nan"]) == ("AAAwOQ==", "NaN")
    assert [one["key"] for one in found["causalkit.otlp"]["attributes"]] == ["raw", "nan"]


def test_what_otlp_tells_besides_stands_under_one_key() -> None:
    link = {"traceId": TRACE.upper(), "spanId": base64.b64encode(bytes.fromhex(STEP)).decode()}
    told = span(kind="SPAN_KIND_CLIENT", flags=256, traceState="a=b", links=[link], droppedEventsCount=3, tomorrow="x")
    resource = {"attributes": attributes(host={"stringValue": "h"})}

    found = read_otlp(document(told, resource=resource, schemaUrl="u"))[0].attributes["causalkit.otlp"]

    assert found == {
        **{"kind": 3, "flags": 256, "traceState": "a=b", "droppedEventsCount": 3, "tomorrow": "x"},
        **{"links": [{"traceId": TRACE, "spanId": STEP}], "resource": resource, "resourceSchemaUrl": "u"},
    }


def test_an_error_is_told_with_the_stack_of_its_last_exception() -> None:
    events = [
        {"name": "exception", "attributes": attributes(**{"exception.type": {"stringValue": "KeyError"}})},
        {
            "name": "exception",
            "attributes": attributes(
                **{"exception.type": {"stringValue": "OSError"}, "exception.stacktrace": {"stringValue": "a\nb"}}
            ),
        },
    ]
    step = span(STEP, ROOT, status={"code": "STATUS_CODE_ERROR", "message": "no"}, events=events)

    run = read_otlp(document(step, span()))[0]

    assert run.success
    assert not run.steps[0].success
    assert run.steps[0].error == {"type": "OSError", "stack": "a\nb"}


def test_a_status_of_error_without_an_exception_tells_its_message() -> None:
    run = read_otlp(document(span(status={"code": 2, "message": "no"})))[0]

    assert not run.success
    assert run.error == {"message": "no"}


@pytest.mark.parametrize("of", [str.upper, lambda told: base64.b64encode(bytes.fromhex(told)).decode()])
def test_ids_in_capitals_and_in_base64_are_those_in_hex(of: Any) -> None:
    run = read_otlp(document(span(of(ROOT), trace=of(TRACE)), span(of(STEP), of(ROOT), of(TRACE))))[0]

    assert (run.request_id, run.steps[0].step_id, run.steps[0].parent_id) == (TRACE, STEP, ROOT)
    assert not run.notes


def test_ids_that_are_none_are_kept_as_text_with_a_note() -> None:
    run = read_otlp(document(span("!", trace="trace 1"), span("?", "!", "trace 1")))[0]

    assert (run.request_id, run.steps[0].parent_id) == ("trace 1", "!")
    assert "neither 32 hex digits nor base64 of 16 bytes" in run.notes[0]


@pytest.mark.parametrize("none", ["", "0000000000000000", "AAAAAAAAAAA=", None])
def test_a_parent_of_zeros_is_none(none: str | None) -> None:
    assert len(read_otlp(document(span(STEP, parentSpanId=none)))) == 1


def test_files_of_lines_of_one_object_packed_and_several_of_them_hold_the_same(tmp_path: Path) -> None:
    step, root = document(span(STEP, ROOT)), document(span())
    (tmp_path / "a.jsonl").write_text("\n" + json.dumps(step) + "\n\n" + json.dumps(root))
    (tmp_path / "b.json").write_text("\ufeff" + json.dumps(document(span(STEP, ROOT), span()), indent=2))
    (tmp_path / "c.gz").write_bytes(gzip.compress((json.dumps(step) + "\n" + json.dumps(root)).encode()))
    (tmp_path / "d.json").write_text(json.dumps([step, root]))
    (tmp_path / "e.json").write_text(json.dumps(step, indent=1) + "\n" + json.dumps(root, indent=1))
    (tmp_path / "f.json").write_text(json.dumps(step))
    (tmp_path / "g.json").write_text(json.dumps(root))
    expected = list(read_otlp(document(span(STEP, ROOT), span())))

    for name in "a.jsonl", "b.json", "c.gz", "d.json", "e.json":
        assert list(read_otlp(tmp_path / name)) == expected, name
    assert list(read_otlp([tmp_path / "f.json", str(tmp_path / "g.json")])) == expected


def test_the_names_of_2021_of_tempo_and_of_protobuf_are_understood() -> None:
    old = {
        "resourceSpans": [
            {"instrumentationLibrarySpans": [{"instrumentationLibrary": {"name": "x"}, "spans": [span()]}]}
        ]
    }
    snake = {
        "trace_id": TRACE,
        "span_id": ROOT,
        "name": "answer",
        "start_time_unix_nano": "5",
        "end_time_unix_nano": "9",
    }

    assert read_otlp(old)[0].attributes["causalkit.otlp"] == {"scope": {"name": "x"}}
    assert read_otlp({"batches": document(span())["resourceSpans"]})[0].request_id == TRACE
    run = read_otlp({"resource_spans": [{"scope_spans": [{"spans": [snake]}]}]})[0]
    assert (run.request_id, run.attributes["causalkit.start_ns"]) == (TRACE, 5)


def test_bad_lines_and_bad_spans_are_left_out_with_their_place_and_reason(tmp_path: Path) -> None:
    good, bad = json.dumps(document(span())), json.dumps(document(span(STEP, ROOT), {"spanId": "a"}, 7))
    lines = [good, "{torn", bad, '{"resourceLogs": []}', '{"resourceSpans": 3}']
    path = tmp_path / "spans.jsonl"
    path.write_text("\n".join(lines) + "\n")

    with pytest.warns(DamagedJournalWarning, match="read 1 runs and left out"):
        traces = read_otlp(path)

    assert [len(run.steps) for run in traces] == [1]
    text = path.read_bytes()
    places = [(text[part.start : part.end], part.reason) for part in traces.damage]
    assert [part.strip() for part, _ in places] == [
        *(b"{torn", b'{"spanId": "a"}', b"7", b'{"resourceLogs": []}', b'{"resourceSpans": 3}')
    ]
    reasons = [reason for _, reason in places]
    assert "is no JSON" in reasons[0]
    assert reasons[1] == "no span (it has no traceId)"
    assert reasons[3] == "holds OTLP logs, not traces"
    assert "Expected `array | null`, got `int`" in reasons[4]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"resourceLogs": []}', "holds OTLP logs, not traces"),
        ('{"resourceMetrics": [{}]}', "holds OTLP metrics, not traces"),
        ('{"a": 1}', "has no resourceSpans"),
        ("case,activity\n1,2\n", "is no JSON"),
        ("\x89PNG\r\n\x1a\n\0\0", "is no JSON"),
        ("[1, 2]", "is not of this shape"),
        ('{"resourceSpans": []}', "holds no span"),
        ("", "is empty"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)

    with pytest.raises(TraceFormatError, match=told) as refused:
        read_otlp(path)
    assert refused.value.path == str(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for source, told in (
        (tmp_path, "is a folder"),
        (tmp_path / "no", "is not there"),
        (3, "got a int"),
        ([], "no file"),
    ):
        with pytest.raises(TraceFormatError, match=told):
            read_otlp(source)  # type: ignore[arg-type]


def test_a_packed_file_that_was_cut_gives_its_lines_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl.gz"
    lines = "".join(json.dumps(document(span(trace=f"{number:032x}"))) + "\n" for number in range(1, 500))
    path.write_bytes(gzip.compress(lines.encode())[:-400])

    with pytest.warns(DamagedJournalWarning):
        traces = read_otlp(path)
    assert 0 < len(traces) < 499
    assert any("gzip stream breaks off" in part.reason for part in traces.damage)


def test_nan_as_python_writes_it_is_none_and_huge_values_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    told = attributes(
        big={"intValue": "9" * 30}, long={"stringValue": "x" * 3_000_000}, time={"doubleValue": float("nan")}
    )
    path.write_text(json.dumps(document(span(attributes=told, startTimeUnixNano="9" * 40))) + "\n")

    run = read_otlp(path)[0]

    assert run.attributes["big"] == "9" * 30
    assert len(run.attributes["long"]) == 3_000_000
    assert run.attributes["causalkit.otlp"]["startTimeUnixNano"] == "9" * 40
    assert "startTimeUnixNano is no number of nanoseconds" in run.notes[0]


def test_redaction_sees_every_record() -> None:
    told = attributes(secret={"stringValue": "abc"})

    run = read_otlp(document(span(attributes=told)), redact=lambda record: {**record, "attributes": {}})[0]

    assert run.attributes == {}
