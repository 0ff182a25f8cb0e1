"""What Langfuse exports becomes runs and steps."""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.langfuse import read_langfuse
from causalkit.workflows.traces import DamagedJournalWarning, Traces

SAMPLES = sorted(p.name for p in (Path(__file__).parents[4] / "shared/data/traces/langfuse").glob("*.json"))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_gives_the_runs_steps_tokens_costs_and_scores_that_its_json_holds(
    shared_data: Path, name: str
) -> None:
    raw = json.loads((shared_data / "traces" / "langfuse" / name).read_text())
    trace, observations = raw["trace"], raw["observations"]

    (run,) = read_langfuse(shared_data / "traces" / "langfuse" / name)

    assert (run.request_id, run.workflow_name, run.conversation_id) == (trace["id"], trace["name"], trace["sessionId"])
    assert run.total_latency_ms == pytest.approx(trace["latency"] * 1000)
    assert run.timestamp == pd.Timestamp(trace["timestamp"])
    assert run.quality_signals == {score["name"]: score["value"] for score in trace["scores"]}
    assert (run.success, run.notes) == (True, [])
    assert {(step.step_id, step.step_name, step.parent_id) for step in run.steps} == {
        (one["id"], one["name"], one["parentObservationId"] or trace["id"]) for one in observations
    }
    for ours, theirs in (("input", "inputUsage"), ("output", "outputUsage")):
        counted = sum(step.attributes.get(f"gen_ai.usage.{ours}_tokens", 0) for step in run.steps)
        assert counted == sum(one[theirs] for one in observations)
    spent = sum(step.attributes.get("causalkit.cost_usd", 0) for step in run.steps)
    assert spent == pytest.approx(sum(one["totalCost"] for one in observations), abs=1e-12)
    models = {one["id"]: one["model"] for one in observations if one["model"]}
    assert {s.step_id: m for s in run.steps if (m := s.attributes.get("gen_ai.request.model"))} == models
    for step in run.steps:
        (told,) = (one for one in observations if one["id"] == step.step_id)
        start = pd.Timestamp(told["startTime"])
        assert step.start == start
        assert step.attributes["causalkit.start_ns"] == start.as_unit("ns").value
        assert step.latency_ms == (pd.Timestamp(told["endTime"]) - start) / pd.Timedelta("1ms")


def test_the_trace_is_the_run_and_its_observations_are_the_steps() -> None:
    (run,) = read_langfuse(_trace())

    assert (run.question, run.final_answer, run.router_version) == ("why?", '{"text":"so"}', "2.1")
    assert (run.attributes["release"], run.attributes["langfuse.userId"]) == ("r7", "u1")
    assert [(step.step_name, step.parent_id) for step in run.steps] == [("answer", "t1"), ("chat", "o1")]
    assert run.steps[1].attributes["causalkit.input"] == [{"role": "user", "content": "why?"}]
    assert run.steps[1].attributes["langfuse.metadata"] == {"a": 1}


def test_an_observation_of_level_error_failed_with_its_message_and_a_warning_did_not() -> None:
    wrong = _observation("o2", "o1", level="ERROR", statusMessage="no such index")
    odd = _observation("o3", "o1", level="WARNING", statusMessage="slow")

    (run,) = read_langfuse(_trace(observations=[_observation("o1", None), wrong, odd]))

    told = {step.step_id: (step.success, step.error, step.attributes["langfuse.level"]) for step in run.steps}
    assert told["o2"] == (False, {"type": "ERROR", "message": "no such index", "stack": ""}, "ERROR")
    assert told["o3"] == (True, None, "WARNING")
    assert run.success


def test_a_run_failed_if_an_observation_without_a_parent_did() -> None:
    (run,) = read_langfuse(_trace(observations=[_observation("o1", None, level="ERROR", statusMessage="down")]))

    assert not run.success
    assert run.error == {"type": "ERROR", "message": "down", "stack": ""}


def test_tokens_are_counted_once_however_they_were_told() -> None:
    told = [
        {"usageDetails": {"input": 5, "output": 2, "total": 7}, "inputUsage": 5, "outputUsage": 2},
        {"usageDetails": '{"input":5,"output":2}', "promptTokens": 5, "completionTokens": 2},
        {"usage": {"input": 5, "output": 2, "unit": "TOKENS"}, "promptTokens": 5, "completionTokens": 2},
        {"usage": {"promptTokens": 5, "completionTokens": 2, "totalTokens": 7}},
        {"promptTokens": "5", "completionTokens": "2"},
        {"usageDetails": {"input": 1, "cache_read_input_tokens": 4, "output": 2, "total": 7}},
        {"usageDetails": {"input": 5, "prompt_details.cache_read": 4, "output": 2}},
    ]

    (run,) = read_langfuse([_observation(str(number), None, **one) for number, one in enumerate(told)])

    counted = [[step.attributes[f"gen_ai.usage.{part}_tokens"] for part in ("input", "output")] for step in run.steps]
    assert counted == [[5, 2]] * len(told)


