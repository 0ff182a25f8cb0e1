"""The fitted structural causal model and the questions that can be put to it, each answered in a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from causalkit.errors import CausalkitError
from causalkit.scm.interventions import Intervention
from causalkit.scm.state import FittedState
from causalkit.scm.validation import ValidationReport

if TYPE_CHECKING:
    from causalkit.scm.backtest import Backtest
    from causalkit.scm.causes import RootCauses
    from causalkit.scm.counterfactuals import Counterfactual
    from causalkit.scm.effects import EffectResult
    from causalkit.scm.questions import InterventionResult


@dataclass(frozen=True, eq=False, repr=False)
class FittedSCM(FittedState):
    """A causal graph with one mechanism or formula per node, fitted to a trace table.

    Made by `SCMFitter.fit`; nothing of it changes afterwards. What it consists of stands in `FittedState`.

    Examples
    --------
    >>> import networkx as nx
    >>> import numpy as np
    >>> from causalkit.scm.fitter import SCMFitter
    >>> depth, noise = np.arange(400.0) % 8, np.random.default_rng(0).normal(size=400)
    >>> traces = pd.DataFrame({"depth": depth, "total_ms": 2 * depth + 5 + noise})
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("depth", "total_ms")]), traces)
    >>> round(scm.intervene({"depth": 4}).of("total_ms")["mean"])
    13
    >>> round(scm.effect("depth", "total_ms").value)
    2
    >>> slow = traces.head(80).assign(total_ms=lambda rows: rows["total_ms"] + 9)
    >>> scm.root_causes(slow, "total_ms").frame["node"].tolist()
    ['total_ms']
    >>> len(scm.backtest(traces, by=["depth"], outcome="total_ms").frame)
    8
    """

    def sample(self, n: int = 1000, *, random_seed: int | None = None) -> pd.DataFrame:
        """Draw rows from the model as it is.

        Parameters
        ----------
        n : int, default 1000
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        pandas.DataFrame
            One column per node. Roots are drawn jointly, row by row, so that what is correlated stays so; each
            mechanism's noise is drawn from its residuals on rows of like fitted value.
        """
        from causalkit.scm.questions import draw

        return draw(self, n, {}, self._seed(random_seed))

    def intervene(
        self,
        interventions: Mapping[str, Intervention],
        num_samples: int = 1000,
        *,
        random_seed: int | None = None,
    ) -> InterventionResult:
        """Ask what would happen if nodes were set, shifted or scaled.

        Parameters
        ----------
        interventions : mapping
            Node -> a number or label (set it), `Shift`, `Scale`, or a function of an array.
        num_samples : int, default 1000
            Draws for the distributions; the means and their intervals come from the recorded rows.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        InterventionResult

        Raises
        ------
        GraphError
            If a node is unknown or derived, or cannot be set to what was given.
        ValidationError
            If residuals of a mechanism on the way depend on its parents, and the model is not `trust`-ed.
        """
        from causalkit.scm.questions import intervene

        return intervene(self, interventions, num_samples, self._seed(random_seed))

    def counterfactual(self, observed: pd.DataFrame, interventions: Mapping[str, Intervention]) -> Counterfactual:
        """Ask what these very rows would have been, had something been done: their noise is kept.

        Parameters
        ----------
        observed : pandas.DataFrame
            Rows with a value for every node.
        interventions : mapping
            As for `intervene`.

        Returns
        -------
        Counterfactual

        Raises
        ------
        GraphError, FitError, ValidationError
            As for `intervene`, if the rows do not fit the graph, or if any mechanism is not calibrated (what is kept of
            a row is its noise) and the model is not `trust`-ed.

        Examples
        --------
        >>> import networkx as nx
        >>> import numpy as np
        >>> from causalkit.scm.fitter import SCMFitter
        >>> x, noise = np.arange(200.0) % 9, np.random.default_rng(0).normal(size=200)
        >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": 3 * x + noise}))
        >>> scm.counterfactual(pd.DataFrame({"x": [1.0], "y": [5.0]}), {"x": 2}).to_frame().round(1)
             x    y
        0  2.0  8.0
        """
        from causalkit.scm.counterfactuals import counterfactual

        return counterfactual(self, observed, interventions)

    def effect(
        self,
        treatment: str,
        outcome: str,
        contrast: float = 1.0,
        *,
        values: Sequence[float] | None = None,
        random_seed: int | None = None,
    ) -> EffectResult:
        """Ask how much the outcome's mean moves with the treatment.

        Parameters
        ----------
        treatment, outcome : str
        contrast : float, default 1
            The treatment is raised by this much in every run. A treatment of two values is switched from the lower to
            the higher instead.
        values : pair of float, optional
            Compare setting the treatment to the second value with setting it to the first, instead of a shift.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        EffectResult

        Raises
        ------
        GraphError
            If treatment or outcome is no node, or the treatment is derived.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.effects import effect

        return effect(self, treatment, outcome, contrast, values, self._seed(random_seed))

    def root_causes(
        self,
        abnormal: pd.DataFrame,
        target: str,
        normal: pd.DataFrame | None = None,
        *,
        alpha: float = 0.05,
        random_seed: int | None = None,
    ) -> RootCauses:
        """Ask which nodes made the target abnormal in these rows.

        Parameters
        ----------
        abnormal : pandas.DataFrame
            The rows to explain, with the column that the model was grouped by where there is one.
        target : str
        normal : pandas.DataFrame, optional
            What to compare with; default: the rows the model was fitted to.
        alpha : float, default 0.05
            Share of wholly normal batches in which some node may be named all the same.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        RootCauses

        Raises
        ------
        GraphError
            If `target` is no node.
        FitError
            If a table does not fit the graph or is empty.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.causes import root_causes

        return root_causes(self, abnormal, target, normal, alpha, self._seed(random_seed))

    def backtest(
        self,
        recorded: pd.DataFrame,
        by: Sequence[str],
        outcome: str,
        *,
        min_rows: int = 20,
        random_seed: int | None = None,
    ) -> Backtest:
        """Ask whether predictions for recorded settings came true.

        Parameters
        ----------
        recorded : pandas.DataFrame
            Rows that the model was not fitted to.
        by : sequence of str
            Nodes whose values make a setting.
        outcome : str
        min_rows : int, default 20
            Settings with fewer rows are left out.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        Backtest

        Raises
        ------
        GraphError
            If `by` or `outcome` names no node.
        FitError
            If a column is missing or no setting has enough rows.
        """
        from causalkit.scm.backtest import backtest

        return backtest(self, recorded, by, outcome, min_rows, self._seed(random_seed))

    def cross_validate(self, traces: pd.DataFrame, k: int = 5, *, random_seed: int | None = None) -> ValidationReport:
        """Judge mechanisms, chosen and fitted anew in each of `k` folds, on the rows of that fold.

        Parameters
        ----------
        traces : pandas.DataFrame
        k : int, default 5
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        ValidationReport
            Each score is the mean over folds, with the interval of that mean over folds.

        Raises
        ------
        FitError
            If `k` is below 2, or the table does not fit the graph.
        """
        from causalkit.scm.validating import cross_validate

        return cross_validate(self, traces, k, self._seed(random_seed))

    def divergence(self, traces: pd.DataFrame, *, random_seed: int | None = None) -> float:
        """Return the Kullback-Leibler divergence of recorded rows from the model's own, in nats; near 0 is good.

        The nearest-neighbour estimator of Wang, Kulkarni & Verdu (2009) on all standardised columns together; it may be
        slightly below 0. `traces` are rows that the model was not fitted to: it draws the roots of those that it was.
        """
        from causalkit.scm.validating import divergence

        return divergence(self, traces, self._seed(random_seed))

    def invertible(self) -> bool:
        """Return whether every recorded value comes back from its noise: abduction followed by the mechanisms."""
        from causalkit.scm.validating import invertible

        return invertible(self)

    def save(self, path: str | Path) -> None:
        """Write the model to one file, whole or not at all.

        Parameters
        ----------
        path : path
            A zip file: JSON, arrays, and learners as skops files; nothing in it is executed when it is loaded.

        Raises
        ------
        OSError
            If the file cannot be written; what was there before stays.
        """
        from causalkit.scm.storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> FittedSCM:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        FittedSCM
            With the same seed it draws the same numbers.

        Raises
        ------
        ModelFormatError
            If the file is no model, is damaged, or holds a type that is not trusted.
        """
        from causalkit.scm.storage import load

        return load(path)

    @cached_property
    def dowhy(self) -> Any:
        """The same model as a ``dowhy.gcm.InvertibleStructuralCausalModel``: what DoWhy offers works on it."""
        try:
            from causalkit.scm.mechanisms import to_dowhy
        except ModuleNotFoundError as error:
            raise CausalkitError(
                f"the model as DoWhy has it needs {error.name}, which is not installed here; dowhy is to be had for "
                "Python below 3.14 (everything else of this model works without it)",
                module=error.name,
            ) from error
        return to_dowhy(self)

    def to_dict(self) -> dict[str, Any]:
        """Return graph, mechanisms with readable coefficients, and validation as JSON can hold them."""
        from causalkit.scm.readable import as_dict

        return as_dict(self)
