"""What would have been: the very rows, their noise kept, under another action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from causalkit.errors import FitError
from causalkit.finding import Finding
from causalkit.scm.caveats import caveats_of, refuse_uncalibrated
from causalkit.scm.interventions import Intervention, check_interventions, describe, encode
from causalkit.scm.noise import abduct
from causalkit.scm.propagate import propagate
from causalkit.tables import check_table, decode
from causalkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState


@dataclass(frozen=True, repr=False)
class Counterfactual(Finding):
    """Rows as they would have been.

    Attributes
    ----------
    interventions : dict
    observed, frame : pandas.DataFrame
        The rows as recorded and as they would have been, one column per node.
    outcome : str
        The node that the sentence is about: the last one of the graph.
    caveats : list of str

    Examples
    --------
    >>> rows = pd.DataFrame({"depth": [2.0], "total_ms": [9.0]})
    >>> Counterfactual({"depth": 1}, rows, rows - 1, "total_ms", []).sentence
    'Under do(depth = 1) total_ms of this row would have been 8.00 instead of 9.00.'
    """

    interventions: dict[str, Intervention]
    observed: pd.DataFrame
    frame: pd.DataFrame
    outcome: str
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words, about the outcome."""
        before, after = self.observed[self.outcome], self.frame[self.outcome]
        done = describe(self.interventions)
        if len(before) == 1:
            then, now = (_shown(column.iloc[0]) for column in (after, before))
            return f"Under {done} {self.outcome} of this row would have been {then} instead of {now}."
        if not pd.api.types.is_numeric_dtype(before):
            changed = int((before.to_numpy() != after.to_numpy()).sum())
            return f"Under {done} {self.outcome} would have been another in {changed} of {len(before)} rows."
        then, now = (number(float(column.mean())) for column in (after, before))
        rows = f"these {len(before)} rows"
        return f"Under {done} the mean of {self.outcome} over {rows} would have been {then} instead of {now}."

    def difference(self) -> pd.DataFrame:
        """Return by how much each number would have been another, row by row."""
        numeric = self.frame.select_dtypes("number").columns
        return self.frame[numeric] - self.observed[numeric]

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as they would have been."""
        return self.frame.copy()

    def plot(self, node: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw each row beside what it would have been; see `causalkit.plots.counterfactual.plot_counterfactual`."""
        from causalkit.plots.counterfactual import plot_counterfactual

        return plot_counterfactual(self, node, ax=ax)


def counterfactual(
    scm: FittedState, observed: pd.DataFrame, interventions: Mapping[str, Intervention] | str
) -> Counterfactual:
    """Answer `FittedSCM.counterfactual`: abduction, action, prediction (Pearl 2009, *Causality*, sec. 7.1)."""
    actions = check_interventions(interventions, scm.graph, scm.levels)
    rows = check_table(observed, scm.graph, levels=scm.levels)
    if rows.empty:
        raise FitError("there are no observed rows; the table is empty")
    refuse_uncalibrated(scm, set(scm.mechanisms))
    noise = abduct(scm, rows, [node for node in scm.graph if node not in scm.derived])
    values = propagate(scm, noise, encode(actions, scm.levels))
    frame = pd.DataFrame({node: values[node][:, 0] for node in scm.graph}, index=rows.index)
    outcome = scm.order[-1]
    return Counterfactual(
        actions, decode(rows, scm.levels), decode(frame, scm.levels), outcome, caveats_of(scm, actions, outcome)
    )


def _shown(value: object) -> str:
    return number(float(value)) if isinstance(value, float | int) and not isinstance(value, bool) else str(value)
