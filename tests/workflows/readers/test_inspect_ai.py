"""Evaluation logs of Inspect AI become runs and steps."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers import inspect_transcript
from causalkit.workflows.readers.inspect_ai import read_inspect
from causalkit.workflows.records import StepTrace, WorkflowTrace
from tests.workflows.readers.inspect_logs import (
    at,
    event_at,
    log_of,
    model_event,
    run_of,
    sample_of,
)

Json = dict[str, Any]
SAMPLES = sorted(p.name for p in (Path(__file__).parents[4] / "shared/data/traces/inspect_ai").glob("*"))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_log_gives_the_samples_messages_events_and_tokens_that_its_json_holds(
    shared_data: Path, name: str
) -> None:
    path = shared_data / "traces" / "inspect_ai" / name
    samples = _samples_in(path)
    if not samples:
        with pytest.raises(TraceFormatError):
            read_inspect(path)
        return

    runs = list(read_inspect(path))

    assert [(run.attributes["inspect.sample_id"], run.attributes["inspect.epoch"]) for run in runs] == [
        (sample["id"], sample["epoch"]) for sample in samples
    ]
    for run, sample in zip(runs, samples, strict=True):
        events = list(_all(sample.get("events") or sample.get("transcript", {}).get("events", [])))
        usages = [event["output"].get("usage", {}) for event in events if event["event"] == "model"]
        assert len(run.attributes["inspect.messages"]) == len(sample["messages"])
        assert _events_of(run) == len(events)
        assert run.success == ("error" not in sample)
        for ours, theirs in (("input", "input_tokens"), ("output", "output_tokens")):
            assert _sum(run.steps, f"gen_ai.usage.{ours}_tokens") == sum(usage.get(theirs, 0) for usage in usages)
        assert run.quality_signals == {name: score["value"] for name, score in sample.get("scores", {}).items()}
        assert [
            step.step_name for step in run.steps if step.attributes.get("inspect.event") in ("step", "span_begin")
        ] == [
            e["name"] for e in events if e["event"] == "span_begin" or (e["event"] == "step" and e["action"] == "begin")
        ]


def test_spans_lie_in_one_another_as_their_ids_say_and_take_the_time_from_begin_to_end() -> None:
    run = run_of(
        event_at("span_begin", 1, id="a", name="solvers", type="solvers", span_id="a"),
        event_at("span_begin", 2, id="b", parent_id="a", name="generate", type="solver", span_id="b"),
        model_event(3, 7, span_id="b"),
        event_at("span_end", 8, id="b", span_id="b"),
        event_at("span_end", 9, id="a", span_id="a"),
    )

    assert [(step.step_name, step.parent_id, step.latency_ms) for step in run.steps] == [
        ("solvers", run.request_id, 8000.0),
        ("generate", "a", 6000.0),
        ("chat openai/gpt", "b", 4000.0),
    ]
    chat = run.steps[2]
    assert chat.attributes["gen_ai.provider.name"] == "openai"
    assert (chat.attributes["gen_ai.request.model"], chat.attributes["gen_ai.usage.input_tokens"]) == ("gpt", 5)
    assert chat.attributes["causalkit.input"] == [{"role": "user", "content": "why?"}]


def test_steps_of_older_logs_lie_in_the_one_that_is_open_also_within_the_events_of_a_subtask() -> None:
    inner = [
        event_at("step", 3, action="begin", name="loop", type="solver"),
        model_event(4, 5),
        event_at("step", 6, action="end", name="loop", type="solver"),
    ]
    run = run_of(
        event_at("step", 1, action="begin", name="plan", type="solver"),
        event_at("subtask", 2, completed=at(7), name="search", input={"q": 1}, result="found", events=inner),
        event_at("step", 8, action="end", name="plan", type="solver"),
        event_at("score", 9, score={"value": 1.0}),
    )

    names = {step.step_id: step.step_name for step in run.steps}
    assert [(step.step_name, names.get(step.parent_id or "")) for step in run.steps] == [
        ("plan", None),
        ("search", "plan"),
        ("loop", "search"),
        ("chat openai/gpt", "loop"),
        ("score", None),
    ]
    assert run.steps[1].attributes["causalkit.output"] == "found"


def test_what_only_happened_is_kept_with_the_step_around_it() -> None:
    log = event_at("logger", 3, span_id="a", message={"level": "info", "message": "hm"})
    alone = event_at("sample_init", 0)
    run = run_of(
        alone,
        event_at("span_begin", 1, id="a", name="generate", span_id="a"),
        log,
        event_at("span_end", 4, id="a", span_id="a"),
        event_at("span_end", 5, id="never begun"),
    )

    assert [step.step_name for step in run.steps] == ["generate"]
    assert run.steps[0].attributes["inspect.events"] == [log]
    assert [event["event"] for event in run.attributes["inspect.events"]] == ["sample_init", "span_end"]


def test_errors_of_tools_models_and_samples_are_told_with_type_message_and_stack() -> None:
    failed = {"message": "ValueError('no')", "traceback": "Traceback ...", "traceback_ansi": "\x1b[0m"}
    run = run_of(
        event_at("tool", 1, completed=at(2), id="c1", function="bash", arguments={"cmd": "ls"}, result="",
               error={"type": "timeout", "message": "too long"}),
        model_event(3, 4, error="RateLimitError('slow down')", traceback="Traceback of it"),
        event_at("error", 5, error=failed),
        error=failed,
    )  # fmt: skip

    assert run.error == {"type": "ValueError", "message": "ValueError('no')", "stack": "Traceback ..."}
    assert not run.success
    assert not run.crashed
    assert [(step.success, step.error["type"], step.error["stack"]) for step in run.steps if step.error] == [
        (False, "timeout", ""),
        (False, "RateLimitError", "Traceback of it"),
        (False, "ValueError", "Traceback ..."),
    ]
    assert run.steps[0].attributes["gen_ai.tool.name"] == "bash"


def test_a_call_that_was_pending_did_not_end_and_a_limit_is_no_failure() -> None:
    run = run_of(
        model_event(1, None, pending=True), event_at("sample_limit", 2, type="token", message="enough", limit=10)
    )

    assert [(step.step_name, step.success, step.latency_ms) for step in run.steps] == [
        ("chat openai/gpt", False, 0.0),
        ("sample_limit", True, 0.0),
    ]
    assert run.success


def test_older_logs_wrote_a_call_down_at_its_end_and_its_duration_is_told_or_unknown() -> None:
    told, unknown = model_event(9, None), model_event(9, None)
    told["output"]["time"] = 2.5
    steps = run_of(told, unknown).steps

    assert (steps[0].latency_ms, steps[0].start.second, steps[0].notes) == (2500.0, 6, [])
    assert steps[1].latency_ms == 0
    assert "how long it took is not told" in steps[1].notes[0]


def test_tokens_of_the_sample_count_only_where_no_step_tells_any_and_answers_from_the_cache_cost_nothing() -> None:
    usage = {"model_usage": {"a": {"input_tokens": 5, "output_tokens": 2}, "b": {"input_tokens": 1}}}
    told, cached, silent = (
        run_of(model_event(1, 2), **usage),
        run_of(model_event(1, 2, cache="read"), **usage),
        run_of(**usage),
    )

    name = "gen_ai.usage.input_tokens"
    assert (_sum(told.steps, name), told.attributes.get(name)) == (5, None)
    assert (_sum(cached.steps, name), cached.attributes.get(name)) == (0, 6)
    assert silent.attributes[name] == 6
    assert told.attributes["inspect.model_usage"] == usage["model_usage"]


def test_messages_and_texts_that_events_refer_to_are_written_out_as_far_as_the_bound_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = model_event(1, 2, input=[], input_refs=[[0, 1], [2, 3]])
    sample = {
        "events_data": {"messages": [{"content": "attachment://ab"}, {"content": "b"}, {"content": "c"}], "calls": []},
        "attachments": {"ab": "a long text"},
    }

    assert run_of(event, **sample).steps[0].attributes["causalkit.input"] == [
        {"content": "a long text"},
        {"content": "c"},
    ]

    monkeypatch.setattr(inspect_transcript, "_MOST_WRITTEN_OUT", 30)
    short = run_of(event, **sample)
    assert short.steps[0].attributes["inspect.input_refs"] == [[0, 1], [2, 3]]
    assert "not written out" in short.notes[0]
    assert short.attributes["inspect.attachments"] == {"ab": "a long text"}


def test_a_sample_without_events_and_times_has_no_invented_ones_and_the_calls_that_its_messages_prove() -> None:
    messages = [
        {"role": "assistant", "source": "input", "content": "an example"},
        {"role": "assistant", "source": "generate", "tool_calls": [{"id": "c", "arguments": {"x": 1}}], "content": ""},
        {"role": "tool", "tool_call_id": "c", "function": "add", "content": "2", "error": None},
    ]
    run = run_of(messages=messages, total_time=1.5)

    assert [step.step_name for step in run.steps] == ["chat openai/gpt", "execute_tool add"]
    assert run.steps[1].attributes["causalkit.input"] == {"x": 1}
    assert run.success
    assert not run.crashed
    assert run.total_latency_ms == 1500.0
    assert run.notes == ["the log does not tell when it was"] == run.steps[0].notes


def test_input_and_scores_of_every_version_are_question_and_quality_signals() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "what is"}, {"type": "image", "image": "data:"}]}]
    log = log_of({"id": 1, "epoch": 1, "input": parts, "score": {"value": "C"}, "target": "2"})
    log |= {"version": 1, "results": {"scorer": {"name": "match"}}}
    run = read_inspect(log)[0]

    assert (run.question, run.quality_signals) == ("what is", {"match": "C"})
    assert (run.attributes["inspect.target"], run.attributes["inspect.run_id"]) == ("2", "r1")
    assert run.attributes["causalkit.input"] == parts


def test_the_same_sample_twice_in_a_log_is_two_runs() -> None:
    sample = {"id": 1, "epoch": 1, "input": "q", "uuid": "u"}
    assert [run.request_id for run in read_inspect(log_of(sample, dict(sample)))] == ["u", "u#2"]


def test_redact_sees_every_record() -> None:
    sample = {**sample_of(1), "events": [model_event(1, 2)]}
    run = read_inspect(log_of(sample), redact=lambda record: {**record, "attributes": {"masked": True}})[0]
    assert run.attributes == {"masked": True} == run.steps[0].attributes


def _all(events: list[Json]) -> Iterator[Json]:
    for event in events:
        yield event
        yield from _all(event.get("events") or [])


def _samples_in(path: Path) -> list[Json]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return [json.loads(archive.read(name)) for name in archive.namelist() if name.startswith("samples/")]
    try:
        samples: list[Json] = json.loads(path.read_text()).get("samples", [])
    except ValueError:
        return []
    return samples


def _events_of(run: WorkflowTrace) -> int:
    told = [step.attributes for step in run.steps if "inspect.event" in step.attributes and step.start.year > 1970]
    ended = sum("inspect.end" in attributes for attributes in told)
    return len(told) + ended + sum(len(a.get("inspect.events", [])) for a in (run.attributes, *told))


def _sum(steps: tuple[StepTrace, ...], name: str) -> int:
    return sum(step.attributes.get(name, 0) for step in steps)
