"""The questions *how strong*, each answered in a module of its own."""

from __future__ import annotations

from dataclasses import dataclass

from causalkit.scm.state import FittedState


@dataclass(frozen=True, eq=False, repr=False)
class HowStrongQuestions(FittedState):
    """How strong an edge, a node, a way through the graph is."""
