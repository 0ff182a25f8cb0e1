"""Three questions put to real runs, in which what was changed is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import run as run_process

import ibis
import msgspec
import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import FitError, GraphError, InsufficientDataError, TraceFormatError
from causalkit.examples.recordings import data_folder, load_recording
from causalkit.why.failures import changed_failures
from causalkit.why.findings import WhyChanged
from causalkit.why.questions import what_drives, why_bad, why_changed
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.traces import Traces, load_traces
from tests.benchmarks.releases import answers, truths_of
from tests.truth import fewest, most

RELEASES = data_folder() / "releases"
WORD = "column"
Runs = list[WorkflowTrace]


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Runs of the pipeline as it is, in random order."""
    known = list(load_recording().filter_by_workflow("search_qa"))
    return [known[place] for place in np.random.default_rng(0).permutation(len(known))]


@pytest.fixture(scope="module")
def before(runs: Runs) -> Traces:
    return load_traces(runs[:300])


def _ask(before: Traces, after: Iterable[WorkflowTrace]) -> WhyChanged:
    return why_changed(before, load_traces(after), random_seed=0, progress=False)


def _with_step(run: WorkflowTrace, name: str, change: Callable[[StepTrace], StepTrace]) -> WorkflowTrace:
    """The run with one of its steps changed; later steps begin as much later, or did not run if it failed."""
    place = next((place for place, step in enumerate(run.steps) if step.step_name == name), None)
    if place is None:
        return run
    old, new = run.steps[place], change(run.steps[place])
    more = new.latency_ms - old.latency_ms
    later = run.steps[place + 1 :]
    if not new.success:
        more -= sum(step.latency_ms for step in later)
        later = ()
    moved = [msgspec.structs.replace(step, start=step.start + timedelta(milliseconds=more)) for step in later]
    return msgspec.structs.replace(
        run,
        steps=(*run.steps[:place], new, *moved),
        total_latency_ms=(run.total_latency_ms or 0.0) + more,
        success=run.success and new.success,
    )


def _slower(run: WorkflowTrace, name: str, by: float) -> WorkflowTrace:
    return _with_step(run, name, lambda step: msgspec.structs.replace(step, latency_ms=step.latency_ms * by))


def _failing(run: WorkflowTrace, name: str) -> WorkflowTrace:
    if WORD not in run.question:
        return run
    error = {"type": "BrokenStepError", "message": "", "stack": ""}
    return _with_step(
        run, name, lambda step: msgspec.structs.replace(step, latency_ms=0.02, success=False, error=error)
    )


def test_a_step_that_became_slower_is_named_with_what_it_did_and_what_that_leaves_open(before: Traces) -> None:
    slow = list(load_recording(part="slow_check").filter_by_workflow("search_qa"))
    found = _ask(before, slow[:300])
    assert found.verdict == "changed steps"
    assert found.steps == ["check_answer"]
    assert found.sentence.startswith(
        "check_answer became slower by itself, which moved the mean of total_latency_ms by +"
    )
    best = found.frame.iloc[0]
    assert best["low"] <= best["after"] - best["before"] <= best["high"]
    assert any("observational" in caveat and "check_answer_self_ms" in caveat for caveat in found.caveats)
    assert any("explains little of check_answer_self_ms" in caveat for caveat in found.caveats)
    assert found.doubts is not None
    assert ("check_answer_self_ms", "compose_answer_self_ms") in found.doubts.missing_edges
    assert any("doubt the graph" in caveat and "compose_answer_self_ms" in caveat for caveat in found.caveats)


def test_where_nothing_changed_nothing_is_named(before: Traces, runs: Runs) -> None:
    found = _ask(before, runs[300:600])
    assert found.verdict == "no change"
    assert found.steps == []
    assert found.sentence.startswith("Nothing changed that 300 runs before and 300 after can tell")
    assert found.to_frame().empty


def test_other_inputs_are_no_change_of_any_step(before: Traces, runs: Runs) -> None:
    deep = [run for run in runs[300:] if run.attributes["knobs"]["rerank_depth"] > 12][:300]
    found = _ask(before, deep)
    assert found.verdict == "input mix"
    assert found.frame["node"].tolist() == ["rerank_depth"]
    assert found.sentence.startswith("No step behaves differently, but the input mix changed: rerank_depth is ")


def test_a_step_that_fails_and_one_that_is_faster_are_both_told(before: Traces, runs: Runs) -> None:
    found = _ask(before, [_slower(_failing(run, "compose_answer"), "rerank", 0.5) for run in runs[300:600]])
    assert found.steps[:2] == ["compose_answer", "rerank"]
    assert found.sentence.startswith("compose_answer fails more often (0 % before")
    assert "rerank became faster by itself" in found.sentence


