"""The statistics of a stream of events: what each of them changes, and what they are now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from causalkit.errors import CausalkitError
from causalkit.operators.events import OperatorEvent
from causalkit.operators.open_ensembles import OpenEnsembles
from causalkit.operators.rolling import RollingMean, RollingQuantiles, RollingRate

Stat = tuple[str | None, ...]

_Window = TypeVar("_Window", RollingMean, RollingQuantiles)
_Value = TypeVar("_Value")

_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95}
_CORRECT = ("correct", "accuracy")
# Of more the oldest are let go: somebody may name a stage after each of his runs.
_MOST_STAGES = 1_000


class RollingStats:
    """Statistics of the last so many calls, metrics and ensembles; not to be used by two threads at once.

    Parameters
    ----------
    window_size : int

    Attributes
    ----------
    disagreement : RollingMean
        Of ensembles; whoever uses this adds to it what the votes come to.
    ensembles : OpenEnsembles
    """

    def __init__(self, window_size: int) -> None:
        self.window_size = window_size
        self.disagreement, self.ensembles = RollingMean(window_size), OpenEnsembles()
        self.num_events = self.num_calls = 0
        self.errors, self.latency = RollingMean(window_size), RollingQuantiles(window_size)
        self.ends, self.run_ends = RollingRate(window_size), RollingRate(window_size)
        self._accuracy = OrderedDict[str | None, RollingMean]()
        self._latency_by_stage = OrderedDict[str | None, RollingQuantiles]()

    def take(self, event: OperatorEvent) -> list[Any]:
        """Take an event; return the votes, if it ends a call of an ensemble."""
        self.num_events += 1
        if event.event_type == "call":
            self.num_calls += 1
            self.ensembles.began(event)
        elif event.event_type == "metric":
            self._measured(event)
        else:
            self._ended(event)
            return self.ensembles.ended(event)
        return []

    def read(self, stat: Stat) -> tuple[float | None, int]:
        """Return what a statistic is now, and from how many values."""
        if len(stat) == 1:
            return _READ[str(stat[0])](self)
        if len(stat) == 2:
            accuracy = self._accuracy.get(stat[1])
            return (None, 0) if accuracy is None else (accuracy.value, len(accuracy))
        latency = self._latency_by_stage.get(stat[1])
        return (None, 0) if latency is None else (latency.quantile(_QUANTILES[str(stat[2])]), len(latency))

    def prepare(self, stat: Stat) -> None:
        """Make ready for one who reads a statistic after each event that may change it."""
        if stat[0] == "latency_by_stage":
            self._of_stage(self._latency_by_stage, stat[1], RollingQuantiles).keep_ordered()
        elif stat[0] in _OVERALL:
            self.latency.keep_ordered()

    def now(self) -> Callable[[], dict[str, Any]]:
        """Return what makes a table of all statistics as they are now; by then they may change."""
        counted = {name: read(self)[0] for name, read in _COUNTED.items()}
        accuracy = {stage: window.value for stage, window in self._accuracy.items() if window}
        latency = {stage: window.copy() for stage, window in self._latency_by_stage.items() if window}
        overall = self.latency.copy()

        def told() -> dict[str, Any]:
            return {
                "disagreement_rate": counted.pop("disagreement_rate"),
                "accuracy_by_stage": _by_name(accuracy),
                **{f"latency_{name}": value for name, value in _quantiles(overall).items()},
                "latency_by_stage": {stage: _quantiles(window) for stage, window in _by_name(latency).items()},
                **counted,
            }

        return told

    def _measured(self, event: OperatorEvent) -> None:
        value: Any = event.data.get("value")
        if event.data.get("name") not in _CORRECT:
            return
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            # A number of NumPy, or of another array library.
            value = value.item()
        if isinstance(value, int | float):
            self._of_stage(self._accuracy, event.stage, RollingMean).add(value)

    def _ended(self, event: OperatorEvent) -> None:
        self.errors.add(event.event_type == "error")
        self.ends.add(event.timestamp)
        if event.parent_call_id is None if event.context is None else event.context.parent is None:
            self.run_ends.add(event.timestamp)
        if event.duration_ms is not None:
            self.latency.add(event.duration_ms)
            self._of_stage(self._latency_by_stage, event.stage, RollingQuantiles).add(event.duration_ms)

    def _of_stage(
        self, windows: OrderedDict[str | None, _Window], stage: str | None, kind: Callable[[int], _Window]
    ) -> _Window:
        window = windows.get(stage)
        if window is None:
            window = windows[stage] = kind(self.window_size)
            if len(windows) > _MOST_STAGES:
                windows.popitem(last=False)
        return window


_Read = Callable[[RollingStats], tuple[float | None, int]]
# Of counts there is nothing to wait for: they are known as well as what stands on a full window.
_COUNTED: dict[str, _Read] = {
    "disagreement_rate": lambda stats: (stats.disagreement.value, len(stats.disagreement)),
    "error_rate": lambda stats: (stats.errors.value, len(stats.errors)),
    "throughput_per_s": lambda stats: (stats.ends.value, len(stats.ends)),
    "runs_per_s": lambda stats: (stats.run_ends.value, len(stats.run_ends)),
    "num_events": lambda stats: (stats.num_events, stats.window_size),
    "num_calls": lambda stats: (stats.num_calls, stats.window_size),
    "open_calls": lambda stats: (stats.ensembles.num_open, stats.window_size),
    "calls_let_go": lambda stats: (stats.ensembles.num_let_go, stats.window_size),
}
_OVERALL: dict[str, _Read] = {
    "latency_p50_ms": lambda stats: (stats.latency.quantile(0.5), len(stats.latency)),
    "latency_p95_ms": lambda stats: (stats.latency.quantile(0.95), len(stats.latency)),
}
_READ = _COUNTED | _OVERALL
_ON_END = frozenset(_READ) - {"disagreement_rate", "num_calls", "calls_let_go"} | {"latency_by_stage"}
#: Which statistics an event of each type may change by itself.
CHANGED: dict[str, frozenset[str | None]] = {
    "call": frozenset({"num_events", "num_calls", "open_calls", "calls_let_go"}),
    "metric": frozenset({"num_events", "accuracy_by_stage"}),
    "result": _ON_END,
    "error": _ON_END,
}


def check_stat(stat: Stat) -> None:
    """Raise a `CausalkitError` that names what there is, if there is no such statistic."""
    match stat:
        case [str(name)] if name in _READ:
            return
        case ["accuracy_by_stage", str() | None] | ["latency_by_stage", str() | None, "p50_ms" | "p95_ms"]:
            return
    nested = ["('accuracy_by_stage', stage)", *(f"('latency_by_stage', stage, {name!r})" for name in _QUANTILES)]
    raise CausalkitError(
        f"there is no statistic {stat[0] if len(stat) == 1 else stat!r}; choose one of {', '.join([*_READ, *nested])}",
        stat=stat,
    )


def _quantiles(window: RollingQuantiles) -> dict[str, float | None]:
    window.keep_ordered()
    return {name: window.quantile(share) for name, share in _QUANTILES.items()}


def _by_name(values: dict[str | None, _Value]) -> dict[str | None, _Value]:
    # Which of several threads was heard first is chance.
    return dict(sorted(values.items(), key=lambda entry: (entry[0] is None, entry[0] or "")))
