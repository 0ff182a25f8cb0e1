"""How likely chance alone goes this far, also where it never went as far before.

Up to nine tenths of the way the normal values themselves are counted; beyond, a generalised Pareto tail is fitted to
the outermost tenth on that side (peaks over threshold: Pickands 1975, *Statistical inference using extreme order
statistics*; for anomalies in streams: Siffer et al. 2017). Counting alone could never call one row of five hundred
unlikelier than 1 / 501, which is not enough where fifty nodes are asked.
"""

from __future__ import annotations

import numpy as np

from causalkit.scm.arrays import FloatArray

# The share of values on one side that its tail is fitted to, and the fewest.
_SHARE, _FEWEST = 0.1, 25
# A tail much lighter than exponential is not believed: a wrong guess of its end would make anything beyond impossible.
_SHAPES = (-0.1, 0.8)


def two_sided(value: float, normal: FloatArray) -> float:
    """Return the probability of a value at least this far out, on either side.

    Parameters
    ----------
    value : float
    normal : ndarray, shape (values,)
        What chance alone gave.

    Returns
    -------
    float
        Never 0; twice the probability on the value's own side.

    Examples
    --------
    >>> normal = np.random.default_rng(0).normal(size=2000)
    >>> [round(two_sided(value, normal), 3) for value in (0.5, 1.96, 3.0)]
    [0.606, 0.043, 0.003]
    >>> two_sided(8.0, normal) < 1e-6
    True
    """
    centre = float(np.median(normal))
    beyond = normal - centre if value >= centre else centre - normal
    return min(1.0, max(2 * _upper(abs(value - centre), np.sort(beyond)), np.finfo(float).tiny))


def _upper(distance: float, ordered: FloatArray) -> float:
    size = len(ordered)
    kept = min(max(_FEWEST, int(_SHARE * size)), size // 2)
    further = size - int(np.searchsorted(ordered, distance * (1 - 1e-12)))
    counted = (1 + further) / (1 + size)
    if kept < 2 or distance <= ordered[-kept - 1]:
        return counted
    excess = ordered[-kept:] - ordered[-kept - 1]
    return kept / size * _pareto(distance - float(ordered[-kept - 1]), excess)


def _pareto(distance: float, excess: FloatArray) -> float:
    """Return the probability of an excess above `distance`, by probability-weighted moments (Hosking & Wallis 1987).

    Averaged over the shape as estimated and one and two standard errors heavier: a tail is known from few values only.
    """
    size = len(excess)
    mean = float(excess.mean())
    weighted = float(np.mean((1 - (np.arange(1, size + 1) - 0.35) / size) * excess))
    if mean <= 0:
        return 1 / (1 + size)
    estimated = 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else _SHAPES[1]
    shapes = np.clip(estimated + np.arange(3) / np.sqrt(size), *_SHAPES)
    return float(np.mean([_survival(distance, shape, mean * (1 - shape)) for shape in shapes]))


def _survival(distance: float, shape: float, scale: float) -> float:
    if abs(shape) < np.finfo(float).eps:
        return float(np.exp(-distance / scale))
    return float(max(1 + shape * distance / scale, 0.0) ** (-1 / shape))