def test_what_counts_no_tokens_is_not_taken_for_them() -> None:
    told: list[dict[str, Any]] = [
        {"usage": {"input": 500, "unit": "CHARACTERS"}},
        {"usageDetails": {}, "inputUsage": 0, "outputUsage": 0},
        {"usageDetails": {"total": 9}},
        {"usageDetails": "many"},
        {},
    ]

    (run,) = read_langfuse([_observation(str(number), None, **one) for number, one in enumerate(told)])

    assert not any("gen_ai.usage.input_tokens" in step.attributes for step in run.steps)


def test_cost_is_in_dollars_and_absent_where_nobody_knows_it() -> None:
    told: list[dict[str, Any]] = [
        {"costDetails": {"input": 0.1, "output": 0.2, "total": 0.3}, "totalCost": 0.3},
        {"costDetails": {}, "totalCost": 0},
        {"calculatedTotalCost": 0.3},
        {"usage": {"totalCost": 0.3}},
        {"costDetails": {"total": 0}},
    ]

    (run,) = read_langfuse([_observation(str(number), None, **one) for number, one in enumerate(told)])

    costs = {step.step_id: step.attributes.get("causalkit.cost_usd") for step in run.steps}
    assert costs == {"0": 0.3, "1": None, "2": 0.3, "3": 0.3, "4": 0}


def test_scores_of_the_trace_are_quality_signals_and_those_of_an_observation_are_kept() -> None:
    scores = [
        {"id": "1", "name": "right", "value": 1, "stringValue": "True", "dataType": "BOOLEAN"},
        {"id": "2", "name": "tone", "value": 3, "stringValue": "warm", "dataType": "CATEGORICAL"},
        {"id": "3", "name": "rank", "value": 0.5, "dataType": "NUMERIC", "timestamp": "2026-01-02"},
        {"id": "4", "name": "rank", "value": 0.25, "dataType": "NUMERIC", "timestamp": "2026-01-01"},
        {"id": "5", "name": "step", "value": 9, "dataType": "NUMERIC", "observationId": "o1"},
    ]

    (run,) = read_langfuse(_trace(scores=scores))

    assert run.quality_signals == {"right": True, "tone": "warm", "rank": 0.5}
    assert len(run.attributes["langfuse.scores"]) == 5
    assert run.notes == ["score 'rank' was given more than once; the latest counts"]


def test_an_event_is_a_moment_and_a_span_without_an_end_did_not_end() -> None:
    moment = _observation("o2", "o1", type="EVENT", endTime=None)
    lost = _observation("o3", "o1", endTime=None)

    (run,) = read_langfuse(_trace(observations=[_observation("o1", None), moment, lost]))

    told = {step.step_id: (step.success, step.latency_ms, step.notes) for step in run.steps}
    assert told["o2"] == (True, 0.0, [])
    assert told["o3"] == (False, 0.0, ["it did not end"])


def test_tools_agents_and_retrievers_are_named_in_the_one_vocabulary() -> None:
    kinds = {"TOOL": "execute_tool", "AGENT": "invoke_agent", "EMBEDDING": "embeddings", "RETRIEVER": "retrieval"}
    observations = [_observation(kind, None, type=kind, output='[{"text":"a"},{"text":"b"}]') for kind in kinds]

    (run,) = read_langfuse(observations)

    told = {step.step_id: step.attributes for step in run.steps}
    assert {kind: told[kind]["gen_ai.operation.name"] for kind in kinds} == kinds
    assert (told["TOOL"]["gen_ai.tool.name"], told["AGENT"]["gen_ai.agent.name"]) == ("chat", "chat")
    assert told["RETRIEVER"]["causalkit.num_documents"] == 2


def test_knobs_that_were_sent_as_attributes_come_back() -> None:
    sent = {"attributes": {"causalkit.knob.k": "3", "causalkit.knob.cache": "true", "http.method": "GET"}}

    (run,) = read_langfuse(_trace(metadata=json.dumps(sent)))

    assert run.attributes["knobs"] == {"k": 3, "cache": True}


