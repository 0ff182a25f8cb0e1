from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from causalkit.errors import TraceFormatError
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import Traces, load_traces
from tests.workflows.journals import BEGIN, hold_nothing, run_record, some_runs, write

RUNS = some_runs(60)
GROUPS: list[Any] = [
    "workflow_name",
    "mode",
    "depth",
    "release",
    ["mode", "depth"],
    ["router_version", "workflow_name"],
]
STATISTICS = ["n", "min", "max", "avg", "std", "median", "p95", "p99"]
Row = tuple[WorkflowTrace, StepTrace | None]


@pytest.fixture(scope="module")
def traces() -> Traces:
    return load_traces(RUNS)


def told(row: Row, name: str) -> Any:
    run, step = row
    if name in ("step_name", "tokens") and step is not None:
        return step.step_name if name == "step_name" else step.attributes["tokens"]
    fields = {"depth": run.attributes["knobs"]["depth"], "release": run.attributes["release"]}
    return fields[name] if name in fields else getattr(run, name)


def rows_of(runs: Iterable[WorkflowTrace], per: str) -> list[Row]:
    return [(run, step) for run in runs for step in (run.steps if per == "step" else (None,))]


def grouped(runs: Iterable[WorkflowTrace], by: str | Sequence[str], per: str) -> dict[Any, list[Row]]:
    names = [by] if isinstance(by, str) else by

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(told(row, name) for name in names)

    ordered = sorted(rows_of(runs, per), key=lambda row: tuple((value is None, value) for value in key(row)))
    return {found if len(names) > 1 else found[0]: list(rows) for found, rows in groupby(ordered, key)}


def by_numpy(values: Iterable[float | None]) -> list[float]:
    known = np.array([value for value in values if value is not None], float)
    if not len(known):
        return [0] + [np.nan] * 7
    std = known.std(ddof=1) if len(known) > 1 else np.nan
    return [len(known), known.min(), known.max(), known.mean(), std, *np.quantile(known, [0.5, 0.95, 0.99])]


def same_index(frame: pd.DataFrame, keys: Iterable[Any]) -> None:
    found = [
        tuple(None if part != part else part for part in key) if isinstance(key, tuple) else key for key in frame.index
    ]
    assert [None if key != key else key for key in found] == list(keys)


def latency(row: Row) -> float | None:
    run, step = row
    return run.total_latency_ms if step is None else step.latency_ms


def vram(row: Row) -> float | None:
    run, step = row
    if step is not None:
        return step.vram_peak_mb
    return max((step.vram_peak_mb for step in run.steps if step.vram_peak_mb is not None), default=None)


@pytest.mark.parametrize("per", ["run", "step"])
@pytest.mark.parametrize(
    ("ask", "value"), [(Traces.aggregate_latency_stats, latency), (Traces.aggregate_vram_stats, vram)]
)
def test_statistics_are_those_of_numpy(traces: Traces, ask: Any, value: Callable[[Row], float], per: str) -> None:
    overall = ask(traces, per=per)
    assert list(overall) == STATISTICS
    np.testing.assert_allclose(list(overall.values()), by_numpy(map(value, rows_of(RUNS, per))))
    for by in [*GROUPS, "request_id", *(["step_name", "tokens", ["step_name", "mode"]] if per == "step" else [])]:
        frame = ask(traces, by, per=per)
        groups = grouped(RUNS, by, per)
        same_index(frame, groups)
        assert list(frame) == STATISTICS
        np.testing.assert_allclose(frame.to_numpy(float), [by_numpy(map(value, rows)) for rows in groups.values()])


@given(latencies=st.lists(st.none() | st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=12))
@settings(max_examples=6)
def test_quantiles_of_any_latencies_are_exact(latencies: list[float | None]) -> None:
    runs = [WorkflowTrace(request_id=str(n), success=True, total_latency_ms=took) for n, took in enumerate(latencies)]
    found = list(load_traces(runs).aggregate_latency_stats().values())  # type: ignore[union-attr]
    np.testing.assert_allclose(found, by_numpy(latencies), rtol=1e-9, atol=1e-6)