def test_runs_that_were_not_recorded_side_by_side_carry_a_caveat(before: Traces, runs: Runs) -> None:
    later = [
        msgspec.structs.replace(run, timestamp=run.timestamp + timedelta(days=1))
        for run in runs[300:400]
        if run.timestamp
    ]
    caveats = _ask(before, later).caveats
    assert any("not recorded side by side in time" in caveat for caveat in caveats)


def test_bad_runs_are_named_by_id_or_condition_and_explained_by_the_others(runs: Runs) -> None:
    bad = {run.request_id for run in runs[:12]}
    traces = load_traces([_slower(run, "rerank", 8) if run.request_id in bad else run for run in runs[:300]])
    found = why_bad(traces, bad, random_seed=0, progress=False)
    assert found.steps[0] == "rerank"
    assert found.sentence.startswith("own time of rerank is the first cause: ")
    assert any("observational" in caveat and "rerank_self_ms" in caveat for caveat in found.caveats)
    again = why_bad(traces, ibis._.request_id.isin(list(bad)), random_seed=0, progress=False)
    assert again.sentence == found.sentence


def test_what_drives_a_target_comes_with_shares_effects_and_whether_they_are_experimental(before: Traces) -> None:
    found = what_drives(before, random_seed=0, progress=False)
    frame = found.frame.set_index("node")
    assert frame["share"].sum() == pytest.approx(1)
    assert frame["share"].is_monotonic_decreasing
    assert frame["experimental"]["cache"]
    assert frame["effect_high"]["cache"] < 0
    assert frame["effect_low"]["rerank_depth"] > 0
    assert 0 < frame["robustness"]["concurrent_runs"] < 1
    assert (frame["high"] < 1.5).all()
    assert any("load_1m was not set at random" in caveat for caveat in found.caveats)
    assert not any("cache was not set at random" in caveat for caveat in found.caveats)


def test_a_graph_and_a_target_of_the_users_own_are_asked_about(before: Traces, runs: Runs) -> None:
    graph = nx.DiGraph([("rerank_depth", "rerank_self_ms")])
    slower = load_traces([_slower(run, "rerank", 2) for run in runs[300:600] if run.success])
    found = why_changed(
        before.filter_by_success(), slower, "rerank_self_ms", graph=graph, cluster=None, random_seed=0, progress=False
    )
    assert found.steps == ["rerank"]
    assert any(caveat.startswith("before: ") and "failed runs" in caveat for caveat in found.caveats)
    assert any("cluster=None" in caveat for caveat in found.caveats)


def test_wrong_questions_are_refused_in_a_sentence(before: Traces, runs: Runs) -> None:
    with pytest.raises(GraphError, match=r"'speed' is no variable of these runs; known are .*rerank_self_ms"):
        what_drives(before, "speed")
    with pytest.raises(GraphError, match="the runs have no field 'user' to be clustered by"):
        what_drives(before, cluster="user")
    with pytest.raises(TraceFormatError, match="there is no run 'x' among these 300"):
        why_bad(before, "x")
    with pytest.raises(TraceFormatError, match="none of these 300 runs fits the condition"):
        why_bad(before, lambda run: False)
    with pytest.raises(TraceFormatError, match="a int names no runs; give their request ids"):
        why_bad(before, 5)  # type: ignore[arg-type]
    with pytest.raises(FitError, match="alpha is 2; give a share between 0 and 1"):
        why_changed(before, before, alpha=2)
    with pytest.raises(GraphError, match=r"a causal graph is a networkx\.DiGraph, not a int"):
        what_drives(before, graph=5)  # type: ignore[arg-type]
    with pytest.raises(
        InsufficientDataError, match="30 runs are too few to tell what is behind their total_latency_ms"
    ):
        what_drives(load_traces(runs[:30]), progress=False)


def _came_to(number: int, after_ms: float, error: str | None, question: str = "") -> WorkflowTrace:
    """A run with a step that began so late, and how that failed."""
    begun = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=number)
    step = StepTrace(
        step_id="1",
        step_name="search",
        start=begun + timedelta(milliseconds=after_ms),
        latency_ms=1.0,
        success=error is None,
        error=None if error is None else {"type": error},
    )
    took = after_ms + 1
    return WorkflowTrace(
        request_id=str(number),
        workflow_name="qa",
        question=question or f"question {number}",
        timestamp=begun,
        success=step.success,
        total_latency_ms=took,
        steps=(step,),
    )


def _changed_failures(runs: Runs, first_after: int) -> dict[str, tuple[float, bool]]:
    names = [run.request_id for run in runs]
    questions = pd.Series([run.question for run in runs], names)
    return changed_failures(runs, questions, set(names[first_after:]), 0.01)


