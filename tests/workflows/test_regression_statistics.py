from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from causalkit.workflows.regression_cases import CaseResult
from causalkit.workflows.regression_compare import ALPHA, ALPHA_PRIMARY, Comparison, compare
from causalkit.workflows.regression_statistics import (
    detectable_drop,
    mean_interval,
    power_of_primary,
    share_interval,
    sign_flip_p_value,
    step_down_p_values,
)

Rng = np.random.Generator


class Service:
    """A simulated workflow: each case has a chance to pass, a usual latency and a usual length of its answer."""

    def __init__(self, rng: Rng, cases: int) -> None:
        self.chance = rng.beta(6, 2, cases)
        self.latency = rng.normal(4, 0.6, cases)
        self.length = rng.normal(400, 100, cases)

    def run(self, rng: Rng, repeat: int = 1) -> list[CaseResult]:
        return [self._result(rng, case, number) for case in range(len(self.chance)) for number in range(repeat)]

    def _result(self, rng: Rng, case: int, repeat: int) -> CaseResult:
        passed = bool(rng.random() < self.chance[case])
        signals = {
            "citation_count": int(rng.poisson(3)),
            "answer_length": int(rng.normal(self.length[case], 50)),
            "has_search": True,
            "has_citations": bool(rng.random() < 0.95),
            "has_structure": bool(rng.random() < 0.5),
            "failure_occurred": not passed,
        }
        latency_ms = float(np.exp(self.latency[case] + rng.normal(0, 0.3)))
        return result(case, passed=passed, repeat=repeat, latency_ms=latency_ms, signals=signals)


def result(case: int, *, passed: bool, question: str | None = None, **told: object) -> CaseResult:
    return CaseResult(id=f"c{case}", question=question or f"q{case}", fingerprint="f", passed=passed, **told)  # type: ignore[arg-type]


def flags(comparison: Comparison) -> list[str]:
    return [metric.name for metric in (comparison.primary, *comparison.secondary) if metric.verdict]


def wilson_low(share: float, n: int) -> float:
    return share_interval(share, n)[0]


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=60))
def test_without_repeats_the_primary_comparison_is_the_exact_test_of_mcnemar(differences: list[int]) -> None:
    worse, differing = differences.count(-1), sum(map(abs, differences))
    expected = binomtest(worse, differing).pvalue if differing else 1.0
    assert sign_flip_p_value(np.array(differences)) == pytest.approx(expected)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_with_repeats_it_counts_all_ways_to_flip_the_signs(differences: list[int]) -> None:
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(differences))).reshape(len(differences), -1)
    totals = np.abs(np.array(differences) @ signs)
    expected = (totals >= abs(sum(differences))).mean()
    assert sign_flip_p_value(np.array(differences)) == pytest.approx(expected)


def test_two_runs_of_one_workflow_raise_a_flag_in_at_most_five_of_a_hundred_replays(proof: bool) -> None:
    rng = np.random.default_rng(6)
    for repeat, replays in ((1, 1000 if proof else 25), (3, 1000 if proof else 25)):
        alarms = 0
        for _ in range(replays):
            service = Service(rng, 60)
            alarms += bool(flags(compare(service.run(rng, repeat), service.run(rng, repeat))))
        print(f"repeat {repeat}: {alarms} false alarms in {replays} replays")
        assert wilson_low(alarms / replays, replays) <= ALPHA
        assert not proof or alarms / replays <= ALPHA


def test_the_family_alone_keeps_its_level_for_skewed_and_tied_metrics(proof: bool) -> None:
    rng = np.random.default_rng(7)
    replays = 2000 if proof else 100
    found = 0
    for _ in range(replays):
        same = rng.exponential(1, (40, 2, 1)) * rng.lognormal(0, 1, (40, 2, 5)).round(1)
        found += bool((step_down_p_values(same[:, 0] - same[:, 1], rng) <= 0.05).any())
    assert wilson_low(found / replays, replays) <= 0.05


def test_a_drop_of_ten_points_on_two_hundred_cases_is_found_four_times_in_five(proof: bool) -> None:
    rng = np.random.default_rng(8)
    draws = 1000 if proof else 40
    found = 0
    for _ in range(draws):
        change = rng.choice([-1, 0, 1], p=[0.15, 0.8, 0.05], size=200)
        before = [result(case, passed=bool(c == -1 or (c == 0 and case % 2))) for case, c in enumerate(change)]
        now = [result(case, passed=bool(c == 1 or (c == 0 and case % 2))) for case, c in enumerate(change)]
        found += compare(now, before).primary.verdict == "worse"
    print(f"{found} of {draws} drops found, {power_of_primary(200, 0.2, 0.1, ALPHA_PRIMARY):.3f} calculated")
    assert share_interval(found / draws, draws)[1] >= 0.8
    assert not proof or found / draws >= 0.8
    assert power_of_primary(200, 0.2, 0.1, ALPHA_PRIMARY) > 0.85


