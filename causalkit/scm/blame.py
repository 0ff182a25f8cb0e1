"""Score each service by what its own change alone would explain; the idea is told in `incidents`."""

from __future__ import annotations

import math
from typing import NamedTuple

import networkx as nx
import numpy as np
from scipy.stats import spearmanr

from causalkit.scm.arrays import FloatArray
from causalkit.scm.service_signals import KINDS, Profile, Signals, whiten

# The share of services that are odd for reasons of their own, and the little that each nat beyond counts still.
_ODD_ANYWAY, _BEYOND = 0.03, 0.06
# What remains of a deviation that counts as wholly explained: 3 %, for profiles are measured with error.
_REMAINS = 10**-1.5
# How much more of a change may reach a caller than calls per request allow, and fewer requests than can be counted.
_SLACK, _FEWEST_REQUESTS = 1.5, 0.2
# What a change explains in another kind of behaviour (timeouts, retries), and how large it must be to do so fully:
# latency that varies by twice the usual, failures by one request of twenty, inflow by half.
_OTHER_KIND, _MATERIAL = 0.85, {"latency": 2.0, "errors": 0.05, "inflow": 0.5}
# Of a deviation and a profile recorded in different windows: the power of the share of windows that have both.
_COVERAGE = 0.5
# A surge surer than this explains what lies below, too.
_SURGE = 0.05
# The most nats that explaining the target is worth; how much of it the front end explains by its own change.
_TARGET, _ITSELF = 6.0, 0.8
# Who explains the target this much less well than the best gets no full credit for the rest; the share of the target's
# nats that is credited directly.
_NEARLY_BEST, _DIRECT = 0.7, 0.4
# A best explanation of the target below this share is none; at 0.25 the front end is hardly suspected any more.
EXPLAINS, _ENOUGH, _SUSPECTED_ANYWAY = 0.1, 0.25, 0.3
# Latency changes of two services that are one agree this well in rank, in windows enough to tell.
_SAME, _FEWEST_CHANGES = 0.7, 50


class Explained(NamedTuple):
    """How well one profile of a service explains a deviation (0 to 1), and by which multiple of it."""

    share: float = 0.0
    slope: float = 0.0
    profile: Profile | None = None


class Blame(NamedTuple):
    """A service's score, and how it explains the target."""

    score: float
    target: Explained


def blame(signals: Signals, kind: str, left_out: list[str]) -> dict[str, Blame]:
    """Return every service that can be judged but those left out; nothing if only the front end explains the target.

    Parameters
    ----------
    signals : Signals
    kind : str
        Of the target: "latency" or "errors" of the front end.
    left_out : list of str
    """
    front = signals.front
    roots = [name for name in signals.judged if name not in left_out]
    targets = {root: explain(signals, front, kind, root) for root in roots}
    worth = _TARGET * signals.deviations[front, kind].sure
    credit = {root: worth * (_ITSELF if root == front else targets[root].share) for root in roots}
    best = max((credit[root] for root in roots if root != front), default=0.0)
    if best < EXPLAINS * _TARGET:
        return {}
    gates = {root: min(1.0, credit[root] / (_NEARLY_BEST * best)) for root in roots}
    gates[front] = max(0.0, 1 - best / (_ENOUGH * _TARGET)) + _SUSPECTED_ANYWAY
    scores = {root: _saved(signals, kind, root) * gates[root] + _DIRECT * credit[root] for root in roots}
    return {root: Blame(scores[root], targets[root]) for root in roots}


def explain(signals: Signals, service: str, kind: str, root: str, *, upward: bool = True) -> Explained:
    """Return how well what changed at `root` explains one deviation of a service, by its best profile.

    Upward means from a callee to its caller; more requests explain only what lies below them.
    """
    found = (
        _fit(signals, service, kind, root, profile, upward)
        for profile in signals.profiles[root]
        if not upward or profile.kind != "inflow"
    )
    return max(found, key=lambda explained: explained.share, default=Explained())


def views(signals: Signals) -> list[str]:
    """Return leaves that measure another service from outside: one caller, one course, and no call between them."""
    changes = {name: np.diff(latency) for name, latency in signals.latencies.items()}
    graph = signals.graph
    leaves = [name for name in signals.services if not graph.out_degree(name)]
    inner = [name for name in signals.services if graph.out_degree(name)]
    return [leaf for leaf in leaves if any(_is_view(graph, changes, leaf, seen) for seen in inner)]


