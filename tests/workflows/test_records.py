from __future__ import annotations

from typing import Any

import msgspec
import pytest

from causalkit.workflows.records import WorkflowTrace, read_record
from causalkit.workflows.traces import load_traces

START = "2026-01-02T03:04:05Z"
STEP = {"step_id": "a", "step_name": "a", "start": START, "latency_ms": 1.0, "success": True}


def run(**fields: Any) -> dict[str, Any]:
    return {"kind": "run", "request_id": "r", "success": True, **fields}


def step(**fields: Any) -> dict[str, Any]:
    return {"kind": "step", "request_id": "r", **STEP, **fields}


def test_fields_at_their_defaults_are_left_out_of_a_record() -> None:
    record = WorkflowTrace(request_id="a", success=True).to_record()
    assert record == {"schema": 1, "kind": "run", "request_id": "a", "success": True}


def test_unknown_keys_are_written_again() -> None:
    record = WorkflowTrace(request_id="a", success=True, extra={"tenant": "acme", "extra": 1}).to_record()
    assert (record["tenant"], record["extra"]) == ("acme", 1)


def test_a_record_survives_json_and_reading() -> None:
    (trace,) = load_traces([msgspec.convert(run(steps=[STEP], quality_signals={"x": 1}, mode="m"), WorkflowTrace)])
    record = msgspec.json.decode(msgspec.json.encode(trace.to_record()))
    again, refused = read_record(record)
    assert refused == []
    assert again == {**record, "steps": [STEP]}


def test_the_repr_is_short_and_says_how_the_run_ended() -> None:
    told: dict[str, Any] = {"request_id": "r", "workflow_name": "answer"}
    assert (
        repr(WorkflowTrace(success=True, total_latency_ms=5.0, **told)) == "<WorkflowTrace answer ok: 0 steps, 5.0 ms>"
    )
    assert repr(WorkflowTrace(success=False, **told)) == "<WorkflowTrace answer failed: 0 steps, ? ms>"
    assert "crashed" in repr(WorkflowTrace(success=False, crashed=True, **told))


@pytest.mark.parametrize("record", [{"kind": "event", "id": [1]}, {"a": 1}, {}])
def test_records_of_other_kinds_are_left_as_they_are(record: dict[str, Any]) -> None:
    assert read_record(record) == (record, [])


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("total_latency_ms", "12.5", 12.5),
        ("success", "true", True),
        ("turn_index", "3", 3),
        ("timestamp", "2026-01-02T03:04:05", START),
        ("timestamp", "2026-01-02T03:04:05+00:00", START),
        ("question", 5, "5"),
        ("final_answer", {"text": "so"}, '{"text":"so"}'),
        ("error", "boom", {"message": "boom"}),
    ],
)
def test_what_says_the_same_otherwise_is_read(field: str, written: Any, read: Any) -> None:
    record, refused = read_record(run(**{field: written}))
    assert record is not None
    assert (record[field], refused) == (read, [])


@pytest.mark.parametrize("field", ["steps", "attributes", "notes", "error", "mode", "timestamp", "turn_index"])
def test_null_stands_for_the_default(field: str) -> None:
    record, refused = read_record(run(**{field: None}))
    assert record is not None
    assert refused == []


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (step(latency_ms="fast"), "step r: Expected `float`, got `str` - at `$.latency_ms`"),
        (step(start=None), "step r: Object missing required field `start`"),
        (step(request_id=None), "step None: an id is text, not NoneType"),
        (run(attributes=[1]), "run r: Expected `object`, got `array` - at `$.attributes`"),
        (run(turn_index=10**12), "run r: Expected `int` <= 2147483647 - at `$.turn_index`"),
        ({"kind": "run"}, "run without a request_id: an id is text, not NoneType"),
        ({"kind": "start", "request_id": {}}, "start {}: an id is text, not dict"),
    ],
)
def test_what_has_not_the_types_of_the_format_is_refused_by_name(record: dict[str, Any], reason: str) -> None:
    assert read_record(record) == (None, [reason])


def test_a_step_is_refused_alone_and_one_without_an_id_is_known_by_its_place() -> None:
    unnamed = {name: value for name, value in STEP.items() if name != "step_id"}
    record, refused = read_record(run(steps=[STEP, unnamed, {**STEP, "success": "maybe"}, None]))
    assert record is not None
    assert [step["step_id"] for step in record["steps"]] == ["a", "2"]
    assert [reason.partition(":")[0] for reason in refused] == ["step 3 of run r", "step 4 of run r"]
