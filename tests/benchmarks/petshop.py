"""How well root causes are found.

``python -m tests.benchmarks.petshop --data DIR [--inject] [--simulate N] [--rivals]``

DIR holds PetShop's recordings (or others laid out like them), one folder a scenario; ``--simulate`` asks about as many
simulated systems, one incident each. Recall counts ties as what they are worth: the true service's share of the places
among the first k that its ties have left. CPU seconds; only the ratios say something elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.scm.incidents import explain_incident
from tests.benchmarks.injection import injected
from tests.benchmarks.rivals import RIVALS, Ranker, Target
from tests.benchmarks.service_faults import FAULTS
from tests.benchmarks.services import NORMAL_ROWS, draw_incident, simulate_system

RECALLS = (1, 3)
WINDOW_ROWS = 5
# Normal windows are asked about from here on, so that half a recording precedes each.
FIRST_ASKED = 289


def ours(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """What causalkit answers. A ranker with an attribute `fit(normal, calls)` has that timed separately as well."""
    return explain_incident(normal, abnormal, calls, target).frame.set_index("node")["score"]


METHODS: dict[str, Ranker] = {"causalkit": ours}


class Issue(NamedTuple):
    """One incident and its right answer; `root` is empty where nothing is wrong."""

    normal: pd.DataFrame
    abnormal: pd.DataFrame
    calls: nx.DiGraph
    target: Target
    root: str
    scenario: str
    split: str
    kind: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--simulate", type=int, default=0)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--inject", action="store_true", help="also put faults into the normal recordings of --data")
    parser.add_argument("--rivals", action="store_true")
    asked = parser.parse_args()
    methods = METHODS | RIVALS if asked.rivals else METHODS
    if asked.data:
        issues = load_issues(asked.data)
        answers = ask(methods, issues)
        for split in answers["split"].unique():
            report(f"{split}, {asked.data.name}", answers[answers["split"] == split], "metric")
        report_normal("normal windows of the recordings", ask(methods, recorded_normal_windows(issues)))
    if asked.data and asked.inject:
        for title, made in injected_issues(issues):
            report(f"faults put into {title}", ask(methods, made), "metric")
    if asked.simulate:
        seeds = range(asked.first_seed, asked.first_seed + asked.simulate)
        answers = ask(methods, (issue for seed in seeds for issue in simulated_issues(seed)))
        wrong = answers["root"] != ""
        report(f"{asked.simulate} simulated systems", answers[wrong], "kind")
        report_normal("simulated normal windows", answers[~wrong])


def load_issues(folder: Path) -> list[Issue]:
    """All incidents below a folder of scenarios, each with its scenario's normal recording and call graph."""
    issues = []
    for graph_file in sorted(folder.glob("*/graph.csv")):
        scenario = graph_file.parent
        adjacency = pd.read_csv(graph_file, index_col=0)
        calls = nx.from_pandas_adjacency(adjacency, create_using=nx.DiGraph)
        normal = read_metrics(scenario / "noissue" / "metrics.csv")
        for target_file in sorted(scenario.glob("*/issue_*/target.json"), key=_by_number):
            told = json.loads(target_file.read_text())
            target = (told["target"]["node"], told["target"]["metric"], told["target"]["agg"])
            abnormal = read_metrics(target_file.parent / "metrics.csv")
            root, split = told["root_cause"]["node"], target_file.parts[-3]
            issues.append(Issue(normal, abnormal, calls, target, root, scenario.name, split, "recorded"))
    return issues


def read_metrics(file: Path) -> pd.DataFrame:
    """A table of metrics: columns by microservice, metric and statistic, rows by unix timestamp."""
    return pd.read_csv(file, header=[0, 1, 2], index_col=0)


def recall(scores: pd.Series, root: str, k: int) -> float:
    """The chance that the true service is among the first k where ties are broken at random; 0 if it is not ranked."""
    scores = scores.dropna()
    if root not in scores.index:
        return 0.0
    better, tied = (scores > scores[root]).sum(), (scores == scores[root]).sum()
    return float(np.clip((k - better) / tied, 0, 1))


def recorded_normal_windows(issues: list[Issue]) -> Iterator[Issue]:
    """Every tenth window of the second half of each scenario's normal recording, for latency and availability."""
    seen = set()
    for issue in issues:
        for metric in ("latency", "availability"):
            target = (issue.target[0], metric, "Average")
            if (issue.scenario, target) not in seen:
                seen.add((issue.scenario, target))
                yield from normal_windows(issue._replace(target=target), every=10)


