"""Which nodes made the target an outlier, row by row.

A row is an outlier where its target is farther out than all but a small share of the normal rows' targets; its score is
the information in that, ``-log(share)`` (Budhathoki et al. 2022, sec. 3). Rows that are none get no explanation. The
others are explained as `causes` explains abnormal rows, each by itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from causalkit.finding import Finding
from causalkit.scm.abnormality import Batch, adjusted_p_values
from causalkit.scm.causes import batch_of, causes_caveats, check_question, ranking, usual_of
from causalkit.scm.healing import Healing
from causalkit.scm.tails import two_sided
from causalkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState

_BAR_AFTER_S = 1.0


@dataclass(frozen=True, repr=False)
class Outliers(Finding):
    """Rows whose target is an outlier, and the nodes that made it one.

    Attributes
    ----------
    target : str
    scores : pandas.DataFrame
        One row per row asked about: ``row`` (its name in the table), ``value`` of the target, ``difference`` from the
        normal rows' mean, ``p_value`` (the share of normal rows farther out, adjusted over the rows by Holm's method),
        ``score`` (``-log p`` before that, in nats) and ``outlier``.
    frame : pandas.DataFrame
        ``row, node, contribution, low, high, p_value``, row by row and best first; empty where nothing is abnormal.
        Contributions are in the unit of the target, with the 95 % interval of what the model does not know.
    caveats : list of str

    Examples
    --------
    >>> scores = pd.DataFrame({"row": [7], "value": [1.0], "p_value": [0.4], "outlier": [False]})
    >>> Outliers("total_ms", scores, pd.DataFrame(columns=["row", "node"]), []).sentence
    'Of 1 row none is an outlier in total_ms.'
    """

    target: str
    scores: pd.DataFrame
    frame: pd.DataFrame
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        asked, out = len(self.scores), int(self.scores["outlier"].sum())
        rows = f"{asked} row{'s' if asked > 1 else ''}"
        if not out:
            return f"Of {rows} none is an outlier in {self.target}."
        found = f"Of {rows} {out} {'is an outlier' if out == 1 else 'are outliers'} in {self.target}"
        if self.frame.empty:
            return f"{found}; no single node's own behaviour is unusual enough to be named."
        first = self.frame.groupby("row", sort=False).first()
        counts = first["node"].value_counts()
        moved = float(first.loc[first["node"] == counts.index[0], "contribution"].mean())
        times = f"{counts.iloc[0]} of them" if out > 1 else "it"
        return f"{found}; {counts.index[0]} is the first cause of {times}, by {number(moved, signed=True)} on average."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per outlier and cause, best first."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw each outlier with its causes; see `causalkit.plots.outliers.plot_outliers`."""
        from causalkit.plots.outliers import plot_outliers

        return plot_outliers(self, ax=ax)


def explain_outliers(
    scm: FittedState,
    rows: pd.DataFrame,
    target: str,
    *,
    alpha: float,
    random_seed: int,
    progress: bool,
    timeout_s: float | None,
) -> Outliers:
    """Answer `FittedSCM.explain_outliers`."""
    check_question(scm, target, alpha, timeout_s)
    deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    batch, notes = batch_of(scm, rows, target, "abnormal", random_seed)
    usual = usual_of(scm, target)
    scores = _scores(batch.rows[target], usual.rows[target], alpha)
    frames, open_ = [], list(notes)
    places = np.flatnonzero(scores["outlier"])
    for place in tqdm(places, desc="outliers", unit="row", delay=_BAR_AFTER_S, disable=not progress, leave=False):
        one = _row(batch, int(place))
        p_values = adjusted_p_values(scm, one, usual, random_seed)
        frame, left_open = ranking(Healing(scm, one, usual, target, random_seed, False, deadline), p_values, alpha)
        frames.append(frame.assign(row=[scores["row"].iloc[place]] * len(frame)))
        open_ += left_open
    named = ["row", "node", "contribution", "low", "high", "p_value"]
    found = pd.concat(frames, ignore_index=True)[named] if frames else pd.DataFrame(columns=named)
    caveats = [*open_, *causes_caveats(scm, sorted(set(found["node"])), target, 1)]
    return Outliers(target, scores, found, list(dict.fromkeys(caveats)))


def _scores(values: pd.Series[Any], normal: pd.Series[Any], alpha: float) -> pd.DataFrame:
    shares = np.array([two_sided(value, normal.to_numpy()) for value in values])
    order = np.argsort(shares, kind="stable")
    adjusted = np.empty(len(shares))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(shares[order] * np.arange(len(shares), 0, -1)))
    return pd.DataFrame(
        {
            "row": values.index,
            "value": values.to_numpy(),
            "difference": values.to_numpy() - float(normal.mean()),
            "p_value": adjusted,
            "score": -np.log(shares),
            "outlier": adjusted <= alpha,
        }
    )


def _row(batch: Batch, place: int) -> Batch:
    def of(values: dict[str, Any]) -> dict[str, Any]:
        return {node: column[[place]] for node, column in values.items()}

    return Batch(
        batch.rows.iloc[[place]], np.zeros(1, dtype=np.int64), of(batch.noise), of(batch.oddness), of(batch.blur)
    )
