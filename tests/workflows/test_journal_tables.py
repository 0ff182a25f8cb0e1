from __future__ import annotations

import gzip
import json
import random
import threading
import warnings
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.journal import JournalWriter
from causalkit.workflows import journal_tables
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import DamagedJournalWarning, Traces, load_traces
from tests.workflows.journals import encoded, hold_nothing, in_order, lines_of, run_record, some_runs, write

START = "2026-01-02T03:04:05Z"
RUNS = [in_order(run) for run in some_runs(30, seed=1)]
QUESTIONS: list[Callable[[Traces], Any]] = [
    lambda traces: traces.aggregate_latency_stats(["workflow_name", "depth"]),
    lambda traces: traces.aggregate_latency_stats(["tokens", "mode"], per="step"),
    lambda traces: traces.aggregate_vram_stats("release"),
    lambda traces: traces.aggregate_success_rate("mode"),
    lambda traces: traces.aggregate_quality_signals("workflow_name", signals=["mine"]),
    lambda traces: traces.find_failed_steps(),
    lambda traces: traces.failure_causes().drop(columns="example"),
    lambda traces: traces.latency_over_time("1h", "mode"),
    lambda traces: traces.step_times("release"),
    lambda traces: traces.critical_path(),
    lambda traces: traces.filter_by_success(False).to_pandas(),
    lambda traces: traces.filter_by_mode("chat").to_router_table(),
]


def step(step_id: str, request_id: str = "r", **fields: Any) -> dict[str, Any]:
    told = {"step_name": step_id, "start": START, "latency_ms": 1.0, "success": True}
    return {"schema": 1, "kind": "step", "request_id": request_id, "step_id": step_id, **told, **fields}


def inside(step_id: str, **fields: Any) -> dict[str, Any]:
    return {
        name: value for name, value in step(step_id, **fields).items() if name not in ("schema", "kind", "request_id")
    }


def run(request_id: str = "r", **fields: Any) -> dict[str, Any]:
    told = {"workflow_name": "qa", "success": True, "total_latency_ms": 5.0, "timestamp": START}
    return {"schema": 1, "kind": "run", "request_id": request_id, **told, **fields}


def by_id(traces: Traces) -> dict[str, WorkflowTrace]:
    return {trace.request_id: trace for trace in traces}


def as_read(run: WorkflowTrace) -> WorkflowTrace:
    """Return a run as a journal shows it: a failed step fails it."""
    good = run.success and all(step.success for step in run.steps)
    return msgspec.structs.replace(in_order(run), success=good)