def injected_issues(issues: list[Issue]) -> Iterator[tuple[str, list[Issue]]]:
    """Incidents made of normal windows, within each recording and of one recording against another."""
    recordings = {issue.scenario: issue for issue in issues}
    for (name, one), (other_name, other) in itertools.product(recordings.items(), repeat=2):
        made = injected(one.normal, other.normal, one.calls, one.target[0], name == other_name)
        title = f"windows of {other_name}, normal rows of {name}"
        yield (
            title,
            [
                one._replace(normal=i.normal, abnormal=i.abnormal, target=i.target, root=i.root, kind="put in")
                for i in made
            ],
        )


def normal_windows(issue: Issue, every: int) -> Iterator[Issue]:
    """Windows of an issue's own normal recording, each with the rows that precede it as what is normal."""
    for start in range(FIRST_ASKED, len(issue.normal) - WINDOW_ROWS + 1, every):
        yield issue._replace(
            normal=issue.normal.iloc[max(0, start - NORMAL_ROWS) : start],
            abnormal=issue.normal.iloc[start : start + WINDOW_ROWS],
            root="",
            kind="same recording",
        )


def simulated_issues(seed: int) -> Iterator[Issue]:
    """One incident of one simulated system, and windows of it in which nothing is wrong."""
    system, rng = simulate_system(seed), np.random.default_rng([seed, 0])
    normal = system.normal(NORMAL_ROWS, rng)
    made = draw_incident(system, normal, rng, FAULTS[seed % len(FAULTS)])
    if made is None:
        return
    issue = Issue(normal, made.abnormal, made.calls, made.target, made.root, "simulated", "simulated", made.kind)
    yield issue
    for metric in ("latency", "availability"):
        asked = issue._replace(target=(system.front, metric, "Average"), root="")
        yield from normal_windows(asked, every=100)
        for window in system.normal_windows(rng, 2, WINDOW_ROWS):
            yield asked._replace(abnormal=window, kind="months away")


def ask(methods: dict[str, Ranker], issues: Iterable[Issue]) -> pd.DataFrame:
    """One row a method and issue: recalls, whether the answer was empty, CPU seconds."""
    rows = []
    for issue in issues:
        for name, ranker in methods.items():
            start = time.process_time()
            scores = ranker(issue.normal, issue.abnormal, issue.calls, issue.target)
            seconds = time.process_time() - start
            fit, start = getattr(ranker, "fit", None), time.process_time()
            if fit:
                fit(issue.normal, issue.calls)
            rows.append(
                {f"E@{k}": recall(scores, issue.root, k) for k in RECALLS}
                | {"method": name, "metric": issue.target[1], "empty": scores.empty, "seconds": seconds}
                | {"fit seconds": time.process_time() - start if fit else np.nan}
                | {part: getattr(issue, part) for part in ("root", "scenario", "split", "kind")}
            )
    return pd.DataFrame(rows)


def report(title: str, answers: pd.DataFrame, by: str) -> None:
    """Recall by scenario and by metric or kind of fault, over all, and over the means of the true services."""
    recalls = [f"E@{k}" for k in RECALLS]
    print(f"\n{title}: {answers.groupby('method', sort=False).size().iloc[0]} incidents, by scenario and {by}")
    for scenario, part in answers.groupby("scenario"):
        for value, few in part.groupby(by):
            print(f"  {scenario}, {value}: {few.groupby('method').size().iloc[0]} incidents")
            print(indent(few.groupby("method", sort=False)[[*recalls, "empty"]].mean().round(3)))
    means = answers.groupby("method", sort=False)[[*recalls, "empty"]].mean()
    by_root = answers.groupby(["method", "root"], sort=False)[recalls].mean().groupby(level=0, sort=False).mean()
    print("  all; macro: the mean over true services; CPU seconds an incident, fit of the normal rows included")
    print(indent(means.join(by_root.add_prefix("macro ")).join(seconds(answers)).round(3)))


def report_normal(title: str, answers: pd.DataFrame) -> None:
    """Share of empty answers where nothing is wrong."""
    print(f"\n{title}: share answered by nothing abnormal")
    print(indent(answers.pivot_table("empty", "method", ["scenario", "kind", "metric"], sort=False).round(3)))


def seconds(answers: pd.DataFrame) -> pd.DataFrame:
    """Median and largest CPU seconds; those of the fit alone where a method has one."""
    spent = answers.groupby("method", sort=False)[["seconds", "fit seconds"]].agg(["median", "max"])
    spent.columns = [f"{statistic} {what}" for what, statistic in spent.columns]
    return spent.dropna(axis=1, how="all")


def indent(table: pd.DataFrame) -> str:
    return "\n".join(f"    {line}" for line in table.to_string().splitlines())


def _by_number(file: Path) -> tuple[str, int]:
    folder = file.parent
    return str(folder.parent), int(folder.name.rpartition("_")[2])


if __name__ == "__main__":
    main()
