"""Which service of a call graph is to blame for an incident, told from tables of metrics.

A recording of normal windows, a few windows of the incident, and who calls whom: hypotheses of a single fault are
compared. *Were this service's own change the cause, how much of what is odd would need no other reason?*

1. Every service's latency, errors and inflow of requests are compared with its normal rows, in units of its own scatter
   within windows of the incident's length (`service_signals`). Services drift between two recordings: the shift common
   to all windows counts only as far as it exceeds what services in general have shifted (an empirical-Bayes variance
   over services, by which deviations are whitened); what differs between the windows counts fully.
2. A caller's deviation is explained by a callee as far as its course over the windows is a multiple of one of the
   callee's: latency, time per front-end request, errors and their powers (retries make errors multiply), failures per
   front-end request; within what calls per request allow. Latency that explains errors (timeouts) or errors that
   explain latency (retries) count for less, and only where the change is material. An inflow of requests that no
   caller explains, a surge, also explains what lies below.
3. Each service whose oddness is left unexplained costs nats, but at most ``-log`` of the share of services that are odd
   for reasons of their own. So the deepest service that explains itself, its callers and the target wins (`blame`).
4. Leaves that measure another service from outside (a caller in common, no path between, latency changes that agree in
   rank in normal rows) are left out: they repeat a symptom.
5. Nothing is named where the target's deviation and the causes' own are not unlikely among windows of the normal rows,
   or where nothing below the target explains it.

Sources: metrics and task of PetShop (Hardt et al. 2023, *The PetShop Dataset*); a cause is where a service departs from
what its callees explain, as in CIRCA (Li et al. 2022) and Budhathoki et al. 2022, but no regression is learned from
normal rows, which seldom show what a fault does: the incident's own courses are compared. As in Orchard et al. 2024
oddness is measured on each service's own scale, and as in BARO (Pham et al. 2024) robustly, but being odd is not
enough: it has to explain. The constants of `blame` were chosen on simulated systems, not derived; scores rank services
within one incident and are no probabilities. Cost: about 0.05 CPU seconds for 45 services.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import FitError, GraphError
from causalkit.finding import Finding
from causalkit.scm.blame import EXPLAINS, Blame, blame, views
from causalkit.scm.service_signals import Deviation, Signals, read_signals
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ["node", "score", "contribution", "low", "high", "p_value"]
# Enough windows of five rows to know their scatter; of longer incidents so many windows are asked for.
_FEWEST_ROWS, _FEWEST_WINDOWS = 30, 20
# From here on, in units of a service's scatter, the drift since the normal rows is worth telling.
_MUCH_DRIFT = 2.0
_MOST_NAMED = 5
# In multiples of alpha: how unlikely the target's deviation and a cause's own have to be together, or either by itself.
_TARGET_LEVEL, _OWN_LEVEL, _SURE_LEVEL = 3, 10, 0.5


@dataclass(frozen=True, repr=False)
class Incident(Finding):
    """Services by how well each one's own change explains an incident, best first.

    Attributes
    ----------
    target : tuple of str
        Service, metric, statistic.
    p_value : float
        How likely the target deviates as much in a window of the normal rows.
    num_rows : int
        Windows of the incident.
    frame : pandas.DataFrame
        ``node, score, contribution, low, high, p_value``; empty when nothing is abnormal. The score counts nats of
        oddness explained. The contribution is the part of the target's mean deviation in the incident's windows that
        the service's change explains, in the unit of the target, with a 95 % interval from how the target's mean
        wanders in normal windows and from what the explanation leaves over. The p-value is that of the service's
        own most surprising deviation among its own normal windows; a symptom's is as small as a cause's, and it is not
        adjusted for the number of services.
    caveats : list of str

    Examples
    --------
    >>> Incident(("front", "latency", "Average"), 0.4, 5, pd.DataFrame(), []).sentence
    'No service is named for the latency of front in these 5 rows (p = 0.40).'
    """

    target: tuple[str, str, str]
    p_value: float
    num_rows: int
    frame: pd.DataFrame
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        what = f"the {self.target[1]} of {self.target[0]} in {_these(self.num_rows)}"
        if self.frame.empty:
            return f"No service is named for {what} (p = {number(self.p_value)})."
        best = self.frame.to_dict("records")[0]
        return (
            f"{best['node']} explains {what} best: its own change moved the mean by "
            f"{number(best['contribution'], signed=True)} (95 % interval "
            f"{interval((best['low'], best['high']), signed=True)})."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per service, best first."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the ranking; see `causalkit.plots.incidents.plot_incident`."""
        from causalkit.plots.incidents import plot_incident

        return plot_incident(self, ax=ax)


