"""What was right: as a call reports it itself, or by a truth that is known under a name or for each run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import Equal, same
from causalkit.operators.calls import OperatorCall
from causalkit.operators.capture import is_summary, summary
from causalkit.operators.votes import is_known
from causalkit.wording import one_line

if TYPE_CHECKING:
    from collections.abc import Hashable

GroundTruth = str | Mapping[str, Any]
NOT_REPORTED: Any = object()
_METRICS = ("correct", "accuracy")
_MOST_NAMES = 20


def verdicts(
    calls: Iterable[OperatorCall], ground_truth: GroundTruth | None = None, equal: Equal | None = None
) -> Iterator[tuple[OperatorCall, float]]:
    """Yield the calls of which it is known whether they were right, and how right, from 0 to 1.

    Parameters
    ----------
    calls : iterable of OperatorCall
    ground_truth : str or mapping, optional
        Under which name the truth was reported, by the call or a call around it, or the truth for each run id: right is
        a result that equals it. Default: what the call reports as ``correct``, or else as ``accuracy``.
    equal : callable, optional
        Takes result and truth; default `causalkit.operators.agreement.same`. By default a result of several values is
        no answer to a truth of one.

    Raises
    ------
    CausalkitError
        If a metric is not from 0 to 1, or the truth is nowhere.
    """
    if ground_truth is None:
        for call in calls:
            if call.metrics and (value := _reported_verdict(call)) is not None:
                yield call, value
        return
    asked, truths = list(calls), 0
    for call in asked:
        truth = reported_around(call, ground_truth) if isinstance(ground_truth, str) else _given(call, ground_truth)
        truths += truth is not NOT_REPORTED
        right = None if truth is NOT_REPORTED else _is_right(call, truth, equal)
        if right is not None:
            yield call, right
    if asked and not truths:
        if isinstance(ground_truth, str):
            raise not_reported(ground_truth, asked)
        raise CausalkitError("the ground truth is of none of the runs asked about; give run id -> truth")


def reported(call: OperatorCall, name: str) -> Any:
    """Return what a call reported under a name: a metric, an input, or an entry of an input; else `NOT_REPORTED`."""
    if name in call.metrics:
        return call.metrics[name]
    inputs = call.inputs
    if name in inputs:
        return inputs[name]
    for value in inputs.values():
        if type(value) is dict and name in value and not is_summary(value):
            return value[name]
    return NOT_REPORTED


def reported_around(call: OperatorCall, name: str) -> Any:
    """Return what a call, or the nearest call around it, reported under a name; else `NOT_REPORTED`."""
    around: OperatorCall | None = call
    while around is not None:
        if (value := reported(around, name)) is not NOT_REPORTED:
            return value
        around = around.parent
    return NOT_REPORTED


def clusters_of(calls: Iterable[OperatorCall], name: str) -> dict[str, Hashable]:
    """Return what each run is about: the first value that one of its calls reports under a name.

    Raises
    ------
    CausalkitError
        If no call does.
    """
    clusters: dict[str, Hashable] = {}
    known = list(calls)
    for call in known:
        if call.run_id not in clusters and (value := reported(call, name)) is not NOT_REPORTED:
            clusters[call.run_id] = _hashable(value)
    if known and not clusters:
        raise not_reported(name, known)
    return clusters


def not_reported(name: str, calls: Iterable[OperatorCall]) -> CausalkitError:
    """Return the error of a name that no call reports."""
    names = sorted({str(known) for call in calls for known in (*call.metrics, *call.inputs)})
    told = ", ".join(names[:_MOST_NAMES]) + " and others" * (len(names) > _MOST_NAMES)
    return CausalkitError(
        f"no metric, knob or input is called {name!r}; reported are {told or 'none at all'}", name=name, names=names
    )


def _reported_verdict(call: OperatorCall) -> float | None:
    for name in _METRICS:
        value = call.metrics.get(name)
        if value is None:
            continue
        try:
            right = -1.0 if isinstance(value, str) else float(value)
        except (TypeError, ValueError):
            right = -1.0
        if 0 <= right <= 1:
            return right
        if not math.isnan(right):
            raise CausalkitError(
                f"the metric {name!r} of a call of {call.operator_id!r} is {one_line(repr(value), 60)}; report True or "
                "False, or a share from 0 to 1",
                operator_id=call.operator_id, call_id=call.call_id, metric=name, value=value,
            )  # fmt: skip
    return None


def _given(call: OperatorCall, truths: Mapping[str, Any]) -> Any:
    return truths.get(call.run_id, NOT_REPORTED)


def _is_right(call: OperatorCall, truth: Any, equal: Callable[[Any, Any], object] | None) -> float | None:
    result = call.result
    if not call.has_result or not is_known(result):
        return None
    if equal is not None:
        return float(bool(equal(result, truth)))
    if is_summary(result):
        truth = summary(truth)
    elif isinstance(result, _SEVERAL) and not isinstance(truth, _SEVERAL):
        return None
    return float(same(result, truth))


_SEVERAL = (list, tuple, dict, set, frozenset)


def _hashable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value  # type: ignore[no-any-return]
