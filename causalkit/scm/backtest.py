"""Did it come true: predicted means for settings that were recorded but kept from the model, beside the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError
from causalkit.finding import Finding
from causalkit.scm.blocks import block_sums, group_codes, interval95
from causalkit.scm.caveats import data_caveats, ungrouped
from causalkit.scm.interventions import check_interventions
from causalkit.scm.questions import mean_replicates
from causalkit.tables import check_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState

# Two-sided 95 % of the normal distribution.
_Z95 = 1.959964


@dataclass(frozen=True, repr=False)
class Backtest(Finding):
    """Predicted and recorded means, setting by setting.

    Attributes
    ----------
    outcome : str
    frame : pandas.DataFrame
        One row per setting: its values, ``num_rows``, ``predicted low high``, ``recorded recorded_low recorded_high``,
        ``difference difference_low difference_high`` (predicted minus recorded, both errors together) and ``covered``:
        whether that interval holds 0.
    caveats : list of str
    """

    outcome: str
    frame: pd.DataFrame
    caveats: list[str]

    @property
    def coverage(self) -> float:
        """Share of settings whose prediction and record agree within the 95 % interval of their difference."""
        return float(self.frame["covered"].mean())

    @property
    def sentence(self) -> str:
        """The finding in words."""
        agreed, total = int(self.frame["covered"].sum()), len(self.frame)
        off = float((self.frame["difference"].abs() / self.frame["recorded"].abs()).mean())
        return (
            f"In {agreed} of {total} settings predicted and recorded mean of {self.outcome} agree within the 95 % "
            f"interval of their difference; on average they are {off:.1%} apart."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per setting."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the settings; see `causalkit.plots.backtest.plot_backtest`."""
        from causalkit.plots.backtest import plot_backtest

        return plot_backtest(self, ax=ax)


def backtest(
    scm: FittedState, recorded: pd.DataFrame, by: Sequence[str], outcome: str, min_rows: int, random_seed: int
) -> Backtest:
    """Answer `FittedSCM.backtest`; settings of too few rows, or of one group only, are left out."""
    by = [by] if isinstance(by, str) else list(by)
    if not by:
        raise GraphError("by names no node; give the knobs whose values make a setting")
    if outcome not in scm.graph:
        raise GraphError(f"{outcome!r} is no node of the model; known are {', '.join(scm.graph)}", node=outcome)
    check_interventions(dict.fromkeys(by, 0.0), scm.graph)
    rows = check_table(recorded, scm.graph.subgraph([*by, outcome]), levels=scm.levels)
    groups = recorded[scm.groups] if scm.groups in recorded else pd.Series(np.arange(len(rows)), index=rows.index)
    settings = rows.groupby(by).indices.items()
    frame = pd.DataFrame(
        [
            _compare(scm, _setting(by, key), rows[outcome].iloc[places], groups.iloc[places], outcome, random_seed)
            for key, places in settings
            if len(places) >= min_rows and len(set(groups.iloc[places])) > 1
        ]
    )
    if frame.empty:
        raise FitError(f"no setting of {', '.join(by)} has {min_rows} rows; record more, or group by fewer nodes")
    unset = [node for node in by if scm.role(node) != "knob"]
    notes = [f"{node} was not set at random: runs recorded with it may differ in other ways too" for node in unset]
    return Backtest(outcome, frame, [*notes, *ungrouped(scm, recorded), *data_caveats(scm)])


def _setting(by: Sequence[str], key: Any) -> dict[str, float]:
    return dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))


def _compare(
    scm: FittedState,
    setting: dict[str, float],
    values: pd.Series[Any],
    groups: pd.Series[Any],
    outcome: str,
    seed: int,
) -> dict[str, Any]:
    predicted = mean_replicates(scm, [setting], seed)[0][outcome]
    recorded, error = float(values.mean()), clustered_error(values.to_numpy(), groups)
    low, high = interval95(predicted[1:], scm.replicate_weights.shape[1])
    difference = predicted[0] - recorded
    reach = _Z95 * float(np.hypot(predicted[1:].std(), error))
    return {
        **setting,
        "num_rows": len(values),
        "predicted": predicted[0],
        "low": low,
        "high": high,
        "recorded": recorded,
        "recorded_low": recorded - _Z95 * error,
        "recorded_high": recorded + _Z95 * error,
        "difference": difference,
        "difference_low": difference - reach,
        "difference_high": difference + reach,
        "covered": abs(difference) <= reach,
    }


def clustered_error(values: np.ndarray[Any, np.dtype[np.float64]], groups: pd.Series[Any]) -> float:
    """Return the standard error of a mean whose rows come in groups (Liang & Zeger 1986)."""
    sums = block_sums(values - values.mean(), group_codes(groups))
    few = len(sums) / max(len(sums) - 1, 1)
    return float(np.sqrt(few * np.sum(sums**2)) / len(values))
