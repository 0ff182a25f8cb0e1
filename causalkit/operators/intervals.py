"""Shares and means of values that come in clusters, with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causalkit.errors import CausalkitError
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from typing import Any

    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]
    IntArray = np.ndarray[Any, np.dtype[np.int64]]

# Of a 95 % interval, below whose upper end lie:
_TAIL = 0.975


@dataclass(frozen=True, repr=False)
class Estimate:
    """A value known from data, with its 95 % interval.

    Parameters
    ----------
    value : float
        NaN where there are no data.
    interval : tuple of (float, float)
        Low and high end.
    n : int
        How many values it is known from.
    clusters : int
        How many of these are independent of one another.

    Examples
    --------
    >>> Estimate(0.25, (0.15, 0.38), n=50, clusters=50)
    Estimate(0.25, interval 0.15 to 0.38, n=50, clusters=50)
    """

    value: float
    interval: tuple[float, float]
    n: int
    clusters: int

    def __repr__(self) -> str:
        told = f"{number(self.value)}, interval {interval(self.interval)}, n={self.n}, clusters={self.clusters}"
        return f"Estimate({told})"

    def __float__(self) -> float:
        return self.value


def share(values: Iterable[float], clusters: Iterable[Hashable] | None = None) -> Estimate:
    """Return the mean of values from 0 to 1, with Wilson's interval of as many truth values as they are worth.

    Parameters
    ----------
    values : iterable of float
        From 0 to 1; truth values count as these. Missing ones are left out beforehand.
    clusters : iterable, optional
        For each value what it shares with others, such as its run. Default: each stands alone.

    Raises
    ------
    CausalkitError
        If a value is missing or outside 0 to 1, or the clusters are not as many as the values.

    Notes
    -----
    Truth values that stand alone have Wilson's own interval (1927). For others he is given the effective sample size,
    p (1 - p) over the squared standard error of the mean, at most that of the same values standing alone, and Student's
    t in place of the normal quantile, since the standard error is estimated: Korn and Graubard (1998), Franco, Little,
    Louis and Slud (2019). Where all values are equal, each cluster counts as one.

    Examples
    --------
    >>> share([True] * 45 + [False] * 5)
    Estimate(0.90, interval 0.79 to 0.96, n=50, clusters=50)
    """
    from scipy.special import ndtri, stdtrit

    data, codes, found = _sample(values, clusters)
    if not len(data):
        return Estimate(math.nan, (0.0, 1.0), 0, 0)
    if not 0 <= data.min() <= data.max() <= 1:
        raise CausalkitError("a share is of values from 0 to 1 and one is not; ask for the mean of such values")
    value = float(data.mean())
    counted = found == len(data) and bool(((data == 0) | (data == 1)).all())
    if found == 1 and not counted:
        return Estimate(value, (0.0, 1.0), len(data), 1)
    worth = float(found)
    if data.min() < data.max():
        alone, clustered = ((data - value) ** 2).sum(), _scatter(data, codes, found, counted)
        worth = value * (1 - value) * len(data) ** 2 / max(alone, clustered)
    reach = float(ndtri(_TAIL) if counted else stdtrit(found - 1, _TAIL))
    middle, half = _wilson(value, worth, reach)
    # Rounding must not leave the value itself outside.
    bounds = max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value))
    return Estimate(value, bounds, len(data), found)


def mean(values: Iterable[float], clusters: Iterable[Hashable] | None = None) -> Estimate:
    """Return the mean of any numbers with Student's interval, its standard error robust to clusters.

    Parameters
    ----------
    values : iterable of float
        Finite. Missing ones are left out beforehand.
    clusters : iterable, optional
        For each value what it shares with others, such as its run. Default: each stands alone.

    Raises
    ------
    CausalkitError
        If a value is missing or infinite, or the clusters are not as many as the values.

    Notes
    -----
    A single cluster does not tell how far others would be from it: its interval has no ends.

    Examples
    --------
    >>> mean([4.0, 5.0, 7.0, 4.0])
    Estimate(5.00, interval 2.75 to 7.25, n=4, clusters=4)
    """
    from scipy.special import stdtrit

    data, codes, found = _sample(values, clusters)
    value = float(data.mean()) if len(data) else math.nan
    if found < 2:
        return Estimate(value, (-math.inf, math.inf), len(data), found)
    half = float(stdtrit(found - 1, _TAIL)) * math.sqrt(_scatter(data, codes, found, False)) / len(data)
    return Estimate(value, (value - half, value + half), len(data), found)


def _sample(values: Iterable[float], clusters: Iterable[Hashable] | None) -> tuple[FloatArray, IntArray, int]:
    """Return the values, the number of each one's cluster, and how many clusters there are."""
    import numpy as np

    data = np.asarray(list(values), float)
    if not np.isfinite(data).all():
        raise CausalkitError("values to average are missing or infinite; leave those out", values=data)
    if clusters is None:
        return data, np.arange(len(data)), len(data)
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], int)
    if len(codes) != len(data):
        raise CausalkitError(
            f"there are {len(data)} values but clusters for {len(codes)}; give each value its cluster",
            values=len(data),
            clusters=len(codes),
        )
    return data, codes, len(numbers)


def _scatter(data: FloatArray, codes: IntArray, found: int, counted: bool) -> float:
    """Return the squared standard error of the mean times the squared number of values."""
    import numpy as np

    sums = np.bincount(codes, data - data.mean())
    # Residuals are smaller than errors, hence n - 1 in a variance; Wilson's own interval has no need of it.
    return float((sums**2).sum()) * (1 if counted else found / (found - 1))


def _wilson(value: float, worth: float, reach: float) -> tuple[float, float]:
    """Return the middle and half the width of Wilson's interval of a share of so many truth values."""
    shrink = 1 + reach**2 / worth
    half = reach * math.sqrt(value * (1 - value) / worth + reach**2 / (4 * worth**2))
    return (value + reach**2 / (2 * worth)) / shrink, half / shrink