def explain_incident(
    normal: pd.DataFrame,
    abnormal: pd.DataFrame,
    calls: nx.DiGraph[str],
    target: tuple[str, str, str],
    *,
    alpha: float = 0.05,
) -> Incident:
    """Rank the services that the target's service calls, directly or not, as the cause of an incident.

    Parameters
    ----------
    normal, abnormal : pandas.DataFrame
        One row per window of time, columns by service, metric and statistic. Read are ``latency`` and ``availability``
        (percent; both ``Average``) and ``requests`` (``Sum``); nan is not recorded, and tables need not hold the same
        services. `abnormal` holds consecutive windows, five or so, `normal` at least thirty of the same length.
    calls : networkx.DiGraph
        An edge means "calls". Cycles are allowed.
    target : tuple of str
        The column that the incident was seen in: latency or availability of a service.
    alpha : float, default 0.05
        The share of normal windows in which services may be named all the same, roughly. Two p-values are looked at:
        the target's, and the least of what services that explain it did, times the number of deviations looked at.
        Services are named where either is below half of alpha, or where the first is below three times and the second
        below ten times alpha: together they are as unlikely.

    Returns
    -------
    Incident

    Raises
    ------
    FitError
        If the tables cannot be read so, or rows are too few (``.num_rows``).
    GraphError
        If `calls` is no directed graph or does not hold the target's service (``.node``).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def windows(rows, delay):
    ...     store = 0.1 + 0.005 * rng.normal(size=rows) + delay
    ...     table = {"store": store, "front": 0.2 + store + 0.005 * rng.normal(size=rows)}
    ...     return pd.DataFrame({(name, "latency", "Average"): column for name, column in table.items()})
    >>> normal, abnormal = windows(200, 0.0), windows(5, np.array([0.0, 0.4, 0.5, 0.1, 0.3]))
    >>> found = explain_incident(normal, abnormal, nx.DiGraph([("front", "store")]), ("front", "latency", "Average"))
    >>> list(found.frame["node"])
    ['store', 'front']
    """
    _check(normal, abnormal, calls, target, alpha)
    front, metric, statistic = target
    kind = "latency" if metric == "latency" else "errors"
    signals = read_signals(normal, abnormal, calls, front)
    left_out = views(signals)
    seen = signals.deviations.get((front, kind))
    p_value = seen.p_value if seen else 1.0
    blamed = blame(signals, kind, left_out) if seen else {}
    if not _unlikely(p_value, _least_p_value(signals, blamed), alpha):
        blamed = {}
    frame = pd.DataFrame([_row(signals, kind, node, found) for node, found in blamed.items()], columns=_COLUMNS)
    frame = frame.astype(dict.fromkeys(_COLUMNS[1:], float))
    frame = frame.sort_values(["score", "node"], ascending=[False, True], ignore_index=True)
    reason = [] if blamed else [_why_nobody(target, seen, p_value, alpha)]
    notes = [*reason, *_caveats(signals, left_out, target)]
    return Incident((front, metric, statistic), p_value, len(abnormal), frame, notes)


def _unlikely(target: float, own: float, alpha: float) -> bool:
    together = target <= _TARGET_LEVEL * alpha and own <= _OWN_LEVEL * alpha
    return together or min(target, own) <= _SURE_LEVEL * alpha


def _least_p_value(signals: Signals, blamed: dict[str, Blame]) -> float:
    """Return the least p-value of what the services below the target's that explain it did, adjusted (Bonferroni)."""
    causes = {node for node, found in blamed.items() if found.target.share >= EXPLAINS and node != signals.front}
    own = [found.p_value for (node, _), found in signals.deviations.items() if node in causes]
    return min(own, default=1.0) * len(signals.deviations)


