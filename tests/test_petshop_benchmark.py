from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.injection import injected
from tests.benchmarks.petshop import (
    METHODS,
    Issue,
    ask,
    load_issues,
    normal_windows,
    read_metrics,
    recall,
    recorded_normal_windows,
    simulated_issues,
)
from tests.benchmarks.rivals import RIVALS
from tests.benchmarks.service_faults import FAULTS, NO_FAULT, Fault
from tests.benchmarks.service_windows import STATISTICS
from tests.benchmarks.services import NORMAL_ROWS, System, draw_incident, simulate_system

# A small system that has a wrapper.
SEED = 19


@pytest.fixture(scope="module")
def system() -> System:
    return simulate_system(SEED)


@pytest.fixture(scope="module")
def normal(system: System) -> pd.DataFrame:
    return system.normal(NORMAL_ROWS, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("scores", "k", "expected"),
    [
        ({"root": 3.0, "a": 2.0}, 1, 1.0),
        ({"a": 3.0, "root": 2.0}, 1, 0.0),
        ({"root": 2.0, "a": 2.0, "b": 2.0, "c": 2.0}, 1, 0.25),
        ({"root": 2.0, "a": 2.0, "b": 2.0, "c": 2.0}, 3, 0.75),
        ({"a": 3.0, "root": 2.0, "b": 2.0}, 1, 0.0),
        ({"a": 3.0, "root": 2.0, "b": 2.0}, 3, 1.0),
        ({"a": np.inf, "root": np.inf}, 1, 0.5),
        ({"a": 3.0}, 3, 0.0),
        ({"a": 3.0, "root": np.nan}, 3, 0.0),
        ({}, 3, 0.0),
    ],
)
def test_recall_gives_the_true_service_its_share_of_its_ties(scores: dict[str, float], k: int, expected: float) -> None:
    assert recall(pd.Series(scores, dtype=float), "root", k) == pytest.approx(expected)


def test_recall_is_the_same_in_whatever_order_the_ties_stand() -> None:
    scores = pd.Series({"a": 1.0, "root": 1.0, "b": 1.0})
    assert recall(scores, "root", 1) == recall(scores[::-1], "root", 1) == pytest.approx(1 / 3)


def test_loader_reads_the_recorded_issues(shared_data: Path) -> None:
    folder = shared_data / "petshop"
    if not folder.is_dir():
        pytest.skip("PetShop's recordings are not in the folder shared/data")
    issues = [issue for issue in load_issues(folder) if issue.split == "train"]
    assert {issue.scenario for issue in issues} >= {"low_traffic", "high_traffic"}
    for issue in issues:
        assert issue.normal.shape[0] == 589
        assert issue.abnormal.shape[0] == 5
        assert nx.has_path(issue.calls, issue.target[0], issue.root)
        assert issue.target in issue.normal.columns
        assert issue.normal.dtypes.eq(float).all()
        assert list(dict.fromkeys(issue.normal.columns.droplevel(0))) == STATISTICS


def test_loader_finds_any_scenario_and_split_that_is_laid_out_so(
    system: System, normal: pd.DataFrame, tmp_path: Path
) -> None:
    made = draw_incident(system, normal, np.random.default_rng(2), "delay")
    write_issue(tmp_path / "night_traffic", normal, made.abnormal, made.calls, made.target, made.root)
    (issue,) = load_issues(tmp_path)
    assert (issue.scenario, issue.split, issue.root, issue.target) == ("night_traffic", "test", made.root, made.target)
    assert set(issue.calls.edges) == set(made.calls.edges)
    pd.testing.assert_frame_equal(issue.abnormal, made.abnormal)


def test_normal_windows_know_only_the_rows_before_them(normal: pd.DataFrame) -> None:
    issue = Issue(normal, normal, nx.DiGraph(), ("front", "latency", "Average"), "x", "s", "train", "recorded")
    windows = list(normal_windows(issue, every=10))
    assert len(windows) == 30
    assert all(window.normal.index.max() < window.abnormal.index.min() for window in windows)
    assert len(list(recorded_normal_windows([issue, issue]))) == 60


@pytest.mark.parametrize("kind", FAULTS)
def test_same_seed_gives_the_same_incident(kind: str, normal: pd.DataFrame) -> None:
    first, second = (draw_incident(simulate_system(SEED), normal, np.random.default_rng(5), kind) for _ in range(2))
    pd.testing.assert_frame_equal(first.abnormal, second.abnormal)
    assert (first.root, first.target, first.kind) == (second.root, second.target, second.kind)
    assert first.root in nx.descendants(first.calls, first.target[0])
    assert first.root in first.abnormal.columns


def test_unknown_fault_is_named_beside_the_known_ones(system: System) -> None:
    with pytest.raises(ValueError, match="no fault is called 'flood'; there are delay, errors"):
        system.incident(np.random.default_rng(0), "flood", system.front)


def test_simulated_tables_are_laid_out_like_petshops(normal: pd.DataFrame, shared_data: Path) -> None:
    file = shared_data / "petshop" / "low_traffic" / "noissue" / "metrics.csv"
    if not file.is_file():
        pytest.skip("PetShop's recordings are not in the folder shared/data")
    real = read_metrics(file)
    assert list(normal.columns.names) == list(real.columns.names)
    assert normal.index.name == real.index.name
    assert list(dict.fromkeys(normal.columns.droplevel(0))) == list(dict.fromkeys(real.columns.droplevel(0)))
    assert set(np.diff(normal.index)) == set(np.diff(real.index))
    assert normal.shape[0] == real.shape[0]


