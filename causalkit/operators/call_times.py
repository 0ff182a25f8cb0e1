"""Where the time goes: how long operators took with and without what they called, and which one held a run up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from causalkit.critical_path import held_up, own_times
from causalkit.errors import CausalkitError
from causalkit.operators.calls import OperatorCall

if TYPE_CHECKING:
    import pandas as pd

_OUTSIDE = "(outside all operators)"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_NS_A_MS = 1_000_000


def own_ms(calls: Iterable[OperatorCall]) -> dict[str, float]:
    """Return for each closed call how many milliseconds it worked while none of the calls made by it did.

    Examples
    --------
    >>> told = {"stage": None, "parent_call_id": None, "run_id": "1", "start": (at := datetime(2026, 1, 2, tzinfo=UTC))}
    >>> call = OperatorCall("knn", "member", call_id="1", duration_ms=2.5, end=at, **told)
    >>> own_ms([call])
    {'1': 2.5}
    """
    closed = [call for call in calls if call.end is not None]
    spans: dict[str | None, tuple[float, float]] = {call.call_id: _span(call) for call in closed}
    inside: dict[str | None, list[str]] = {}
    for call in closed:
        children = [child for child in call.children if child.end is not None]
        inside[call.call_id] = [child.call_id for child in children]
        spans.update((child.call_id, _span(child)) for child in children if child.call_id not in spans)
    own = own_times(spans, inside)
    return {call.call_id: own[call.call_id] / _NS_A_MS for call in closed}


def latency(calls: Iterable[OperatorCall]) -> pd.DataFrame:
    """Answer `OperatorAnalysis.latency`."""
    import pandas as pd

    closed = [call for call in calls if call.end is not None]
    own = own_ms(closed)
    rows = [(call.operator_id, call.stage, call.duration_ms, own[call.call_id]) for call in closed]
    frame = pd.DataFrame(rows, columns=["operator_id", "stage", "total", "own"])
    grouped = frame.astype({"total": float, "own": float}).groupby(["operator_id", "stage"], dropna=False)
    columns = {"n": grouped.size()}
    for name, prefix in (("total", ""), ("own", "self_")):
        times = grouped[name]
        columns[f"{prefix}mean_ms"], columns[f"{prefix}median_ms"] = times.mean(), times.median()
        columns[f"{prefix}p95_ms"], columns[f"{prefix}sum_ms"] = times.quantile(0.95), times.sum()
    return pd.DataFrame(columns).sort_values("self_sum_ms", ascending=False, kind="stable")


def critical_path(calls: Mapping[str, OperatorCall], run_ids: Collection[str]) -> pd.DataFrame:
    """Answer `OperatorAnalysis.critical_path`: the mean over these runs; `calls` are all there are."""
    import pandas as pd

    by_run: dict[str, list[OperatorCall]] = {run_id: [] for run_id in run_ids}
    for call in calls.values():
        if call.end is not None and call.run_id in by_run:
            by_run[call.run_id].append(call)
    held: defaultdict[str, float] = defaultdict(float)
    timed = [run for run in by_run.values() if run]
    if not timed:
        raise CausalkitError("no call of the runs asked about has ended, so there is no path through them")
    for run in timed:
        for call_id, time in _held_up(run).items():
            held[calls[call_id].operator_id if call_id else _OUTSIDE] += time
    total = sum(held.values())
    rows = [(name, time / len(timed) / _NS_A_MS, time / total) for name, time in held.items()]
    frame = pd.DataFrame(rows, columns=["operator_id", "ms", "share"])
    return frame.sort_values(["ms", "operator_id"], ascending=[False, True], ignore_index=True)


def errors(calls: Iterable[OperatorCall]) -> pd.DataFrame:
    """Answer `OperatorAnalysis.errors`."""
    import pandas as pd

    columns = ["run_id", "call_id", "operator_id", "stage", "type", "message", "timestamp", "first"]
    rows = [
        (call.run_id, call.call_id, call.operator_id, call.stage, *_raised(call), call.end, _is_first(call))
        for call in calls
        if call.ended == "error"
    ]
    return pd.DataFrame(rows, columns=columns)


def _span(call: OperatorCall) -> tuple[int, int]:
    """Return when a closed call worked, in nanoseconds: of whole numbers sums are exact."""
    assert call.end is not None  # noqa: S101 - what closed means
    end = (call.end - _EPOCH) // _MICROSECOND * 1000
    return end - round((call.duration_ms or 0.0) * _NS_A_MS), end


def _held_up(run: list[OperatorCall]) -> dict[str | None, float]:
    """Return for each call of one run how many nanoseconds it held the run up, under None the time between calls."""
    spans = {call.call_id: _span(call) for call in run}
    inside: defaultdict[str | None, list[str]] = defaultdict(list)
    for call in run:
        around = call.parent
        while around is not None and around.call_id not in spans:
            # It has not ended: how long it held the run up cannot be known, what it called did.
            around = around.parent
        inside[None if around is None else around.call_id].append(call.call_id)
    # From the first one on: the nanoseconds since 1970 are too many for a float.
    zero = min(spans[call_id][0] for call_id in inside[None])
    last = max(spans[call_id][1] for call_id in inside[None])
    moved: dict[str | None, tuple[float, float]] = {
        call_id: (begin - zero, end - zero) for call_id, (begin, end) in spans.items()
    }
    return held_up({**moved, None: (0, last - zero)}, inside)


def _raised(call: OperatorCall) -> tuple[object, object]:
    return call.error.get("type"), call.error.get("message")


def _is_first(call: OperatorCall) -> bool:
    return all(child.ended != "error" or _raised(child) != _raised(call) for child in call.children)
