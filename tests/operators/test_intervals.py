from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import disagreement
from causalkit.operators.intervals import Estimate, mean, share

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]]


def coverage(estimate: Callable[..., Estimate], draw: Draw, truth: float, repeats: int) -> float:
    rng = np.random.default_rng(7)
    found = [estimate(*draw(rng)).interval for _ in range(repeats)]
    return float(np.mean([low <= truth <= high for low, high in found]))


def not_below(hit: float, repeats: int, nominal: float) -> bool:
    """Return whether a coverage is compatible with the nominal one or more, up to 1 in 10,000 by chance."""
    return bool(stats.binom.cdf(round(hit * repeats), repeats, nominal) > 1e-4)


def independent(p: float, n: int) -> Draw:
    return lambda rng: (rng.random(n) < p, None)


def clustered(p: float, groups: int, correlation: float = 0.3) -> Draw:
    """Draw truth values in clusters of 1 to 10 that have a share of their own (beta-binomial)."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        shares = rng.beta(*(q * (1 - correlation) / correlation for q in (p, 1 - p)), groups)
        codes = np.repeat(np.arange(groups), rng.integers(1, 11, groups))
        return rng.random(len(codes)) < shares[codes], codes

    return draw


def distinct(members: int, labels: int, n: int) -> tuple[Draw, float]:
    """Draw the disagreement of votes at random; with its expected value."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, None]:
        votes = np.sort(rng.integers(labels, size=(n, members)), axis=1)
        return (votes[:, 1:] != votes[:, :-1]).sum(axis=1) / (members - 1), None

    return draw, (labels * (1 - (1 - 1 / labels) ** members) - 1) / (members - 1)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_share_of_independent_truth_values_has_wilsons_interval(values: list[bool]) -> None:
    found = share(values)
    wilson = stats.binomtest(sum(values), len(values)).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    assert (float(found), found.n, found.clusters) == (np.mean(values), len(values), len(values))


@pytest.mark.parametrize("good", [1, 10, 199])
def test_it_is_that_of_statsmodels(good: int) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    found = share([1] * good + [0] * (200 - good)).interval
    assert found == pytest.approx(proportion.proportion_confint(good, 200, method="wilson"), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=20))
def test_a_share_lies_within_its_interval_and_that_within_0_and_1(rows: list[tuple[float, int]]) -> None:
    found = share(*zip(*rows, strict=True))
    low, high = found.interval
    assert 0 <= low <= found.value <= high <= 1
    assert low < high


@given(st.lists(st.booleans(), min_size=2, max_size=30))
def test_clusters_of_one_value_are_no_clusters_and_copies_are_no_knowledge(values: list[bool]) -> None:
    assert share(values, [f"call {place}" for place in range(len(values))]) == share(values)
    twice = share(values * 2, [*range(len(values))] * 2)
    assert (twice.n, twice.clusters) == (2 * len(values), len(values))
    assert twice.interval[1] - twice.interval[0] > (np.subtract(*share(values).interval[::-1]))


def test_clusters_that_balance_themselves_are_worth_no_more_than_independent_values() -> None:
    values, codes = [0, 1] * 50, [place // 2 for place in range(100)]
    low, high = share(values, codes).interval
    assert low < share(values).interval[0] < share(values).interval[1] < high


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [20, 100, 1000])
def test_the_share_of_independent_truth_values_is_covered(p: float, n: int, proof: bool) -> None:
    # For a given share Wilson's coverage swings about 95 %, as values are whole; it is known without drawing.
    ways = np.arange(n + 1)
    hit = [low <= p <= high for low, high in (share(ways[1:] <= way).interval for way in ways)]
    assert stats.binom.pmf(ways, n, p)[hit].sum() == pytest.approx(0.95, abs=0.03)
    if proof:
        assert coverage(share, independent(p, n), p, 20_000) == pytest.approx(
            stats.binom.pmf(ways, n, p)[hit].sum(), abs=0.01
        )


# With few clusters of a rare kind none may hold one: what such a sample shows is too little to know it by.
@pytest.mark.parametrize(
    ("p", "groups", "nominal"),
    [(0.3, 5, 0.95), (0.5, 10, 0.94), (0.1, 30, 0.92), (0.3, 30, 0.94), (0.5, 30, 0.94), (0.1, 200, 0.94)],
)
def test_the_share_of_clustered_truth_values_is_covered(p: float, groups: int, nominal: float, proof: bool) -> None:
    repeats = 10_000 if proof else 400
    hit = coverage(share, clustered(p, groups), p, repeats)
    print(f"share, {groups} clusters, p = {p}: {hit:.3f}")
    assert not_below(hit, repeats, nominal)


