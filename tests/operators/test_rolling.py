from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.operators.rolling import RollingMean, RollingQuantiles, RollingRate

SIZES = st.integers(1, 8)
VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-6))
START = datetime(2026, 1, 2, tzinfo=UTC)


@given(SIZES, VALUES)
def test_the_mean_is_that_of_the_last_values_after_each_of_them(size: int, values: list[float]) -> None:
    window = RollingMean(size)
    for end, value in enumerate(values, 1):
        window.add(value)
        last = values[:end][-size:]
        assert len(window) == len(last)
        assert window.value == pytest.approx(math.fsum(last) / len(last), rel=1e-9, abs=1e-15)


@given(SIZES, VALUES, st.floats(0, 1), st.booleans())
def test_quantiles_are_numpys_of_the_last_values(size: int, values: list[float], share: float, ordered: bool) -> None:
    window = RollingQuantiles(size)
    for end, value in enumerate(values, 1):
        if ordered and end == 3:
            window.keep_ordered()
        window.add(value)
        assert window.quantile(share) == pytest.approx(float(np.quantile(values[:end][-size:], share)), abs=1e-9)


def test_nothing_of_what_left_the_window_stays_behind() -> None:
    window, rng = RollingMean(7), random.Random(0)  # noqa: S311
    for _ in range(100_000):
        window.add(rng.uniform(0, 1e9))
    for _ in range(7):
        window.add(0.0)
    assert window.value == 0.0


def test_the_mean_of_thirds_is_exact_after_a_million_of_them() -> None:
    window = RollingMean(99)
    for place in range(1_000_000):
        window.add((0.1, 1 / 3, 0.9)[place % 3])
    exact = (Fraction(0.1) + Fraction(1 / 3) + Fraction(0.9)) / 3
    assert window.value is not None
    assert abs(Fraction(window.value) - exact) < Fraction(1, 2**52)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_finite_number_is_left_out(value: float) -> None:
    mean, quantiles = RollingMean(3), RollingQuantiles(3)
    for window in (mean, quantiles):
        window.add(2.0)
        window.add(value)
        assert len(window) == 1
    assert (mean.value, quantiles.quantile(0.5)) == (2.0, 2.0)


def test_a_copy_does_not_change_with_the_original() -> None:
    window = RollingQuantiles(3)
    window.add(1)
    alone = window.copy()
    window.add(5)
    assert (alone.quantile(1), window.quantile(1)) == (1, 5)


def test_of_nothing_there_is_no_statistic() -> None:
    assert (RollingMean(3).value, RollingQuantiles(3).quantile(0.5), RollingRate(3).value) == (None, None, None)


@given(SIZES, st.lists(st.integers(0, 1000), min_size=2))
def test_the_rate_is_of_the_last_moments(size: int, gaps: list[int]) -> None:
    window, moments = RollingRate(size), [START]
    for gap in gaps:
        moments.append(moments[-1] + timedelta(milliseconds=gap))
    for moment in moments:
        window.add(moment)
    took = sum((after - before).total_seconds() for before, after in pairwise(moments[-size:]))
    assert window.value == (pytest.approx((min(size, len(moments)) - 1) / took) if took else None)


def test_a_clock_that_goes_backwards_gives_no_rate() -> None:
    window = RollingRate(3)
    window.add(START)
    window.add(START - timedelta(seconds=1))
    assert window.value is None
