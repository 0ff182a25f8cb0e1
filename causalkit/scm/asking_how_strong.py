"""The questions *how strong*, each answered in a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causalkit.scm.state import FittedState

if TYPE_CHECKING:
    from causalkit.scm.impact import Impact
    from causalkit.scm.influence import Influence
    from causalkit.scm.strengths import Strengths
    from causalkit.scm.ways import Paths


@dataclass(frozen=True, eq=False, repr=False)
class HowStrongQuestions(FittedState):
    """How strong an edge, a node, a way through the graph is.

    Examples
    --------
    >>> import networkx as nx, numpy as np, pandas as pd
    >>> from causalkit.scm.fitter import SCMFitter
    >>> x, (e, f) = np.arange(400.0) % 8, np.random.default_rng(0).normal(size=(2, 400))
    >>> traces = pd.DataFrame({"x": x, "y": 2 * x + e, "z": 4 * x + e + 2 * f})
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y"), ("x", "z"), ("y", "z")]), traces)
    >>> scm.strengths("z").frame["parent"].tolist()
    ['y', 'x']
    >>> scm.influence("z").frame["node"].tolist()
    ['x', 'z', 'y']
    >>> scm.impact("x").frame["node"].tolist()
    ['y', 'z']
    >>> scm.paths("x", "z").frame["effect"].round().tolist()
    [2.0, 2.0]
    """

    def strengths(self, target: str, *, random_seed: int | None = None) -> Strengths:
        """Ask how strong every direct cause of a node is.

        Parameters
        ----------
        target : str
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        Strengths
            For each parent, how much more variance would be unexplained if its edge were cut and fed with an
            independent copy of the parent; of labels, how far their probabilities would move, in nats. Exact for sums
            and for linear, polynomial and spline mechanisms; else an average whose error is among the caveats.

        Raises
        ------
        GraphError
            If `target` is no node.
        ValidationError
            If residuals of the target's mechanism depend on its parents, and the model is not `trust`-ed.
        """
        from causalkit.scm.strengths import strengths

        return strengths(self, target, self._seed(random_seed))

    def influence(self, target: str, *, num_samples: int | None = None, random_seed: int | None = None) -> Influence:
        """Ask how much of a node's variance comes from the own noise of each node upstream, and from its own.

        Parameters
        ----------
        target : str
        num_samples : int, optional
            Draws, for nodes that reach the target otherwise than through slopes; default: 10,000, fewer (but never
            below 500) where there are more than 20 of them.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        Influence

        Raises
        ------
        GraphError
            If `target` is no node.
        CausalkitError
            If `num_samples` is no whole number of at least two.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.influence import influence

        return influence(self, target, num_samples, self._seed(random_seed))

    def impact(
        self,
        node: str,
        *,
        contrast: float = 1.0,
        values: Sequence[Any] | None = None,
        random_seed: int | None = None,
    ) -> Impact:
        """Ask by how much everything downstream of a node moves with it.

        Parameters
        ----------
        node : str
        contrast : float, default 1
            The node is raised by this much in every run. A node of two values is switched from the lower to the higher
            instead.
        values : pair, optional
            Compare setting the node to the second value with setting it to the first, instead of a shift.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        Impact

        Raises
        ------
        GraphError
            If `node` is no node or derived, or holds more than two labels and `values` does not say which to compare.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.impact import impact

        return impact(self, node, contrast, values, self._seed(random_seed))

    def paths(self, source: str, target: str, *, max_paths: int = 10) -> Paths:
        """Ask which ways the effect of one node on another takes.

        Parameters
        ----------
        source, target : str
        max_paths : int, default 10
            As many ways are listed, the strongest first; all are counted, and added up where all are linear.

        Returns
        -------
        Paths

        Raises
        ------
        GraphError
            If source or target is no node, or both are the same.
        ValidationError
            As for `intervene`.
        """
        from causalkit.scm.ways import paths

        return paths(self, source, target, max_paths)
