"""Statistics of pairs: whether there is a difference, how large it is, and which one could have been seen.

The unit is a cluster: all cases with one question, since they share its difficulty. Decisions come from flipping the
signs of the clusters' differences: between two runs of one and the same workflow either sign is as likely, so false
alarms are at most nominal at any number of cases. Sizes come with intervals from a bootstrap over the clusters.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import bisect
from scipy.stats import binom, norm, t

Floats = NDArray[np.float64]

POWER = 0.8
_LEVEL = 0.95
_FLIPS = 4999
_RESAMPLES = 2000
_BLOCK = 500
# Shares and small counts differ in few cases; a bootstrap of 20 such cases covered the truth in 62 of 100 draws,
# two pseudo-pairs of opposite sign (Bonett & Price 2012) in 99, and in 95 of 200 cases as the bootstrap does.
_SMALL_COUNT = 10


def sign_flip_p_value(sums: NDArray[np.int64]) -> float:
    """Return the exact two-sided p-value of whole-numbered differences; of -1, 0 and 1 it is McNemar's exact test.

    Examples
    --------
    >>> sign_flip_p_value(np.array([1, 1, 1, 1, 1, -1, 0]))
    0.21875
    """
    sizes = np.abs(sums[sums != 0])
    chances = np.ones(1)
    for size in sizes:
        wider = np.zeros(len(chances) + 2 * size)
        wider[: len(chances)] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    totals = np.arange(len(chances)) - sizes.sum()
    return float(min(1.0, chances[np.abs(totals) >= abs(sums.sum())].sum()))


def step_down_p_values(sums: Floats, rng: np.random.Generator) -> Floats:
    """Return two-sided p-values of several metrics together, adjusted for there being several.

    Westfall and Young's step-down of the largest statistic: all metrics of a cluster are flipped together, so metrics
    that move together cost less than they do with Holm.

    Parameters
    ----------
    sums : array of clusters x metrics
        0 where a cluster has nothing to say about a metric.
    rng : numpy.random.Generator

    Examples
    --------
    >>> sums = np.column_stack([np.full(12, 0.5), np.resize([1.0, -1.0], 12), np.zeros(12)])
    >>> step_down_p_values(sums, np.random.default_rng(0)).round(2).tolist()
    [0.0, 1.0, 1.0]
    """
    scale = np.sqrt((sums**2).sum(axis=0))
    scaled = np.divide(sums, scale, out=np.zeros_like(sums), where=scale > 0)
    seen = np.abs(scaled.sum(axis=0))
    order = np.argsort(seen)
    exceeded = np.ones(len(seen))
    for start in range(0, _FLIPS, _BLOCK):
        signs = rng.integers(0, 2, size=(min(_BLOCK, _FLIPS - start), len(sums))) * 2.0 - 1
        largest = np.maximum.accumulate(np.abs(signs @ scaled)[:, order], axis=1)
        exceeded += (largest >= seen[order] - 1e-9).sum(axis=0)
    adjusted = np.empty(len(seen))
    adjusted[order] = np.maximum.accumulate((exceeded / (_FLIPS + 1))[::-1])[::-1]
    return adjusted


def mean_interval(sums: Floats, sizes: Floats, rng: np.random.Generator, *, counts: bool) -> tuple[float, float]:
    """Return a 95 % interval of the mean difference per case: BCa bootstrap, or pseudo-pairs for small counts.

    Parameters
    ----------
    sums, sizes : array
        Of each cluster the sum of the differences and the number of cases.
    rng : numpy.random.Generator
    counts : bool
        Whether the metric is a share or a count.

    Examples
    --------
    >>> sums = np.array([0.0, 0, -1, 0, 0, -1, 0, 0])
    >>> low, high = mean_interval(sums, np.ones(8), np.random.default_rng(0), counts=True)
    >>> round(low, 2), round(high, 2)
    (-0.64, 0.24)
    """
    if counts and np.abs(sums).max() <= _SMALL_COUNT:
        return count_interval(sums, sizes)
    mean = sums.sum() / sizes.sum()
    influence = sums - mean * sizes
    if len(sums) < 2 or not (influence**2).sum() > 1e-24 * (sums**2).sum():
        return float(mean), float(mean)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    bias = norm.ppf(np.clip((means < mean).mean() + (means == mean).mean() / 2, 1e-3, 1 - 1e-3))
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    # Student's quantile and n / (n - 1): a percentile interval alone is too narrow for few clusters (Hesterberg 2015).
    reach = t.ppf((1 + _LEVEL) / 2, len(sums) - 1) * np.sqrt(len(sums) / (len(sums) - 1))
    ends = bias + np.array([-reach, reach])
    low, high = np.quantile(means, norm.cdf(bias + ends / np.maximum(1 - acceleration * ends, 0.1)))
    return float(low), float(high)


def count_interval(sums: Floats, sizes: Floats) -> tuple[float, float]:
    """Return the interval of Bonett and Price for a difference of paired shares, of clusters and of counts as well."""
    cases = sizes.sum() + 2
    mean = sums.sum() / cases
    error = np.sqrt(((sums - mean * sizes) ** 2).sum() + 2 * (1 + mean**2)) / cases
    reach = t.ppf((1 + _LEVEL) / 2, len(sums)) * error
    return float(mean - reach), float(mean + reach)


def share_interval(share: float, cases: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    Examples
    --------
    >>> [round(end, 3) for end in share_interval(1.0, 60)]
    [0.94, 1.0]
    """
    z = norm.ppf((1 + _LEVEL) / 2)
    middle = (share + z**2 / (2 * cases)) / (1 + z**2 / cases)
    reach = z * np.sqrt(share * (1 - share) / cases + z**2 / (4 * cases**2)) / (1 + z**2 / cases)
    return float(max(0.0, middle - reach)), float(min(1.0, middle + reach))


