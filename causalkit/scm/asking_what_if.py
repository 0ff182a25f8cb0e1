"""The questions *what if* and *what would have been*, each answered in a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from causalkit.scm.interventions import Intervention
from causalkit.scm.state import FittedState

if TYPE_CHECKING:
    from causalkit.scm.backtest import Backtest
    from causalkit.scm.counterfactuals import Counterfactual
    from causalkit.scm.effect_curves import EffectCurve
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
        interventions: Mapping[str, Intervention] | str,
        num_samples: int = 1000,
        *,
        given: Mapping[str, Any] | None = None,
        random_seed: int | None = None,
    ) -> InterventionResult:
        """Ask what would happen if nodes were set, shifted or scaled.

        Parameters
        ----------
        interventions : mapping or str
            Node -> a number or label (set it), `Shift`, `Scale`, or a function of an array. Or text, such as
            ``"do(x=5, y=y+2, mode='fast', z=max(z, 1))"``: any arithmetic of a node's own value, never run as code.
        num_samples : int, default 1000
            Draws for the distributions; the means and their intervals come from the recorded rows.
        given : mapping, optional
            Ask about some runs only: node -> a number or label, or a pair (low, high). In these runs such nodes and
            their causes stay as recorded. What the intervention changes can be no condition.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        InterventionResult

        Raises
        ------
        GraphError
            If a node is unknown or derived, or cannot be set to what was given; or a condition is none.
        FitError
            If fewer than 20 rows meet the condition.
        ValidationError
            If residuals of a mechanism on the way depend on its parents, and the model is not `trust`-ed.

        Examples
        --------
        >>> import networkx as nx
        >>> import numpy as np
        >>> from causalkit.scm.fitter import SCMFitter
        >>> x, noise = np.arange(200.0) % 9, np.random.default_rng(0).normal(size=200)
        >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": 3 * x + noise}))
        >>> scm.intervene("do(x=x+1)").of("y")["change"].__round__(1)
        3.0
        """
        from causalkit.scm.questions import intervene

        return intervene(self, interventions, num_samples, given, self._seed(random_seed))

    def counterfactual(self, observed: pd.DataFrame, interventions: Mapping[str, Intervention] | str) -> Counterfactual:
        """Ask what these very rows would have been, had something been done: their noise is kept.

        Parameters
        ----------
        observed : pandas.DataFrame
            Rows with a value for every node.
        interventions : mapping or str
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
        values: Sequence[Any] | None = None,
        random_seed: int | None = None,
    ) -> EffectResult:
        """Ask how much the outcome's mean moves with the treatment.

        The g-formula: roots stay as recorded, row by row, and every mechanism downstream answers; other roots are
        thereby adjusted for. The interval comes from refits on resampled blocks of rows (groups, where they are known),
        which is how far the model can be trusted, whose means weigh the rows as often as their blocks were drawn, which
        is how far the rows stand for others.

        Parameters
        ----------
        treatment : str
        outcome : str
            A node, or the share of a label: ``mode=fast``.
        contrast : float, default 1
            The treatment is raised by this much in every run. A treatment of two values is switched from the lower to
            the higher instead.
        values : pair, optional
            Compare setting the treatment to the second value or label with setting it to the first, instead of a shift.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        EffectResult

        Raises
        ------
        GraphError
            If treatment or outcome is no node, both are one, or the treatment is derived or cannot be set so.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.effects import effect

        return effect(self, treatment, outcome, contrast, values, self._seed(random_seed))

    def effect_curve(
        self, treatment: str, outcome: str, values: Sequence[Any] | None = None, *, random_seed: int | None = None
    ) -> EffectCurve:
        """Ask what the outcome's mean would be at each value that the treatment is set to.

        Parameters
        ----------
        treatment : str
        outcome : str
            A node, or the share of a label: ``mode=fast``.
        values : sequence, optional
            Numbers or labels; numbers may leave the recorded range, and are marked. Default: every label, every number
            of at most 20 that were recorded, or 20 evenly spaced over their range (whole ones, if all are whole).
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        EffectCurve
            Its 95 % band is pointwise.

        Raises
        ------
        GraphError, ValidationError
            As for `effect`.

        Examples
        --------
        >>> import networkx as nx
        >>> import numpy as np
        >>> from causalkit.scm.fitter import SCMFitter
        >>> x, noise = np.arange(200.0) % 9, np.random.default_rng(0).normal(size=200)
        >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": 3 * x + noise}))
        >>> scm.effect_curve("x", "y", [4, 8, 16]).to_frame().round(0)
           value  mean   low  high  extrapolated
        0      4  12.0  12.0  12.0         False
        1      8  24.0  24.0  24.0         False
        2     16  48.0  48.0  49.0          True
        """
        from causalkit.scm.effect_curves import effect_curve

        return effect_curve(self, treatment, outcome, values, self._seed(random_seed))

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
