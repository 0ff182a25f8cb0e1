"""What changed: which mechanism moved a target between two tables of runs, say before and after a release.

First every mechanism upstream of the target is asked whether it is the same in both tables (`mechanism_change`), then
the difference of the target's statistic is shared out among those that are not (`change_shares`). After Budhathoki,
Janzing, Bloebaum & Ng 2021, *Why did the distribution change?*; by contrast, what did not change has no share.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError
from causalkit.finding import Finding
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import deal_blocks, interval95
from causalkit.scm.caveats import data_caveats, refuse_biased, ungrouped
from causalkit.scm.change_shares import STATISTICS, contributions, observed
from causalkit.scm.mechanism_change import Releases, adjusted_p_values, moved_away
from causalkit.streams import stream
from causalkit.tables import check_table
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.state import FittedState

Statistic = Literal["mean", "median", "p95", "variance"]

# Below, neither a mechanism nor a 95th percentile can be told from one side's rows.
_FEWEST_ROWS = 20


@dataclass(frozen=True, repr=False)
class Change(Finding):
    """Mechanisms that changed between two tables, and how far each moved the target.

    Attributes
    ----------
    target : str
    of : {"mean", "median", "p95", "variance"}
        The statistic of the target that is explained.
    before, after : float
        That statistic in either table.
    difference : float
    interval : tuple of float
        95 % of the difference, over clusters of runs.
    frame : pandas.DataFrame
        ``node, kind, contribution, low, high, p_value``, the largest contribution first; `kind` is ``inputs`` where the
        distribution of a root changed and ``mechanism`` where the answer to the parents did, `low` to `high` is the
        95 % interval over refits, and p-values are adjusted over all nodes by Holm's method. Empty when nothing
        changed.
    unexplained : float
        The difference less all contributions: sampling, and what the model does not have.
    num_rows : tuple of int
        Before and after.
    caveats : list of str

    Examples
    --------
    >>> Change("total_ms", "mean", 40.0, 40.2, 0.2, (-0.3, 0.7), pd.DataFrame(), 0.2, (500, 500), []).sentence
    'No mechanism upstream of total_ms changed (its mean moved by +0.20, 95 % interval -0.30 to +0.70).'
    """

    target: str
    of: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    frame: pd.DataFrame
    unexplained: float
    num_rows: tuple[int, int]
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        moved = f"{number(self.difference, signed=True)}, 95 % interval {interval(self.interval, signed=True)}"
        if self.frame.empty:
            return f"No mechanism upstream of {self.target} changed (its {self.of} moved by {moved})."
        best, *others = self.frame.to_dict("records")
        what = "The distribution of" if best["kind"] == "inputs" else "The mechanism of"
        share = f" ({best['contribution'] / self.difference:.0%})" if self.difference else ""
        also = f"; {', '.join(cause['node'] for cause in others)} changed too" if others else ""
        return (
            f"{what} {best['node']} changed: it moved the {self.of} of {self.target} by "
            f"{number(best['contribution'], signed=True)} (95 % interval "
            f"{interval((best['low'], best['high']), signed=True)}), of a difference of "
            f"{number(self.difference, signed=True)}{share}{also}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per changed mechanism, largest contribution first."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the way from before to after; see `causalkit.plots.change.plot_change`."""
        from causalkit.plots.change import plot_change

        return plot_change(self, ax=ax)


