"""Put a model together: choose, judge and fit each mechanism, and fill in what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from causalkit.errors import FitError, InsufficientDataError
from causalkit.graphs import topological_order
from causalkit.scm.arrays import BoolArray, IntArray
from causalkit.scm.blocks import deal_blocks
from causalkit.scm.classification import Classification
from causalkit.scm.derived import combine
from causalkit.scm.exact import declarable
from causalkit.scm.features import Features
from causalkit.scm.labelling import choose_classification, fit_classification
from causalkit.scm.model import FittedSCM
from causalkit.scm.preparing import Prepared
from causalkit.scm.regression import Regression
from causalkit.scm.scoring import HeldOut, score_classification, score_regression
from causalkit.scm.selection import Family, choose_regression, fit_regression
from causalkit.scm.splitting import deal_folds, split_rows
from causalkit.scm.state import Mechanism
from causalkit.scm.static import Source, confirm, infer_all, static_mechanism
from causalkit.scm.validation import NodeScore, ValidationReport, pooled
from causalkit.streams import stream

if TYPE_CHECKING:
    from causalkit.scm.fitter import SCMFitter

# Seconds before a bar is shown: most fits are over by then.
_BAR_AFTER = 2.0
_FEWEST_HELD_OUT = 20


def assemble(
    fitter: SCMFitter, prepared: Prepared, function_code: Mapping[str, Source] | Source | None, seed: int
) -> FittedSCM:
    """Return the model of prepared columns.

    Parameters
    ----------
    fitter : SCMFitter
        The settings.
    prepared : Prepared
    function_code : mapping or str, optional
        Source that may prove mechanisms.
    seed : int

    Returns
    -------
    FittedSCM
    """
    workshop = _Workshop(fitter, prepared, seed, _proven(prepared, function_code))
    held_out = split_rows(prepared.groups, len(prepared.table), fitter.test_size, workshop.split, stream(seed, "split"))
    if min(held_out.sum(), (~held_out).sum()) < _FEWEST_HELD_OUT:
        raise InsufficientDataError(
            f"only {held_out.sum()} of {len(held_out)} rows can be held out; {_FEWEST_HELD_OUT} are needed on each "
            "side of the split: record more rows or more groups",
            num_rows=len(held_out),
            min_samples=fitter.min_samples,
        )
    # One thread of linear algebra: more are no faster on families this small, and would make sums depend on them.
    with threadpool_limits(1):
        made = workshop.each(lambda node: workshop.judge_and_fit(node, held_out))
    mechanisms = {node: mechanism for node, (mechanism, _) in made.items()}
    scores = tuple(_excused(prepared, score) for _, score in made.values())
    table, mechanisms = _fill(prepared, mechanisms, seed)
    report = ValidationReport(
        scores,
        fitter.r2_threshold,
        int(held_out.sum()),
        workshop.split_name,
        fitter.r2_rule,
        declarable(prepared, scores),
    )
    return FittedSCM(
        prepared.graph,
        mechanisms,
        prepared.formulas,
        report,
        table,
        workshop.blocks,
        fitter.groups,
        prepared.notes,
        seed,
        prepared.levels,
        prepared.observed,
        fitter,
    )


def cross_validate(fitter: SCMFitter, prepared: Prepared, k: int, seed: int) -> ValidationReport:
    """Return the scores of rows each of which was held out once, in `k` folds."""
    workshop = _Workshop(fitter, prepared, seed, {})
    folds = deal_folds(prepared.groups, len(prepared.table), k, workshop.split, stream(seed, "folds"))
    with threadpool_limits(1):
        scores = workshop.each(lambda node: workshop.judge_in_folds(node, folds))
    split = f"{k} folds by {workshop.split_name}"
    return ValidationReport(tuple(scores.values()), fitter.r2_threshold, len(prepared.table), split, fitter.r2_rule)


class _Workshop:
    """What is shared by all nodes of one fit."""

    def __init__(self, fitter: SCMFitter, prepared: Prepared, seed: int, proven: Mapping[str, Regression]) -> None:
        self.fitter, self.prepared, self.seed, self.proven = fitter, prepared, seed, proven
        self.blocks: IntArray = deal_blocks(prepared.groups, len(prepared.table), stream(seed, "blocks"))
        self.values = {str(node): column.to_numpy() for node, column in prepared.table.items()}
        graph = prepared.graph
        self.modelled = [
            node for node in topological_order(graph) if graph.in_degree(node) and node not in prepared.formulas
        ]
        chosen = fitter.split
        self.split = ("random" if fitter.groups is None else "group") if chosen == "auto" else chosen
        self.split_name = {"random": "rows", "time": "time", "group": str(fitter.groups)}[self.split]

    def each(self, work: Callable[[str], Any]) -> dict[str, Any]:
        """Do some work for every modelled node; the result does not depend on how many threads do it."""
        bar = tqdm(
            self.modelled, desc="fitting", unit="node", delay=_BAR_AFTER, disable=not self.fitter.progress, leave=False
        )
        if self.fitter.n_jobs in (None, 1):
            return {node: work(node) for node in bar}
        done = Parallel(n_jobs=self.fitter.n_jobs, prefer="threads")(delayed(work)(node) for node in bar)
        return dict(zip(self.modelled, done, strict=True))

    def judge_and_fit(self, node: str, held_out: BoolArray) -> tuple[Mechanism, NodeScore]:
        """Choose a mechanism on the rows that are not held out, judge it on those that are, fit it to all."""
        family, present = self._family(node)
        unseen = held_out[present]
        learnt, judged = family.part(~unseen), family.part(unseen)
        if min(len(learnt.target), len(judged.target)) < _FEWEST_HELD_OUT:
            raise InsufficientDataError(
                f"only {len(family.target)} of {len(present)} rows have values of {node!r} and all of its parents; "
                f"at least {_FEWEST_HELD_OUT} are needed on each side of the split",
                num_rows=len(family.target),
                min_samples=2 * _FEWEST_HELD_OUT,
            )
        if node in self.proven:
            mechanism = self.proven[node]
            return mechanism, score_regression(
                mechanism, HeldOut(judged, learnt, self.fitter.r2_threshold, len(self.modelled))
            )
        return self._choose(node, learnt, judged, family)

    def judge_in_folds(self, node: str, folds: list[BoolArray]) -> NodeScore:
        """Return the score of every row by the mechanism of the other folds, put together."""
        family, present = self._family(node)
        scores = []
        for fold in folds:
            unseen = fold[present]
            learnt, judged = family.part(~unseen), family.part(unseen)
            scores.append((self._choose(node, learnt, judged, None)[1], len(judged.target)))
        return pooled(scores, self.fitter.r2_threshold)

    def _choose(self, node: str, learnt: Family, judged: Family, family: Family | None) -> tuple[Mechanism, NodeScore]:
        rows = HeldOut(judged, learnt, self.fitter.r2_threshold, len(self.modelled))
        levels = self.prepared.levels.get(node, ())
        # One label leaves nothing to tell: its place is a constant number.
        if len(levels) < 2:
            form, ladder = choose_regression(learnt)
            regression = fit_regression(learnt, form, ladder)
            score = score_regression(regression, rows)
            return fit_regression(family, form, ladder) if family else regression, score
        choice, ladder = choose_classification(learnt, len(levels))
        classification = fit_classification(learnt, choice, ladder, len(levels))
        score = score_classification(classification, rows)
        return fit_classification(family, choice, ladder, len(levels)) if family else classification, score

    def _family(self, node: str) -> tuple[Family, BoolArray]:
        # By name, so that a model does not depend on the order in which edges were added.
        parents = sorted(self.prepared.graph.predecessors(node))
        columns, target = np.column_stack([self.values[parent] for parent in parents]), self.values[node]
        present = ~(np.isnan(columns).any(axis=1) | np.isnan(target))
        features = Features.of(parents, self.prepared.nominal)
        clustered = self.prepared.groups is not None
        family = Family(node, features, columns, target, self.blocks, clustered, self.fitter.quality, self.seed)
        return (family if present.all() else family.part(present)), present


def _excused(prepared: Prepared, score: NodeScore) -> NodeScore:
    # Values that are missing for no reason cannot be told, and that is good news.
    if prepared.graph.nodes[score.node].get("role") != "missing":
        return score
    return replace(score, passed=True, verdict="says which values are missing")


def _proven(prepared: Prepared, function_code: Mapping[str, Source] | Source | None) -> dict[str, Regression]:
    """Return the mechanisms that source proves, each confirmed by the table."""
    if function_code is None:
        return {}
    unknown = (
        [node for node in function_code if node not in prepared.graph] if isinstance(function_code, Mapping) else []
    )
    if unknown:
        known = ", ".join(prepared.graph)
        raise FitError(f"function_code names {unknown[0]!r}, which is no node; known are {known}", column=unknown[0])
    found: dict[str, Regression] = {}
    for node, claim in infer_all(prepared.graph, function_code).items():
        parents = sorted(prepared.graph.predecessors(node))
        mechanism = static_mechanism(node, parents, claim) if node not in prepared.levels else None
        if mechanism is None or node in prepared.formulas or any(parent in prepared.nominal for parent in parents):
            continue
        confirm(mechanism, prepared.table[[*parents, node]].dropna())
        found[node] = mechanism.with_residuals(np.zeros(len(prepared.table)))
    return found


def _fill(prepared: Prepared, mechanisms: dict[str, Mechanism], seed: int) -> tuple[pd.DataFrame, dict[str, Mechanism]]:
    """Draw missing values from the mechanisms, parents first, and give residuals to rows that were not fitted."""
    table, filled = prepared.table, dict(mechanisms)
    if not table.isna().any(axis=None):
        return table, filled
    table = table.copy()
    for node in topological_order(prepared.graph):
        absent = table[node].isna().to_numpy()
        rng = stream(seed, f"missing {node}")
        parents = sorted(prepared.graph.predecessors(node))
        if node in prepared.formulas:
            parts = {parent: table[[parent]].to_numpy() for parent in parents}
            table.loc[absent, node] = combine(prepared.formulas[node], parts, prepared.levels)[absent, 0]
        elif node not in mechanisms:
            known = table[node].dropna().to_numpy()
            table.loc[absent, node] = rng.choice(known, absent.sum())
        else:
            filled[node] = _fill_node(table, node, mechanisms[node], prepared, absent, rng)
    return table, filled


def _fill_node(
    table: pd.DataFrame,
    node: str,
    mechanism: Mechanism,
    prepared: Prepared,
    absent: BoolArray,
    rng: np.random.Generator,
) -> Mechanism:
    columns = table[list(mechanism.parents)].to_numpy()
    fitted_rows = prepared.table[[*mechanism.parents, node]].notna().all(axis=1).to_numpy()
    if absent.any():
        source = mechanism.noise_source(columns[fitted_rows], int(absent.sum()), rng)
        table.loc[absent, node] = mechanism.respond(list(columns[absent].T[:, :, None]), source)[:, 0]
    if isinstance(mechanism, Classification) or mechanism.formula is not None:
        return mechanism
    if mechanism.learner is None:
        return mechanism.with_residuals(
            mechanism.abduct(table[[node]].to_numpy(), list(columns.T[:, :, None]), None, rng)[:, 0]
        )
    residuals = rng.choice(mechanism.residuals, len(table))
    residuals[fitted_rows] = mechanism.residuals
    return mechanism.with_residuals(residuals)