def _saved(signals: Signals, target_kind: str, root: str) -> float:
    """Return the nats that need no other reason once `root` is known to have changed, the target's aside."""
    graph, known = signals.graph, set(signals.services)
    above = sorted((nx.ancestors(graph, root) & known) - {root})
    below = sorted((nx.descendants(graph, root) & known) - {root, *above})
    own = sum(_costs(signals, root).values())
    surge = _surge(signals, root)
    saved = _oddness(own) + _BEYOND * own
    for name in above + (below if surge > _SURGE else []):
        costs = _costs(signals, name)
        if name == signals.front:
            costs.pop(target_kind, None)
        if costs:
            upward = name in above
            explained = sum(costs[kind] * explain(signals, name, kind, root, upward=upward).share for kind in costs)
            cost = sum(costs.values())
            saved += _oddness(cost) * explained / cost * (1 if upward else surge)
    return saved


def _costs(signals: Signals, service: str) -> dict[str, float]:
    """Return the costs of what is odd about a service."""
    found = signals.deviations
    return {kind: d.cost for kind in KINDS if (d := found.get((service, kind))) and d.cost > 0}


def _oddness(cost: float) -> float:
    """Return what unexplained behaviour costs at most: some services are odd for reasons of their own."""
    return -math.log(_ODD_ANYWAY + (1 - _ODD_ANYWAY) * math.exp(-cost))


def _surge(signals: Signals, root: str) -> float:
    """Return how surely more requests than usual came in, from 0 to 1; retries after errors are no surge."""
    inflow, errors = (signals.deviations.get((root, kind)) for kind in ("inflow", "errors"))
    if inflow is None or not np.nansum(inflow.values) > 0:
        return 0.0
    return inflow.sure * (1 - (errors.sure if errors else 0.0))


def _fit(signals: Signals, service: str, kind: str, root: str, profile: Profile, upward: bool) -> Explained:
    deviation, cause = signals.deviations[service, kind], signals.deviations[root, profile.kind]
    both = np.isfinite(deviation.values) & np.isfinite(profile.values)
    count = int(both.sum())
    if cause.sure == 0 or count < min(2, signals.num_rows):
        return Explained()
    seen, course = (
        whiten(values[both] / deviation.scatter, signals.drift) for values in (deviation.values, profile.values)
    )
    whole, length, along = float(seen @ seen), float(course @ course), float(seen @ course)
    if whole == 0 or length == 0:
        return Explained()
    least, most = _allowed(signals, service, kind, profile, upward)
    slope = min(max(along / length, least), most)
    remains = 1 - (2 * slope * along - slope**2 * length) / whole
    share = math.log(min(max(remains, _REMAINS), 1.0)) / math.log(_REMAINS)
    share *= profile.weight * cause.sure * (count / signals.num_rows) ** _COVERAGE
    if profile.kind != kind:
        share *= _OTHER_KIND * min(1.0, cause.size / _MATERIAL[profile.kind])
    return Explained(share, slope, profile)


def _allowed(signals: Signals, service: str, kind: str, profile: Profile, upward: bool) -> tuple[float, float]:
    """Return the least and the largest multiple of a profile that may stand in a service's deviation."""
    if upward and kind == profile.kind and profile.counted_at:
        source, sink = (max(signals.requests[name], _FEWEST_REQUESTS) for name in (profile.counted_at, service))
        return 0.0, _SLACK * source / sink
    # What fails or comes in more cannot make others fail less; of latency and errors either may lower the other.
    return (0.0 if kind in ("errors", profile.kind) or profile.kind == "inflow" else -math.inf), math.inf


def _is_view(graph: nx.DiGraph[str], changes: dict[str, FloatArray], leaf: str, seen: str) -> bool:
    callers_in_common = set(graph.predecessors(leaf)) & set(graph.predecessors(seen))
    if not callers_in_common or nx.has_path(graph, seen, leaf):
        return False
    pair = np.column_stack([changes[leaf], changes[seen]])
    pair = pair[np.isfinite(pair).all(axis=1)]
    # Of what does not vary, correlation is not defined.
    varied = len(pair) >= _FEWEST_CHANGES and np.ptp(pair, axis=0).all()
    return bool(varied and spearmanr(*pair.T)[0] > _SAME)
