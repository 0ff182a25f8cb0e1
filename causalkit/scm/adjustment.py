"""What has to be held fixed for an effect to be read off recorded rows: a back-door set of the graph."""

from __future__ import annotations

from itertools import combinations

import networkx as nx


def adjustment_set(graph: nx.DiGraph[str], treatment: str, outcome: str) -> tuple[str, ...] | None:
    """Return nodes that, held fixed, leave open only the treatment's own ways to the outcome.

    A back-door set (Pearl 2009, *Causality*, sec. 3.3.1): no descendant of the treatment is in it, and it d-separates
    treatment and outcome once the edges out of the treatment are cut. None of its nodes can be left out, but another
    such set may exist (van der Zander & Liskiewicz 2020).

    The model draws roots jointly, as they were recorded, so roots may go together without an edge between them: every
    root but the knobs counts as joined to every other one. For a treatment that is a root, the other roots are then
    kept row by row while it is changed, which adjusts for them.

    Parameters
    ----------
    graph : networkx.DiGraph
        A node attribute ``role="knob"`` says that a node was set at random.
    treatment, outcome : str

    Returns
    -------
    tuple of str, or None
        Sorted; empty where nothing confounds, as for a knob. None: the graph has no way from treatment to outcome, so
        there is no effect to be told.

    Examples
    --------
    >>> adjustment_set(nx.DiGraph([("load", "depth"), ("load", "ms"), ("depth", "ms")]), "depth", "ms")
    ('load',)
    >>> adjustment_set(nx.DiGraph([("load", "ms"), ("depth", "ms")]), "depth", "ms")
    ('load',)
    """
    below = nx.descendants(graph, treatment)
    if outcome not in below:
        return None
    if _is_knob(graph, treatment):
        return ()
    cut: nx.DiGraph[str] = nx.DiGraph(graph.edges)
    cut.remove_edges_from(list(graph.out_edges(treatment)))
    # A complete graph of the roots allows for any joint distribution; with the treatment last no edge leaves it.
    roots = [node for node in graph if not graph.in_degree(node) and not _is_knob(graph, node)]
    cut.add_edges_from(combinations(sorted(roots, key=lambda node: (node == treatment, node)), 2))
    cut.add_node(treatment)
    allowed = set(cut) - below - {treatment}
    # There is one: the treatment's own parents, and for a root the other roots.
    return tuple(sorted(nx.find_minimal_d_separator(cut, treatment, outcome, restricted=allowed) or ()))


def _is_knob(graph: nx.DiGraph[str], node: str) -> bool:
    return bool(graph.nodes[node].get("role") == "knob")
