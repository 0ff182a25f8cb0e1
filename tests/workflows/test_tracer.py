from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.journal import JournalWriter
from causalkit.journal_reading import read_journal
from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import load_traces

ROOT = Path(__file__).parents[2]
Shape = list["Shape"]
shapes = st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=8)


def by_name(run: WorkflowTrace) -> dict[str, StepTrace]:
    return {step.step_name: step for step in run.steps}


def parents(run: WorkflowTrace) -> dict[str, str | None]:
    """Return for each step the name of its parent."""
    names = {step.step_id: step.step_name for step in run.steps}
    return {step.step_name: step.parent_id and names[step.parent_id] for step in run.steps}


def walk(run: OpenRun, shape: Shape, name: str, expected: dict[str, str | None], parent: str | None = None) -> None:
    expected[name] = parent
    with run.step(name):
        for number, inner in enumerate(shape):
            walk(run, inner, f"{name}.{number}", expected, name)


@given(shape=shapes)
def test_every_step_knows_the_step_it_ran_in(shape: Shape) -> None:
    tracer = Tracer()
    expected: dict[str, str | None] = {}
    with tracer.workflow("answer") as run:
        walk(run, shape, "s", expected)
    assert parents(tracer.runs[0]) == expected


@given(shape=shapes)
def test_a_step_lies_within_its_parent_and_the_run(shape: Shape) -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as open_run:
        walk(open_run, shape, "s", {})
    run = tracer.runs[0]
    steps = by_name(run)
    assert run.total_latency_ms is not None
    for name, parent in parents(run).items():
        assert 0 <= steps[name].latency_ms <= (steps[parent].latency_ms if parent else run.total_latency_ms)
        assert run.timestamp is not None
        assert steps[name].start >= (steps[parent].start if parent else run.timestamp)


def test_latencies_are_milliseconds() -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as run, run.step("wait"):
        time.sleep(0.02)
    assert 20 <= tracer.runs[0].steps[0].latency_ms < 1000


def test_latencies_do_not_follow_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class SetBack(datetime):
        readings = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)])

        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return next(cls.readings)

    monkeypatch.setattr("causalkit.workflows.open_runs.datetime", SetBack)
    tracer = Tracer()
    with tracer.workflow("answer") as run, run.step("search"):
        pass
    assert 0 <= tracer.runs[0].steps[0].latency_ms < 1000
    assert tracer.runs[0].steps[0].start.year == 2030


def test_what_a_step_raises_is_recorded_and_passed_on() -> None:
    tracer = Tracer()
    with pytest.raises(ZeroDivisionError), tracer.workflow("answer") as run, run.step("divide"):
        print(1 / 0)
    done = tracer.runs[0]
    step = done.steps[0]
    assert not step.success
    assert not done.success
    assert step.error is not None
    assert (step.error["type"], step.error["message"]) == ("ZeroDivisionError", "division by zero")
    assert "test_what_a_step_raises_is_recorded_and_passed_on" in step.error["stack"]
    assert done.error is not None
    assert done.error["type"] == "ZeroDivisionError"


def test_a_failed_step_makes_a_failed_run_though_the_workflow_went_on() -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as run:
        with pytest.raises(KeyError), run.step("search"):
            raise KeyError("x")
        with run.step("fallback"):
            pass
    done = tracer.runs[0]
    assert not done.success
    assert done.error is None
    assert [step.success for step in done.steps] == [False, True]


