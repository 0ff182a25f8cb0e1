"""Read tables of service metrics: how each service of a call graph deviates from what it normally does.

Three kinds of behaviour are told apart: ``latency``, ``errors`` (the share of requests that fail) and ``inflow``
(requests in proportion to what the service's callers received). A deviation is measured in units of its *scatter*: how
far windows of the incident's length wander around their own mean in the normal rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import networkx as nx
import numpy as np
import pandas as pd
from scipy.optimize import nnls

from causalkit.scm.arrays import FloatArray
from causalkit.scm.tails import two_sided

KINDS = ("latency", "errors", "inflow")

# Below these many recorded normal values, or windows without a gap, what is normal is not known.
_FEWEST_VALUES, _FEWEST_WINDOWS = 30, 20
# Scatter below these means nothing: a share of the usual latency; a share of failures, and of one failed request; a
# share of the expected calls (besides the scatter of a count).
_LATENCY_FLOOR, _ERRORS_FLOOR, _ONE_REQUEST, _INFLOW_FLOOR = 0.02, 0.0005, 0.7, 0.03
# A few outliers in the normal rows shall neither set the scatter (outermost 1 % pulled in) nor be overlooked (0.8).
_TRIM, _SPREAD_COUNTS = 0.01, 0.8
# Makes the median absolute deviation of a normal distribution its standard deviation.
_MAD_TO_SD = 1.4826
# The median of a squared standard normal value; shifts are believed to be of twice the variance seen, within bounds,
# for they differ by service and a fault is among them. Fewer services than four do not tell.
_MEDIAN_CHI2, _DRIFT_SAFETY, _DRIFT_BOUNDS, _FEWEST_SHIFTS = 0.45, 2.0, (4.0, 200.0), 4
# Degrees of freedom of the heavy tail that a deviation's cost has: one huge deviation is not endless evidence.
_TAIL = 4.0
# What powers of the errors (retries) or totals per request of the front end explain, beside what the plain value does.
_LESS_PLAIN = 0.75


@dataclass(frozen=True, eq=False)
class Deviation:
    """How one kind of a service's behaviour differs from its normal rows; nan where it was not recorded.

    Attributes
    ----------
    values, normal : ndarray of float
        Differences from the usual value, of the incident's windows and of the normal rows.
    scatter : float
    unit : float
        What makes a difference a relative one.
    drift : float
        Variance, in units of the squared scatter, of the shift common to all windows that any service may show.
    """

    values: FloatArray
    normal: FloatArray
    scatter: float
    unit: float
    drift: float = _DRIFT_BOUNDS[0]

    @cached_property
    def size(self) -> float:
        """Range over the windows, relative to what is usual."""
        seen = self.values[np.isfinite(self.values)]
        return float(np.ptp(seen) if len(seen) > 1 else abs(seen[0])) / max(self.unit, 1e-9)

    @cached_property
    def surprise(self) -> float:
        """Squared length of the whitened deviation: about the number of windows where nothing happened."""
        seen = self.values[np.isfinite(self.values)]
        return float((whiten(seen / self.scatter, self.drift) ** 2).sum())

    @cached_property
    def sure(self) -> float:
        """How sure it is that this is no chance, from 0 to 1."""
        count = np.isfinite(self.values).sum()
        return max(float((self.surprise - count) / (self.surprise + 2 * count)), 0.0)

    @cached_property
    def cost(self) -> float:
        """What leaving this deviation unexplained costs, in nats: minus the log density of a Student t."""
        count = np.isfinite(self.values).sum()
        return float((_TAIL + count) / 2 * np.log1p(max(self.surprise - count, 0.0) / _TAIL))

    @cached_property
    def normal_windows(self) -> FloatArray:
        """All windows of the normal rows that are as long as the incident, gaps filled with what is usual."""
        filled = np.where(np.isfinite(self.normal), self.normal, 0.0)
        return np.lib.stride_tricks.sliding_window_view(filled, len(self.values))

    @cached_property
    def p_value(self) -> float:
        """How likely a window of the normal rows is as surprising; 1 where too few were recorded to tell."""
        if np.isfinite(self.normal).sum() < _FEWEST_VALUES:
            return 1.0
        null = np.sqrt((whiten(self.normal_windows / self.scatter, self.drift) ** 2).sum(axis=1))
        return two_sided(float(np.sqrt(self.surprise)), np.concatenate([null, -null]))


class Profile(NamedTuple):
    """A course over the incident's windows that a service's change may impose on others."""

    kind: str
    values: FloatArray
    weight: float
    # The service whose number of requests says how much of it can reach another one; empty where nothing says.
    counted_at: str


@dataclass(frozen=True, eq=False)
class Signals:
    """What the tables say about the front end of a call graph and all that it calls, directly or not.

    Attributes
    ----------
    front : str
        The service that the incident was seen at.
    num_rows : int
        Windows of the incident.
    graph : networkx.DiGraph
        The call graph without calls to oneself.
    services : list of str
        The front end first, the others by name.
    requests : dict of str to float
        Median of a normal row.
    deviations : dict of (str, str) to Deviation
        By service and kind, where recorded.
    profiles : dict of str to list of Profile
    latencies : dict of str to ndarray
        Of the normal rows.
    drift : float
    """

    front: str
    num_rows: int
    graph: nx.DiGraph[str]
    services: list[str]
    requests: dict[str, float]
    deviations: dict[tuple[str, str], Deviation]
    profiles: dict[str, list[Profile]]
    latencies: dict[str, FloatArray]
    drift: float

    @property
    def judged(self) -> list[str]:
        """The services whose latency or availability was recorded in the incident; requests alone explain no target."""
        found = self.deviations
        return [name for name in self.services if (name, "latency") in found or (name, "errors") in found]

    @property
    def typical_shift(self) -> float:
        """By how much of its own scatter a service has shifted since the normal rows."""
        return float(np.sqrt(self.drift / _DRIFT_SAFETY))


class _Record(NamedTuple):
    latency: FloatArray
    errors: FloatArray
    requests: FloatArray


def read_signals(normal: pd.DataFrame, abnormal: pd.DataFrame, calls: nx.DiGraph[str], front: str) -> Signals:
    """Return the deviations of all services below `front`, each with the drift of services in general."""
    graph = nx.DiGraph(calls)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    services = [front, *sorted(nx.descendants(graph, front) - {front})]
    usual, now = ({name: _record(table, name) for name in services} for table in (normal, abnormal))
    found = {
        (name, kind): deviation
        for name in services
        for kind, deviation in (
            ("latency", _latency(usual[name], now[name])),
            ("errors", _errors(usual[name], now[name])),
            ("inflow", _inflow(name, sorted(set(graph.predecessors(name)) & set(usual)), usual, now, front)),
        )
        if deviation
    }
    drift = _drift(deviation for (_, kind), deviation in found.items() if kind == "latency")
    return Signals(
        front=front,
        num_rows=len(abnormal),
        graph=graph,
        services=services,
        requests={name: float(np.median(usual[name].requests)) for name in services},
        deviations={key: replace(deviation, drift=drift) for key, deviation in found.items()},
        profiles={name: list(_profiles(name, front, found, usual, now)) for name in services},
        latencies={name: usual[name].latency for name in services},
        drift=drift,
    )


def whiten(values: FloatArray, drift: float) -> FloatArray:
    """Return values with unit variance where each has it and all share a shift of variance `drift`.

    That is ``(I + drift 11')^(-1/2) values``: contrasts between windows count fully, a constant offset hardly.

    Examples
    --------
    >>> whiten(np.array([1.0, 1.0, 4.0, 4.0]), 6.0)
    array([-1., -1.,  2.,  2.])
    """
    mean = values.mean(axis=-1, keepdims=True)
    return np.asarray(values - mean + mean / np.sqrt(1 + drift * values.shape[-1]))


def _record(table: pd.DataFrame, service: str) -> _Record:
    def column(metric: str, statistic: str) -> FloatArray:
        key = (service, metric, statistic)
        values = table[key].to_numpy(float) if key in table.columns else np.full(len(table), np.nan)
        return np.where(np.isfinite(values), values, np.nan)

    errors = 1 - column("availability", "Average") / 100
    return _Record(column("latency", "Average"), errors, np.nan_to_num(column("requests", "Sum")))


def _latency(usual: _Record, now: _Record) -> Deviation | None:
    return _deviation(usual.latency, now.latency, lambda centre: _LATENCY_FLOOR * abs(centre), relative=True)


def _errors(usual: _Record, now: _Record) -> Deviation | None:
    counts = [count for count in (np.median(usual.requests), np.median(now.requests)) if count > 0]
    floor = max(_ERRORS_FLOOR, _ONE_REQUEST / max(1.0, min(counts, default=1.0)))
    return _deviation(usual.errors, now.errors, lambda _: floor)


def _inflow(
    name: str, callers: list[str], usual: dict[str, _Record], now: dict[str, _Record], front: str
) -> Deviation | None:
    """Return the deviation of requests from those that the callers' requests let expect; none at the front end."""
    callers = [caller for caller in callers if usual[caller].requests.any()]
    if name == front or not callers or not usual[name].requests.any():
        return None
    received = np.column_stack([usual[caller].requests for caller in callers])
    calls = nnls(received, usual[name].requests)[0]
    before = _over(usual[name].requests, received @ calls)
    after = _over(now[name].requests, np.column_stack([now[caller].requests for caller in callers]) @ calls)
    floor = max(_INFLOW_FLOOR, 1 / np.sqrt(max(float(np.median(usual[name].requests)), 1.0)))
    return _deviation(before, after, lambda _: floor)


def _deviation(
    usual: FloatArray, now: FloatArray, floor: Callable[[float], float], *, relative: bool = False
) -> Deviation | None:
    """Return the deviation from the normal median, or from the incident's own where no other is known."""
    if np.isfinite(now).sum() < min(2, len(now)):
        return None
    centre = _median(usual if np.isfinite(usual).sum() >= _FEWEST_VALUES else now)
    scatter = max(_scatter(usual, len(now)), floor(centre), 1e-9)
    return Deviation(now - centre, usual - centre, scatter, abs(centre) if relative else 1.0)


def _scatter(values: FloatArray, rows: int) -> float:
    """Return the standard deviation within windows of this length, robustly; 0 where it is not known."""
    if rows == 1:
        return float(np.std(values[np.isfinite(values)])) if np.isfinite(values).sum() >= _FEWEST_WINDOWS else 0.0
    windows = np.lib.stride_tricks.sliding_window_view(values, rows)
    windows = windows[np.isfinite(windows).all(axis=1)]
    if len(windows) < _FEWEST_WINDOWS:
        return 0.0
    within = (windows - windows.mean(axis=1, keepdims=True)).ravel()
    trimmed = np.clip(within, *np.quantile(within, [_TRIM, 1 - _TRIM]))
    spread = max(_MAD_TO_SD * np.median(np.abs(within)), _SPREAD_COUNTS * trimmed.std())
    return float(spread * np.sqrt(rows / (rows - 1)))


def _drift(latencies: Iterable[Deviation]) -> float:
    """Return the variance of the shifts of all services since the normal rows, in units of their squared scatter."""
    enough = [d for d in latencies if np.isfinite(d.values).sum() >= 3]
    if len(enough) < _FEWEST_SHIFTS:
        return _DRIFT_BOUNDS[0]
    squared = [(_median(d.values) / d.scatter) ** 2 for d in enough]
    return float(np.clip(_DRIFT_SAFETY * np.median(squared) / _MEDIAN_CHI2, *_DRIFT_BOUNDS))


def _profiles(
    name: str,
    front: str,
    found: dict[tuple[str, str], Deviation],
    usual: dict[str, _Record],
    now: dict[str, _Record],
) -> Iterable[Profile]:
    def an_entry(part: str) -> FloatArray:
        before, after = (
            _over(getattr(table[name], part) * table[name].requests, table[front].requests) for table in (usual, now)
        )
        return after - _median(before if np.isfinite(before).any() else after)

    for kind in ("latency", "errors"):
        if (name, kind) in found:
            yield Profile(kind, found[name, kind].values, 1.0, name)
            yield Profile(kind, an_entry(kind), _LESS_PLAIN, front)
    if (name, "errors") in found:
        errors = found[name, "errors"].values
        # A call that is tried twice or three times fails with the square or the cube of the probability.
        yield Profile("errors", np.sign(errors) * errors**2, _LESS_PLAIN, "")
        yield Profile("errors", errors**3, _LESS_PLAIN, "")
    if (name, "inflow") in found:
        yield Profile("inflow", found[name, "inflow"].values, 1.0, "")


def _over(values: FloatArray, requests: FloatArray) -> FloatArray:
    """Return the ratio, nan where there were no requests."""
    return np.where(requests > 0, values / np.where(requests > 0, requests, 1.0), np.nan)


def _median(values: FloatArray) -> float:
    """Return the median of what was recorded, nan if nothing was."""
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if len(seen) else float("nan")