def explain_change(
    scm: FittedState,
    before: pd.DataFrame,
    after: pd.DataFrame,
    target: str,
    of: Statistic,
    alpha: float,
    random_seed: int,
    known: Collection[str] = (),
) -> Change:
    """Answer `FittedSCM.explain_change`: first who changed, then by how much each of them moved the target."""
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha}; it is a share between 0 and 1")
    upstream = scm.upstream(target)
    _check_statistic(scm, target, of)
    refuse_biased(scm, dict.fromkeys(upstream, 0.0), [target])
    releases = _releases(scm, upstream, before, after, random_seed)
    p_values = adjusted_p_values(releases, alpha)
    changed = [node for node, p_value in sorted(p_values.items()) if p_value <= alpha or node in known]
    earlier, later = observed(releases, target, of, random_seed)
    shares, error = contributions(releases, changed, target, of, random_seed)
    difference = float(later[0] - earlier[0])
    num_blocks = min(len(np.unique(releases.scm.blocks[side])) for side in (releases.after, ~releases.after))
    return Change(
        target,
        of,
        float(earlier[0]),
        float(later[0]),
        difference,
        interval95(later[1:] - earlier[1:], num_blocks),
        _frame(scm, changed, shares, p_values, num_blocks),
        difference - float(shares[:, 0].sum()),
        (len(before), len(after)),
        _caveats(releases, changed, error, [*ungrouped(scm, before), *ungrouped(scm, after)]),
    )


def _check_statistic(scm: FittedState, target: str, of: str) -> None:
    if of not in STATISTICS:
        raise FitError(f"of is {of!r}; it is one of {', '.join(STATISTICS)}")
    num_labels = len(scm.levels.get(target, ()))
    if num_labels > 2 or (num_labels and of in ("median", "p95")):
        raise GraphError(f"{target!r} holds labels, which have no {of}; ask about a node of numbers", node=target)


def _releases(
    scm: FittedState, upstream: set[str], before: pd.DataFrame, after: pd.DataFrame, random_seed: int
) -> Releases:
    graph = scm.graph.subgraph(upstream).copy()
    may_lack: Literal["keep", "error"] = (
        "keep" if scm.settings is not None and scm.settings.missing == "model" else "error"
    )
    tables = [check_table(table, graph, levels=scm.levels, missing=may_lack) for table in (before, after)]
    for name, table in zip(("before", "after"), tables, strict=True):
        if len(table) < _FEWEST_ROWS:
            raise FitError(
                f"the table {name} has {len(table)} rows; at least {_FEWEST_ROWS} are needed", num_rows=len(table)
            )
    rows = pd.concat(tables)
    observed = {str(node): column.notna().to_numpy() for node, column in rows.items() if column.isna().any()}
    pooled = replace(scm, graph=graph, table=rows, blocks=_blocks(scm, before, after, random_seed), observed=observed)
    return Releases.of(pooled, np.repeat([False, True], [len(before), len(after)]))


def _blocks(scm: FittedState, before: pd.DataFrame, after: pd.DataFrame, random_seed: int) -> IntArray:
    known = scm.groups is not None and scm.groups in before and scm.groups in after
    groups = pd.concat([before[scm.groups], after[scm.groups]]) if known else None
    return deal_blocks(groups, len(before) + len(after), stream(random_seed, "blocks"))


def _frame(
    scm: FittedState, changed: list[str], shares: FloatArray, p_values: dict[str, float], num_blocks: int
) -> pd.DataFrame:
    kinds = ["mechanism" if node in scm.mechanisms else "inputs" for node in changed]
    rows = [
        (node, kind, share[0], *interval95(share[1:], num_blocks), p_values[node])
        for node, kind, share in zip(changed, kinds, shares, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["node", "kind", "contribution", "low", "high", "p_value"])
    return frame.iloc[np.argsort(-frame["contribution"].abs(), kind="stable")].reset_index(drop=True)


def _caveats(releases: Releases, changed: list[str], error: float, found: list[str]) -> list[str]:
    scm = releases.scm
    weak = [node for node in changed if node in scm.report.failed_nodes]
    found += [f"{node} failed validation: what changed may be an unrecorded cause of it" for node in weak]
    found += [
        f"the parents of {node} hardly overlap between the tables: a change of its mechanism cannot be told from theirs"
        for node in moved_away(releases)
    ]
    if error:
        found.append(f"contributions are means over random orders, each with a standard error of up to {number(error)}")
    return list(dict.fromkeys([*found, *data_caveats(scm)]))
