"""The questions *what changed* and *whose fault*, each answered in a module of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from causalkit.scm.state import FittedState

if TYPE_CHECKING:
    from causalkit.scm.causes import RootCauses
    from causalkit.scm.changes import Change, Statistic
    from causalkit.scm.outliers import Outliers


@dataclass(frozen=True, eq=False, repr=False)
class WhyQuestions(FittedState):
    """What changed, and whose fault it was."""

    def root_causes(
        self,
        abnormal: pd.DataFrame,
        target: str,
        normal: pd.DataFrame | None = None,
        *,
        alpha: float = 0.05,
        random_seed: int | None = None,
        progress: bool = True,
        timeout_s: float | None = None,
    ) -> RootCauses:
        """Ask which nodes made the target abnormal in these rows.

        Parameters
        ----------
        abnormal : pandas.DataFrame
            The rows to explain, one or more, with the column that the model was grouped by where there is one. Values
            and whole columns may be missing: they are taken from the model, and a caveat says which.
        target : str
        normal : pandas.DataFrame, optional
            What to compare with; default: the rows the model was fitted to.
        alpha : float, default 0.05
            Share of wholly normal batches in which some node may be named all the same.
        random_seed : int, optional
            Default: the model's own.
        progress : bool, default True
            Show a bar where it takes more than a second.
        timeout_s : float, optional
            After this many seconds no further contribution is worked out; a caveat says which are not there.

        Returns
        -------
        RootCauses

        Raises
        ------
        GraphError
            If `target` is no node, or holds more than two labels.
        FitError
            If a table does not fit the graph or is empty, or `alpha` or `timeout_s` is none.
        ValidationError
            If the residuals of a node that would be named depend on its parents, and the model is not `trust`-ed.
        """
        from causalkit.scm.causes import root_causes

        return root_causes(
            self,
            abnormal,
            target,
            normal,
            alpha=alpha,
            random_seed=self._seed(random_seed),
            progress=progress,
            timeout_s=timeout_s,
        )

    def explain_change(
        self,
        before: pd.DataFrame,
        after: pd.DataFrame,
        target: str,
        of: Statistic = "mean",
        *,
        alpha: float = 0.05,
        known: Collection[str] = (),
        random_seed: int | None = None,
    ) -> Change:
        """Ask which mechanism's change moved the target between two tables of runs, say before and after a release.

        Parameters
        ----------
        before, after : pandas.DataFrame
            Of 20 rows or more, with the column that the model was grouped by where there is one; a group that is in
            both tables is compared with itself.
        target : str
        of : {"mean", "median", "p95", "variance"}, default "mean"
            The statistic of the target that is explained.
        alpha : float, default 0.05
            Share of pairs of tables that do not differ in which some change may be named all the same.
        known : collection of str, optional
            Nodes that are known to have changed: named whatever their p-value.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        Change

        Raises
        ------
        GraphError
            If `target` is no node, or holds labels that have no such statistic.
        FitError
            If a table does not fit the graph or is too small, or `of` or `alpha` is none.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.changes import explain_change

        return explain_change(self, before, after, target, of, alpha, self._seed(random_seed), known)

    def explain_outliers(
        self,
        rows: pd.DataFrame,
        target: str,
        *,
        alpha: float = 0.05,
        random_seed: int | None = None,
        progress: bool = True,
        timeout_s: float | None = None,
    ) -> Outliers:
        """Ask, row by row, whether the target is an outlier, and which nodes made it one.

        `root_causes` takes rows that are known to be abnormal and asks about their mean; this asks of each row whether
        it is, and answers nothing where it is not.

        Parameters
        ----------
        rows : pandas.DataFrame
            As `abnormal` of `root_causes`.
        target : str
        alpha : float, default 0.05
            Share of tables of normal rows in which some row may be called an outlier all the same, and of rows in
            which some node may be named all the same.
        random_seed, progress, timeout_s
            As for `root_causes`.

        Returns
        -------
        Outliers

        Raises
        ------
        GraphError, FitError, ValidationError
            As for `root_causes`.
        """
        from causalkit.scm.outliers import explain_outliers

        return explain_outliers(
            self,
            rows,
            target,
            alpha=alpha,
            random_seed=self._seed(random_seed),
            progress=progress,
            timeout_s=timeout_s,
        )
