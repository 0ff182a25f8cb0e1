"""Run the functions of a causal graph and keep what they return as a trace table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, Unpack

import networkx as nx
import pandas as pd

from causalkit.collect.engines import Engine, Functions
from causalkit.collect.failures import check_failure_rate
from causalkit.collect.functions import BoundFunction, bind_function, check_function
from causalkit.collect.inputs import check_num_samples, generate_noise, generate_random_inputs
from causalkit.collect.isolated_steps import SourceFunction
from causalkit.collect.provenance import caveats_of, graph_of_columns, hashes_of
from causalkit.errors import TraceCollectionError
from causalkit.graphs import check_graph, topological_order

CHOICES = {
    "nan": ("failure", "keep"),
    "engine": ("auto", "rows", "columns"),
    "isolation": ("process", "none"),
}


class Options(TypedDict, total=False):
    """The options of `collect_traces`, but for the seed."""

    parameter_map: Mapping[str, Mapping[str, str]] | None
    max_failure_rate: float
    nan: Literal["failure", "keep"]
    noise: Mapping[str, Any] | None
    expand: bool
    engine: Literal["auto", "rows", "columns"]
    isolation: Literal["process", "none"]
    row_timeout_s: float
    n_jobs: int | None
    progress: bool


def collect_traces(
    causal_graph: nx.DiGraph[str],
    function_code: Mapping[str, str | Callable[..., Any]],
    num_samples: int = 100,
    input_ranges: Mapping[Any, Any] | pd.DataFrame | None = None,
    *,
    parameter_map: Mapping[str, Mapping[str, str]] | None = None,
    random_seed: int | None = None,
    max_failure_rate: float = 0.5,
    nan: Literal["failure", "keep"] = "failure",
    noise: Mapping[str, Any] | None = None,
    expand: bool = False,
    engine: Literal["auto", "rows", "columns"] = "auto",
    isolation: Literal["process", "none"] = "process",
    row_timeout_s: float = 1.0,
    n_jobs: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Run the functions of a causal graph on random inputs and return the trace table.

    Functions given as source text run in a child process with limits on time, memory and files. This
    limits accidents and is no sandbox against somebody who means harm. Live callables run in this
    process, with all its rights and without limits.

    Functions are called node by node, not row by row: those that share state beside their arguments
    see each other's calls in this order.

    Parameters
    ----------
    causal_graph : networkx.DiGraph
        The nodes and who causes whom.
    function_code : mapping of str to str or callable
        The function of each node with parents, as source text or as it is. A node without parents
        that has a function is computed too, otherwise it is drawn from its range.
    num_samples : int, default 100
        The number of rows to run.
    input_ranges : mapping of str to range, or pandas.DataFrame, optional
        What the drawn nodes draw, see `generate_random_inputs`; without a range U(-10, 10).
    parameter_map : mapping of str to mapping, optional
        Node -> parameter -> parent, where a parameter is not named like the parent it takes.
    random_seed : int, optional
        Draws the same inputs again. Functions that draw random numbers must seed them themselves.
    max_failure_rate : float, default 0.5
        The share of rows that may fail.
    nan : {"failure", "keep"}, default "failure"
        Whether a missing result (None, NaN) fails its row or is a value like others.
    noise : mapping of str to noise, optional
        What is added to the values of nodes, see `generate_noise`: their children see it too.
    expand : bool, default False
        Whether a function may return a dict or a dataclass. The table then has a column
        ``node.field`` for each field, and the children receive the result as it is, each a copy of
        its own; what comes out of a child process arrives as plain data.
    engine : {"auto", "rows", "columns"}, default "auto"
        Whether functions are called once for whole columns, where that was checked to be the same
        (see `ColumnEngine`): with 500 rows or more, never, or always. Functions of which it is not
        the same are called row by row, and so are sources in their child.
    isolation : {"process", "none"}, default "process"
        Whether source text runs in a child process, or in this one like a live callable.
    row_timeout_s : float, default 1.0
        The CPU time that one call may take in the child.
    n_jobs : int, optional
        The number of workers that share the rows, -1 for one a core: processes where all functions
        are source text, threads otherwise. Nothing is shared where sources run in a child.
    progress : bool, default True
        Show a bar while it runs.

    Returns
    -------
    pandas.DataFrame
        One row for each run that did not fail, under the number of its run, and one column for each
        node, parents first. ``attrs`` holds ``failures`` (`FailedRows`), ``num_failed``, ``caveats``,
        ``default_ranges``, ``random_seed``, ``knobs`` (the nodes that were drawn at random),
        ``graph`` (of the columns: nodes and edges as lists), ``engine`` by node and
        ``engine_reasons`` (why not in columns), ``function_hashes`` (SHA-256 of sources that can be
        read) and ``cpu_s`` (of this process).

    Raises
    ------
    TraceCollectionError
        If functions, ranges and graph do not fit together; nothing has run then.
    ExecutionError
        If more rows failed than allowed (``.failures``, ``.failure_rate``).

    Warns
    -----
    BiasedSampleWarning
        If it depends on an input whether a row fails (see `find_bias`).

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.DiGraph([("x", "y")])
    >>> traces = collect_traces(graph, {"y": "def y(x): return 6 // x"}, 8, {"x": (0, 3)}, random_seed=0)
    >>> sorted(set(zip(traces["x"], traces["y"], strict=True)))
    [(1, 6), (2, 3), (3, 2)]
    >>> traces.attrs["failures"][0]["message"], traces.attrs["failures"][0]["inputs"]
    ('integer division or modulo by zero', {'x': 0})
    """
    began = time.process_time()
    check_num_samples(num_samples)
    _check_options(max_failure_rate, row_timeout_s, n_jobs)
    _check_choices(nan=nan, engine=engine, isolation=isolation)
    order = _running_order(causal_graph)
    functions = _functions(causal_graph, order, function_code, parameter_map or {})
    drawn = [node for node in order if node not in functions]
    inputs = generate_random_inputs(drawn, input_ranges, num_samples, random_seed=random_seed)
    added = generate_noise(noise, order, num_samples, random_seed=random_seed)
    _add_noise(inputs, added)
    way = Engine(engine, isolation, row_timeout_s, n_jobs, nan == "keep", expand, progress)
    run = way.run(order, functions, inputs.join(added.drop(columns=drawn, errors="ignore")))
    check_failure_rate(run.failures, num_samples, max_failure_rate)
    run.traces.attrs = {
        "random_seed": random_seed,
        "default_ranges": inputs.attrs["default_ranges"],
        "knobs": [node for node in drawn if node not in inputs.attrs["real_rows"]],
        "num_failed": len(run.failures),
        "failures": run.failures,
        "caveats": caveats_of(run.failures, inputs),
        "graph": graph_of_columns(causal_graph, run.traces.columns.tolist()),
        "engine": run.engines,
        "engine_reasons": run.reasons,
        "function_hashes": hashes_of(function_code),
        "cpu_s": time.process_time() - began,
    }
    return run.traces


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
        input_ranges: Mapping[Any, Any] | pd.DataFrame | None = None,
        **options: Unpack[Options],
    ) -> pd.DataFrame:
        """Run the functions of a causal graph, as the function `collect_traces` does.

        Parameters
        ----------
        causal_graph, function_code, num_samples, input_ranges
            As for the function.
        **options : Any
            Its other options, but for the seed.

        Returns
        -------
        pandas.DataFrame
            The trace table.

        Examples
        --------
        >>> import networkx as nx
        >>> graph = nx.DiGraph([("x", "y")])
        >>> TraceCollector().collect_traces(graph, {"y": lambda x: x > 0}, 3)["y"].dtype
        dtype('bool')
        """
        return collect_traces(
            causal_graph, function_code, num_samples, input_ranges, random_seed=self.random_seed, **options
        )