@pytest.mark.parametrize("cases", [20, 200, 1000])
def test_the_drop_that_can_be_shown_is_shown_with_the_power_told(cases: int) -> None:
    drop = detectable_drop(cases, 0.2, ALPHA_PRIMARY)
    assert drop is not None
    assert power_of_primary(cases, 0.2, drop, ALPHA_PRIMARY) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("before", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("now", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("cases", [1, 2, 5])
def test_few_cases_ties_and_constants_neither_warn_nor_raise_a_flag(cases: int, now: float, before: float) -> None:
    runs = [
        [result(case, passed=case < cases * rate, latency_ms=5.0, signals={"tone": 0.5}) for case in range(cases)]
        for rate in (now, before)
    ]
    comparison = compare(*runs)
    assert flags(comparison) == []
    for metric in (comparison.primary, *comparison.secondary):
        assert metric.low <= metric.difference <= metric.high


def test_intervals_hold_the_truth_as_often_as_they_say(proof: bool) -> None:
    rng = np.random.default_rng(9)
    draws = 1000 if proof else 150
    shares = [rng.choice([-1.0, 0.0, 1.0], p=[0.07, 0.9, 0.03], size=60) for _ in range(draws)]
    times = [rng.normal(0.05, 0.2, 60) for _ in range(draws)]
    for drawn, truth, counts in ((shares, -0.04, True), (times, 0.05, False)):
        ends = [mean_interval(sums, np.ones(60), rng, counts=counts) for sums in drawn]
        held = np.mean([low <= truth <= high for low, high in ends])
        assert share_interval(float(held), draws)[1] >= 0.95


def test_cases_of_one_question_count_as_one() -> None:
    runs = [
        [result(case, passed=passed, question="one and the same") for case in range(30)] for passed in (False, True)
    ]
    comparison = compare(*runs)
    assert (comparison.questions, comparison.primary.verdict) == (1, "")
    apart = [[result(case, passed=passed) for case in range(30)] for passed in (False, True)]
    assert compare(*apart).primary.verdict == "worse"


def test_a_slower_workflow_is_found_with_the_size_of_the_slowdown() -> None:
    rng = np.random.default_rng(11)
    service = Service(rng, 60)
    before = service.run(rng)
    service.latency += np.log(1.5)
    comparison = compare(service.run(rng), before)
    (latency,) = (metric for metric in comparison.secondary if metric.name == "latency_ms")
    assert latency.verdict == "worse"
    assert latency.low < 0.5 < latency.high
    assert flags(compare(service.run(rng), before, judge_latency=False)) == []


def test_a_slow_step_is_found_where_the_whole_run_hides_it() -> None:
    rng = np.random.default_rng(12)

    def run(check_ms: float) -> list[CaseResult]:
        noise = np.exp(rng.normal(0, 0.2, (40, 2)))
        steps = [{"find": 90 * find, "check": check_ms * check} for find, check in noise]
        return [result(case, passed=True, latency_ms=sum(own.values()), steps=own) for case, own in enumerate(steps)]

    comparison = compare(run(6.0), run(2.0))
    assert flags(comparison) == ["step check"]
    assert comparison.worse[0].low < 2.0 < comparison.worse[0].high


def test_which_way_is_worse_follows_the_signal() -> None:
    def run(value: float) -> list[CaseResult]:
        return [result(case, passed=True, signals={"tone": value + case}) for case in range(20)]

    assert compare(run(1), run(0)).secondary[0].verdict == "better"
    assert compare(run(1), run(0), lower_is_better={"tone"}).secondary[0].verdict == "worse"


def test_the_cases_that_flipped_and_the_steps_that_moved_are_named() -> None:
    before = [result(case, passed=True, latency_ms=3.0, steps={"find": 1.0, "write": 2.0}) for case in range(9)]
    now = [result(case, passed=case != 4, latency_ms=7.0, steps={"find": 5.0, "write": 2.0}) for case in range(9)]
    comparison = compare(now, before)
    assert comparison.newly_failing == ("c4",)
    assert flags(comparison) == ["latency_ms", "step find"]
    assert [(step.name, step.difference) for step in comparison.steps] == [("find", 4.0), ("write", 0.0)]
