"""How strong an unmeasured common cause would have to be to explain an effect away.

The robustness value of Cinelli & Hazlett 2020, *Making sense of sensitivity: extending omitted variable bias* (J. R.
Statist. Soc. B 82), of the least-squares regression of the outcome on the treatment and its adjustment set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from causalkit.scm.arrays import BoolArray, FloatArray, IntArray
from causalkit.scm.blocks import block_sums
from causalkit.scm.features import Features

if TYPE_CHECKING:
    from causalkit.scm.outcomes import Outcome
    from causalkit.scm.state import FittedState

# What an adjustment set explains up to this share varies by rounding only.
_ROUNDING = 1e-10


def robustness_value(partial_f: float, dof: int, critical_t: float = 0.0) -> float:
    """Return the partial R2 with treatment and outcome that a common cause needs to bring the t-value down.

    Parameters
    ----------
    partial_f : float
        Cohen's partial f of treatment and outcome: the t-value over the square root of `dof`.
    dof : int
        Degrees of freedom of the regression.
    critical_t : float, default 0
        The t-value that is left; 0: the estimate itself is brought to 0.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    The effect of being harmed on the attitude to peace in Darfur (Cinelli & Hazlett 2020, table 1):

    >>> partial_f = 4.184 / 783**0.5
    >>> round(robustness_value(partial_f, 783), 3), round(robustness_value(partial_f, 783, stats.t.ppf(0.975, 782)), 3)
    (0.139, 0.076)
    """
    size, least = abs(partial_f), critical_t / math.sqrt(dof - 1)
    if size <= least:
        return 0.0
    if size * least > 1:
        # So small a sample that a cause of the treatment alone takes the interval to 0: the extreme robustness value.
        return 1 - (1 + least**2) / (1 + size**2)
    return 2 / (math.sqrt(1 + 4 / (size - least) ** 2) + 1)


def robustness(
    scm: FittedState, treatment: str, outcome: Outcome, adjustment: Sequence[str], pair: Sequence[Any] | None
) -> tuple[float, float] | None:
    """Return the robustness of an effect to an unmeasured common cause, and that of its interval.

    Both speak of a straight line through the recorded rows, also where the model's own mechanisms bend. Of a treatment
    of labels the rows with one of the two labels count. The first is a property of the rows, whose partial R2 knows no
    standard error. The second takes the classical t-value and degrees of freedom, as published; where rows come in
    groups, the standard error is as many times larger as the cluster-robust one is (Cameron & Miller 2015), and t has
    one degree of freedom less than there are groups.

    Parameters
    ----------
    scm : FittedSCM
    treatment : str
    outcome : Outcome
    adjustment : sequence of str
    pair : pair of label, optional
        The labels that are compared.

    Returns
    -------
    tuple of float, or None
        The partial R2 with both treatment and outcome that brings the estimate to 0, and that which brings its 95 %
        interval to touch 0; None where the adjustment set leaves nothing of the treatment to be compared.
    """
    rows = _comparable(scm, treatment, outcome, adjustment, pair)
    table = scm.table[rows]
    columns = [table[treatment].to_numpy(), outcome.column(table[outcome.node].to_numpy())]
    others = Features.of(adjustment, scm.levels).matrix(table[list(adjustment)].to_numpy())
    design = np.column_stack([np.ones(len(table)), others])
    treated, response = (column - design @ np.linalg.lstsq(design, column, rcond=None)[0] for column in columns)
    dof = len(table) - int(np.linalg.matrix_rank(design)) - 1
    if dof < 2 or _vanished(treated, columns[0]):
        return None
    partial_f = 0.0 if _vanished(response, columns[1]) else _partial_f(treated, response)
    critical_t = _critical_t(treated, response, dof, None if scm.groups is None else scm.blocks[rows])
    return robustness_value(partial_f, dof), robustness_value(partial_f, dof, critical_t)


def _comparable(
    scm: FittedState, treatment: str, outcome: Outcome, adjustment: Sequence[str], pair: Sequence[Any] | None
) -> BoolArray:
    rows = np.ones(len(scm.table), dtype=bool)
    for node in (treatment, outcome.node, *adjustment):
        rows &= scm.observed.get(node, True)
    if pair is not None and treatment in scm.levels:
        rows &= np.isin(scm.table[treatment], [scm.levels[treatment].index(label) for label in pair])
    return rows


def _vanished(left: FloatArray, column: FloatArray) -> bool:
    # A column that never varies has no share to go by, only its size.
    return bool(left @ left <= _ROUNDING * len(column) * column.var() + _ROUNDING**2 * (column @ column))


def _partial_f(treated: FloatArray, response: FloatArray) -> float:
    partial_r2 = (treated @ response) ** 2 / (treated @ treated) / (response @ response)
    return math.sqrt(partial_r2 / (1 - partial_r2)) if partial_r2 < 1 else math.inf


def _critical_t(treated: FloatArray, response: FloatArray, dof: int, groups: IntArray | None) -> float:
    if groups is None:
        return float(stats.t.ppf(0.975, dof - 1))
    num_groups = len(np.unique(groups))
    if num_groups < 2:
        return math.inf
    error = response - treated * (treated @ response) / (treated @ treated)
    classical = (error @ error) / dof * (treated @ treated)
    clustered = num_groups / (num_groups - 1) * float((block_sums(treated * error, groups) ** 2).sum())
    widening = math.sqrt(clustered / classical) if classical > 0 else 1.0
    return widening * float(stats.t.ppf(0.975, num_groups - 1))