def _check_options(max_failure_rate: float, row_timeout_s: float, n_jobs: int | None) -> None:
    if not 0 <= max_failure_rate <= 1:
        raise TraceCollectionError(
            f"max_failure_rate is {max_failure_rate!r}; write a share from 0 to 1",
            parameter="max_failure_rate",
        )
    if not row_timeout_s > 0:
        raise TraceCollectionError(
            f"row_timeout_s is {row_timeout_s!r}; write a number of seconds above 0", parameter="row_timeout_s"
        )
    if n_jobs is not None and (not isinstance(n_jobs, int) or n_jobs == 0):
        raise TraceCollectionError(
            f"n_jobs is {n_jobs!r}; write a number of workers, -1 for one a core, or None", parameter="n_jobs"
        )


def _check_choices(**choices: str) -> None:
    for option, choice in choices.items():
        allowed = CHOICES[option]
        if choice not in allowed:
            listed = " or ".join(f'"{one}"' for one in allowed)
            raise TraceCollectionError(f"{option} is {choice!r}; write {listed}", parameter=option)


def _functions(
    graph: nx.DiGraph[str],
    order: list[str],
    function_code: Mapping[str, str | Callable[..., Any]],
    parameter_map: Mapping[str, Mapping[str, str]],
) -> Functions:
    """Return the function of every node that has one; sources are executed by nobody yet."""
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
        if node not in function_code:
            raise TraceCollectionError(
                f"parameter_map has an entry for {node!r}, which has no function; remove it", node=node
            )
    functions: Functions = {
        node: _function(node, function_code[node], _arguments(graph, node), parameter_map.get(node, {}))
        for node in order
        if node in function_code
    }
    return functions


def _arguments(graph: nx.DiGraph[str], node: str) -> list[str]:
    # A graph read from source knows better: not every parameter has an effect, and a function that is called within
    # another is its parent without being passed to it.
    return list(graph.nodes[node].get("arguments", sorted(graph.predecessors(node))))


def _running_order(graph: nx.DiGraph[str]) -> list[str]:
    needed = check_graph(graph).copy()
    needed.add_edges_from((argument, node) for node in graph for argument in _arguments(graph, node))
    return topological_order(needed)


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


def _function(
    node: str, code: str | Callable[..., Any], parents: list[str], parent_names: Mapping[str, str]
) -> SourceFunction | BoundFunction:
    if isinstance(code, str):
        return SourceFunction(node, code, parents, parent_names)
    return bind_function(node, check_function(node, code), parents, parent_names)


def _add_noise(inputs: pd.DataFrame, noise: pd.DataFrame) -> None:
    for name in [name for name in inputs if name in noise]:
        if not pd.api.types.is_numeric_dtype(inputs[name]) or pd.api.types.is_bool_dtype(inputs[name]):
            raise TraceCollectionError(
                f"noise is given for {name!r}, whose range draws values that are no numbers; remove it", parameter=name
            )
        inputs[name] = inputs[name] + noise[name]