def test_a_run_that_raises_outside_its_steps_failed() -> None:
    tracer = Tracer()

    def fail_late() -> None:
        with tracer.workflow("answer") as run:
            with run.step("search"):
                pass
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        fail_late()
    assert not tracer.runs[0].success
    assert tracer.runs[0].steps[0].success


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_recorded_and_passed_on(kind: type[BaseException], tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with pytest.raises(kind), tracer.workflow("answer") as run, run.step("search"):
        raise kind
    tracer.close()
    (done,) = load_traces(tmp_path / "runs.jsonl")
    assert done.error is not None
    assert done.error["type"] == kind.__name__
    assert not done.success


def test_a_run_inside_a_step_of_another_run_is_a_run_of_its_own() -> None:
    tracer = Tracer()
    with tracer.workflow("outer") as outer, outer.step("call"):
        with tracer.workflow("inner") as inner, inner.step("search"), inner.step("look_up"):
            pass
        with tracer.workflow("other"), outer.step("meanwhile"):
            pass
        with outer.step("after"):
            pass
    runs = {run.workflow_name: run for run in tracer.runs}
    assert parents(runs["inner"]) == {"search": None, "look_up": "search"}
    assert parents(runs["outer"]) == {"call": None, "meanwhile": "call", "after": "call"}


def test_steps_of_two_runs_that_interleave_have_no_parent_in_the_other_run() -> None:
    tracer = Tracer()
    with tracer.workflow("a") as a, tracer.workflow("b") as b, a.step("mine"), b.step("other"):
        pass
    assert [parents(run) for run in tracer.runs] == [{"other": None}, {"mine": None}]


def test_two_threads_do_not_mix() -> None:
    tracer = Tracer()
    both = threading.Barrier(2)

    def work(name: str) -> None:
        with tracer.workflow(name) as run, run.step(f"{name}.outer"):
            both.wait()
            with run.step(f"{name}.inner"):
                both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in tracer.runs:
        name = run.workflow_name
        assert parents(run) == {f"{name}.outer": None, f"{name}.inner": f"{name}.outer"}
    assert sorted(run.attributes["concurrent_runs"] for run in tracer.runs) == [1, 2]


def test_tasks_keep_the_parent_they_were_started_in() -> None:
    tracer = Tracer()

    async def child(run: OpenRun, name: str) -> None:
        with run.step(name):
            await asyncio.sleep(0.002)
            with run.step(f"{name}.inner"):
                await asyncio.sleep(0.002)

    async def main() -> None:
        with tracer.workflow("answer") as run, run.step("gather"):
            await asyncio.gather(child(run, "a"), child(run, "b"))

    asyncio.run(main())
    assert parents(tracer.runs[0]) == {"gather": None, "a": "gather", "b": "gather", "a.inner": "a", "b.inner": "b"}


def test_a_step_is_in_the_journal_the_moment_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    tracer = Tracer(path)
    with tracer.workflow("answer", request_id="r1") as run:
        assert [record["kind"] for record in read_journal(path)[0]] == ["start"]
        with run.step("search"):
            pass
        record = read_journal(path)[0][-1]
        assert (record["schema"], record["kind"], record["request_id"]) == (1, "step", "r1")
    kinds = [record["kind"] for record in read_journal(path)[0]]
    assert kinds == ["start", "step", "run"]
    tracer.close()


CRASH = """
import os, sys
from causalkit.workflows.tracer import Tracer
with Tracer(sys.argv[1]).workflow("answer", request_id="r1") as run:
    with run.step("search"):
        pass
    with run.step("rerank"):
        os._exit(9)
"""


def test_a_run_whose_process_died_is_read_back_as_crashed_with_the_steps_it_finished(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert subprocess.run([sys.executable, "-c", CRASH, str(path)], cwd=ROOT, check=False).returncode == 9
    (run,) = load_traces(path)
    assert run.crashed
    assert not run.success
    assert run.total_latency_ms is None
    assert [step.step_name for step in run.steps] == ["search"]
    assert repr(run) == "<WorkflowTrace answer crashed: 1 steps, ? ms>"


def test_a_journal_gives_back_what_a_tracer_in_memory_keeps(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    for tracer in (written := Tracer(path, router_version="7"), kept := Tracer(router_version="7")):
        with tracer.workflow(
            "answer", request_id="r", question="why?", mode="chat", turn_index=3, knobs={"k": 2}
        ) as run:
            run.final_answer, run.urls_used, run.cost_stats = "so", ["doc://a"], {"tokens": 5}
            with run.step("search", index="small") as step:
                step.attributes["hits"] = 9
                step.model_loads = 2
    written.close()
    (read,), (memory,) = load_traces(path), kept.runs
    assert read.steps[0].attributes == memory.steps[0].attributes == {"index": "small", "hits": 9}
    assert read.steps[0].model_loads == 2
    same = ("question", "mode", "turn_index", "router_version", "final_answer", "urls_used", "cost_stats", "success")
    assert [getattr(read, name) for name in same] == [getattr(memory, name) for name in same]
    assert read.attributes["knobs"] == {"k": 2}
    assert written.runs == []


@pytest.mark.parametrize("in_memory", [True, False])
def test_values_that_json_does_not_know_do_not_break_a_run(in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    tracer = Tracer(None if in_memory else path)
    odd = {"score": np.float64(0.5), "where": Path("y"), "bad": float("nan"), "pair": {(1, 2): 3}}
    with tracer.workflow("answer", knobs={"depth": np.int64(4)}, folder=Path("x")) as run, run.step("search", **odd):
        pass
    tracer.close()
    if in_memory:
        with JournalWriter(path) as journal:
            journal.append(tracer.runs[0].to_record())
    (done,) = load_traces(path)
    assert done.attributes["knobs"] == {"depth": 4}
    assert done.attributes["folder"] == "x"
    assert done.steps[0].attributes == {"score": 0.5, "where": "y", "bad": None, "pair": {"(1, 2)": 3}}


def test_an_error_message_that_utf8_cannot_hold_does_not_hide_the_error(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with pytest.raises(OSError, match="no file"), tracer.workflow("answer") as run, run.step("open"):
        raise OSError("no file \udcff")
    tracer.close()
    assert load_traces(tmp_path / "runs.jsonl")[0].steps[0].success is False


def test_ids_that_are_numbers_are_recorded_as_text(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "runs.jsonl")
    with tracer.workflow("answer", request_id=0, conversation_id=17) as run, run.step("search"):  # type: ignore[arg-type]
        pass
    tracer.close()
    (done,) = load_traces(tmp_path / "runs.jsonl")
    assert (done.request_id, done.conversation_id, done.crashed) == ("0", "17", False)


def test_runs_under_way_are_counted_over_all_tracers() -> None:
    one, two = Tracer(), Tracer()
    with one.workflow("a"), two.workflow("b"), one.workflow("c"):
        pass
    with two.workflow("d"):
        pass
    counts = {run.workflow_name: run.attributes["concurrent_runs"] for run in one.runs + two.runs}
    assert counts == {"a": 1, "b": 2, "c": 3, "d": 1}


def test_a_failed_run_is_no_longer_counted_as_under_way() -> None:
    tracer = Tracer()
    with pytest.raises(KeyError), tracer.workflow("a"):
        raise KeyError
    with tracer.workflow("b"):
        pass
    assert tracer.runs[-1].attributes["concurrent_runs"] == 1


def test_runs_are_numbered_and_say_how_busy_the_host_was() -> None:
    tracer = Tracer()
    for _ in range(3):
        with tracer.workflow("answer"):
            pass
    assert [run.attributes["sequence"] for run in tracer.runs] == [1, 2, 3]
    assert all(run.attributes["load_1m"] >= 0 for run in tracer.runs)
    assert len({run.request_id for run in tracer.runs}) == 3


def test_a_timestamp_is_in_utc(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    tracer = Tracer(tmp_path / "runs.jsonl")
    with tracer.workflow("answer"):
        pass
    tracer.close()
    stamp = read_journal(tmp_path / "runs.jsonl")[0][0]["timestamp"]
    assert stamp.endswith("Z")
    assert before <= datetime.fromisoformat(stamp) <= datetime.now(UTC)


def test_a_run_is_in_the_journal_the_moment_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with (
        Tracer(path, router_version="7") as tracer,
        tracer.workflow("answer", question="why?", turn_index=2, release="9"),
    ):
        (record,) = read_journal(path)[0]
    assert {name: record[name] for name in ("kind", "workflow_name", "question", "turn_index", "router_version")} == {
        **{"kind": "start", "workflow_name": "answer", "question": "why?"},
        **{"turn_index": 2, "router_version": "7"},
    }
    assert record["attributes"]["release"] == "9"
    assert "mode" not in record
    assert list(record)[:3] == ["schema", "kind", "request_id"]


def test_the_line_of_a_run_repeats_no_step_that_stands_in_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with Tracer(path) as tracer, tracer.workflow("answer") as run, run.step("search"):
        pass
    *_, step, end = read_journal(path)[0]
    assert (step["kind"], end["kind"]) == ("step", "run")
    assert "steps" not in end
    assert list(step)[:5] == ["schema", "kind", "request_id", "step_id", "step_name"]


def test_runs_are_kept_in_memory_beside_a_journal_if_asked_for(tmp_path: Path) -> None:
    for keep, kept in ((None, 0), (True, 1)):
        with Tracer(tmp_path / "runs.jsonl", keep_runs=keep) as tracer:
            with tracer.workflow("answer"):
                pass
            assert len(tracer.runs) == kept
    silent = Tracer(keep_runs=False)
    with silent.workflow("answer"):
        pass
    assert silent.runs == []


def test_secrets_are_masked_unless_told_otherwise(tmp_path: Path) -> None:
    secret = "sk-" + "a1B2" * 12
    for name, options in (
        ("masked", {}),
        ("whole", {"redact": None}),
        ("own", {"redact": lambda record: {**record, "x": 1}}),
    ):
        with Tracer(tmp_path / name, **options) as tracer, tracer.workflow("answer") as run, run.step("s", key=secret):
            pass
    lines = {name: (tmp_path / name).read_text() for name in ("masked", "whole", "own")}
    assert [secret in lines[name] for name in ("masked", "whole", "own")] == [False, True, True]
    assert lines["own"].count('"x":1') == 3


def test_a_closed_tracer_says_so(tmp_path: Path) -> None:
    for tracer in (Tracer(), Tracer(tmp_path / "runs.jsonl")):
        tracer.close()
        tracer.close()
        with pytest.raises(CausalkitError, match="this tracer is closed"), tracer.workflow("answer"):
            pass
        with pytest.raises(CausalkitError, match="this tracer is closed"):
            tracer.start_step("search")
    with Tracer() as after:
        with after.workflow("answer"):
            pass
        assert after.runs[0].attributes["concurrent_runs"] == 1


def test_a_step_of_the_current_run_needs_no_run_in_hand() -> None:
    tracer, other = Tracer(), Tracer()
    with (
        tracer.workflow("outer"),
        tracer.workflow("inner"),
        other.workflow("other"),
        tracer.step("s", index="a") as step,
    ):
        step.attributes["hits"] = 3
    runs = {run.workflow_name: run.steps for run in tracer.runs + other.runs}
    assert [len(runs[name]) for name in ("outer", "inner", "other")] == [0, 1, 0]
    assert runs["inner"][0].attributes == {"index": "a", "hits": 3}


def test_outside_all_runs_a_step_of_the_current_run_does_nothing() -> None:
    tracer = Tracer()

    @tracer.step
    def search(question: str) -> str:
        return question.upper()

    with tracer.step("lonely") as step:
        step.attributes["hits"] = 3
    assert search("why?") == "WHY?"
    assert tracer.runs == []


def test_a_step_begun_by_hand_belongs_to_the_run_that_is_open_and_is_no_parent() -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as run, run.step("outer"):
        step_id = tracer.start_step("search", {"hits": 1})
        with run.step("inner"):
            pass
        tracer.end_step(step_id, {"final_answer": "four"}, model_loads=2)
    done = tracer.runs[0]
    assert parents(done) == {"outer": None, "search": "outer", "inner": "outer"}
    assert by_name(done)["search"].model_loads == 2
    assert done.quality_signals["answer_length"] == 4


@pytest.mark.parametrize(
    ("told", "success", "error"),
    [
        ({}, True, None),
        ({"success": False}, False, None),
        ({"error": "no hits"}, False, {"type": "", "message": "no hits", "stack": ""}),
        ({"error": KeyError("x")}, False, {"type": "KeyError", "message": "'x'", "stack": ""}),
    ],
)
def test_a_step_ended_by_hand_says_how(told: dict[str, Any], success: bool, error: dict[str, str] | None) -> None:
    tracer = Tracer()
    with tracer.workflow("answer"):
        tracer.end_step(tracer.start_step("search"), **told)
    assert (tracer.runs[0].steps[0].success, tracer.runs[0].steps[0].error) == (success, error)
    assert tracer.runs[0].success is success


def test_ending_a_step_that_is_not_open_names_those_that_are() -> None:
    tracer = Tracer()
    with tracer.workflow("answer"):
        first, second = tracer.start_step("search"), tracer.start_step("rerank")
        tracer.end_step(first)
        with pytest.raises(
            CausalkitError, match=rf"no step '{first}' is open.*open are: 'rerank' \({second}\)"
        ) as caught:
            tracer.end_step(first)
        assert caught.value.open_steps == {second: "rerank"}
        tracer.end_step(second)


def test_steps_begun_by_hand_make_one_run_that_ends_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with Tracer(path) as tracer:
        for number in range(2):
            state = {"request_id": f"r{number}", "question": "why?"}
            for name in ("search", "rerank"):
                tracer.end_step(tracer.start_step(name, state), {"final_answer": "so"})
            tracer.write_workflow_trace()
        with pytest.raises(CausalkitError, match="start_step began no run here"):
            tracer.write_workflow_trace()
    runs = list(load_traces(path))
    assert [run.request_id for run in runs] == ["r0", "r1"]
    assert all([step.step_name for step in run.steps] == ["search", "rerank"] for run in runs)
    assert all(run.question == "why?" and run.quality_signals["answer_length"] == 2 for run in runs)


def test_each_thread_has_a_run_of_its_own_for_the_steps_it_begins_by_hand() -> None:
    tracer = Tracer()

    def work(name: str) -> None:
        tracer.end_step(tracer.start_step(name, {"request_id": name}))
        tracer.write_workflow_trace()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.request_id: [step.step_name for step in run.steps] for run in tracer.runs} == {"a": ["a"], "b": ["b"]}


def test_a_given_trace_ends_the_run_of_its_steps_and_takes_from_it_what_it_leaves_empty(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with Tracer(path) as tracer:
        tracer.end_step(tracer.start_step("search", {"request_id": "r1"}))
        tracer.write_workflow_trace(WorkflowTrace(request_id="r1", workflow_name="qa", success=True, final_answer="so"))
    (run,) = load_traces(path)
    assert (run.workflow_name, run.final_answer, [step.step_name for step in run.steps]) == ("qa", "so", ["search"])
    assert run.timestamp is not None
    assert run.total_latency_ms is not None
    assert "steps" not in read_journal(path)[0][-1]


def test_a_given_trace_is_written_whole_if_no_step_of_it_was_recorded_here(tmp_path: Path) -> None:
    kept = Tracer()
    with kept.workflow("answer", request_id="r1") as run, run.step("outer"), run.step("inner"):
        pass
    with Tracer(tmp_path / "runs.jsonl") as tracer:
        tracer.write_workflow_trace(kept.runs[0])
    (read,) = load_traces(tmp_path / "runs.jsonl")
    assert parents(read) == {"outer": None, "inner": "outer"}
    assert read.steps == kept.runs[0].steps


def test_a_given_trace_of_another_run_than_the_steps_begun_here_is_refused() -> None:
    tracer = Tracer()
    tracer.end_step(tracer.start_step("search", {"request_id": "r1"}))
    with pytest.raises(CausalkitError, match="belong to run 'r1', but the trace is of run 'r2'"):
        tracer.write_workflow_trace(WorkflowTrace(request_id="r2", success=True))
    tracer.write_workflow_trace()
    assert [run.request_id for run in tracer.runs] == ["r1"]
