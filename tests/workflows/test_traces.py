from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import DamagedJournalWarning, Traces, load_traces


def record(path: Path | None = None) -> Traces:
    """Three runs: two of ``answer``, the second of which failed, and one of ``lesson``."""
    tracer = Tracer(path)
    told = {"request_id": "a", "question": "why?", "release": "7"}
    with tracer.workflow("answer", knobs={"depth": 2}, **told) as run, run.step("search"), run.step("look_up"):
        pass
    with pytest.raises(KeyError), tracer.workflow("answer", request_id="b", mode="chat") as run, run.step("search"):
        raise KeyError("x")
    with tracer.workflow("lesson", request_id="c", mode="chat") as run, run.step("outline"):
        pass
    tracer.close()
    return Traces(tuple(tracer.runs)) if path is None else load_traces(path)


@pytest.fixture
def traces() -> Traces:
    return record()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record(tmp_path / "runs.jsonl")
    return tmp_path / "runs.jsonl"


def ids(traces: Traces) -> list[str]:
    return [run.request_id for run in traces]


def one_sentence(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) < 400


def test_a_journal_is_read_back_as_runs(path: Path) -> None:
    traces = load_traces(path)
    assert repr(traces) == "<Traces: 3 runs of answer, lesson, 1 failed>"
    assert ids(traces) == ["a", "b", "c"]
    assert (len(traces), traces[2].workflow_name, traces.damage) == (3, "lesson", ())


def test_several_journals_are_one_set_of_runs(path: Path, tmp_path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first.write_bytes(b"".join(lines[::2]))
    second.write_bytes(b"".join(lines[1::2]))
    assert sorted(ids(load_traces([str(first), second]))) == ["a", "b", "c"]
    assert {run.request_id: run for run in load_traces([first, second])} == {
        run.request_id: run for run in load_traces(path)
    }


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match=r"there is no journal .*none\.jsonl; check the path") as caught:
        load_traces(tmp_path / "none.jsonl")
    assert caught.value.path == str(tmp_path / "none.jsonl")
    assert one_sentence(caught.value)


def test_no_path_at_all_is_an_error() -> None:
    with pytest.raises(TraceFormatError, match="no journal was named"):
        load_traces([])


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"kind":"event"}\n'])
def test_a_journal_without_runs_is_an_error_that_says_it_is_empty(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceFormatError, match=r"runs\.jsonl is empty: no run was recorded; run the") as caught:
        load_traces(path)
    assert one_sentence(caught.value)


@pytest.mark.parametrize("content", [b"garbage\n" * 50, b"\x80\x81\x00", b"[1, 2]\n", b'{"kind":"run"}\n'])
def test_a_file_of_garbage_is_an_error_that_says_what_was_left_out(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceFormatError, match="holds no whole run record; left out: ") as caught:
        load_traces(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_journal_gives_what_is_whole_and_names_the_bytes_left_out(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[:-20])
    with pytest.warns(DamagedJournalWarning, match=rf"read 3 runs .*bytes {last} to {len(whole) - 20}: a torn line"):
        traces = load_traces(path)
    assert [(part.start, part.end) for part in traces.damage] == [(last, len(whole) - 20)]
    assert traces[2].crashed
    assert [step.step_name for step in traces[2].steps] == ["outline"]
    assert "1 stretches of bytes left out" in traces._repr_html_()


def test_the_warning_points_to_the_caller(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_traces(path)
    assert caught[0].filename == __file__


def test_a_record_of_other_types_is_left_out_with_a_warning(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"schema":1,"kind":"run","request_id":"d","success":"maybe"}\n')
    with pytest.warns(DamagedJournalWarning, match="record of d: Expected `bool`"):
        traces = load_traces(path)
    assert ids(traces) == ["a", "b", "c"]
    assert len(traces.refused) == 1


@pytest.mark.parametrize(
    ("choose", "left"),
    [
        (lambda traces: traces.filter_by_workflow("answer"), ["a", "b"]),
        (lambda traces: traces.filter_by_mode("chat"), ["b", "c"]),
        (lambda traces: traces.filter_by_success(), ["a", "c"]),
        (lambda traces: traces.filter_by_success(False), ["b"]),
        (lambda traces: traces.custom_filter(lambda run: run.question != ""), ["a"]),
        (lambda traces: traces.filter_by_mode("chat").filter_by_workflow("lesson"), ["c"]),
        (lambda traces: traces.filter_by_mode("none"), []),
    ],
)
def test_a_filter_keeps_its_runs_and_leaves_the_traces_as_they_were(
    traces: Traces, choose: Callable[[Traces], Traces], left: list[str]
) -> None:
    assert ids(choose(traces)) == left
    assert ids(traces) == ["a", "b", "c"]


def test_leaving_out_failures_stays_as_a_caveat(traces: Traces) -> None:
    good = traces.filter_by_success()
    assert good.caveats == ("1 failed runs of 3 are left out: the answer is about the others",)
    assert good.filter_by_workflow("answer").caveats == good.caveats
    assert good.filter_by_success().caveats == good.caveats
    assert good.to_trace_table().attrs["caveats"] == list(good.caveats)
    assert traces.caveats == ()


def test_traces_cannot_be_changed(traces: Traces) -> None:
    with pytest.raises(FrozenInstanceError):
        traces.caveats = ("no",)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        traces[0].success = False  # type: ignore[misc]
    with pytest.raises(TypeError):
        traces[0] = traces[1]  # type: ignore[index]


def test_a_failed_step_is_one_row_that_says_who_where_what_and_when(traces: Traces) -> None:
    failed = traces.find_failed_steps()
    assert list(failed) == ["request_id", "workflow", "step_name", "error", "error_type", "timestamp"]
    (row,) = failed.itertuples(index=False)
    assert row[:5] == ("b", "answer", "search", "'x'", "KeyError")
    assert row.timestamp == traces[1].steps[0].start


def test_without_failures_the_columns_are_there_all_the_same(traces: Traces) -> None:
    failed = traces.filter_by_success().find_failed_steps()
    assert failed.empty
    assert list(failed) == ["request_id", "workflow", "step_name", "error", "error_type", "timestamp"]


def test_html_is_escaped() -> None:
    tracer = Tracer()
    with tracer.workflow("<script>alert(1)</script>", question="<script>"):
        pass
    html = Traces(tuple(tracer.runs))._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_runs_as_a_table_have_knobs_and_attributes_as_columns(traces: Traces) -> None:
    table = traces.to_pandas()
    assert list(table["request_id"]) == ["a", "b", "c"]
    assert table.loc[0, ["depth", "release", "question_length", "mode"]].tolist() == [2, "7", 4, "default"]
    assert table["success"].tolist() == [True, False, True]
    assert (table["total_latency_ms"] > 0).all()
    assert "knobs" not in table
    assert isinstance(table["timestamp"].dtype, pd.DatetimeTZDtype)


@pytest.mark.parametrize("ask", [Traces.to_trace_table, Traces.causal_graph, Traces.to_pandas])
def test_when_a_filter_left_nothing_the_error_says_so(traces: Traces, ask: Callable[[Traces], object]) -> None:
    with pytest.raises(TraceFormatError, match="no run is left of memory; loosen the filter or record") as caught:
        ask(traces.filter_by_mode("none"))
    assert one_sentence(caught.value)
