"""The fitted structural causal model and the questions that can be put to it, each answered in a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from causalkit.errors import CausalkitError
from causalkit.scm.asking_how_strong import HowStrongQuestions
from causalkit.scm.asking_what_if import WhatIfQuestions
from causalkit.scm.asking_why import WhyQuestions
from causalkit.scm.validation import ValidationReport


@dataclass(frozen=True, eq=False, repr=False)
class FittedSCM(WhatIfQuestions, HowStrongQuestions, WhyQuestions):
    """A causal graph with one mechanism or formula per node, fitted to a trace table.

    Made by `SCMFitter.fit`; nothing of it changes afterwards. What it consists of stands in `FittedState`.

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

    def cross_validate(self, traces: pd.DataFrame, k: int = 5, *, random_seed: int | None = None) -> ValidationReport:
        """Judge mechanisms, chosen and fitted anew in each of `k` folds, on the rows of that fold.

        Parameters
        ----------
        traces : pandas.DataFrame
        k : int, default 5
        random_seed : int, optional
            Default: the model's own.

        Returns
        -------
        ValidationReport
            Each score is the mean over folds, with the interval of that mean over folds.

        Raises
        ------
        FitError
            If `k` is below 2, or the table does not fit the graph.
        """
        from causalkit.scm.validating import cross_validate

        return cross_validate(self, traces, k, self._seed(random_seed))

    def divergence(self, traces: pd.DataFrame, *, random_seed: int | None = None) -> float:
        """Return the Kullback-Leibler divergence of recorded rows from the model's own, in nats; near 0 is good.

        The nearest-neighbour estimator of Wang, Kulkarni & Verdu (2009) on all standardised columns together; it may be
        slightly below 0. `traces` are rows that the model was not fitted to: it draws the roots of those that it was.
        """
        from causalkit.scm.validating import divergence

        return divergence(self, traces, self._seed(random_seed))

    def invertible(self) -> bool:
        """Return whether every recorded value comes back from its noise: abduction followed by the mechanisms."""
        from causalkit.scm.validating import invertible

        return invertible(self)

    def save(self, path: str | Path) -> None:
        """Write the model to one file, whole or not at all.

        Parameters
        ----------
        path : path
            A zip file: JSON, arrays, and learners as skops files; nothing in it is executed when it is loaded.

        Raises
        ------
        OSError
            If the file cannot be written; what was there before stays.
        """
        from causalkit.scm.storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> FittedSCM:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        FittedSCM
            With the same seed it draws the same numbers.

        Raises
        ------
        ModelFormatError
            If the file is no model, is damaged, or holds a type that is not trusted.
        """
        from causalkit.scm.storage import load

        return load(path)

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