def test_without_runs_there_is_nothing_to_average(traces: Traces) -> None:
    none = traces.filter_by_mode("none")
    for statistics in (none.aggregate_latency_stats(), none.aggregate_vram_stats(per="step")):
        assert statistics.pop("n") == 0  # type: ignore[operator]
        assert np.isnan(list(statistics.values())).all()  # type: ignore[arg-type]
    assert np.isnan(none.aggregate_success_rate())
    assert none.aggregate_quality_signals()["n"] == 0
    for frame in (
        none.aggregate_latency_stats("mode"),
        none.aggregate_latency_stats("depth", per="step"),
        none.aggregate_success_rate("depth"),
        none.aggregate_quality_signals("mode"),
        none.find_failed_steps(),
        none.failure_causes(),
        none.latency_over_time(),
        none.latency_over_time("1D", "depth", per="step"),
        none.step_times(),
        none.critical_path(),
    ):
        assert isinstance(frame, pd.DataFrame)
        assert frame.empty
        assert len(frame.columns)


def test_success_rates_and_their_intervals(traces: Traces) -> None:
    assert traces.aggregate_success_rate() == pytest.approx(np.mean([run.success for run in RUNS]))
    for per, by in (("run", "mode"), ("run", "depth"), ("step", "step_name"), ("step", "depth")):
        frame = traces.aggregate_success_rate(by, per=per)  # type: ignore[arg-type]
        groups = grouped(RUNS, by, per)
        same_index(frame, groups)
        good = np.array([sum((step or run).success for run, step in rows) for rows in groups.values()])
        n = np.array([len(rows) for rows in groups.values()])
        assert list(frame) == ["n", "success_rate", "low", "high"]
        wilson = proportion_confint(good, n, method="wilson")
        np.testing.assert_allclose(frame.to_numpy(float), np.transpose([n, good / n, *wilson]), atol=1e-12)


def test_means_of_quality_signals_leave_out_runs_without_the_signal(traces: Traces) -> None:
    told_of = [run.quality_signals for run in RUNS if run.quality_signals]
    means: Any = traces.aggregate_quality_signals(signals=["mine", "nobody's"])
    assert means["n"] == len(RUNS)
    assert means["avg_citation_count"] == pytest.approx(np.mean([signals["citation_count"] for signals in told_of]))
    assert means["has_search_rate"] == pytest.approx(np.mean([signals["has_search"] for signals in told_of]))
    assert means["avg_mine"] == pytest.approx(np.mean([signals["mine"] for signals in told_of]))
    assert np.isnan(means["avg_nobody's"])
    assert np.isnan(means["avg_answer_length"])
    assert means["failure_rate"] == pytest.approx(np.mean([not run.success for run in RUNS]))
    frame: Any = traces.aggregate_quality_signals("mode")
    chat = [run for run in RUNS if run.mode == "chat"]
    assert frame.loc["chat", "failure_rate"] == pytest.approx(np.mean([not run.success for run in chat]))
    assert list(frame)[:4] == ["n", "avg_citation_count", "avg_answer_length", "has_search_rate"]


def test_numeric_knobs_stand_in_the_order_of_numbers(traces: Traces) -> None:
    assert traces.aggregate_latency_stats("depth").index.tolist() == [2, 9, 10]  # type: ignore[union-attr]
    assert traces.latency_over_time("365D", "depth")["depth"].tolist() == [2, 9, 10]


def test_a_knob_may_be_called_as_a_statistic_is() -> None:
    runs = [
        WorkflowTrace(
            request_id=str(n), success=True, total_latency_ms=n, timestamp=BEGIN, attributes={"n": n, "max": 1}
        )
        for n in (1, 2)
    ]
    found = load_traces(runs).aggregate_latency_stats(["n", "max"])
    assert isinstance(found, pd.DataFrame)
    assert found.index.tolist() == [(1, 1), (2, 1)]
    assert found["n"].tolist() == [1, 1]


@pytest.mark.parametrize("per", ["run", "step"])
def test_an_unknown_group_is_an_error_that_names_what_is_known(traces: Traces, per: Any) -> None:
    for ask in (traces.aggregate_latency_stats, traces.aggregate_success_rate, traces.aggregate_vram_stats):
        with pytest.raises(
            TraceFormatError, match="nothing to group by is called 'dpeth': no attribute or knob"
        ) as error:
            ask("dpeth", per=per)
        assert error.value.by == "dpeth"
    with pytest.raises(TraceFormatError, match="nothing to group by is called 'dpeth'"):
        traces.latency_over_time("1h", "dpeth", per=per)