@pytest.fixture(params=["small", "large"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal, once small enough to be held in memory and once not."""
    if request.param == "large":
        hold_nothing(monkeypatch)
    return tmp_path / "runs.jsonl"


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A journal that is held in memory."""
    return tmp_path / "runs.jsonl"


@given(seed=st.integers(0, 10**6), count=st.integers(1, 8), hold=st.booleans(), files=st.integers(1, 3))
@settings(max_examples=10)
def test_however_runs_stand_in_their_files_they_are_read_back(
    seed: int, count: int, hold: bool, files: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whole or in parts, lines of many runs mixed, lines repeated, in several files, packed or not."""
    chance, runs = random.Random(seed), some_runs(count, seed)  # noqa: S311  # no secret
    streams = [lines_of(run) if run.crashed or chance.random() < 0.6 else [run_record(run)] for run in runs]
    lines: list[dict[str, Any]] = []
    while streams := [stream for stream in streams if stream]:
        line = chance.choice(streams).pop(0)
        lines += [line] * (2 if line["kind"] == "step" and chance.random() < 0.2 else 1)
    folder = tmp_path_factory.mktemp("journal")
    cuts = [0, *sorted(chance.randrange(len(lines) + 1) for _ in range(files - 1)), len(lines)]
    paths = []
    for number, (begin, end) in enumerate(pairwise(cuts)):
        content = encoded(*lines[begin:end])
        packed = chance.random() < 0.3
        paths.append(folder / f"{number}.jsonl{'.gz' if packed else ''}")
        paths[-1].write_bytes(gzip.compress(content) if packed else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_tables, "_SMALL_BYTES", 10**6 if hold else -1)
        traces = load_traces(paths)
    crashed_without_extra = {run.request_id for run in runs if not hold}
    expected = {}
    for trace in map(as_read, runs):
        extra = {} if trace.request_id in crashed_without_extra else trace.extra
        expected[trace.request_id] = msgspec.structs.replace(trace, extra=extra)
    assert by_id(traces) == expected
    assert (traces.damage, traces.caveats) == ((), ())


@pytest.mark.parametrize("layout", [run_record, lines_of])
def test_large_and_small_journals_give_the_same_answers(
    layout: Callable[[WorkflowTrace], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record for run in RUNS for record in (lines_of(run) if layout is lines_of else [layout(run)])]
    write(tmp_path / "runs.jsonl", *records)
    small = load_traces(tmp_path / "runs.jsonl")
    hold_nothing(monkeypatch)
    large = load_traces(tmp_path / "runs.jsonl")
    assert (repr(small), len(small)) == (repr(large), len(large))
    for ask in QUESTIONS:
        pd.testing.assert_frame_equal(ask(small).drop(columns="tenant", errors="ignore"), ask(large))
    assert list(large) == [msgspec.structs.replace(run, extra={}) for run in small]


def test_the_lines_of_many_buffers_keep_their_numbers(path: Path) -> None:
    texts = [f"{number} " + "x" * 20_000 for number in range(900)]
    write(path, *(run(str(number), final_answer=text) for number, text in enumerate(texts)))
    traces = load_traces(path)
    assert [trace.final_answer for trace in traces] == texts


def test_rotated_segments_are_one_journal(path: Path) -> None:
    with JournalWriter(path, rotate_mb=0.002) as journal:
        for trace in RUNS:
            for record in lines_of(trace):
                journal.append(record)
    assert len(list(path.parent.glob("runs*.jsonl"))) > 3
    assert {name: (len(trace.steps), trace.crashed) for name, trace in by_id(load_traces(path)).items()} == {
        trace.request_id: (len(trace.steps), trace.crashed) for trace in RUNS
    }


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        ([{"schema": 1, "kind": "start", "request_id": "r", "workflow_name": "qa", "timestamp": START}], []),
        ([{"schema": 1, "kind": "start", "request_id": "r", "workflow_name": "qa"}, step("a"), step("b")], ["a", "b"]),
        ([step("a"), step("b")], ["a", "b"]),
    ],
)
def test_a_run_whose_own_line_never_came_is_shown_as_crashed(held: Path, lines: list[Any], steps: list[str]) -> None:
    (trace,) = load_traces(write(held, *lines, {"schema": 1, "kind": "event"}))
    assert (trace.crashed, trace.success, trace.total_latency_ms) == (True, False, None)
    assert [step.step_id for step in trace.steps] == steps
    assert trace.timestamp is not None
    assert trace.extra == {}


def test_what_a_step_told_is_not_the_runs(held: Path) -> None:
    line = step("a", success=False, error={"type": "KeyError"}, attributes={"x": 1}, notes=["cut"], tenant="acme")
    (trace,) = load_traces(write(held, line))
    assert (trace.error, trace.attributes, trace.notes, trace.extra) == (None, {}, [], {})
    assert trace.steps[0].error == {"type": "KeyError"}


def test_a_run_fails_with_any_of_its_steps_wherever_they_stand(path: Path) -> None:
    failed = {"success": False}
    traces = load_traces(
        write(
            path, step("a", "1", **failed), run("1"), run("2", steps=[inside("a", **failed)]), run("3"), step("a", "3")
        )
    )
    assert {trace.request_id: trace.success for trace in traces} == {"1": False, "2": False, "3": True}
    assert len(traces.filter_by_success()) == 1


def test_the_later_record_of_a_step_or_a_run_counts(path: Path) -> None:
    lines = [step("a", success=False), run(mode="x"), step("a", latency_ms=2.0), run(mode="y", steps=[inside("b")])]
    traces = load_traces(write(path, *lines))
    (trace,) = traces
    assert (trace.mode, trace.success, [step.latency_ms for step in trace.steps]) == ("y", True, [2.0, 1.0])
    assert traces.caveats == ("1 runs have the request_id of another: of these the last is shown",)
    assert traces.aggregate_latency_stats("mode", per="step").index.tolist() == ["y"]  # type: ignore[union-attr]


@pytest.mark.parametrize("second", [b'{"kind":"run","requ', b"\0\0\0\0", b'{"a":1}}', b"\xff\xfe", b"[]"])
def test_every_good_record_of_a_damaged_journal_comes_back(held: Path, second: bytes) -> None:
    first, last = encoded(run("1", tenant="acme")), encoded(run("2"))
    held.write_bytes(first + second + b"\n" + last)
    with pytest.warns(DamagedJournalWarning, match="read 2 runs and left out"):
        traces = load_traces(held)
    assert [trace.request_id for trace in traces] == ["1", "2"]
    (lost,) = traces.damage
    assert lost.start == len(first)
    assert len(second) <= lost.end - lost.start <= len(second) + 1
    assert lost.reason


WHOLE = WorkflowTrace(
    request_id="w",
    success=True,
    steps=(StepTrace(step_id="a", step_name="a", start=datetime.fromisoformat(START), latency_ms=1.0, success=True),),
)


@given(data=st.data())
@settings(max_examples=8)
def test_bytes_put_anywhere_cost_no_more_than_the_lines_they_stand_in(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [encoded(run(str(number), steps=[inside("a")])) for number in range(4)]
    hit = data.draw(st.integers(0, 3))
    line, place = lines[hit], data.draw(st.integers(0, len(lines[hit]) - 1))
    junk = data.draw(st.sampled_from([b"\0", b"{", b'"', b"}{", b"\xff", b"\n", b"]"]))
    path = tmp_path_factory.mktemp("journal") / "runs.jsonl"
    path.write_bytes(b"".join([*lines[:hit], line[:place] + junk + line[place:], *lines[hit + 1 :]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedJournalWarning)
        traces = load_traces(path)
    whole = {trace.request_id: trace for trace in traces}
    assert all(whole[str(number)].steps == WHOLE.steps for number in {0, 1, 2, 3} - {hit})
    assert len(traces) >= 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (run("x", success="maybe"), "run x: Expected `bool`, got `str` - at `$.success`"),
        (run("x", success=None), "run x: Object missing required field `success`"),
        (run("x", total_latency_ms="fast"), "run x: Expected `float | null`, got `str` - at `$.total_latency_ms`"),
        (run("x", timestamp="yesterday"), "run x: Invalid RFC3339 encoded datetime - at `$.timestamp`"),
        (run("x", steps=5), "run x: Expected `array`, got `int`"),
        (run(["x"]), "run ['x']: an id is text, not list"),
        (step("b", latency_ms=None), "step r: Object missing required field `latency_ms`"),
        (step("b", success=None), "step r: Object missing required field `success`"),
        (step("b", latency_ms=float("nan")), "step r: Object missing required field `latency_ms`"),
        (step("b", None), "step None: an id is text, not NoneType"),
    ],
)
def test_a_record_of_other_types_is_refused_with_its_bytes_and_the_rest_is_read(
    held: Path, bad: dict[str, Any], reason: str
) -> None:
    first = encoded(step("a", "r"))
    second = json.dumps(bad).encode() + b"\n"
    held.write_bytes(first + second + encoded(run("s")))
    with pytest.warns(DamagedJournalWarning):
        traces = load_traces(held)
    assert [(trace.request_id, trace.crashed) for trace in traces] == [("r", True), ("s", False)]
    (lost,) = traces.damage
    assert (lost.path, lost.start, lost.end) == (str(held), len(first), len(first) + len(second))
    assert lost.reason == reason


def test_a_step_of_other_types_inside_a_run_is_refused_alone(path: Path) -> None:
    write(path, run("r", steps=[inside("a"), inside("b", latency_ms="fast"), inside("c", start=None), None]))
    with pytest.warns(DamagedJournalWarning):
        traces = load_traces(path)
    assert [step.step_id for step in traces[0].steps] == ["a"]
    assert [lost.reason.partition(":")[0] for lost in traces.damage] == [f"step {n} of run r" for n in (2, 3, 4)]


@pytest.mark.parametrize("whole", [True, False])
def test_values_written_otherwise_are_read_as_what_they_say(path: Path, whole: bool) -> None:
    lines = [
        run("1", total_latency_ms="12.5", success="true", turn_index="3"),
        run(2, timestamp="2026-01-02T03:04:05", success=1),
        run("3", timestamp="2026-01-02T05:04:05+02:00", error="boom", final_answer={"text": "so"}),
        run("4", attributes=None, steps=None, urls_used=None, notes=None, error=None, quality_signals=None, mode=None),
        {"kind": "run", "request_id": "5", "success": False},
        run("6", steps=[{name: value for name, value in inside("a").items() if name != "step_id"}]),
    ]
    path.write_bytes(encoded(*lines) + (b"" if whole else b"{"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedJournalWarning)
        one, two, three, four, five, six = load_traces(path)
    assert (one.total_latency_ms, one.success, one.turn_index) == (12.5, True, 3)
    assert (two.request_id, two.timestamp, two.success) == ("2", one.timestamp, True)
    assert (three.timestamp, three.error, three.final_answer) == (one.timestamp, {"message": "boom"}, '{"text":"so"}')
    assert four == WorkflowTrace(
        request_id="4", workflow_name="qa", success=True, total_latency_ms=5.0, timestamp=one.timestamp
    )
    assert five == WorkflowTrace(request_id="5", success=False)
    assert six.steps[0].step_id == "1"


def test_nan_of_other_writers_is_nothing(path: Path) -> None:
    path.write_text(
        '{"kind":"run","request_id":"a","success":true,"total_latency_ms":NaN,"quality_signals":{"mine":1}}\n'
        '{"kind":"run","request_id":"b","success":true,"total_latency_ms":2,"quality_signals":{"mine":NaN},'
        '"attributes":{"x":[Infinity]}}\n'
    )
    traces = load_traces(path)
    assert [trace.total_latency_ms for trace in traces] == [None, 2.0]
    assert traces[1].attributes == {"x": [None]}
    assert traces.aggregate_latency_stats()["avg"] == 2.0
    assert traces.aggregate_quality_signals(signals=["mine"])["avg_mine"] == 1.0


def test_nan_alone_in_an_attribute_is_nothing_as_well(path: Path) -> None:
    path.write_text(
        '{"kind":"run","request_id":"b","success":true,"quality_signals":{"mine":NaN},"attributes":{"x":NaN}}'
    )
    traces = load_traces(path)
    assert traces[0].attributes == {"x": None}
    assert np.isnan(traces.aggregate_quality_signals(signals=["mine"])["avg_mine"])


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    strange = {"tenant": "acme", 'a"b': 1, "a/b~c": [1], "": {"deep": None}, "extra": 2, "Question": "x"}
    (trace,) = load_traces(write(tmp_path / "runs.jsonl", run("r", **strange)))
    assert trace.extra == strange
    assert load_traces([trace])[0] == trace


def test_a_line_longer_than_the_buffer_is_read(path: Path) -> None:
    write(path, run("r", final_answer="x" * 3_000_000), run("s"))
    traces = load_traces(path)
    assert [len(trace.final_answer or "") for trace in traces] == [3_000_000, 0]
    assert traces.damage == ()


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf%s", b"%s\r\n", b"\n\n  \n%s", b"%s%s", b"%s\0\0"])
def test_marks_blanks_and_glued_records_cost_nothing(held: Path, content: bytes) -> None:
    record = encoded(run("r")).strip()
    held.write_bytes(content.replace(b"%s", record))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedJournalWarning)
        traces = load_traces(held)
    assert [trace.request_id for trace in traces] == ["r"]
    assert traces.aggregate_quality_signals()["n"] == 1


def test_a_file_name_is_no_pattern(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", run("other"))
    assert [trace.request_id for trace in load_traces(write(tmp_path / "[a]*.jsonl", run("mine")))] == ["mine"]


def test_a_large_journal_may_grow_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold_nothing(monkeypatch)
    path = write(tmp_path / "runs.jsonl", *map(run_record, RUNS))
    traces = load_traces(path)
    before = traces.aggregate_quality_signals(), traces.aggregate_latency_stats("depth", per="step")
    with path.open("ab") as more:
        more.write(encoded(run("new", steps=[inside("a")])))
    assert len(list(traces)) == len(RUNS)
    assert repr(traces.aggregate_quality_signals()) == repr(before[0])
    pd.testing.assert_frame_equal(traces.aggregate_latency_stats("depth", per="step"), before[1])  # type: ignore[arg-type]


def test_traces_may_be_asked_by_many_threads(path: Path) -> None:
    traces, answers = load_traces(write(path, *map(run_record, RUNS))), []

    def ask() -> None:
        for _ in range(5):
            answers.append((len(traces.filter_by_mode("chat")), traces.aggregate_latency_stats("depth").size))  # type: ignore[union-attr]

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert len(set(answers)) == 1
