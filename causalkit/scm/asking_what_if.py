"""The questions *what if* and *what would have been*, each answered in a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from causalkit.scm.interventions import Intervention
from causalkit.scm.state import FittedState

if TYPE_CHECKING:
    from causalkit.scm.backtest import Backtest
    from causalkit.scm.counterfactuals import Counterfactual
    from causalkit.scm.effects import EffectResult
    from causalkit.scm.questions import InterventionResult


@dataclass(frozen=True, eq=False, repr=False)
class WhatIfQuestions(FittedState):
    """What would happen, and what would have happened."""

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
