"""What a causal graph must be, and the one order in which its nodes are visited."""

from __future__ import annotations

from typing import Any

import networkx as nx

from causalkit.errors import GraphError


def check_graph(graph: Any) -> nx.DiGraph[str]:
    """Return the graph if it is a causal graph, and say what is wrong if it is not.

    Parameters
    ----------
    graph : networkx.DiGraph
        Acyclic; nodes are names (text), an edge means "parent causes child".

    Returns
    -------
    networkx.DiGraph
        The same object, unchanged.

    Raises
    ------
    GraphError
        If it is no directed graph (``.graph_type``), has a node that is not text (``.node``) or a
        cycle (``.cycle``, first node repeated at the end).

    Examples
    --------
    >>> import networkx as nx
    >>> check_graph(nx.DiGraph([("x", "y"), ("y", "x")]))
    Traceback (most recent call last):
        ...
    causalkit.errors.GraphError: the causal graph has the cycle x -> y -> x; remove one of its edges
    """
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise GraphError(
            f"a causal graph is a networkx.DiGraph, not a {type(graph).__name__}; "
            'write networkx.DiGraph([("parent", "child"), ...])',
            graph_type=type(graph),
        )
    for node in graph:
        if not isinstance(node, str):
            raise GraphError(f"node {node!r} is a {type(node).__name__}; name the nodes with text", node=node)
    if not nx.is_directed_acyclic_graph(graph):
        cycle = _find_cycle(graph)
        raise GraphError(f"the causal graph has the cycle {' -> '.join(cycle)}; remove one of its edges", cycle=cycle)
    return graph


def topological_order(graph: nx.DiGraph[str]) -> list[str]:
    """Return the nodes, parents first and otherwise by name.

    Parameters
    ----------
    graph : networkx.DiGraph
        A causal graph; it is checked first.

    Returns
    -------
    list of str
        The same list for equal graphs, in whatever order they were put together.

    Examples
    --------
    >>> import networkx as nx
    >>> topological_order(nx.DiGraph([("z", "y"), ("b", "y"), ("y", "a")]))
    ['b', 'z', 'y', 'a']
    """
    return list(nx.lexicographical_topological_sort(check_graph(graph)))


def _find_cycle(graph: nx.DiGraph[str]) -> list[str]:
    """Return one cycle, the same for equal graphs."""
    ordered: nx.DiGraph[str] = nx.DiGraph(sorted(graph.edges))
    cycle = [edge[0] for edge in nx.find_cycle(ordered)]
    first = cycle.index(min(cycle))
    return [*cycle[first:], *cycle[: first + 1]]
