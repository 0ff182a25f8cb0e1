"""Published ways to rank root causes, told in our own words from their papers, to stand beside ours.

Each takes the normal and the abnormal windows, the call graph and the target, and returns scores by service, best
first; an empty answer says that nothing is abnormal. DoWhy's counterfactual attribution is left out: it is too slow to
be asked this often.

- ranked correlation, traversal: the baselines of Hardt et al. 2024, "The PetShop Dataset", arXiv:2311.04806.
- BARO's scorer: Pham et al. 2024, "BARO: Robust Root Cause Analysis for Microservices", arXiv:2405.09330.
- CIRCA: Li et al. 2022, "Causal Inference-Based Root Cause Analysis for Online Service Systems", KDD; without its
  descendant adjustment.
- score ordering, smooth traversal: Orchard et al. 2024, "Root Cause Analysis of Outliers with Missing Structural
  Knowledge", arXiv:2406.05014.
"""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import pandas as pd
from scipy import stats

Target = tuple[str, str, str]
Ranker = Callable[[pd.DataFrame, pd.DataFrame, nx.DiGraph, Target], pd.Series]

# PetShop's: deviations from the median in units of the median deviation, scaled to a normal distribution's standard
# deviation, and the window that is looked at first, for an issue takes a while to show.
ANOMALOUS = 5.0
SCALED = 1.4826
FIRST_WINDOW = 2
FEWEST_ROWS = 10


def ranked_correlation(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """Anomalous services by the p value of their correlation with the target during the incident."""
    scores = anomalies(normal, abnormal, target).drop(target[0], errors="ignore")
    now = one_statistic(abnormal, target)
    found = {}
    for name in scores.index:
        pair = now[[name, target[0]]].dropna()
        if len(pair) >= 2 and (pair.max() > pair.min()).all():
            found[name] = -stats.pearsonr(pair[name], pair[target[0]]).pvalue
    return best_first(found)


def traversal(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """Anomalous services without anomalous callee, by the heaviest path of anomalous services from the target."""
    scores = anomalies(normal, abnormal, target)
    graph = calls.subgraph(scores.index)
    found = {}
    for name in graph:
        if target[0] in graph and not graph.out_degree(name) and nx.has_path(graph, target[0], name):
            paths = nx.all_simple_paths(graph, target[0], name) if name != target[0] else [[name]]
            found[name] = max(sum(scores[step] for step in path) for path in paths)
    return best_first(found)


def robust_scorer(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """The largest deviation of any metric of a service from its median, in units of its interquartile range."""
    shared = normal.columns.intersection(abnormal.columns)
    spread = normal[shared].quantile(0.75) - normal[shared].quantile(0.25)
    away = (abnormal[shared] - normal[shared].median()).abs() / spread.where(spread > 0, 1.0)
    return best_first(away.max().groupby(level=0).max())


def circa(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """The largest deviation from what a linear regression on the callees' same metric expects."""
    before, now = one_statistic(normal, target), one_statistic(abnormal, target)
    names = [name for name in before.columns.intersection(now.columns) if before[name].any() and now[name].any()]
    before, now = (table[names].fillna(table[names].mean()) for table in (before, now))
    found = {}
    for name in names:
        causes = sorted(measured_callees(calls, name, set(names)))
        design, later = (np.column_stack([np.ones(len(t)), t[causes]]) for t in (before, now))
        weights = np.linalg.lstsq(design, before[name].to_numpy(), rcond=None)[0]
        usual, odd = before[name] - design @ weights, now[name] - later @ weights
        found[name] = ((odd - usual.mean()).abs() / max(usual.std(), 1e-9)).max()
    return best_first(found)


def score_ordering(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """How rare a service's value is, whatever the graph; values beyond all normal ones are equally rare."""
    return best_first(surprises(normal, abnormal, target))


def smooth_traversal(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """How much rarer a service's value is than the rarest of its callees', among those that the target calls."""
    rare = surprises(normal, abnormal, target)
    asked = [name for name in rare.index if name in calls and nx.has_path(calls, target[0], name)]
    below = {name: rare.reindex(list(calls.successors(name))).max() for name in asked}
    return best_first({name: rare[name] - np.nan_to_num(below[name]) for name in asked})


def chance(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph, target: Target) -> pd.Series:
    """All services of the incident alike: ties shared out make of it what guessing gets in the mean."""
    return best_first(dict.fromkeys(abnormal.columns.get_level_values(0).unique(), 0.0))


RIVALS: dict[str, Ranker] = {
    "ranked correlation": ranked_correlation,
    "traversal": traversal,
    "BARO's scorer": robust_scorer,
    "CIRCA, unadjusted": circa,
    "score ordering": score_ordering,
    "smooth traversal": smooth_traversal,
    "chance": chance,
}


def best_first(scores: dict[str, float] | pd.Series) -> pd.Series:
    return pd.Series(scores, dtype=float).dropna().sort_values(ascending=False, kind="stable")


def one_statistic(table: pd.DataFrame, target: Target) -> pd.DataFrame:
    """The target's metric and statistic of all services."""
    picked = table.loc[
        :, (table.columns.get_level_values(1) == target[1]) & (table.columns.get_level_values(2) == target[2])
    ]
    return picked.droplevel([1, 2], axis=1)


def anomalies(normal: pd.DataFrame, abnormal: pd.DataFrame, target: Target) -> pd.Series:
    """Scores of the services anomalous in the first late window in which the target is; empty where it never is.

    A service that never varied is anomalous as soon as it does, with its mere deviation for a score.
    """
    before, now = one_statistic(normal, target), one_statistic(abnormal, target)
    before = before.loc[:, before.notna().sum() >= FEWEST_ROWS]
    before, now = before.align(now, join="inner", axis=1)
    usual, constant = before.median(), before.std() == 0
    deviation = (now - usual).abs()
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = deviation.where(constant, deviation / (SCALED * (before - usual).abs().median())).fillna(0.0)
    anomalous = scores > np.where(constant, 1e-9, ANOMALOUS)
    late = anomalous.index[FIRST_WINDOW:]
    shown = [row for row in late if target[0] in scores and anomalous.loc[row, target[0]]]
    return scores.loc[shown[0], anomalous.loc[shown[0]]] if shown else pd.Series(dtype=float)


def surprises(normal: pd.DataFrame, abnormal: pd.DataFrame, target: Target) -> pd.Series:
    """Minus the logarithm of the share of normal windows as far out as the incident's late window."""
    before, now = one_statistic(normal, target).align(one_statistic(abnormal, target), join="inner", axis=1)
    usual = before.median()
    deviation, row = (before - usual).abs(), (now - usual).abs().iloc[FIRST_WINDOW]
    seen = row.notna() & (before.notna().sum() >= FEWEST_ROWS)
    as_far = (deviation >= row).sum()
    return -np.log((1 + as_far) / (1 + before.notna().sum()))[seen]


def measured_callees(calls: nx.DiGraph, name: str, measured: set[str]) -> set[str]:
    """The callees of a service, each that has no data replaced by its own."""
    found: set[str] = set()
    waiting = list(calls.successors(name)) if name in calls else []
    passed = {name}
    while waiting:
        callee = waiting.pop()
        if callee in measured:
            found.add(callee)
        elif callee not in passed:
            passed.add(callee)
            waiting.extend(calls.successors(callee))
    return found - {name}
