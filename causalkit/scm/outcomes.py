"""What an answer is about: a node, or the share of one of its labels (``mode=fast``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from causalkit.errors import GraphError
from causalkit.scm.arrays import FloatArray

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState


@dataclass(frozen=True)
class Outcome:
    """An outcome by its name.

    Attributes
    ----------
    name : str
        As it was asked for.
    node : str
    place : int or None
        Of the label whose share is meant, among the node's; None: the node's own mean.

    Examples
    --------
    >>> Outcome("mode=fast", "mode", 1).column(np.array([0.0, 1.0, 2.0])).tolist()
    [0.0, 1.0, 0.0]
    """

    name: str
    node: str
    place: int | None = None

    @classmethod
    def of(cls, scm: FittedState, name: str) -> Outcome:
        """Return the outcome of a name.

        Raises
        ------
        GraphError
            If it is neither a node that has a mean nor the share of a label.
        """
        node, _, label = name.rpartition("=")
        if node in scm.levels and label in map(str, scm.levels[node]):
            return cls(name, node, list(map(str, scm.levels[node])).index(label))
        if name not in scm.graph:
            raise GraphError(f"{name!r} is no node of the model; known are {', '.join(scm.graph)}", node=name)
        labels = scm.levels.get(name, ())
        if len(labels) > 2:
            raise GraphError(
                f"{name!r} holds labels, which have no mean; ask for the share of one: {f'{name}={labels[0]}'!r}",
                node=name,
            )
        return cls(name, name)

    def column(self, values: FloatArray) -> FloatArray:
        """Return the outcome in rows, from the node's values there."""
        return values if self.place is None else np.equal(values, self.place).astype(float)

    def mean(self, means: Mapping[str, FloatArray]) -> FloatArray:
        """Return the outcome's mean, from those that `mean_replicates` gives."""
        if self.name in means:
            return means[self.name]
        # The mean of a node of two labels is the share of the second.
        return means[self.node] if self.place == 1 else 1 - means[self.node]
