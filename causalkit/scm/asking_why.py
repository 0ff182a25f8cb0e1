"""The questions *what changed* and *whose fault*, each answered in a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from causalkit.scm.state import FittedState

if TYPE_CHECKING:
    from causalkit.scm.causes import RootCauses


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