@pytest.mark.parametrize("seed", range(8))
def test_between_a_twentieth_and_a_fifth_of_the_values_is_missing(seed: int) -> None:
    system = simulate_system(seed)
    table = system.normal(200, np.random.default_rng(seed))
    assert 0.05 <= table.isna().mean(axis=None) <= 0.2
    silent = table.xs(("requests", "Sum"), axis=1, level=(1, 2)) == 0
    assert table.xs(("latency", "p99"), axis=1, level=(1, 2))[silent].isna().all(axis=None)


@pytest.mark.parametrize("seed", range(4))
def test_delay_reaches_every_caller_as_often_as_it_calls_and_nothing_else(seed: int) -> None:
    system = simulate_system(seed)
    below = sorted(nx.descendants(system.calls, system.front) - system.unrecorded)
    root = max(below, key=lambda name: len(nx.ancestors(system.calls, name)))
    delayed, usual = (
        system.record(np.random.default_rng(seed), 0.0, 300, 0.0, fault)
        for fault in (Fault(root, delay=10.0, share=1.0), NO_FAULT)
    )
    rise = (delayed - usual).xs(("latency", "Average"), axis=1, level=(1, 2)).mean()
    requests = usual.xs(("requests", "Sum"), axis=1, level=(1, 2)).sum()
    assert rise[root] == pytest.approx(10, rel=0.05)
    views = {name for name, service in system.services.items() if service.view_of}
    reached = nx.ancestors(system.calls, root) | {root} | views
    for name in set(rise.index) - reached:
        pd.testing.assert_frame_equal(delayed[name], usual[name])
    for name in sorted(set(rise.index) & nx.ancestors(system.calls, root)):
        links = {callee: system.links[name, callee] for callee in system.calls.successors(name)}
        if requests[name] < 3000 or {link.waits for link in links.values()} != {"one by one"}:
            continue
        due = sum(link.per_request * rise.get(callee, 0.0) for callee, link in links.items())
        assert rise[name] == pytest.approx(due, rel=0.15, abs=0.02), name


def test_errors_are_passed_on_and_cut_requests_short(system: System) -> None:
    wrapped = next((a, b) for a, b in sorted(system.links) if a.startswith(b) and a not in system.unrecorded)
    wrong, usual = (
        system.record(np.random.default_rng(0), 0.0, 200, 0.0, fault)
        for fault in (Fault(wrapped[1], errors=0.5, fast=True), NO_FAULT)
    )
    for name in wrapped:
        assert wrong[name]["availability"]["Average"].mean() < 65
        assert wrong[name]["latency"]["Average"].mean() < usual[name]["latency"]["Average"].mean()


def test_every_rival_answers_best_first_without_gaps(system: System, normal: pd.DataFrame) -> None:
    made = draw_incident(system, normal, np.random.default_rng(3), "delay")
    for name, ranker in RIVALS.items():
        scores = ranker(normal, made.abnormal, made.calls, made.target)
        assert scores.is_monotonic_decreasing, name
        assert scores.notna().all(), name
        assert scores.index.is_unique, name


def test_answers_hold_a_row_for_each_method_and_issue() -> None:
    methods = METHODS | {"chance": RIVALS["chance"]}
    issues = list(simulated_issues(SEED))
    answers = ask(methods, issues)
    assert len(answers) == len(issues) * len(methods)
    assert (answers.loc[answers["root"] == "", ["E@1", "E@3"]] == 0).all(axis=None)
    assert set(answers["kind"]) == {FAULTS[SEED % len(FAULTS)], "same recording", "months away"}


def write_issue(
    scenario: Path,
    normal: pd.DataFrame,
    abnormal: pd.DataFrame,
    calls: nx.DiGraph,
    target: tuple[str, str, str],
    root: str,
) -> None:
    """One test issue in the folders and files of PetShop."""
    issue = scenario / "test" / "issue_0"
    issue.mkdir(parents=True)
    (scenario / "noissue").mkdir()
    nx.to_pandas_adjacency(calls).to_csv(scenario / "graph.csv")
    normal.to_csv(scenario / "noissue" / "metrics.csv")
    abnormal.to_csv(issue / "metrics.csv")
    told = {"target": dict(zip(("node", "metric", "agg"), target, strict=True)), "root_cause": {"node": root}}
    (issue / "target.json").write_text(json.dumps(told))


def test_a_fault_that_is_put_in_reaches_the_callers_and_nothing_below() -> None:
    rng = np.random.default_rng(0)
    calls = nx.DiGraph([("front", "mid"), ("mid", "store"), ("front", "other")])
    table = pd.DataFrame(
        {
            (name, metric, statistic): level + scale * rng.normal(size=589)
            for name in sorted(calls)
            for metric, statistic, level, scale in (
                ("latency", "Average", 0.2, 0.002),
                ("availability", "Average", 99.0, 0.02),
                ("requests", "Sum", 1000.0, 5.0),
            )
        }
    )
    made = list(injected(table, table, calls, "front", same=True))
    assert {issue.root for issue in made} == {"mid", "store", "other"}
    for issue in made:
        metric = issue.target[1]
        start = len(issue.normal)
        moved = (issue.abnormal - table.iloc[start : start + 5]).xs(metric, axis=1, level=1).abs().max()
        expected = nx.ancestors(calls, issue.root) | {issue.root}
        assert set(moved[moved > 0].index.get_level_values(0)) == expected