@pytest.mark.parametrize("form", ["answer", "list", "one", "both"])
def test_traces_of_the_public_api_are_read_in_every_wrapping(form: str) -> None:
    trace = _trace()
    wrapped = {
        "answer": {"data": [trace], "meta": {"page": 1}},
        "list": [trace, _trace(id="t2")],
        "one": trace,
        "both": {"trace": trace, "observations": trace["observations"]},
    }[form]

    traces = read_langfuse(wrapped)

    assert [len(run.steps) for run in traces] == [2] * (2 if form == "list" else 1)
    assert not traces.caveats


def test_a_list_of_traces_without_their_observations_gives_runs_without_steps() -> None:
    trace = _trace(observations=["o1", "o2"], scores=["s1"], latency=1.5)

    (run,) = read_langfuse({"data": [trace]})

    assert (run.total_latency_ms, run.steps, run.success) == (1500.0, (), True)
    assert run.attributes["langfuse.observations"] == ["o1", "o2"]


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "json", "csv", "parquet", "frame", "frame.parquet"])
def test_an_export_of_observations_says_the_same_in_every_format(tmp_path: Path, form: str) -> None:
    source = _exported(tmp_path, form.removeprefix("frame."))
    traces = read_langfuse(pd.read_parquet(source) if form == "frame.parquet" else source)

    assert _told(traces) == [
        ("a", "answer", "s1", "why?", "so", 3000.0, [("1", None, 0.0, 3), ("2", "1", 0.25, 3)]),
        ("b", "answer", "s1", "why?", "so", 3000.0, [("3", None, 0.0, 3)]),
    ]
    assert traces[0].attributes["langfuse.tags"] == ["x", "y"]
    assert (traces.damage, traces.caveats) == ((), ())


def test_traces_observations_and_scores_in_files_of_their_own_are_joined(tmp_path: Path) -> None:
    score = {"id": "s", "trace_id": "a", "name": "right", "value": 0.5, "data_type": "NUMERIC", "source": "EVAL"}
    trace = {"id": "a", "timestamp": "2026-01-01 00:00:00.000000", "name": "qa", "input": "how?", "tags": ["z"]}
    paths = [tmp_path / "scores.jsonl", tmp_path / "traces.jsonl", _exported(tmp_path, "jsonl")]
    for path, row in zip(paths, (score, trace), strict=False):
        path.write_text(json.dumps(row) + "\n")

    runs = {run.request_id: run for run in read_langfuse(paths)}

    assert (runs["a"].workflow_name, runs["a"].question, len(runs["a"].steps)) == ("qa", "how?", 2)
    assert (runs["a"].quality_signals, runs["b"].quality_signals) == ({"right": 0.5}, {})


def test_of_an_observation_that_stands_there_twice_the_later_counts_and_it_is_said() -> None:
    traces = read_langfuse([_observation("o1", None, name="old"), _observation("o1", None, name="new")])

    assert [step.step_name for step in traces[0].steps] == ["new"]
    assert any("ids of another" in caveat for caveat in traces.caveats)


def test_a_bad_line_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "observations.jsonl"
    good, other = (json.dumps(_observation(own_id, None)) for own_id in ("o1", "o2"))
    lines = [good, '{"id": ', '{"id": "1", "trace_id": ["a"], "type": "SPAN"}', '{"n": 1}', other]
    path.write_text("\n".join(lines))

    with pytest.warns(DamagedJournalWarning):
        traces = read_langfuse(path)

    assert len(traces[0].steps) == 2
    ends = [len("\n".join(lines[:number])) for number in (1, 2, 3)]
    assert [one.start for one in traces.damage] == [end + 1 for end in ends]
    assert [reason in one.reason for one, reason in zip(traces.damage, ("not JSON", "id is text", "'n'"), strict=True)]


def test_a_torn_row_of_a_csv_file_is_left_out_with_its_line(tmp_path: Path) -> None:
    path = _exported(tmp_path, "csv")
    path.write_text(path.read_text() + "9,a\n")

    with pytest.warns(DamagedJournalWarning, match="line 5: 2 cells under"):
        traces = read_langfuse(path)

    assert sum(len(run.steps) for run in traces) == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b'{"resourceSpans": []}', "OTLP, not Langfuse; use read_otlp"),
        (b'{"a": 1}', "no trace, observation or score of Langfuse; it has 'a'"),
        (b"a,b\n1,2\n", "no trace, observation or score"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "holds no span"),
        (b'{"data": ["x", 3, null]}', "holds no span"),
        (b"[1, 2]", "JSON, but not an object"),
        (b"PAR1 and no more", "breaks off"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)

    with pytest.raises(TraceFormatError, match=expected) as caught:
        read_langfuse(path)

    assert "given" in str(caught.value)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "absent.json", 3, [], pd.DataFrame({"a": [1]})):
        with pytest.raises(TraceFormatError):
            read_langfuse(source)


