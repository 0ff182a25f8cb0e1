from __future__ import annotations

import sqlite3
import warnings
import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import FrozenInstanceError
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import DamagedJournalWarning, Traces, load_traces
from tests.workflows.journals import some_runs


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
    return load_traces(tracer.runs if path is None else path)


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
def test_a_journal_without_runs_is_an_error_that_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(content)
    with pytest.raises(
        TraceFormatError, match=r"runs\.jsonl holds no record of a run; run the workflow under a Tracer"
    ) as caught:
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
    assert "1 stretches of bytes hold no record" in traces._repr_html_()


def test_the_warning_points_to_the_caller(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_traces(path)
    assert caught[0].filename == __file__


def test_a_record_of_other_types_is_left_out_with_a_warning(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"schema":1,"kind":"run","request_id":"d","success":"maybe"}\n')
    with pytest.warns(DamagedJournalWarning, match="run d: Expected `bool`"):
        traces = load_traces(path)
    assert ids(traces) == ["a", "b", "c"]
    assert len(traces.damage) == 1


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
    assert list(failed) == ["request_id", "workflow", "step_name", "error", "error_type", "timestamp", "error_stack"]
    (row,) = failed.itertuples(index=False)
    assert row[:5] == ("b", "answer", "search", "'x'", "KeyError")
    assert row.timestamp == traces[1].steps[0].start


def test_without_failures_the_columns_are_there_all_the_same(traces: Traces) -> None:
    failed = traces.filter_by_success().find_failed_steps()
    assert failed.empty
    assert list(failed) == ["request_id", "workflow", "step_name", "error", "error_type", "timestamp", "error_stack"]


def test_html_is_escaped() -> None:
    tracer = Tracer()
    with tracer.workflow("<script>alert(1)</script>", question="<script>"):
        pass
    html = load_traces(tracer.runs)._repr_html_()
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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, r"NoneType\)? holds no runs; give the path of a journal, several paths, runs, or two Ibis tables"),
        (5, r"int\)? holds no runs; give the path of a journal"),
        ([1], r"int\b.*; give the path of a journal, several paths"),
        (b"runs.jsonl", r"int\b.*; give the path"),
    ],
)
def test_what_is_no_source_is_an_error_that_says_what_is_one(source: Any, message: str) -> None:
    with pytest.raises(TraceFormatError, match=message) as caught:
        load_traces(source)
    assert one_sentence(caught.value)


def test_a_folder_is_an_error_that_asks_for_the_journals_in_it(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="is a folder; name the journals in it"):
        load_traces(tmp_path)


def test_filters_may_be_chained_in_any_order(traces: Traces) -> None:
    chosen = [
        lambda these: these.filter_by_mode("chat"),
        lambda these: these.custom_filter(lambda run: run.request_id > "a"),
        lambda these: these.custom_filter(ibis._.total_latency_ms > 0),
        lambda these: these.filter_by_date_range("2020-01-01T00:00Z"),
        lambda these: these.filter_by_workflow("lesson"),
    ]
    for order in (chosen, chosen[::-1], chosen[2:] + chosen[:2]):
        left = traces
        for choose in order:
            left = choose(left)
        assert ids(left) == ["c"]
        assert left.aggregate_latency_stats(per="step")["n"] == 1


def test_what_a_predicate_raises_comes_out(traces: Traces) -> None:
    with pytest.raises(ZeroDivisionError):
        traces.custom_filter(lambda run: 1 / 0 > 0)
    assert ids(traces.custom_filter(lambda run: False)) == []


def test_runs_are_taken_by_place_and_by_name(traces: Traces) -> None:
    assert (traces[-1].request_id, traces.run("b").request_id, traces.run(0).request_id) == ("c", "b", "a")
    with pytest.raises(IndexError):
        traces[3]
    with pytest.raises(TraceFormatError, match="there is no run 'x' among these 3"):
        traces.run("x")


def test_dates_choose_by_instants_and_whole_days() -> None:
    days = [
        "2026-11-20T23:59:59.999999Z",
        "2026-11-21T00:00:00Z",
        "2026-11-21T23:59:59.999999Z",
        "2026-11-22T00:00:00Z",
    ]
    runs = [WorkflowTrace(request_id=day, success=True, timestamp=datetime.fromisoformat(day)) for day in days]
    traces = load_traces(runs)
    whole = traces.filter_by_date_range("2026-11-21", date(2026, 11, 21))
    assert ids(whole) == days[1:3]
    assert whole.caveats == ("2026-11-21 and 2026-11-21: without a time zone, read as UTC",)
    instant = traces.filter_by_date_range(end=pd.Timestamp("2026-11-21T01:00+01:00"))
    assert ids(instant) == days[:2]
    assert instant.caveats == ()
    assert ids(traces.filter_by_date_range()) == days
    with pytest.raises(TraceFormatError, match=r"the range ends \(2026-11-20\) before it starts \(2026-11-21\); swap"):
        traces.filter_by_date_range("2026-11-21", "2026-11-20")


