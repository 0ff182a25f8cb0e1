"""The fitted structural causal model and the questions that can be put to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError
from causalkit.graphs import topological_order
from causalkit.scm.arrays import FloatArray, IntArray
from causalkit.scm.blocks import Moments, resampled_weights
from causalkit.scm.interventions import Intervention
from causalkit.scm.selection import Mechanism
from causalkit.scm.validation import ValidationReport
from causalkit.streams import stream

if TYPE_CHECKING:
    import networkx as nx

    from causalkit.scm.backtest import Backtest
    from causalkit.scm.causes import RootCauses
    from causalkit.scm.effects import EffectResult
    from causalkit.scm.questions import InterventionResult


# Refits behind every interval: a 95 % percentile interval needs some hundreds (Efron & Tibshirani 1993, ch. 14).
NUM_REPLICATES = 400


@dataclass(frozen=True, eq=False, repr=False)
class FittedSCM:
    """A causal graph with one mechanism or formula per node, fitted to a trace table.

    Made by `SCMFitter.fit`; nothing of it changes afterwards.

    Attributes
    ----------
    graph : networkx.DiGraph
        A copy of the caller's.
    mechanisms : dict of str to Mechanism
        The fitted nodes; roots have none (they are the recorded rows themselves).
    derived : dict of str to str
        Nodes that are formulas of their parents (``sum`` or ``max``): accounting, never fitted.
    report : ValidationReport
        How each mechanism did on held-out rows.
    table : pandas.DataFrame
        The numeric trace table the model was fitted to.
    blocks : ndarray of int, shape (rows,)
        Rows that are resampled together.
    groups : str or None
        The column that named the clusters.
    caveats : tuple of str
        What was left out before the fit.
    random_seed : int
        Where every later draw begins unless told otherwise.

    Examples
    --------
    >>> import networkx as nx
    >>> import numpy as np
    >>> from causalkit.scm.fitter import SCMFitter
    >>> depth, noise = np.arange(400.0) % 8, np.random.default_rng(0).normal(size=400)
    >>> traces = pd.DataFrame({"depth": depth, "total_ms": 2 * depth + 5 + noise})
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("depth", "total_ms")]), traces)
    >>> round(scm.intervene({"depth": 4}).of("total_ms")["mean"])
    13
    >>> round(scm.effect("depth", "total_ms").value)
    2
    >>> slow = traces.head(80).assign(total_ms=lambda rows: rows["total_ms"] + 9)
    >>> scm.root_causes(slow, "total_ms").frame["node"].tolist()
    ['total_ms']
    >>> len(scm.backtest(traces, by=["depth"], outcome="total_ms").frame)
    8
    """

    graph: nx.DiGraph[str]
    mechanisms: dict[str, Mechanism]
    derived: dict[str, str]
    report: ValidationReport
    table: pd.DataFrame
    blocks: IntArray
    groups: str | None
    caveats: tuple[str, ...]
    random_seed: int

    def sample(self, n: int = 1000, *, random_seed: int | None = None) -> pd.DataFrame:
        """Draw rows from the model as it is.

        Parameters
        ----------
        n : int, default 1000
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        pandas.DataFrame
            `n` rows, one column per node. Roots are drawn jointly, row by row, so that what is correlated stays so;
            each mechanism's noise is drawn from its residuals on rows of like fitted value.
        """
        from causalkit.scm.questions import draw

        return draw(self, n, {}, self._seed(random_seed))

    def intervene(
        self,
        interventions: Mapping[str, Intervention],
        num_samples: int = 1000,
        *,
        random_seed: int | None = None,
    ) -> InterventionResult:
        """Ask what would happen if nodes were set, shifted or scaled.

        Parameters
        ----------
        interventions : mapping
            Node -> a number (set it), `Shift`, `Scale`, or a function of an array.
        num_samples : int, default 1000
            Draws for the distributions; the means and their intervals come from the recorded rows.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        InterventionResult

        Raises
        ------
        GraphError
            If a node is unknown or derived, or cannot be set to what was given.
        """
        from causalkit.scm.questions import intervene

        return intervene(self, interventions, num_samples, self._seed(random_seed))

    def effect(
        self,
        treatment: str,
        outcome: str,
        contrast: float = 1.0,
        *,
        values: Sequence[float] | None = None,
        random_seed: int | None = None,
    ) -> EffectResult:
        """Ask how much the outcome's mean moves with the treatment.

        Parameters
        ----------
        treatment, outcome : str
        contrast : float, default 1
            The treatment is raised by this much in every run. A treatment of two values is switched from the lower to
            the higher instead.
        values : pair of float, optional
            Compare setting the treatment to the second value with setting it to the first, instead of a shift.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        EffectResult

        Raises
        ------
        GraphError
            If treatment or outcome is no node, or the treatment is derived.
        """
        from causalkit.scm.effects import effect

        return effect(self, treatment, outcome, contrast, values, self._seed(random_seed))

    def root_causes(
        self,
        abnormal: pd.DataFrame,
        target: str,
        normal: pd.DataFrame | None = None,
        *,
        alpha: float = 0.05,
        random_seed: int | None = None,
    ) -> RootCauses:
        """Ask which nodes made the target abnormal in these rows.

        Parameters
        ----------
        abnormal : pandas.DataFrame
            The rows to explain, with the column that the model was grouped by where there is one.
        target : str
        normal : pandas.DataFrame, optional
            What to compare with; default: the rows the model was fitted to.
        alpha : float, default 0.05
            Share of wholly normal batches in which some node may be named all the same.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        RootCauses

        Raises
        ------
        GraphError
            If `target` is no node.
        FitError
            If a table does not fit the graph or is empty.
        """
        from causalkit.scm.causes import root_causes

        return root_causes(self, abnormal, target, normal, alpha, self._seed(random_seed))

    def backtest(
        self,
        recorded: pd.DataFrame,
        by: Sequence[str],
        outcome: str,
        *,
        min_rows: int = 20,
        random_seed: int | None = None,
    ) -> Backtest:
        """Ask whether predictions for recorded settings came true.

        Parameters
        ----------
        recorded : pandas.DataFrame
            Rows that the model was not fitted to.
        by : sequence of str
            Nodes whose values make a setting.
        outcome : str
        min_rows : int, default 20
            Settings with fewer rows are left out.
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        Backtest

        Raises
        ------
        GraphError
            If `by` or `outcome` names no node.
        FitError
            If a column is missing or no setting has enough rows.
        """
        from causalkit.scm.backtest import backtest

        return backtest(self, recorded, by, outcome, min_rows, self._seed(random_seed))

    @cached_property
    def order(self) -> list[str]:
        """Nodes, parents before children, in an order that does not depend on how the graph was written."""
        return topological_order(self.graph)

    @cached_property
    def replicate_weights(self) -> FloatArray:
        """How often each block counts in each bootstrap replicate, shape (replicates, blocks)."""
        return resampled_weights(int(self.blocks.max()) + 1, NUM_REPLICATES, stream(self.random_seed, "replicates"))

    @cached_property
    def fits(self) -> dict[str, FloatArray]:
        """Every mechanism's coefficients, fitted and then refitted in each replicate, shape (terms, 1 + replicates)."""
        return {
            node: np.hstack([mechanism.coefficients[:, None], self._refit(mechanism)])
            for node, mechanism in self.mechanisms.items()
        }

    @cached_property
    def dowhy(self) -> Any:
        """The same model as a ``dowhy.gcm.InvertibleStructuralCausalModel``: what DoWhy offers works on it."""
        try:
            from causalkit.scm.mechanisms import to_dowhy
        except ModuleNotFoundError as error:
            raise CausalkitError(
                f"the model as DoWhy has it needs {error.name}, which is not installed here; dowhy is to be had for "
                "Python below 3.14 (everything else of this model works without it)",
                module=error.name,
            ) from error
        return to_dowhy(self)

    def to_dict(self) -> dict[str, Any]:
        """Return graph, mechanisms with readable coefficients, and validation as JSON can hold them."""
        from causalkit.scm.readable import as_dict

        return as_dict(self)

    def role(self, node: str) -> str:
        """Return ``knob`` for a node that was set at random by design; otherwise the role its graph gives it, or ''."""
        return str(self.graph.nodes[node].get("role", ""))

    def __repr__(self) -> str:
        state = "passed" if self.report.passed else f"failed on {', '.join(self.report.failed_nodes)}"
        return f"<FittedSCM: {len(self.graph)} nodes, {len(self.table)} rows, validation {state}>"

    def _seed(self, random_seed: int | None) -> int:
        return self.random_seed if random_seed is None else random_seed

    def _refit(self, mechanism: Mechanism) -> FloatArray:
        design = mechanism.terms.design(self.table[list(mechanism.parents)].to_numpy())
        target = self.table[mechanism.node].to_numpy()
        return Moments.of(design, target, self.blocks).solve(self.replicate_weights)
