"""Parents as numbers: a label becomes one column of 0 and 1 for each label but the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalkit.scm.arrays import FloatArray


@dataclass(frozen=True)
class Features:
    """What a mechanism computes with: each numeric parent itself, each nominal one as indicators of its labels.

    Attributes
    ----------
    parents : tuple of str
        In the order of the columns that `expand` takes.
    labels : tuple of (tuple or None)
        The labels of each nominal parent; None for numbers, booleans and ordered categories, which enter as they are.

    Examples
    --------
    >>> features = Features.of(["depth", "mode"], {"mode": ("deep", "fast", "off")})
    >>> features.names
    ('depth', 'mode=fast', 'mode=off')
    >>> np.hstack(features.expand([np.array([[5.0]]), np.array([[2.0]])])).tolist()
    [[5.0, 0.0, 1.0]]
    """

    parents: tuple[str, ...]
    labels: tuple[tuple[Any, ...] | None, ...]

    @classmethod
    def of(cls, parents: Sequence[str], nominal: Mapping[str, tuple[Any, ...]]) -> Features:
        """Return the features of parents, of which some are nominal."""
        labels = (nominal.get(parent) for parent in parents)
        return cls(tuple(parents), tuple(None if of == (False, True) else of for of in labels))

    @property
    def names(self) -> tuple[str, ...]:
        """One name a feature."""
        pairs = zip(self.parents, self.labels, strict=True)
        return tuple(
            name
            for parent, labels in pairs
            for name in ([parent] if labels is None else [f"{parent}={label}" for label in labels[1:]])
        )

    @property
    def owners(self) -> tuple[int, ...]:
        """Return which parent each feature comes from."""
        widths = (1 if labels is None else len(labels) - 1 for labels in self.labels)
        return tuple(index for index, width in enumerate(widths) for _ in range(width))

    def expand(self, columns: Sequence[FloatArray]) -> list[FloatArray]:
        """Return one array a feature, from one array a parent; all of one shape."""
        features: list[FloatArray] = []
        for column, labels in zip(columns, self.labels, strict=True):
            if labels is None:
                features.append(column)
            else:
                features += [np.equal(column, place).astype(float) for place in range(1, len(labels))]
        return features

    def matrix(self, columns: FloatArray) -> FloatArray:
        """Return the features of rows, shape (rows, features), from the parents' values, shape (rows, parents)."""
        if all(labels is None for labels in self.labels):
            return columns
        parts = self.expand(list(columns.T[:, :, None]))
        return np.hstack(parts) if parts else np.empty((len(columns), 0))
