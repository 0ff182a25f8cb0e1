"""What the runs of one workflow cost, each run seen once and then forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import Annotated, Any, TypeGuard

import msgspec

from causalkit.workflows.records import WorkflowTrace

QUANTITIES = ("latency_ms", "vram_mb", "model_loads", "tokens", "cost_usd")
_TOKENS = (
    ("tokens",),
    ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ("input_tokens", "output_tokens"),
)
_USED_UP = frozenset({"cost_usd"}.union(*_TOKENS))
# Far above anything measured, and sums of its square still are numbers.
_LARGEST = 1e145

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Squares = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(slots=True)
class RunningMoments:
    """Count, mean, variance, minimum and maximum in O(1), one number at a time.

    Numbers are taken after Welford (1962), *Note on a method for calculating corrected sums of squares and
    products*, Technometrics 4, 419-420; two halves are put together, and the numbers held relative to one of them
    (`origin`: without it the variance of 1e9 + 0.1, 1e9 + 0.2, ... would be rounding error), after Chan, Golub and
    LeVeque (1983), *Algorithms for computing the sample variance*, The American Statistician 37, 242-247.

    Attributes
    ----------
    count : int
        How many numbers.
    origin : float
        The first of them.
    offset : float
        Their mean, relative to `origin`.
    squares : float
        The sum of their squared deviations from the mean.
    min, max : float or None
        The least and the largest; None without a number.

    Examples
    --------
    >>> seen = RunningMoments()
    >>> for number in (1.0, 2.0, 6.0):
    ...     seen.update(number)
    >>> seen.mean, seen.variance, seen.merge(seen).count
    (3.0, 7.0, 6)
    """

    count: _Count = 0
    origin: float = 0.0
    offset: float = 0.0
    squares: _Squares = 0.0
    min: float | None = None
    max: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean, None without a number."""
        return self.origin + self.offset if self.count else None

    @property
    def variance(self) -> float | None:
        """The sample variance (divided by count - 1), None below two numbers."""
        return self.squares / (self.count - 1) if self.count > 1 else None

    def update(self, value: float) -> None:
        """Take one more number, which has to be finite."""
        # NumPy's small types would round the differences.
        value = float(value)
        if self.min is None or self.max is None:
            self.origin = self.min = self.max = value
        elif value < self.min:
            self.min = value
        elif value > self.max:
            self.max = value
        self.count += 1
        shifted = value - self.origin
        before = shifted - self.offset
        self.offset += before / self.count
        self.squares += before * (shifted - self.offset)

    def merge(self, other: RunningMoments) -> RunningMoments:
        """Return the moments of both together; neither is changed."""
        if self.min is None or self.max is None or other.min is None or other.max is None:
            some = self if self.count else other
            return RunningMoments(some.count, some.origin, some.offset, some.squares, some.min, some.max)
        count = self.count + other.count
        apart = (other.origin - self.origin) + (other.offset - self.offset)
        return RunningMoments(
            count,
            self.origin,
            self.offset + apart * other.count / count,
            self.squares + other.squares + apart * apart * self.count * other.count / count,
            min(self.min, other.min),
            max(self.max, other.max),
        )


def _moments(quantity: str) -> tuple[property, property, property, property]:
    def shown(moment: str, what: str) -> property:
        doc = f"The {what} of `{quantity}`, None where too little was measured."
        return property(lambda stats: getattr(getattr(stats, quantity), moment), doc=doc)

    return shown("mean", "mean"), shown("variance", "sample variance"), shown("min", "least"), shown("max", "largest")


