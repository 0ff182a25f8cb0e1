"""What collecting costs beside a plain loop and beside NumPy: ``python -m tests.benchmarks.collect``.

CPU seconds of one run each, the lowest of a few; only the ratios say something on another machine.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.collect.collector import collect_traces
from causalkit.collect.functions import check_function

NODES, ROOTS, SEED = 100, 10, 7
SHAPES = (
    "{a} * 0.5 + {b} * 0.25",
    "{a} - {b} / 3 + 1",
    "abs({a}) * 0.5 - {b} * 0.1",
    "np.where({a} > {b}, {a}, 0.5 * {b})",
    "np.exp(-abs({a})) + 0.5 * {b}",
)


def main() -> None:
    # Without numpy, whose single values are so slow that they would hide what the engine itself costs.
    loop = cpu(lambda: plain_loop(10_000))
    arithmetic = cpu(lambda: collect(10_000, "rows", ARITHMETIC))
    print(f"rows engine / plain loop, 10,000 rows of {NODES} nodes: {arithmetic / loop:.2f} (at most 1.3)")
    rows = cpu(lambda: collect(10_000, "rows"))
    program = cpu(lambda: numpy_program(1_000_000), runs=2)
    columns = cpu(lambda: collect(1_000_000, "columns"), runs=2)
    print(f"columns engine / NumPy program, 1,000,000 rows: {columns / program:.2f} (at most 3)")
    print(f"rows engine (from 10,000 rows) / columns engine, 1,000,000 rows: {100 * rows / columns:.0f} (at least 50)")
    small = 1000 * cpu(lambda: collect(1000, "auto"), runs=7)
    print(f"1,000 rows of {NODES} nodes, live callables, warm: {small:.1f} ms (under 20)")
    child = 1000 * wall(lambda: collect(1000, "auto", SOURCES))
    print(f"the same from source in the isolated child, warm, by the clock: {child:.1f} ms")
    for engine, num_rows in (("columns", 1_000_000), ("rows", 20_000)):
        print(f"peak memory / finished table, {engine}, {num_rows:,} rows: {memory(engine, num_rows):.2f} (at most 2)")


def dag(shapes: Sequence[str]) -> tuple[nx.DiGraph[str], dict[str, str]]:
    """A graph of 10 roots and 90 nodes with two parents each, and the sources of their functions."""
    generator = np.random.default_rng(SEED)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(f"n{node}" for node in range(NODES))
    code = {}
    for node in range(ROOTS, NODES):
        a, b = (f"n{parent}" for parent in generator.choice(node, 2, replace=False))
        graph.add_edges_from([(a, f"n{node}"), (b, f"n{node}")])
        body = shapes[node % len(shapes)].format(a=a, b=b)
        code[f"n{node}"] = f"import numpy as np\ndef n{node}({a}, {b}): return {body}"
    return graph, code


GRAPH, SOURCES = dag(SHAPES)
CODE = {node: check_function(node, source) for node, source in SOURCES.items()}
ARITHMETIC = {node: check_function(node, source) for node, source in dag(SHAPES[:3])[1].items()}


def collect(num_rows: int, engine: Any, code: Mapping[str, Any] = CODE) -> pd.DataFrame:
    return collect_traces(GRAPH, code, num_rows, engine=engine, random_seed=SEED, progress=False)


def draw(num_rows: int) -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    return {f"n{node}": generator.uniform(-10, 10, num_rows) for node in range(ROOTS)}


def plain_loop(num_rows: int) -> pd.DataFrame:
    """What one writes without a library: a list for each node, filled in a loop over the rows."""
    columns: dict[str, list[Any]] = {name: values.tolist() for name, values in draw(num_rows).items()}
    columns |= {name: [] for name in ARITHMETIC}
    steps = [
        (function, columns[name].append, columns[a], columns[b])
        for name, function in ARITHMETIC.items()
        for a, b in [function.__code__.co_varnames[:2]]
    ]
    for row in range(num_rows):
        for function, append, a, b in steps:
            append(function(a[row], b[row]))
    return pd.DataFrame(columns)


def numpy_program(num_rows: int) -> pd.DataFrame:
    columns = draw(num_rows)
    for name, function in CODE.items():
        a, b = function.__code__.co_varnames[:2]
        columns[name] = function(columns[a], columns[b])
    return pd.DataFrame(columns, copy=False)


def cpu(run: Callable[[], Any], runs: int = 3) -> float:
    """CPU seconds of the fastest run; the first one warms up."""
    run()
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return min(seconds)


def wall(run: Callable[[], Any], runs: int = 5) -> float:
    """Seconds by the clock of the fastest run; a child's CPU time is not this process's."""
    run()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def memory(engine: str, num_rows: int) -> float:
    """How often the finished table fits into the most memory that was held while it was made."""
    tracemalloc.start()
    table = collect(num_rows, engine)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / float(table.memory_usage().sum())


if __name__ == "__main__":
    main()
