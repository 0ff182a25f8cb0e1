"""Where the operators of a flow stand: callers left of those they call, whoever gives a result left of who gets it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from causalkit.operators.flow_parts import EdgeKind

#: Name, type and stage of an operator.
Key = tuple[str, str, str | None] | tuple[()]
#: From where, to where, and what goes there.
Way = tuple[Key, Key, EdgeKind]

#: Whatever called, or gave results, without being among the events itself.
OUTSIDE: Key = ()


def layers_of(roots: set[Key], keys: Iterable[Key], ways: Iterable[Way]) -> dict[Key, int]:
    """Return how far from the left each operator stands: the longest way to it, leaving out ways back of recursion.

    Parameters
    ----------
    roots : set
        Those that somebody calls who reports nothing.
    keys : iterable
        All operators.
    ways : iterable
        All calls and results between them.

    Returns
    -------
    dict
        From left to right, in each layer by stage, type and name.

    Examples
    --------
    >>> a, b, c = ("a", "function", None), ("b10", "function", None), ("b9", "function", None)
    >>> layers_of({a}, [a, b, c], [(a, b, "calls"), (a, c, "calls"), (b, a, "calls")])
    {('a', 'function', None): 0, ('b9', 'function', None): 1, ('b10', 'function', None): 1}
    """
    import networkx as nx

    graph = nx.DiGraph([(source, target) for source, target, _ in ways if source != target])
    graph.add_nodes_from(keys)
    starts = [key for key in graph if key in roots or key == OUTSIDE]
    depths = {key: depth for depth, found in enumerate(nx.bfs_layers(graph, starts)) for key in found}
    ring = {key: n for n, members in enumerate(nx.strongly_connected_components(graph)) for key in members}
    # Among operators that call one another in a ring only ways deeper into it count: these have no ring.
    ways_back = [
        (source, target)
        for source, target in graph.edges
        if ring[source] == ring[target] and depths.get(source, 0) >= depths.get(target, 0)
    ]
    graph.remove_edges_from(ways_back)
    return {
        key: layer
        for layer, members in enumerate(nx.topological_generations(graph))
        for key in sorted(members, key=_rank)
    }


def _rank(key: Key) -> tuple[str, ...]:
    if not key:
        return ()
    name, kind, stage = key
    told = (stage or "", kind, name)
    # As numbers sort: `member_2` before `member_10`.
    return (*(re.sub(r"\d+", lambda digits: digits[0].zfill(12), text) for text in told), *told, str(stage))
