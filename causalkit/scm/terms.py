"""Polynomials and splines in named parents: linear in their coefficients, so that refitting costs one small solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, combinations_with_replacement

import numpy as np
from scipy.interpolate import CubicSpline

from causalkit.scm.arrays import FloatArray
from causalkit.scm.features import Features

_FEWEST_VALUES = 5
_ROWS_PER_SLOPE = 5


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of a mechanism: products of standardised features, and spline functions of single features.

    Attributes
    ----------
    features : Features
    factors : tuple of tuple of int
        For each term the columns that are multiplied; the empty product is the intercept. Columns are the features
        first, then the spline functions.
    centre, scale : ndarray, shape (features,)
        Each feature enters as ``(x - centre) / scale``, which keeps the normal equations well conditioned.
    knots : tuple of (int, ndarray)
        Each splined feature with its knots, in standard units. A natural cubic spline is straight beyond them
        (Hastie, Tibshirani & Friedman 2009, *Elements of Statistical Learning*, sec. 5.2.1).

    Examples
    --------
    >>> x = np.arange(6.0)[:, None]
    >>> terms = Terms.quadratic(Features.of(["x"], {}), x)
    >>> terms.readable(np.linalg.lstsq(terms.design(x), x[:, 0] ** 2, rcond=None)[0])["x^2"].round(6)
    np.float64(1.0)
    """

    features: Features
    factors: tuple[tuple[int, ...], ...]
    centre: FloatArray
    scale: FloatArray
    knots: tuple[tuple[int, FloatArray], ...] = ()

    @classmethod
    def linear(cls, features: Features, columns: FloatArray) -> Terms:
        """Intercept and each feature."""
        matrix = features.matrix(columns)
        return cls._of(features, matrix, [(), *_singles(matrix)])

    @classmethod
    def quadratic(cls, features: Features, columns: FloatArray) -> Terms:
        """Intercept, each feature, each product of two, and each square of a feature seen at five values or more.

        A parabola goes through any three values: on so few it fits noise, and misleads between and beyond them. Nor has
        a feature products that has one value in nearly all rows: the few others would have to tell all slopes.
        """
        matrix = features.matrix(columns)
        squares = [(index, index) for index in _fine(matrix)]
        return cls._of(features, matrix, [(), *_singles(matrix), *_products(features, matrix), *squares])

    @classmethod
    def spline(cls, features: Features, columns: FloatArray, num_knots: int, *, products: bool) -> Terms:
        """Splines: a natural cubic one of each feature that has values enough; with `products` on top of `quadratic`.

        A spline goes on straight beyond the rows, where a square that is there goes on as a square.
        """
        matrix = features.matrix(columns)
        base = cls.quadratic(features, columns) if products else cls.linear(features, columns)
        standard = (matrix - base.centre) / base.scale
        placed = ((index, _place_knots(standard[:, index], num_knots)) for index in _fine(matrix))
        knots = tuple((index, places) for index, places in placed if len(places) >= _FEWEST_VALUES - 1)
        num_functions = sum(len(places) - 2 for _, places in knots)
        functions = [(matrix.shape[1] + number,) for number in range(num_functions)]
        return cls(features, (*base.factors, *functions), base.centre, base.scale, knots)

    @classmethod
    def _of(cls, features: Features, matrix: FloatArray, factors: list[tuple[int, ...]]) -> Terms:
        spread = matrix.std(axis=0)
        return cls(features, tuple(factors), matrix.mean(axis=0), np.where(spread > 0, spread, 1.0))

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents, in the order of their columns."""
        return self.features.parents

    def __len__(self) -> int:
        return len(self.factors)

    def design(self, columns: FloatArray) -> FloatArray:
        """Return the value of each term, shape (rows, terms), from the parents' values, shape (rows, parents)."""
        standard = (self.features.matrix(columns) - self.centre) / self.scale
        design = np.empty((len(columns), len(self)))
        functions = len(self) - self._num_functions
        for place, term in enumerate(self.factors[:functions]):
            design[:, place] = standard[:, term[0]] if len(term) == 1 else np.prod(standard[:, list(term)], axis=1)
        for index, spline in self._splines:
            values = spline(standard[:, index])
            design[:, functions : functions + values.shape[1]] = values
            functions += values.shape[1]
        return design

    def predict(self, columns: Sequence[FloatArray], coefficients: FloatArray) -> FloatArray:
        """Return the sum of all terms for one set of coefficients or for many at once.

        Parameters
        ----------
        columns : sequence of ndarray, each of shape (rows, 1) or (rows, sets)
            The parents' values.
        coefficients : ndarray, shape (terms, 1) or (terms, sets)

        Returns
        -------
        ndarray, shape (rows, 1) or (rows, sets)
        """
        if all(column.shape[1] == 1 for column in columns):
            return self.design(np.hstack(columns)) @ coefficients
        standard = [
            (feature - centre) / scale
            for feature, centre, scale in zip(self.features.expand(columns), self.centre, self.scale, strict=True)
        ]
        value = np.zeros((columns[0].shape[0], 1))
        for term, coefficient in zip(self.factors, coefficients, strict=True):
            product = coefficient[None, :]
            for index in term:
                product = product * self._column(index, standard)
            value = value + product
        return value

    def readable(self, coefficients: FloatArray) -> dict[str, float]:
        """Return the coefficients of the polynomial part in the parents' own units: ``intercept``, ``x``, ``x*y``."""
        raw: dict[str, float] = {}
        for term, coefficient in zip(self.factors, coefficients, strict=True):
            if any(index >= len(self.centre) for index in term):
                continue
            scaled = coefficient / np.prod(self.scale[list(term)])
            for size in range(len(term) + 1):
                for kept in combinations(range(len(term)), size):
                    dropped = [index for position, index in enumerate(term) if position not in kept]
                    name = self._name(tuple(term[position] for position in kept))
                    raw[name] = raw.get(name, 0.0) + scaled * np.prod(-self.centre[dropped])
        return raw

    def curves(self, coefficients: FloatArray) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Return the knots of each splined feature, in its own units, and what its spline functions add there."""
        found, names, start = {}, self.features.names, len(self.factors) - self._num_functions
        for index, knots in self.knots:
            inner = coefficients[start : start + len(knots) - 2]
            start += len(knots) - 2
            found[names[index]] = (knots * self.scale[index] + self.centre[index], np.array([0.0, *inner, 0.0]))
        return found

    @property
    def _num_functions(self) -> int:
        return sum(len(knots) - 2 for _, knots in self.knots)

    @cached_property
    def _splines(self) -> list[tuple[int, Callable[[FloatArray], FloatArray]]]:
        return [(index, _natural_spline(knots)) for index, knots in self.knots]

    def _column(self, index: int, standard: Sequence[FloatArray]) -> FloatArray:
        if index < len(standard):
            return standard[index]
        place = index - len(standard)
        for feature, knots in self.knots:
            if place < len(knots) - 2:
                return _natural_spline(knots, place)(standard[feature])[..., 0]
            place -= len(knots) - 2
        raise IndexError(index)

    def _name(self, term: tuple[int, ...]) -> str:
        names = [self.features.names[index] for index in term]
        powers = {name: names.count(name) for name in names}
        return "*".join(name if power == 1 else f"{name}^{power}" for name, power in powers.items()) or "intercept"


def _singles(matrix: FloatArray) -> list[tuple[int, ...]]:
    return [(index,) for index in range(matrix.shape[1])]


def _products(features: Features, matrix: FloatArray) -> list[tuple[int, ...]]:
    owners, steady = features.owners, _steady(matrix)
    pairs = combinations_with_replacement(range(len(owners)), 2)
    # Two indicators of one parent are never 1 together.
    return [(i, j) for i, j in pairs if owners[i] != owners[j] and not (steady[i] or steady[j])]


def _steady(matrix: FloatArray) -> list[bool]:
    """Return which features have another value than their usual one in too few rows to tell a slope of each other."""
    others = np.sum(matrix != np.median(matrix, axis=0), axis=0)
    return list(others < _ROWS_PER_SLOPE * matrix.shape[1])


def _fine(matrix: FloatArray) -> list[int]:
    return [index for index in range(matrix.shape[1]) if _has_values(matrix[:, index])]


def _has_values(column: FloatArray) -> bool:
    # The first hundred rows nearly always tell; sorting all of them is what costs.
    return len(np.unique(column[:100])) >= _FEWEST_VALUES or len(np.unique(column)) >= _FEWEST_VALUES


def _place_knots(values: FloatArray, num_knots: int) -> FloatArray:
    """Return knots half as evenly spread over the rows, half over their range: tails bend too."""
    ordered = np.sort(values)[np.linspace(0.005 * len(values), 0.995 * (len(values) - 1), 201).astype(np.int64)]
    length = ordered[-1] - ordered[0]
    place = np.linspace(0, 1, len(ordered)) + (ordered - ordered[0]) / (length if length > 0 else 1.0)
    return np.unique(np.interp(np.linspace(0, 2, num_knots), place, ordered))


def _natural_spline(knots: FloatArray, only: int | None = None) -> Callable[[FloatArray], FloatArray]:
    """Return the natural cubic splines that are 1 at one inner knot and 0 at all others, as columns (last axis)."""
    inner = np.eye(len(knots))[:, 1:-1] if only is None else np.eye(len(knots))[:, [only + 1]]
    spline = CubicSpline(knots, inner, bc_type="natural")
    slopes = spline(knots[[0, -1]], 1)

    def evaluate(values: FloatArray) -> FloatArray:
        beyond = values - np.clip(values, knots[0], knots[-1])
        found = np.asarray(spline(values - beyond))
        outside = beyond != 0
        sides = slopes[(beyond[outside] > 0).astype(np.int64)]
        found[outside] += beyond[outside][:, None] * sides
        return found

    return evaluate
