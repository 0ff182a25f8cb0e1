"""Run the functions of a causal graph and keep what they return as a trace table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

import networkx as nx
import pandas as pd

from causalkit.collect.functions import BoundFunction, bind_function, check_function
from causalkit.collect.inputs import check_num_samples, generate_random_inputs
from causalkit.collect.rows import FailedRows, run_rows
from causalkit.errors import ExecutionError, TraceCollectionError
from causalkit.graphs import topological_order


def collect_traces(
    causal_graph: nx.DiGraph[str],
    function_code: Mapping[str, str | Callable[..., Any]],
    num_samples: int = 100,
    input_ranges: Mapping[str, Any] | None = None,
    *,
    parameter_map: Mapping[str, Mapping[str, str]] | None = None,
    random_seed: int | None = None,
    max_failure_rate: float = 0.5,
    nan: Literal["failure", "keep"] = "failure",
    progress: bool = True,
) -> pd.DataFrame:
    """Run the functions of a causal graph on random inputs and return the trace table.

    The functions, source text included, are **executed in this process** with all its rights and
    without any limit on time or memory: give only code that you would run yourself.

    Parameters
    ----------
    causal_graph : networkx.DiGraph
        The nodes and who causes whom.
    function_code : mapping of str to str or callable
        The function of each node with parents, as source text or as it is. A node without parents
        that has a function is computed too, otherwise it is drawn from its range.
    num_samples : int, default 100
        The number of rows to run.
    input_ranges : mapping of str to range, optional
        What the drawn nodes draw, see `generate_random_inputs`; without a range U(-10, 10).
    parameter_map : mapping of str to mapping, optional
        Node -> parameter -> parent, where a parameter is not named like the parent it takes.
    random_seed : int, optional
        Draws the same inputs again. Functions that draw random numbers must seed them themselves.
    max_failure_rate : float, default 0.5
        The share of rows that may fail.
    nan : {"failure", "keep"}, default "failure"
        Whether a missing result (None, NaN) fails its row or is a value like others.
    progress : bool, default True
        Show a bar while it runs.

    Returns
    -------
    pandas.DataFrame
        One row for each run that did not fail, under the number of its run, and one column for each
        node, parents first. ``attrs`` holds ``failures`` (`FailedRows`), ``num_failed``, ``caveats``,
        ``default_ranges``, ``random_seed`` and ``knobs``: the nodes that were drawn at random.

    Raises
    ------
    TraceCollectionError
        If functions, ranges and graph do not fit together; nothing has run then.
    ExecutionError
        If more rows failed than allowed (``.failures``, ``.failure_rate``).

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.DiGraph([("x", "y")])
    >>> traces = collect_traces(graph, {"y": "def y(x): return 6 // x"}, 50, {"x": (0, 3)}, random_seed=0)
    >>> sorted(set(zip(traces["x"], traces["y"], strict=True)))
    [(1, 6), (2, 3), (3, 2)]
    >>> traces.attrs["failures"][0]["message"], traces.attrs["failures"][0]["inputs"]
    ('integer division or modulo by zero', {'x': 0})
    """
    return TraceCollector(random_seed).collect_traces(
        causal_graph,
        function_code,
        num_samples,
        input_ranges,
        parameter_map=parameter_map,
        max_failure_rate=max_failure_rate,
        nan=nan,
        progress=progress,
    )


class TraceCollector:
    """Collects trace tables under one seed.

    Parameters
    ----------
    random_seed : int, optional
        The seed of every table: equal calls return equal tables.

    Examples
    --------
    >>> import networkx as nx
    >>> collector = TraceCollector(random_seed=1)
    >>> graph = nx.DiGraph([("x", "y")])
    >>> collector.collect_traces(graph, {"y": lambda x: -x}, 5).shape
    (5, 2)
    """

    def __init__(self, random_seed: int | None = None) -> None:
        self.random_seed = random_seed

    def __repr__(self) -> str:
        return f"TraceCollector(random_seed={self.random_seed})"

    def collect_traces(
        self,
        causal_graph: nx.DiGraph[str],
        function_code: Mapping[str, str | Callable[..., Any]],
        num_samples: int = 100,
        input_ranges: Mapping[str, Any] | None = None,
        *,
        parameter_map: Mapping[str, Mapping[str, str]] | None = None,
        max_failure_rate: float = 0.5,
        nan: Literal["failure", "keep"] = "failure",
        progress: bool = True,
    ) -> pd.DataFrame:
        """Run the functions of a causal graph, as the function `collect_traces` does.

        Parameters
        ----------
        causal_graph, function_code, num_samples, input_ranges
            As for the function.
        parameter_map, max_failure_rate, nan, progress
            As for the function.

        Returns
        -------
        pandas.DataFrame
            The trace table.

        Examples
        --------
        >>> import networkx as nx
        >>> graph = nx.DiGraph([("x", "y")])
        >>> TraceCollector().collect_traces(graph, {"y": "def y(x): return x > 0"}, 3)["y"].dtype
        dtype('bool')
        """
        _check_options(num_samples, max_failure_rate, nan)
        order = topological_order(causal_graph)
        functions = _bind_all(causal_graph, order, function_code, parameter_map or {})
        drawn_names = [node for node in order if node not in functions]
        inputs = generate_random_inputs(drawn_names, input_ranges, num_samples, random_seed=self.random_seed)
        traces, failures = run_rows(order, functions, inputs, keep_missing=nan == "keep", progress=progress)
        _check_failures(failures, num_samples, max_failure_rate)
        traces.attrs = {
            "random_seed": self.random_seed,
            "default_ranges": inputs.attrs["default_ranges"],
            "knobs": drawn_names,
            "num_failed": len(failures),
            "failures": failures,
            "caveats": _caveats(failures, num_samples),
        }
        return traces


def _check_options(num_samples: int, max_failure_rate: float, nan: str) -> None:
    check_num_samples(num_samples)
    if not 0 <= max_failure_rate <= 1:
        raise TraceCollectionError(
            f"max_failure_rate is {max_failure_rate!r}; write a share from 0 to 1",
            parameter="max_failure_rate",
        )
    if nan not in ("failure", "keep"):
        raise TraceCollectionError(f'nan is {nan!r}; write "failure" or "keep"', parameter="nan")


def _bind_all(
    graph: nx.DiGraph[str],
    order: list[str],
    function_code: Mapping[str, str | Callable[..., Any]],
    parameter_map: Mapping[str, Mapping[str, str]],
) -> dict[str, BoundFunction]:
    """Return the function of every node that has one."""
    _check_keys("function_code", function_code, order)
    _check_keys("parameter_map", parameter_map, order)
    for node in order:
        parents = sorted(graph.predecessors(node))
        if parents and node not in function_code:
            raise TraceCollectionError(
                f"node {node!r} has the parents {', '.join(map(repr, parents))} but no function; "
                f"add function_code[{node!r}]",
                node=node,
                parents=parents,
            )
    for node in parameter_map:
        if node in function_code:
            continue
        raise TraceCollectionError(
            f"parameter_map has an entry for {node!r}, which has no function; remove it", node=node
        )
    return {
        node: bind_function(
            node,
            check_function(node, function_code[node]),
            sorted(graph.predecessors(node)),
            parameter_map.get(node),
        )
        for node in order
        if node in function_code
    }


def _check_keys(option: str, given: Any, nodes: list[str]) -> None:
    if not isinstance(given, Mapping):
        raise TraceCollectionError(
            f"{option} is a {type(given).__name__}; write a dict with an entry for each node",
            parameter=option,
        )
    for node in given:
        if node not in nodes:
            raise TraceCollectionError(
                f"{option} has an entry for {node!r}, which is no node of the causal graph "
                f"({', '.join(map(repr, nodes)) or 'it has none'}); correct the name or add the node",
                node=node,
            )


def _check_failures(failures: FailedRows, num_samples: int, max_failure_rate: float) -> None:
    rate = len(failures) / num_samples
    if rate <= max_failure_rate:
        return
    counts = Counter((failure["node"], failure["exception"]) for failure in failures)
    first = failures[0]
    raise ExecutionError(
        f"{len(failures)} of {num_samples} rows failed, more than max_failure_rate={max_failure_rate}: "
        + ", ".join(f"{node!r}: {count} x {name}" for (node, name), count in counts.most_common())
        + f" (first: {first['message']}, on {first['inputs']}); correct the functions, narrow input_ranges "
        "or raise max_failure_rate",
        failures=failures,
        failure_rate=rate,
    )


def _caveats(failures: FailedRows, num_samples: int) -> list[str]:
    if not failures:
        return []
    return [f"{len(failures)} of {num_samples} rows failed and are left out: what remains may be a biased sample"]
