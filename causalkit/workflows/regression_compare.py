"""Compare two runs of the same cases: what is worse, by how much, and which steps and cases it comes from.

The comparison is declared before any result is seen. Of the 5 % of false alarms that all of it together may raise,
4 % belong to the primary comparison, passed or not (McNemar's exact test, or its form for repeats), and 1 % to the
family of latency, cost, every signal and the own time of every step; if the primary one finds a difference, the family
is judged at the full 5 % (Wiens' fallback procedure, which keeps the total).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, expm1, lcm, log
from typing import Any

import numpy as np
import pandas as pd

from causalkit.workflows.regression_cases import CaseResult
from causalkit.workflows.regression_statistics import (
    detectable_drop,
    detectable_mean,
    mean_interval,
    sign_flip_p_value,
    step_down_p_values,
)

ALPHA = 0.05
ALPHA_PRIMARY = 0.04
LATENCY_MARGIN, STEP_MARGIN = log(1.10), log(1.5)
"""Two sessions on one machine differ by this much on their own; only what goes beyond it is flagged."""
STEP = "step "
"""What the names of the metrics of steps begin with."""
_SHORTEST_MS = 1.0  # nobody waits for less; what is shorter differs by the clock rather than by the workflow
LOWER_IS_BETTER = ("latency_ms", "cost_usd", "failure_occurred")
_OTHER_NUMBERS_OF_QUESTIONS = (50, 100, 200, 500, 1000)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How one metric differs, averaged over cases.

    Attributes
    ----------
    name : str
    unit : str
        ``share``, ``relative`` (of latencies: geometric means; 0.1 is 10 % more), ``ms`` or ``value``.
    cases : int
        Which have a value on both sides.
    baseline, now, difference : float
    low, high : float
        95 % interval of the difference, not widened for there being several metrics.
    p_value : float or None
        Adjusted for there being several metrics; None where nothing is judged.
    verdict : str
        ``worse``, ``better`` or empty: no difference shown.
    detectable : float or None
        The difference that would have been found with 80 % probability.
    """

    name: str
    unit: str
    cases: int
    baseline: float
    now: float
    difference: float
    low: float
    high: float
    p_value: float | None = None
    verdict: str = ""
    detectable: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    primary : Difference
        Of the pass rate.
    secondary : tuple of Difference
        Of latency, cost, every signal, and the own time of every step, named ``step <name>``.
    steps : tuple of Difference
        Of each step's own time in milliseconds, which add up to the run's, the largest first; not judged.
    newly_failing, newly_passing : tuple of str
        Cases whose pass rate fell or rose.
    questions : int
        Different ones; cases of one question count as one.
    discordance : float
        Share of the questions that differ.
    detectable : dict
        Number of questions to the drop of the pass rate that is found with 80 % probability.
    latency_judged : bool
        Whether latencies could be compared at all.
    """

    primary: Difference
    secondary: tuple[Difference, ...]
    steps: tuple[Difference, ...]
    newly_failing: tuple[str, ...]
    newly_passing: tuple[str, ...]
    questions: int
    discordance: float
    detectable: dict[str, float | None]
    latency_judged: bool = True

    @property
    def worse(self) -> tuple[Difference, ...]:
        """What is a regression."""
        return tuple(metric for metric in (self.primary, *self.secondary) if metric.verdict == "worse")


def compare(
    results: Sequence[CaseResult],
    baseline: Sequence[CaseResult],
    *,
    lower_is_better: Collection[str] = (),
    judge_latency: bool = True,
    random_seed: int = 0,
) -> Comparison:
    """Compare the results of the same cases.

    Parameters
    ----------
    results, baseline : sequence of CaseResult
        Repetitions are averaged within a case.
    lower_is_better : collection of str
        Signals that should be low; latency, cost and ``failure_occurred`` always should, all others should be high.
    judge_latency : bool, default True
        False where the host was too busy for latencies to be the workflow's own: they are told, and flagged never.
    random_seed : int, default 0
        Of the resampling.
    """
    now, before = _by_case(results), _by_case(baseline)
    lower = {*LOWER_IS_BETTER, *lower_is_better}
    pairs = _Pairs(results, baseline, np.random.default_rng(random_seed))
    passed = pairs.difference("passed", now["passed"], before["passed"])
    change = now["passed"] - before["passed"]
    counted = (pairs.sums(change) * pairs.repeats).round().astype(np.int64).to_numpy()
    sizes = pairs.sums(change.notna().astype(float)).to_numpy()
    discordance = float(((counted / pairs.repeats / sizes) ** 2).mean())
    numbers = sorted({len(counted), *_OTHER_NUMBERS_OF_QUESTIONS})
    detectable = {str(number): detectable_drop(number, discordance, ALPHA_PRIMARY) for number in numbers}
    primary = _judged(passed, sign_flip_p_value(counted), ALPHA_PRIMARY, lower)
    return Comparison(
        primary=replace(primary, detectable=detectable[str(len(counted))]),
        secondary=_family(
            pairs, now, before, ALPHA if primary.verdict else ALPHA - ALPHA_PRIMARY, lower, judge_latency
        ),
        steps=_steps(pairs, results, baseline),
        newly_failing=tuple(map(str, change.index[change < 0])),
        newly_passing=tuple(map(str, change.index[change > 0])),
        questions=len(counted),
        discordance=discordance,
        detectable=detectable,
        latency_judged=judge_latency,
    )


class _Pairs:
    """Differences of cases, summed over those of one question."""

    def __init__(self, results: Sequence[CaseResult], baseline: Sequence[CaseResult], rng: np.random.Generator) -> None:
        self.repeats = lcm(*(1 + max(result.repeat for result in runs) for runs in (results, baseline)))
        self.rng = rng
        self._questions = pd.Series({result.id: result.question.strip() for result in results})

    def sums(self, change: pd.Series[float] | pd.DataFrame) -> Any:
        return change.groupby(self._questions).sum()

    def difference(
        self, name: str, now: pd.Series[float], before: pd.Series[float], alpha: float | None = None
    ) -> Difference:
        change = (now - before).dropna()
        sides = before[change.index], now[change.index]
        # Means of whole numbers are whole again when they are multiplied by how many they are of.
        counted = all(np.allclose(side * self.repeats % 1, 0) for side in sides)
        sums, sizes = self.sums(change).to_numpy(), self.sums(change.notna().astype(float)).to_numpy()
        low, high = mean_interval(sums, sizes, self.rng, counts=counted)
        share = counted and all(side.between(0, 1).all() for side in sides)
        found = Difference(
            name=name,
            unit="share" if share else "ms" if alpha is None else "value",
            cases=len(change),
            baseline=float(sides[0].mean()),
            now=float(sides[1].mean()),
            difference=float(change.mean()),
            low=low,
            high=high,
            detectable=detectable_mean(sums, sizes, alpha) if alpha else None,
        )
        margin = _margin(name) if alpha else None
        return found if margin is None else _as_ratio(found, margin)


def _by_case(results: Iterable[CaseResult]) -> pd.DataFrame:
    """Return each case's means over its repetitions, of latencies the mean logarithm."""
    rows = []
    for result in results:
        # How fast a run was that failed with an error says nothing about how fast answers are.
        timed = result.latency_ms if result.error is None or result.passed else None
        numbers = {name: value for name, value in result.signals.items() if isinstance(value, bool | int | float)}
        times = {"latency_ms": timed, **{STEP + name: time for name, time in result.steps.items()}} if timed else {}
        latencies = {name: log(max(time, _SHORTEST_MS)) for name, time in times.items() if time is not None}
        told = {"id": result.id, "passed": result.passed, **latencies, "cost_usd": result.cost_usd}
        rows.append({**told, **{name: value for name, value in numbers.items() if name not in told}})
    return pd.DataFrame(rows).set_index("id").astype(float).groupby(level=0, sort=False).mean()


