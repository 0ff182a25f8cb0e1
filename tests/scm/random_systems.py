"""Random systems whose noise is known: wide ones of numbers, and a small one with labels and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
import pandas as pd

CURVES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": lambda x: 2 * np.tanh(x),
    "sine": lambda x: 1.5 * np.sin(x),
    "square": lambda x: 0.4 * x**2,
    "hinge": lambda x: np.maximum(x, 0) + 0.2 * x,
    "line": lambda x: x,
}
# Parents are at most this many nodes away, which makes the graph deep.
NEAR = 12
POPULATION = 2000
# Of Student's t with 5 degrees of freedom, to be divided by for a standard deviation of 1.
T5_SCATTER = np.sqrt(5 / 3)


@dataclass(frozen=True)
class RandomSystem:
    """A node is a weighted sum of curves of its standardised parents, and noise; all nodes lead to the last one."""

    graph: nx.DiGraph
    ways: Mapping[str, list[tuple[str, float, str]]]
    scatter: Mapping[str, float]
    heavy: bool

    @classmethod
    def of(cls, seed: int, *, curved: bool = False, heavy: bool = False, num_nodes: int = 50) -> RandomSystem:
        """Draw a system, with up to three parents a node, and one of a few curves from each of them or lines only."""
        rng = np.random.default_rng([seed, 7])
        graph = _random_graph([f"n{place:02}" for place in range(num_nodes)], rng)
        curves = list(CURVES) if curved else ["line"]
        ways = {
            node: [
                (parent, rng.choice([-1, 1]) * rng.uniform(0.5, 1.5), str(rng.choice(curves)))
                for parent in sorted(graph.predecessors(node))
            ]
            for node in graph
        }
        return cls(graph, ways, {node: float(rng.uniform(0.3, 1.5)) for node in graph}, heavy)

    @property
    def nodes(self) -> list[str]:
        return sorted(self.graph)

    @property
    def target(self) -> str:
        return self.nodes[-1]

    def noise(
        self, rng: np.random.Generator, num_rows: int, faults: Mapping[str, float] | None = None
    ) -> dict[str, np.ndarray]:
        """Draw noise in standard deviations of it; `faults` are added."""
        size = (len(self.nodes), num_rows)
        drawn = rng.standard_t(5, size) / T5_SCATTER if self.heavy else rng.normal(size=size)
        return {node: drawn[place] + (faults or {}).get(node, 0.0) for place, node in enumerate(self.nodes)}

    def respond(self, noise: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Return the rows that this noise makes."""
        return _respond(self, noise, self.normal)

    def table(self, rng: np.random.Generator, num_rows: int, faults: Mapping[str, float] | None = None) -> pd.DataFrame:
        return self.respond(self.noise(rng, num_rows, faults))

    @cached_property
    def normal(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each node."""
        found: dict[str, tuple[float, float]] = {}
        _respond(self, self.noise(np.random.default_rng(0), POPULATION), found)
        return found


def _random_graph(nodes: list[str], rng: np.random.Generator) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    for place, node in enumerate(nodes[1:], start=1):
        near = nodes[max(0, place - NEAR) : place]
        num_parents = min(len(near), int(rng.integers(place >= 5, 4)))
        graph.add_edges_from((str(parent), node) for parent in rng.choice(near, num_parents, replace=False))
    graph.add_edges_from([(node, nodes[-1]) for node in nodes[:-1] if graph.out_degree(node) == 0])
    return graph


def _respond(
    system: RandomSystem, noise: Mapping[str, np.ndarray], normal: dict[str, tuple[float, float]]
) -> pd.DataFrame:
    values: dict[str, np.ndarray] = {}
    for node in system.nodes:
        values[node] = system.scatter[node] * noise[node]
        for parent, weight, curve in system.ways[node]:
            mean, scatter = normal[parent]
            values[node] = values[node] + weight * CURVES[curve]((values[parent] - mean) / scatter)
        normal.setdefault(node, (float(values[node].mean()), float(values[node].std())))
    return pd.DataFrame(values)


LABELLED = nx.DiGraph(
    [
        ("region", "latency"),
        ("cached", "latency"),
        ("retries", "latency"),
        ("load", "retries"),
        ("load", "size"),
        ("size", "latency"),
        ("load", "failed"),
        ("failed", "latency"),
    ]
)
RARE = 0.002


def labelled_table(
    rng: np.random.Generator,
    num_rows: int,
    shifts: Mapping[str, float] | None = None,
    values: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """Draw a service with labels, a switch, counts and failures above its latency, and set or shift some of them.

    One request in 500 comes from the region ``south`` or fails; a failure costs 30, ``south`` 20, a retry 4, a hit of
    the cache saves 5; the noise of latency has standard deviation 2.
    """
    shifts, values = shifts or {}, values or {}
    load, size_noise, noise = rng.normal(size=(3, num_rows))
    table = pd.DataFrame({"load": load + shifts.get("load", 0.0)})
    table["region"] = rng.choice(["east", "south", "west"], num_rows, p=[0.5, RARE, 0.5 - RARE])
    table["cached"] = rng.random(num_rows) < 0.6
    table["retries"] = rng.poisson((1.5 + 0.4 * table["load"]).clip(0.1)) + int(shifts.get("retries", 0))
    table["size"] = 10 + 3 * table["load"] + size_noise + shifts.get("size", 0.0)
    table["failed"] = rng.random(num_rows) < RARE * np.exp(table["load"].clip(-1, 1))
    for node, value in values.items():
        table[node] = value
    region = table["region"].map({"east": 0.0, "south": 20.0, "west": 3.0})
    table["latency"] = 40 + region - 5 * table["cached"] + 4 * table["retries"] + 2 * table["size"]
    table["latency"] += 30 * table["failed"] + 2 * noise + shifts.get("latency", 0.0)
    return table