@dataclass(repr=False, slots=True)
class WorkflowCostStats:
    """What the runs of one workflow cost: `RunningMoments` of five quantities, each over the runs that measured it.

    A run that crashed counts as an execution and as a failure; it has no latency, but what its finished steps used
    up was used. Numbers that are not finite count as not measured.

    Attributes
    ----------
    execution_count, success_count : int
        Runs, and those that succeeded.
    latency_ms : RunningMoments
        Milliseconds of a run.
    vram_mb : RunningMoments
        Peak GPU memory in MB over the steps of a run.
    model_loads : RunningMoments
        Models loaded by the steps of a run.
    tokens : RunningMoments
        Sum over a run's steps of their attribute ``tokens``, else of ``gen_ai.usage.input_tokens`` and
        ``gen_ai.usage.output_tokens``, else of ``input_tokens`` and ``output_tokens``.
    cost_usd : RunningMoments
        Sum over a run's steps of their attribute ``cost_usd``, else ``cost_usd`` of the run's ``cost_stats``.

    Examples
    --------
    >>> stats = WorkflowCostStats()
    >>> stats.update(WorkflowTrace(request_id="a", success=True, total_latency_ms=10.0))
    >>> stats.update(WorkflowTrace(request_id="b", success=False, total_latency_ms=30.0))
    >>> stats.avg_latency_ms, stats.max_latency_ms, stats.success_rate, stats.avg_vram_mb
    (20.0, 30.0, 0.5, None)
    """

    execution_count: _Count = 0
    success_count: _Count = 0
    latency_ms: RunningMoments = field(default_factory=RunningMoments)
    vram_mb: RunningMoments = field(default_factory=RunningMoments)
    model_loads: RunningMoments = field(default_factory=RunningMoments)
    tokens: RunningMoments = field(default_factory=RunningMoments)
    cost_usd: RunningMoments = field(default_factory=RunningMoments)

    avg_latency_ms, var_latency_ms, min_latency_ms, max_latency_ms = _moments("latency_ms")
    avg_vram_mb, var_vram_mb, min_vram_mb, max_vram_mb = _moments("vram_mb")
    avg_model_loads, var_model_loads, min_model_loads, max_model_loads = _moments("model_loads")
    avg_tokens, var_tokens, min_tokens, max_tokens = _moments("tokens")
    avg_cost_usd, var_cost_usd, min_cost_usd, max_cost_usd = _moments("cost_usd")

    def __post_init__(self) -> None:
        if self.success_count > self.execution_count:
            raise ValueError(f"{self.success_count} successes of {self.execution_count} runs")

    def __repr__(self) -> str:
        latency = "?" if self.avg_latency_ms is None else f"{self.avg_latency_ms:.1f}"
        return f"<WorkflowCostStats: {self.execution_count} runs, {self.success_count} ok, {latency} ms on average>"

    @property
    def success_rate(self) -> float | None:
        """The share of runs that succeeded, None without a run."""
        return self.success_count / self.execution_count if self.execution_count else None

    def update(self, trace: WorkflowTrace) -> None:
        """Count one more run."""
        costs = run_costs(trace)
        # Before the successes, so that a fork between the two leaves nothing impossible.
        self.execution_count += 1
        self.success_count += bool(trace.success)
        for quantity, value in costs.items():
            if value is not None:
                getattr(self, quantity).update(value)

    def merge(self, other: WorkflowCostStats) -> WorkflowCostStats:
        """Return the statistics of the runs of both, as if they had been counted by one; neither is changed."""
        return WorkflowCostStats(
            self.execution_count + other.execution_count,
            self.success_count + other.success_count,
            **{name: getattr(self, name).merge(getattr(other, name)) for name in QUANTITIES},
        )


def run_costs(trace: WorkflowTrace) -> dict[str, float | None]:
    """Return what one run cost: of each of `QUANTITIES` how much, or None where it was not measured.

    Examples
    --------
    >>> from causalkit.workflows.records import WorkflowTrace
    >>> run_costs(WorkflowTrace(request_id="a", success=True, total_latency_ms=5.0))
    {'latency_ms': 5.0, 'vram_mb': None, 'model_loads': 0, 'tokens': None, 'cost_usd': None}
    """
    vram_mb: float | None = None
    tokens: float | None = None
    cost_usd: float | None = None
    model_loads = 0
    for step in trace.steps:
        model_loads += step.model_loads
        if _measured(peak := step.vram_peak_mb):
            vram_mb = peak if vram_mb is None else max(vram_mb, peak)
        if _USED_UP.isdisjoint(step.attributes):
            continue
        if (used := _tokens(step.attributes)) is not None:
            tokens = (tokens or 0.0) + used
        if _measured(cost := step.attributes.get("cost_usd")):
            cost_usd = (cost_usd or 0.0) + float(cost)
    told = trace.cost_stats.get("cost_usd") if cost_usd is None else cost_usd
    values = (trace.total_latency_ms, vram_mb, model_loads, tokens, told)
    return {name: value if _measured(value) else None for name, value in zip(QUANTITIES, values, strict=True)}


def _measured(value: Any) -> TypeGuard[float]:
    if value is None:
        return False
    kind = type(value)
    # The plain types first: asking an abstract class costs more than all the rest.
    if kind is float or kind is int or (kind is not bool and issubclass(kind, Real)):
        return bool(-_LARGEST <= value <= _LARGEST)
    return False


def _tokens(attributes: dict[str, Any]) -> float | None:
    for names in _TOKENS:
        counted = [float(number) for name in names if _measured(number := attributes.get(name))]
        if counted:
            return sum(counted)
    return None
