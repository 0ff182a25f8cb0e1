"""Polynomials in named parents: linear in their coefficients, so that refitting them costs one small solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np

from causalkit.scm.arrays import FloatArray

_FEWEST_VALUES = 5


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of a polynomial: products of at most two standardised parents.

    Attributes
    ----------
    parents : tuple of str
        In the order of the columns that `design` takes.
    factors : tuple of tuple of int
        For each term the parents that are multiplied; the empty product is the intercept.
    centre, scale : ndarray, shape (parents,)
        Each parent enters as ``(x - centre) / scale``, which keeps the normal equations well conditioned.

    Examples
    --------
    >>> x = np.arange(6.0)[:, None]
    >>> terms = Terms.quadratic(("x",), x)
    >>> terms.readable(np.linalg.lstsq(terms.design(x), x[:, 0] ** 2, rcond=None)[0])["x^2"].round(6)
    np.float64(1.0)
    """

    parents: tuple[str, ...]
    factors: tuple[tuple[int, ...], ...]
    centre: FloatArray
    scale: FloatArray

    @classmethod
    def linear(cls, parents: Sequence[str], columns: FloatArray) -> Terms:
        """Intercept and each parent."""
        singles = [(index,) for index in range(len(parents))]
        return cls._of(parents, columns, [(), *singles])

    @classmethod
    def quadratic(cls, parents: Sequence[str], columns: FloatArray) -> Terms:
        """Intercept, each parent, each product of two, and each square of a parent seen at five values or more.

        A parabola goes through any three values: on so few it fits noise, and misleads between and beyond them.
        """
        coarse = {index for index in range(len(parents)) if len(np.unique(columns[:, index])) < _FEWEST_VALUES}
        pairs = [(i, j) for i, j in combinations_with_replacement(range(len(parents)), 2) if i != j or i not in coarse]
        singles = [(index,) for index in range(len(parents))]
        return cls._of(parents, columns, [(), *singles, *pairs])

    @classmethod
    def _of(cls, parents: Sequence[str], columns: FloatArray, factors: list[tuple[int, ...]]) -> Terms:
        spread = columns.std(axis=0)
        return cls(tuple(parents), tuple(factors), columns.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def design(self, columns: FloatArray) -> FloatArray:
        """Return the value of each term, shape (rows, terms), from the parents' values, shape (rows, parents)."""
        standard = (columns - self.centre) / self.scale
        return np.column_stack([np.prod(standard[:, list(term)], axis=1) for term in self.factors])

    def predict(self, columns: Sequence[FloatArray], coefficients: FloatArray) -> FloatArray:
        """Return the polynomial's value for one set of coefficients or for many at once.

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
            (column - centre) / scale for column, centre, scale in zip(columns, self.centre, self.scale, strict=True)
        ]
        value = np.zeros((columns[0].shape[0], 1))
        for term, coefficient in zip(self.factors, coefficients, strict=True):
            product = coefficient[None, :]
            for index in term:
                product = product * standard[index]
            value = value + product
        return value

    def readable(self, coefficients: FloatArray) -> dict[str, float]:
        """Return the coefficients in the parents' own units: ``intercept``, ``x``, ``x^2``, ``x*y``."""
        raw: dict[str, float] = {}
        for term, coefficient in zip(self.factors, coefficients, strict=True):
            scaled = coefficient / np.prod(self.scale[list(term)])
            for size in range(len(term) + 1):
                for kept in combinations(range(len(term)), size):
                    dropped = [index for position, index in enumerate(term) if position not in kept]
                    name = self._name(tuple(term[position] for position in kept))
                    raw[name] = raw.get(name, 0.0) + scaled * np.prod(-self.centre[dropped])
        return raw

    def _name(self, term: tuple[int, ...]) -> str:
        names = [self.parents[index] for index in term]
        if not names:
            return "intercept"
        return f"{names[0]}^2" if len(names) == 2 and names[0] == names[1] else "*".join(names)