def test_without_their_clusters_the_same_values_would_claim_too_much() -> None:
    draw = clustered(0.5, 30)
    assert coverage(lambda values, codes: share(values), draw, 0.5, 400) < 0.85


@pytest.mark.parametrize(("members", "labels"), [(3, 10), (7, 3), (7, 10)])
@pytest.mark.parametrize("n", [10, 30, 300])
def test_the_mean_disagreement_is_covered(members: int, labels: int, n: int, proof: bool) -> None:
    repeats = 10_000 if proof else 400
    draw, truth = distinct(members, labels, n)
    hit = coverage(share, draw, truth, repeats)
    print(f"distinct of {members} members, {labels} labels, {n} calls: {hit:.3f}")
    # Of 7 members with 3 labels all calls but some have 3 distinct votes: 30 calls show too few of the others.
    assert not_below(hit, repeats, 0.9 if (labels, n) == (3, 30) else 0.94)


def test_the_expected_disagreement_of_these_tests_is_that_of_the_measure() -> None:
    draw, truth = distinct(4, 5, 20_000)
    votes = np.random.default_rng(3).integers(5, size=(20_000, 4))
    assert np.mean([disagreement(row) for row in votes.tolist()]) == pytest.approx(truth, abs=0.01)
    assert draw(np.random.default_rng(3))[0].mean() == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize("groups", [5, 30, 200])
@pytest.mark.parametrize("together", [False, True])
def test_the_mean_of_any_numbers_is_covered(groups: int, together: bool, proof: bool) -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        codes = np.repeat(np.arange(groups), rng.integers(1, 11, groups) if together else 1)
        return 20 + rng.normal(size=groups)[codes] + rng.normal(size=len(codes)), codes

    repeats = 10_000 if proof else 400
    hit = coverage(mean, draw, 20, repeats)
    print(f"mean, {groups} {'clusters' if together else 'values'}: {hit:.3f}")
    # Clusters of unequal size weigh as if they were fewer.
    assert not_below(hit, repeats, 0.9 if together and groups == 5 else 0.94)


def test_the_mean_of_independent_numbers_has_students_interval() -> None:
    values = np.random.default_rng(0).normal(size=12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean(values).interval == pytest.approx((expected.low, expected.high))


def test_where_all_values_are_equal_each_cluster_counts_as_one() -> None:
    assert share([0.0] * 50) == share([False] * 50)
    assert share([0.0] * 50).interval[0] == 0
    assert share([1.0] * 50).interval[1] == 1
    fewer = share([0.0] * 50, [place // 5 for place in range(50)])
    assert fewer.clusters == 10
    assert fewer.interval[1] > share([0.0] * 10).interval[1] > share([0.0] * 50).interval[1]
    assert mean([2.5] * 4).interval == (2.5, 2.5)


def test_no_values_and_a_single_cluster_tell_nothing_about_others() -> None:
    assert str(share([])) == "Estimate(nan, interval 0.00 to 1.00, n=0, clusters=0)"
    assert math.isnan(mean([]).value)
    assert share([0, 1, 1], ["a"] * 3) == Estimate(2 / 3, (0.0, 1.0), 3, 1)
    assert share([0.5]) == Estimate(0.5, (0.0, 1.0), 1, 1)
    assert mean([1, 2], ["a", "a"]) == Estimate(1.5, (-math.inf, math.inf), 2, 1)


@pytest.mark.parametrize("estimate", [share, mean])
def test_missing_values_and_clusters_of_other_length_are_refused(estimate: Callable[..., Estimate]) -> None:
    for value in (math.nan, math.inf, None):
        with pytest.raises(CausalkitError, match="missing or infinite"):
            estimate([0.5, value])
    with pytest.raises(CausalkitError, match="3 values but clusters for 2"):
        estimate([0, 1, 1], ["a", "b"])


def test_a_share_of_what_is_no_share_is_refused() -> None:
    for values in ([0.5, 1.1], [-0.1, 0.5]):
        with pytest.raises(CausalkitError, match="from 0 to 1"):
            share(values)
