"""What is measured of each result of an operator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causalkit.errors import CausalkitError
from causalkit.wording import one_line

if TYPE_CHECKING:
    from causalkit.operators.open_calls import OpenCall

_log = logging.getLogger("causalkit.operators")
# By identity: two may share a name, and need not have a hash.
_reported: dict[int, Any] = {}


@dataclass(frozen=True)
class AccuracyMetric:
    """Whether a result is the truth, which the input brings along: 1.0 or 0.0.

    Parameters
    ----------
    ground_truth_key : str
        The argument, or the key of an argument that is a mapping, under which the truth stands.
    name : str, default "accuracy"
        Under which it is reported.
    equal : callable, optional
        Takes the result and the truth; default value equality (`causalkit.operators.agreement.same`).

    Examples
    --------
    >>> metric = AccuracyMetric("label")
    >>> metric(3, {"image": None, "label": 3}), metric(5, {"case": {"label": 3}})
    (1.0, 0.0)
    """

    ground_truth_key: str
    name: str = "accuracy"
    equal: Callable[[Any, Any], bool] | None = None

    def __call__(self, result: Any, inputs: Any) -> float:
        """Return 1.0 if the result is the truth.

        Raises
        ------
        CausalkitError
            If there is no truth under the key.
        """
        from causalkit.operators.agreement import same

        return float(bool((self.equal or same)(result, self._truth(inputs))))

    def _truth(self, inputs: Any) -> Any:
        places = [inputs, *inputs.values()] if isinstance(inputs, Mapping) else [inputs]
        for place in places:
            if isinstance(place, Mapping) and self.ground_truth_key in place:
                return place[self.ground_truth_key]
        raise CausalkitError(
            f"the input has no {self.ground_truth_key!r}, so nothing says what is right; name an argument or a key of "
            "one",
            ground_truth_key=self.ground_truth_key,
        )


def report_metrics(
    call: OpenCall, metrics: Sequence[Callable[[Any, Any], Any]], result: Any, inputs: Mapping[str, Any]
) -> None:
    """Report what each metric makes of a result; one that raises is reported once and disturbs nothing.

    Parameters
    ----------
    call : OpenCall
        That is about to return.
    metrics : sequence of callable
        Each gets the result and the arguments by name; what returns None reports nothing.
    result : Any
    inputs : mapping
    """
    from causalkit.operators.open_calls import report_metric

    for metric in metrics:
        name = str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)
        try:
            value = metric(result, inputs)
        except Exception as error:
            if id(metric) not in _reported:
                _reported[id(metric)] = metric
                told = one_line(repr(error), 200)
                _log.error("the metric %s of %s raised %s; it is not reported again", name, call.metadata.id, told)
            continue
        if value is not None:
            report_metric(call, name, value)
