"""Tables whose answers are known, shared by the tests: the reference recipes and a small clustered service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
from scipy.stats import binom

ROWS_A_CLUSTER = 12
DEPTHS = np.arange(1, 9)
MEAN_LOAD = 1.0


@dataclass(frozen=True)
class Service:
    """A knob, a load, two steps whose times they decide, and their sum; half of all noise is shared by a cluster.

    The steps are ``search_ms = 20 + 3 depth + noise`` and ``rank_ms = 10 + search_ms / 2 + 2 load
    + interaction * depth * load + noise``; noises have standard deviation 4, load is normal around 1.
    """

    interaction: float = 0.0
    depth_by_cluster: bool = False

    @property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph(
            [("depth", "search_ms"), ("search_ms", "rank_ms"), ("load", "rank_ms"), ("depth", "rank_ms")]
        )
        graph.add_edges_from([("search_ms", "total_ms"), ("rank_ms", "total_ms")], kind="sum")
        graph.nodes["depth"]["role"] = "knob"
        graph.nodes["total_ms"]["derived"] = "sum"
        return graph

    @property
    def effect_of_depth(self) -> float:
        """On the mean of ``total_ms``, one more."""
        return 4.5 + self.interaction * MEAN_LOAD

    def mean_total(self, depth: float) -> float:
        """The population's mean of ``total_ms`` when depth is set."""
        return 1.5 * (20 + 3 * depth) + 10 + MEAN_LOAD * (2 + self.interaction * depth)

    def table(
        self, rng: np.random.Generator, num_rows: int = 1200, shifts: Mapping[str, float] | None = None
    ) -> pd.DataFrame:
        """Draw rows with fresh clusters; `shifts` are added to the noise of nodes."""
        shifts = shifts or {}
        clusters = np.arange(num_rows) // ROWS_A_CLUSTER

        def noise(node: str, scale: float) -> np.ndarray:
            shared = rng.normal(size=clusters[-1] + 1)[clusters]
            return np.sqrt(0.5) * scale * (shared + rng.normal(size=num_rows)) + shifts.get(node, 0.0)

        depth = self._depths(rng, clusters) + shifts.get("depth", 0.0)
        load = MEAN_LOAD + noise("load", 1.0)
        search = 20 + 3 * depth + noise("search_ms", 4.0)
        rank = 10 + search / 2 + 2 * load + self.interaction * depth * load + noise("rank_ms", 4.0)
        columns = {"question": clusters, "depth": depth, "load": load, "search_ms": search, "rank_ms": rank}
        return pd.DataFrame({**columns, "total_ms": search + rank})

    def _depths(self, rng: np.random.Generator, clusters: np.ndarray) -> np.ndarray:
        single = rng.choice(DEPTHS, size=len(clusters)).astype(float)
        if not self.depth_by_cluster:
            return single
        shared = rng.choice(DEPTHS, size=clusters[-1] + 1)[clusters]
        return np.where(rng.random(len(clusters)) < 0.85, shared, single)


def linear_chain(num_rows: int = 1000, seed: int = 42) -> pd.DataFrame:
    """X -> Y -> Z with coefficients 2 and 3."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=num_rows)
    y = 2 * x + rng.normal(0, 0.1, num_rows)
    return pd.DataFrame({"X": x, "Y": y, "Z": 3 * y + rng.normal(0, 0.1, num_rows)})


def multi_parent(num_rows: int = 1000, seed: int = 42) -> pd.DataFrame:
    """Z from X and Y with coefficients 1.5 and 2.5."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, num_rows))
    return pd.DataFrame({"X": x, "Y": y, "Z": 1.5 * x + 2.5 * y + rng.normal(0, 0.1, num_rows)})


def nonlinear(num_rows: int = 1000, seed: int = 42) -> pd.DataFrame:
    """A parabola, of which a straight line explains nothing."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, num_rows)
    return pd.DataFrame({"X": x, "Y": x**2 + rng.normal(0, 0.5, num_rows)})


def two_columns(noise: float, num_rows: int = 1000, seed: int = 42) -> pd.DataFrame:
    """Y = 2 X and noise of this standard deviation."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=num_rows)
    return pd.DataFrame({"X": x, "Y": 2 * x + noise * rng.normal(size=num_rows)})


def validation_function(num_rows: int = 1000, seed: int = 42) -> pd.DataFrame:
    """An output that is missing wherever its input is not valid."""
    x = np.random.default_rng(seed).uniform(-5, 5, num_rows)
    return pd.DataFrame({"input": x, "is_valid": x > 0, "output": np.where(x > 0, 2 * x + 1, np.nan)})


def complex_dag(num_rows: int = 1000, seed: int = 42) -> pd.DataFrame:
    """A diamond: the total effect of A on D is 2 + 1.5 / 2 = 2.75."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=num_rows)
    b, c = 2 * a + rng.normal(0, 0.1, num_rows), 1.5 * a + rng.normal(0, 0.1, num_rows)
    return pd.DataFrame({"A": a, "B": b, "C": c, "D": b + 0.5 * c + rng.normal(0, 0.1, num_rows)})


def fewest(share: float, num_trials: int, risk: float = 1e-4) -> float:
    """The share of successes that a true rate of `share` stays below with a probability under `risk`."""
    return float(binom.ppf(risk / 2, num_trials, share)) / num_trials


def most(share: float, num_trials: int, risk: float = 1e-4) -> float:
    """The share of successes that a true rate of `share` exceeds with a probability under `risk`."""
    return float(binom.ppf(1 - risk / 2, num_trials, share)) / num_trials