def test_redaction_sees_every_run_and_step() -> None:
    def masked(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "attributes": {}, **({"question": "…"} if record["kind"] == "run" else {})}

    (run,) = read_langfuse(_trace(), redact=masked)

    assert run.question == "…"
    assert not any("causalkit.input" in step.attributes for step in run.steps)


def _trace(**told: Any) -> dict[str, Any]:
    times = {"timestamp": "2026-01-01T00:00:00.000Z", "version": "2.1", "release": "r7", "userId": "u1"}
    messages = '[{"role":"user","content":"why?"}]'
    observations = [
        _observation("o1", None, name="answer", type="SPAN"),
        _observation("o2", "o1", input=messages, metadata='{"a":1}'),
    ]
    trace = {"id": "t1", "name": "answer", **times, "input": '"why?"', "output": {"text": "so"}, "scores": []}
    for one in observations:
        one["traceId"] = told.get("id", "t1")
    return {**trace, "observations": observations, "sessionId": None, **told}


def _observation(own_id: str, parent: str | None, **told: Any) -> dict[str, Any]:
    times = {"startTime": "2026-01-01T00:00:01.000Z", "endTime": "2026-01-01T00:00:02.500Z"}
    ids = {"id": own_id, "traceId": "t1", "parentObservationId": parent, "type": "GENERATION", "name": "chat"}
    return {**ids, **times, "level": "DEFAULT", "statusMessage": None, **told}


def _exported(folder: Path, form: str) -> Any:
    """Write three observations as Langfuse exports them to blob storage."""
    of_trace = {"user_id": "u", "session_id": "s1", "trace_name": "answer", "tags": ["x", "y"], "release": ""}
    rows = [
        {
            "id": name,
            "trace_id": trace,
            "parent_observation_id": parent,
            "type": "GENERATION",
            "start_time": "2026-01-01 00:00:00.000000",
            "end_time": "2026-01-01 00:00:03.000000",
            "name": "chat",
            "metadata": {"k": "v"},
            "level": "DEFAULT",
            "input": "why?",
            "output": "so",
            "provided_model_name": "m",
            "usage_details": {"input": 3, "output": 1, "total": 4},
            "cost_details": {"total": 0.25} if parent else {},
            "total_cost": 0.25 if parent else 0,
            "prompt_version": None,
            **of_trace,
        }
        for name, trace, parent in (("2", "a", "1"), ("1", "a", ""), ("3", "b", ""))
    ]
    path = folder / f"observations.{form}"
    opened = gzip.open if form.endswith(".gz") else open
    if form == "frame":
        return pd.DataFrame(rows)
    if form == "parquet":
        kinds = {"metadata": pa.map_(pa.string(), pa.string()), "usage_details": pa.map_(pa.string(), pa.uint64())}
        kinds |= {"cost_details": pa.map_(pa.string(), pa.decimal128(38, 12))}
        columns = {name: pa.array([row[name] for row in rows]) for name in rows[0] if name not in kinds}
        maps = {
            name: pa.array([[*row[name].items()] for row in rows], kind)
            for name, kind in kinds.items()
            if name[0] != "c"
        }
        costs = [[(key, Decimal(str(value))) for key, value in row["cost_details"].items()] for row in rows]
        maps["cost_details"] = pa.array(costs, kinds["cost_details"])
        for name in ("start_time", "end_time"):
            columns[name] = columns[name].cast(pa.timestamp("us"))
        pq.write_table(pa.table({**columns, **maps}), path)
    elif form.startswith("csv"):
        cells = [{name: json.dumps(v) if isinstance(v, list | dict) else v for name, v in row.items()} for row in rows]
        with opened(path, "wt", newline="") as text:
            writer = csv.DictWriter(text, [*rows[0]])
            writer.writeheader()
            writer.writerows(cells)
    else:
        with opened(path, "wt") as text:
            text.write(
                json.dumps(rows, indent=1) if form == "json" else "".join(json.dumps(row) + "\n" for row in rows)
            )
    return path


def _told(traces: Traces) -> list[tuple[Any, ...]]:
    found = []
    for run in traces:
        steps = [
            (
                step.step_id,
                step.parent_id if step.parent_id != run.request_id else None,
                float(step.attributes.get("causalkit.cost_usd", 0.0)),
                step.attributes["gen_ai.usage.input_tokens"],
            )
            for step in run.steps
        ]
        head = (run.request_id, run.workflow_name, run.conversation_id, run.question, run.final_answer)
        found.append((*head, run.total_latency_ms, sorted(steps)))
    return sorted(found)