def power_of_primary(clusters: int, discordance: float, drop: float, alpha: float) -> float:
    """Return how likely McNemar's exact test finds a drop.

    Examples
    --------
    >>> round(power_of_primary(200, discordance=0.2, drop=0.1, alpha=0.04), 3)
    0.855
    """
    discordance = max(discordance, drop)
    pairs = np.arange(1, clusters + 1)
    worse = (discordance + drop) / (2 * discordance)
    return float(
        np.sum(binom.pmf(pairs, clusters, discordance) * binom.sf(_most_by_chance(clusters, alpha), pairs, worse))
    )


@lru_cache(maxsize=64)
def _most_by_chance(clusters: int, alpha: float) -> Floats:
    """Return how many of 1, 2, ... discordant pairs may go one way before the test rejects."""
    return np.asarray(binom.isf(alpha / 2, np.arange(1, clusters + 1), 0.5), dtype=float)


def detectable_drop(clusters: int, discordance: float, alpha: float) -> float | None:
    """Return the drop of the pass rate that is found with 80 % probability; None if not even a total one is.

    Examples
    --------
    >>> round(detectable_drop(200, 0.2, 0.04), 3), detectable_drop(5, 0.2, 0.04)
    (0.094, None)
    """
    if power_of_primary(clusters, discordance, 1.0, alpha) < POWER:
        return None
    return float(
        bisect(lambda drop: power_of_primary(clusters, discordance, drop, alpha) - POWER, 1e-6, 1.0, xtol=1e-4)
    )


def detectable_mean(sums: Floats, sizes: Floats, alpha: float) -> float | None:
    """Return the mean difference found with 80 % probability, from the spread seen; None for a single cluster."""
    if len(sums) < 2:
        return None
    spread = np.sqrt(((sums - sums.sum() / sizes.sum() * sizes) ** 2).sum() * len(sums) / (len(sums) - 1)) / sizes.sum()
    # Where nothing varied, nothing is known of how much it varies.
    return None if spread == 0 else float((t.ppf(1 - alpha / 2, len(sums) - 1) + norm.ppf(POWER)) * spread)