def _check(normal: Any, abnormal: Any, calls: Any, target: tuple[str, str, str], alpha: float) -> None:
    if not 0 < alpha < 1:
        raise FitError(f"alpha is {alpha}; it is a share between 0 and 1")
    for name, table in (("normal", normal), ("abnormal", abnormal)):
        _check_table(name, table, target)
    if target[1] not in ("latency", "availability"):
        raise FitError(f"the target's metric is {target[1]!r}; ask about latency or availability", target=target)
    fewest = max(_FEWEST_ROWS, len(abnormal) + _FEWEST_WINDOWS - 1)
    if abnormal.empty:
        raise FitError("abnormal has no rows; give the windows of the incident", num_rows=0)
    if len(normal) < fewest:
        raise FitError(f"normal has {len(normal)} rows; give at least {fewest}", num_rows=len(normal))
    if not isinstance(calls, nx.DiGraph) or calls.is_multigraph():
        raise GraphError(f"calls is a {type(calls).__name__}; give a networkx.DiGraph of (caller, callee)")
    if target[0] not in calls:
        raise GraphError(f"the call graph does not hold the target's service {target[0]!r}; add it", node=target[0])


def _check_table(name: str, table: Any, target: Any) -> None:
    if not isinstance(table, pd.DataFrame):
        raise FitError(f"{name} is a {type(table).__name__}; give a pandas.DataFrame of metrics by window")
    if table.columns.nlevels != 3 or not table.columns.is_unique:
        raise FitError(f"the columns of {name} are no MultiIndex of distinct (service, metric, statistic)")
    text = [column for column in table.columns if not pd.api.types.is_numeric_dtype(table[column].dtype)]
    if text:
        raise FitError(f"column {text[0]!r} of {name} holds no numbers; convert it or leave it out", column=text[0])
    if target not in list(table.columns):
        raise FitError(f"{name} has no column {target!r}; the target is a (service, metric, statistic)", target=target)


def _row(signals: Signals, kind: str, node: str, found: Blame) -> tuple[str, *tuple[float, ...]]:
    """Return one row of the ranking; errors are told as availability, in percentage points."""
    seen = signals.deviations[signals.front, kind]
    unit = 1.0 if kind == "latency" else -100.0
    profile = found.target.profile
    part = found.target.slope * profile.values if profile else np.zeros(signals.num_rows)
    both = np.isfinite(part) & np.isfinite(seen.values)
    left_over = np.std((seen.values - part)[both]) / math.sqrt(max(both.sum() - 1, 1))
    error = abs(unit) * math.hypot(float(seen.normal_windows.mean(axis=1).std()), float(left_over))
    moved = unit * float(part[both].mean())
    own = max((d for (name, _), d in signals.deviations.items() if name == node), key=lambda d: d.surprise)
    return node, found.score, moved, moved - 1.96 * error, moved + 1.96 * error, own.p_value


def _why_nobody(target: tuple[str, str, str], seen: Deviation | None, p_value: float, alpha: float) -> str:
    if seen is None:
        return f"the {target[1]} of {target[0]} was not recorded in the incident, so there is nothing to explain"
    if p_value > _TARGET_LEVEL * alpha:
        return f"the {target[1]} of {target[0]} is not unlikely among its normal rows (p = {number(p_value)})"
    return f"no service below {target[0]} did anything unusual that explains its {target[1]} (p = {number(p_value)})"


def _caveats(signals: Signals, left_out: list[str], target: tuple[str, str, str]) -> list[str]:
    notes = [
        "a call graph and recorded metrics are observational: this ranks explanations and proves none",
        "each service is judged as the only fault; of several at once only the strongest is sure to stand out",
    ]
    if unseen := sorted(set(signals.services) - set(signals.judged)):
        notes.append(f"not judged, for no latency or availability was recorded in the incident: {_listed(unseen)}")
    if left_out:
        notes.append(f"left out, for they measure another service from outside: {_listed(left_out)}")
    if (by := signals.typical_shift) >= _MUCH_DRIFT:
        notes.append(f"services in general have shifted by about {by:.0f} of their own scatter since the normal rows")
    if target[2] != "Average":
        notes.append(f"the {target[1]} is judged by its Average, not by its {target[2]}")
    return notes


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _these(rows: int) -> str:
    return f"these {rows} rows" if rows > 1 else "this row"