def _family(
    pairs: _Pairs, now: pd.DataFrame, before: pd.DataFrame, alpha: float, lower: Collection[str], judge_latency: bool
) -> tuple[Difference, ...]:
    change = (now - before.reindex(now.index)).drop(columns="passed").dropna(axis=1, how="all")
    sums, known = pairs.sums(change), pairs.sums(change.notna().astype(float))
    for name in change:
        margin = _margin(str(name))
        if margin is not None:
            mean = sums[name].sum() / known[name].sum()
            beyond = (mean - np.clip(mean, -margin, margin)) * judge_latency
            sums[name] = (sums[name] - (mean - beyond) * known[name]) * (beyond != 0)
    p_values = step_down_p_values(sums.to_numpy(), pairs.rng).tolist()
    return tuple(
        _judged(pairs.difference(str(name), now[name], before[name], alpha / len(p_values)), p_value, alpha, lower)
        for name, p_value in zip(change, p_values, strict=True)
    )


def _steps(pairs: _Pairs, results: Sequence[CaseResult], baseline: Sequence[CaseResult]) -> tuple[Difference, ...]:
    rows = [
        {"side": side, "id": result.id, **result.steps}
        for side, runs in enumerate((results, baseline))
        for result in runs
        if result.steps
    ]
    if not rows:
        return ()
    # A step that did not run took no time.
    times = pd.DataFrame(rows).fillna(0.0).groupby(["side", "id"]).mean()
    now, before = (times[times.index.get_level_values("side") == side].droplevel("side") for side in (0, 1))
    if now.index.intersection(before.index).empty:
        return ()
    found = [pairs.difference(str(step), now[step], before[step]) for step in times]
    return tuple(sorted(found, key=lambda step: -abs(step.difference)))


def _judged(metric: Difference, p_value: float, alpha: float, lower: Collection[str]) -> Difference:
    worse = (metric.difference > 0) == (metric.name in lower or metric.name.startswith(STEP))
    return replace(metric, p_value=p_value, verdict=("worse" if worse else "better") if p_value <= alpha else "")


def _margin(name: str) -> float | None:
    return LATENCY_MARGIN if name == "latency_ms" else STEP_MARGIN if name.startswith(STEP) else None


def _as_ratio(logarithms: Difference, margin: float) -> Difference:
    return replace(
        logarithms,
        unit="relative",
        baseline=exp(logarithms.baseline),
        now=exp(logarithms.now),
        difference=expm1(logarithms.difference),
        low=expm1(logarithms.low),
        high=expm1(logarithms.high),
        detectable=None if logarithms.detectable is None else expm1(logarithms.detectable + margin),
    )