def test_a_column_that_nobody_filled_is_one_group() -> None:
    runs = [WorkflowTrace(request_id=name, success=True, total_latency_ms=1.0) for name in "ab"]
    assert load_traces(runs).aggregate_latency_stats("router_version")["n"].tolist() == [2]  # type: ignore[union-attr]


def test_a_wrong_per_is_an_error(traces: Traces) -> None:
    with pytest.raises(TraceFormatError, match="per='steps' is neither 'run' nor 'step'"):
        traces.aggregate_latency_stats(per="steps")  # type: ignore[arg-type]


def test_failed_steps_and_their_causes(traces: Traces) -> None:
    failed = [(run, step) for run in RUNS for step in run.steps if not step.success]
    found = traces.find_failed_steps()
    expected = sorted((step.start, run.request_id, step.step_name, (step.error or {})["type"]) for run, step in failed)
    assert (
        list(found[["timestamp", "request_id", "step_name", "error_type"]].itertuples(index=False, name=None))
        == expected
    )
    assert set(found["error_stack"]) == {"a:b:1"}
    causes = traces.failure_causes().set_index(["step_name", "error_type"])
    assert causes["n"].sum() == len(failed)
    assert causes["n"].is_monotonic_decreasing
    for (name, kind), row in causes.iterrows():  # type: ignore[misc]
        mine = [(run, step) for run, step in failed if (step.step_name, (step.error or {})["type"]) == (name, kind)]
        assert (row["n"], row["runs"]) == (len(mine), len({run.request_id for run, _ in mine}))
        assert (row["first"], row["last"]) == (min(step.start for _, step in mine), max(step.start for _, step in mine))
        assert row["example"] == "no"


@pytest.mark.parametrize(("every", "seconds"), [("15m", 900), ("1h", 3600), ("1D", 86400)])
def test_latency_over_time_is_that_of_each_bin(traces: Traces, every: str, seconds: int) -> None:
    def bin_of(run: WorkflowTrace) -> float:
        assert run.timestamp is not None
        return run.timestamp.timestamp() // seconds * seconds

    found = traces.latency_over_time(every)
    assert list(found) == ["time", "n", "median", "p95"]
    expected = {}
    for begin, runs in groupby(RUNS, bin_of):
        known = [run.total_latency_ms for run in runs if run.total_latency_ms is not None]
        expected[begin] = [len(known), *(np.quantile(known, [0.5, 0.95]) if known else [np.nan, np.nan])]
    assert [time.timestamp() for time in found["time"]] == list(expected)
    np.testing.assert_allclose(found[["n", "median", "p95"]].to_numpy(float), list(expected.values()))


def test_a_run_without_a_time_is_in_no_bin() -> None:
    runs = [
        WorkflowTrace(request_id="a", success=True, total_latency_ms=1.0),
        WorkflowTrace(request_id="b", success=True, total_latency_ms=2.0, timestamp=BEGIN),
    ]
    assert load_traces(runs).latency_over_time()["median"].tolist() == [2.0]


@pytest.mark.parametrize("every", ["", "soon", "1ms", "-1h", None, 5])
def test_a_width_that_is_none_is_an_error(traces: Traces, every: Any) -> None:
    with pytest.raises(TraceFormatError, match="is no width of a second or more; write '15m', '1h' or '1D'"):
        traces.latency_over_time(every)


def test_questions_of_the_commonest_columns_do_not_read_a_large_journal_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_nothing(monkeypatch)
    path = write(tmp_path / "runs.jsonl", *map(run_record, RUNS))
    large, small = load_traces(path), load_traces(RUNS)
    path.unlink()
    for ask in (
        lambda traces: traces.filter_by_mode("chat").aggregate_latency_stats("workflow_name"),
        lambda traces: traces.aggregate_latency_stats("router_version", per="step"),
        lambda traces: traces.aggregate_vram_stats("step_name", per="step"),
        lambda traces: traces.aggregate_vram_stats("mode"),
        lambda traces: traces.aggregate_success_rate("mode"),
        lambda traces: traces.filter_by_success(False).find_failed_steps(),
        lambda traces: traces.failure_causes(),
        lambda traces: traces.latency_over_time("1h", "mode"),
        lambda traces: traces.latency_over_time("1h", per="step"),
    ):
        pd.testing.assert_frame_equal(ask(large), ask(small))
    assert repr(large) == repr(small)
    with pytest.raises(TraceFormatError, match=r"runs\.jsonl gives no answer \(.*\); if it has changed, load it anew"):
        large.aggregate_quality_signals()