def test_runs_in_memory_may_hold_anything() -> None:
    tracer = Tracer()
    with tracer.workflow("qa", request_id="a", odd={1: object(), "x": float("nan"), "s": {1}, "b": b"\xff"}) as run:
        run.final_answer = "half \ud800"
    (read,) = load_traces(tracer.runs)
    assert read.attributes["odd"]["x"] is None
    assert load_traces(read for read in [read])[0] == read


def on_duckdb(traces: Traces, json_as_text: bool) -> Traces:
    """Return the same runs as two tables of another connection."""
    connection = duckdb.connect()
    for name, table in (("runs", traces.runs()), ("steps", traces.steps())):
        connection.register("told", pa.Table.from_pandas(traces._store.frame(table)))
        kinds = [column for column, kind in table.schema().items() if kind.is_json() and not json_as_text]
        casts = f"* REPLACE ({', '.join(f'{column}::JSON AS {column}' for column in kinds)})" if kinds else "*"
        connection.sql("FROM told").project(casts).create(name)
    backend = ibis.duckdb.from_connection(connection)
    with warnings.catch_warnings():
        # Ibis asks DuckDB in a way that DuckDB gives up.
        warnings.simplefilter("ignore", DeprecationWarning)
        return load_traces(backend.table("runs"), backend.table("steps"))


def on_sqlite(traces: Traces, path: Path) -> Traces:
    with closing(sqlite3.connect(path)) as connection:
        traces._store.frame(traces.runs()).to_sql("runs", connection, index=False)
        traces._store.frame(traces.steps()).to_sql("steps", connection, index=False)
    backend = ibis.sqlite.connect(path)
    traces = load_traces(backend.table("runs"), backend.table("steps"))
    weakref.finalize(traces, backend.con.close)
    return traces


@pytest.mark.parametrize("json_as_text", [True, False])
def test_tables_of_another_connection_give_the_same_answers(json_as_text: bool) -> None:
    here = load_traces(some_runs(30))
    there = on_duckdb(here, json_as_text)
    assert list(there) == list(here)
    for ask in (
        lambda traces: traces.filter_by_mode("chat").aggregate_latency_stats(["workflow_name", "depth"]),
        lambda traces: traces.aggregate_vram_stats(["tokens", "release"], per="step"),
        lambda traces: traces.aggregate_success_rate("mode"),
        lambda traces: traces.aggregate_quality_signals("mode", signals=["mine"]),
        lambda traces: traces.custom_filter(lambda run: run.turn_index > 0).find_failed_steps(),
        lambda traces: traces.filter_by_date_range("2026-01-02T02:00Z").latency_over_time(),
        lambda traces: traces.step_times("mode"),
        lambda traces: traces.critical_path(),
    ):
        pd.testing.assert_frame_equal(ask(there), ask(here))


def test_another_kind_of_connection_answers_or_says_in_a_sentence_that_it_cannot(tmp_path: Path) -> None:
    here = load_traces(some_runs(30))
    there = on_sqlite(here, tmp_path / "runs.db")
    assert (len(there), repr(there)) == (len(here), repr(here))
    assert len(there.filter_by_mode("chat")) == len(here.filter_by_mode("chat"))
    assert ids(there.filter_by_success()) == ids(here.filter_by_success())
    pd.testing.assert_frame_equal(there.aggregate_success_rate("mode"), here.aggregate_success_rate("mode"))  # type: ignore[arg-type]
    refused = []
    for ask in (
        lambda traces: traces.aggregate_latency_stats("mode"),
        lambda traces: traces.aggregate_latency_stats("depth", per="step"),
        lambda traces: traces.aggregate_quality_signals(),
        lambda traces: traces.step_times(),
        lambda traces: traces.latency_over_time(),
    ):
        try:
            found = ask(there)
        except TraceFormatError as error:
            refused.append(one_sentence(error))
        else:
            assert str(found) == str(ask(here))
    assert all(refused)


def test_tables_may_lack_what_nobody_asks_for_but_not_what_makes_a_run() -> None:
    here = load_traces(some_runs(10))
    runs = here.runs().select("request_id", "workflow_name", "success", "total_latency_ms")
    few = load_traces(runs, here.steps().drop("vram_peak_mb", "attributes"))
    assert few.aggregate_latency_stats() == here.aggregate_latency_stats()
    assert few.aggregate_vram_stats()["n"] == 0
    assert len(list(few)) == 10
    with pytest.raises(TraceFormatError, match="nothing to group by is called 'depth'"):
        few.aggregate_latency_stats("depth")
    with pytest.raises(TraceFormatError, match="a table of steps needs a column 'latency_ms'; give two Ibis tables"):
        load_traces(runs, here.steps().drop("latency_ms"))
    with pytest.raises(TraceFormatError, match="a table of runs needs a column 'request_id'"):
        load_traces(5, here.steps())  # type: ignore[arg-type]
