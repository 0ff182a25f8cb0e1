"""Fit one mechanism per node and judge each on rows it has not seen."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from causalkit.errors import FitError, InsufficientDataError, ValidationError
from causalkit.graphs import check_graph
from causalkit.scm.assembly import assemble
from causalkit.scm.model import FittedSCM
from causalkit.scm.preparing import prepare
from causalkit.scm.selection import QUALITIES
from causalkit.scm.static import Source, static_table

if TYPE_CHECKING:
    import networkx as nx


# Fewer held-out rows give an R2 whose interval covers almost everything.
MIN_HELD_OUT = 20


class ValidationWarning(UserWarning):
    """A model has mechanisms that fail on held-out rows, and was returned all the same."""


@dataclass(frozen=True, kw_only=True)
class SCMFitter:
    """Fit structural causal models to trace tables.

    Parameters
    ----------
    quality : {"AUTO", "GOOD", "BETTER", "BEST"}, default "AUTO"
        How far mechanisms may climb: from linear to polynomials of degree 2 (GOOD), splines and boosted trees (BETTER),
        forests and kernels (BEST). AUTO climbs as far as BEST, but only while residuals still depend on the parents;
        the others try each rung.
    r2_threshold : float, default 0.7
        The held-out R2 (of labels: log-loss skill) that is asked for.
    r2_rule : {"every", "mean"}, default "every"
        Who has to reach it; see `ValidationReport` for why "mean" is no good rule.
    test_size : float, default 0.2
        Share of rows (of groups, where groups are given) that is held out for the verdict. The returned model is then
        refitted to all rows.
    split : {"auto", "random", "group", "time"}, default "auto"
        How they are held out: "auto" is by group where groups are given, at random otherwise; "time" holds out what
        stands last in the table.
    groups : str, optional
        Column that names the cluster of a row, such as the question of a run: resampled as one, and never on both sides
        of the split.
    min_samples : int, default 100
        Fewer rows are refused.
    missing : {"error", "drop", "model"}, default "error"
        What to do with missing values: refuse them; drop their rows, with a warning where that makes the rest a biased
        sample; or add a node ``<column>_missing`` that says, by the column's own parents, whether the value is missing.
        Such a column is fitted to the rows that have it: right where missingness depends on nothing but its parents.
    on_failure : {"raise", "warn", "return"}, default "raise"
        What to do when the model stays below the threshold.
    random_seed : int, optional
        Default: fresh; kept in the model.
    n_jobs : int, optional
        Threads that fit nodes side by side (-1: one a core); the result is the same for any number. Default: one.
    cache : path, optional
        A folder in which fits are kept and found again by graph, data, settings and versions. Needs `random_seed`.
    progress : bool, default True
        Show a bar when fitting takes longer than two seconds.

    Examples
    --------
    >>> import networkx as nx
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=500)
    >>> noise = np.random.default_rng(1).normal(size=500)
    >>> traces = pd.DataFrame({"x": x, "y": 2 * x + 0.1 * noise})
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), traces)
    >>> round(scm.effect("x", "y").value, 1)
    2.0
    """

    quality: Literal["AUTO", "GOOD", "BETTER", "BEST"] = "AUTO"
    r2_threshold: float = 0.7
    r2_rule: Literal["every", "mean"] = "every"
    test_size: float = 0.2
    split: Literal["auto", "random", "group", "time"] = "auto"
    groups: str | None = None
    min_samples: int = 100
    missing: Literal["error", "drop", "model"] = "error"
    on_failure: Literal["raise", "warn", "return"] = "raise"
    random_seed: int | None = None
    n_jobs: int | None = None
    cache: str | Path | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        _one_of("quality", self.quality, tuple(QUALITIES))
        _one_of("r2_rule", self.r2_rule, ("every", "mean"))
        _one_of("split", self.split, ("auto", "random", "group", "time"))
        _one_of("missing", self.missing, ("error", "drop", "model"))
        _one_of("on_failure", self.on_failure, ("raise", "warn", "return"))
        _whole("min_samples", self.min_samples, least=0)
        if self.n_jobs is not None and self.n_jobs != -1:
            _whole("n_jobs", self.n_jobs, least=1)
        if not (isinstance(self.r2_threshold, Real) and self.r2_threshold <= 1):
            raise FitError(f"r2_threshold is {self.r2_threshold!r}; it is a number of at most 1")
        if not 0 < self.test_size < 1:
            raise FitError(f"test_size is {self.test_size}; it is a share between 0 and 1")
        if self.split == "group" and self.groups is None:
            raise FitError("split='group' needs the column that names the groups: groups='question', say")
        if self.cache is not None and self.random_seed is None:
            raise FitError("a cache finds a fit again by its settings: give a random_seed too")

    def fit(
        self,
        causal_graph: nx.DiGraph[str],
        traces: pd.DataFrame | None = None,
        function_code: Mapping[str, Source] | Source | None = None,
        *,
        derived: Mapping[str, str] | None = None,
    ) -> FittedSCM:
        """Fit a model.

        Parameters
        ----------
        causal_graph : networkx.DiGraph
            Nodes are columns of `traces`; left as it is. A node attribute ``derived`` names the formula of a derived
            node, ``role="knob"`` one that was set at random, ``distribution="lognorm"`` a family of `scipy.stats` that
            a root is drawn from in samples (default: its recorded values).
        traces : pandas.DataFrame, optional
            The trace table. Columns that are no nodes are ignored, with a caveat. Without it, see `fit_static`.
        function_code : mapping of str to (str or callable), or str, optional
            Source of nodes. Where it proves a formula, that formula is held against the traces and is the node's
            mechanism; other nodes are fitted.
        derived : mapping of str to str, optional
            Nodes that *are* a formula of their parents; added to those that the graph itself marks with ``derived``:
            ``"sum"``, ``"max"``, or a text such as ``"price - cost"`` or ``"max(a, b) != min(a, b)"`` that names each
            parent; see `causalkit.scm.formulas.FormulaOfParents`. In a text labels that are numbers count as those, and
            truth values as 0 and 1.

        Returns
        -------
        FittedSCM

        Raises
        ------
        GraphError
            If the graph has a cycle, or a formula cannot be read or is not of the node's parents.
        FitError
            If the table does not fit the graph, or source and traces disagree.
        InsufficientDataError
            If there are too few rows to fit and judge.
        ValidationError
            If the model stays below the threshold and `on_failure` is ``"raise"``; the model is its ``scm``.
        """
        if traces is None:
            if function_code is None:
                raise FitError("there is nothing to fit to: give traces, function_code or both")
            return self.fit_static(causal_graph, function_code)
        seed = secrets.randbits(32) if self.random_seed is None else self.random_seed
        if self.cache is None:
            return self._deliver(self._fit(causal_graph, traces, function_code, derived, seed))
        from causalkit.scm.cache import cached

        return self._deliver(
            cached(
                self,
                causal_graph,
                traces,
                function_code,
                derived,
                lambda: self._fit(causal_graph, traces, function_code, derived, seed),
            )
        )

    def fit_dynamic(
        self, causal_graph: nx.DiGraph[str], traces: pd.DataFrame, *, derived: Mapping[str, str] | None = None
    ) -> FittedSCM:
        """Fit a model to traces alone; see `fit`."""
        return self.fit(causal_graph, traces, derived=derived)

    def fit_static(
        self,
        causal_graph: nx.DiGraph[str],
        function_code: Mapping[str, Source] | Source,
        *,
        input_ranges: Mapping[str, Any] | None = None,
        num_samples: int = 1000,
    ) -> FittedSCM:
        """Make a model from source alone: every mechanism is exact, nothing is fitted.

        Parameters
        ----------
        causal_graph : networkx.DiGraph
        function_code : mapping of str to (str or callable), or str
            A function per node that has parents, or one text with all of them.
        input_ranges : mapping, optional
            What roots are drawn from, as for `collect_traces`; default: uniform between -10 and 10, said in a caveat.
        num_samples : int, default 1000
            Rows that stand for the population.

        Returns
        -------
        FittedSCM

        Raises
        ------
        FitError
            If the source of a node proves no formula; the sentence says which and why.
        """
        graph = check_graph(causal_graph)
        seed = secrets.randbits(32) if self.random_seed is None else self.random_seed
        table = static_table(graph, function_code, input_ranges, num_samples, seed)
        return self._fit(graph, table, function_code, None, seed)

    def _fit(
        self,
        causal_graph: nx.DiGraph[str],
        traces: pd.DataFrame,
        function_code: Mapping[str, Source] | Source | None,
        derived: Mapping[str, str] | None,
        seed: int,
    ) -> FittedSCM:
        prepared = prepare(causal_graph, traces, derived or {}, self.groups, self.missing)
        self._enough(len(prepared.table))
        return assemble(self, prepared, function_code, seed)

    def _enough(self, num_rows: int) -> None:
        fewest = max(self.min_samples, 2 * MIN_HELD_OUT)
        if num_rows < fewest:
            raise InsufficientDataError(
                f"{num_rows} rows are too few to fit a model and judge it; record at least {fewest} (min_samples)",
                num_rows=num_rows,
                min_samples=fewest,
            )

    def _deliver(self, scm: FittedSCM) -> FittedSCM:
        report = scm.report
        if report.passed or self.on_failure == "return":
            return scm
        if self.on_failure == "warn":
            warnings.warn(report.sentence, ValidationWarning, stacklevel=3)
            return scm
        raise ValidationError(
            f"{report.sentence} {report.advice}; or look at the model all the same: on_failure='return'",
            r2_scores=report.r2_scores,
            mean_r2=report.mean_r2,
            threshold=report.threshold,
            failed_nodes=report.failed_nodes,
            advice=report.advice,
            scm=scm,
        )


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise FitError(f"{name} is {value!r}; it is a whole number of at least {least}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise FitError(f"{name} is {value!r}; it is one of {', '.join(map(repr, allowed))}")