def test_a_kind_of_failure_that_is_new_stands_out_against_those_that_always_were() -> None:
    struck = {**dict.fromkeys([*range(20), *range(100, 120)], "NoDocument"), **dict.fromkeys(range(120, 132), "Broken")}
    p_values = _changed_failures([_came_to(number, 0, struck.get(number)) for number in range(200)], 100)
    assert p_values == {"search": (pytest.approx(4 * 0.5**12), True)}
    struck = {**dict.fromkeys(range(5), "NoDocument"), **dict.fromkeys(range(120, 128), "Broken")}
    p_values = _changed_failures([_came_to(number, 0, struck.get(number)) for number in range(200)], 100)
    assert p_values == {"search": (pytest.approx(2 * 0.5**8), True)}, "what is too rare to tell anything costs nothing"


def test_a_run_that_is_there_twice_tells_nothing_twice() -> None:
    before = [_came_to(number, 0, None, str(number)) for number in range(100)]
    after = [_came_to(number, 0, "Broken" if number < 110 else None, str(number - 100)) for number in range(100, 200)]
    again = [msgspec.structs.replace(run, request_id=f"again {run.request_id}") for run in after]
    once = _changed_failures(before + after, 100)
    assert once["search"][0] < 0.01
    assert _changed_failures(before + after + again, 100) == once


def test_a_step_that_comes_late_and_runs_out_of_time_has_not_changed() -> None:
    """Before, one run in ten is late, after, nine in ten are; one late run in ten fails."""

    def run(number: int, late: bool, fails: bool) -> WorkflowTrace:
        return _came_to(number, 30.0 + number % 7 if late else 10.0 + number % 7, "TimeLimit" if fails else None)

    before = [run(number, number % 10 == 0, number % 100 == 0) for number in range(300)]
    after = [run(number, number % 10 != 0, number % 10 == 1) for number in range(300, 600)]
    assert _changed_failures(before + after, 300)["search"][0] > 0.05
    earlier = [run(number, False, number % 10 == 1) for number in range(300, 600)]
    assert _changed_failures(before + earlier, 300)["search"][0] < 1e-4


@pytest.mark.parametrize("later_ms", [0.0, 8.0])
def test_failures_that_strike_anywhere_name_no_step_and_a_defect_does(later_ms: float, proof: bool) -> None:
    """One run in thirty that comes late fails, and some questions always do; after, so do twelve more."""
    alarms, found = [], []
    for seed in range(500 if proof else 30):
        rng = np.random.default_rng(seed)

        def run(number: int, later_ms: float, defects: int, rng: np.random.Generator) -> WorkflowTrace:
            question, at_ms = int(rng.integers(200)), float(rng.gamma(4, 4) + later_ms)
            broken = 5 <= question < 5 + defects
            chance = rng.random() < at_ms / 600
            error = "NoDocument" if question < 5 else "Broken" if broken else "TimeLimit" if chance else None
            return _came_to(number, at_ms, error, str(question))

        before = [run(number, 0.0, 0, rng) for number in range(300)]
        after = [run(number, later_ms, 0, rng) for number in range(300, 600)]
        broken = [run(number, 0.0, 12, rng) for number in range(300, 600)]
        alarms.append(_changed_failures(before + after, 300).get("search", (1.0,))[0] <= 0.01)
        found.append(_changed_failures(before + broken, 300).get("search", (1.0,))[0] <= 0.01)
    print(np.mean(alarms), np.mean(found))
    assert np.mean(alarms) <= (0.01 if proof else most(0.01, len(alarms)))
    assert np.mean(found) >= (0.7 if proof else fewest(0.7, len(found)))


def test_importing_the_package_loads_no_model() -> None:
    told = "import sys, causalkit; print(any(name.startswith('causalkit.why') for name in sys.modules))"
    done = run_process([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(not (RELEASES / "recording.json").is_file(), reason="the releases are not recorded")
def test_releases_are_told_as_what_they_are(proof: bool) -> None:
    """In full over 50 resamplings of each; else two as recorded. At least one standard deviation: the issue's claim."""
    if not proof:
        found = answers([RELEASES], 0, names=("release_01", "release_04"))
        assert found["right"].all()
        return
    found = answers([RELEASES], 50, n_jobs=2)
    share = found.groupby(["release", "kind", "size"])["right"].mean()
    print(share)
    sure = found[(found["size"] >= 1) | ~found["kind"].isin(["slow-down", "speed-up"])]
    assert sure[sure["resampling"] == 0]["right"].all()
    assert (sure[sure["resampling"] > 0].groupby("release")["right"].mean() >= 0.95).all()


def test_the_truth_of_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    told = {"name": "a", "kind": "double", "truth": ["x", "y"], "changes": [{"measured": 1.0}, {"measured": -0.5}]}
    (tmp_path / "recording.json").write_bytes(msgspec.json.encode({"releases": [told]}))
    (truth,) = truths_of(tmp_path)
    assert truth.size == 0.5
