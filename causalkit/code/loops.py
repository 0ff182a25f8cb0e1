"""From a ledger to an acyclic graph: what a loop computes in turns becomes one node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import networkx as nx

from causalkit.code.ledger import RETURN, Ledger, Version


def acyclic_graph(ledger: Ledger, prefix: str = "", without: Collection[str] = ()) -> nx.DiGraph[str]:
    """Return the graph of the versions of a function's variables.

    Parameters
    ----------
    ledger : Ledger
        What was read.
    prefix : str, default ""
        What the names of the nodes begin with, where several functions share a graph.
    without : collection of str
        Given functions whose results are left out: those that call this one in turn.

    Returns
    -------
    networkx.DiGraph
        Nodes carry ``kind``, ``line``, ``lines`` and ``members``, edges ``kind`` and ``line``.

    Examples
    --------
    >>> from causalkit.code.ledger import Value
    >>> ledger, x = Ledger(), Version("x", 1, 6, "parameter")
    >>> ledger.define(x, Value(), 1)
    >>> ledger.define(Version("y", 2, 4), Value(frozenset([x])), 2)
    >>> list(acyclic_graph(ledger).edges)
    [('x', 'y@L2')]
    """
    links: nx.DiGraph[Version] = nx.DiGraph()
    edges = {ends: fact for ends, fact in ledger.edges.items() if ends[0].kind != "call" or ends[0].name not in without}
    links.add_nodes_from([*ledger.versions, RETURN])
    links.add_edges_from(edges)
    names = _names(links)
    # A callee's result is a node of its own function.
    labels = {version: name if version.kind == "call" else prefix + name for version, name in names.items()}
    place: dict[Version, str] = {}
    graph: nx.DiGraph[str] = nx.DiGraph()
    parts = sorted((sorted(part) for part in nx.strongly_connected_components(links)), key=lambda part: part[0][1:])
    for part in parts:
        name = labels[part[0]] if len(part) == 1 else prefix + _merged_name(part, names)
        place |= dict.fromkeys(part, name)
        graph.add_node(name, **_facts(part, [labels[version] for version in part]))
    for (source, target), (kind, line) in sorted(edges.items()):
        _connect(graph, place[source], place[target], kind, line)
    return graph


def _connect(graph: nx.DiGraph[str], source: str, target: str, kind: str, line: int) -> None:
    """Add an edge; where several become one, data tells more than control."""
    if source != target and (kind == "data" or not graph.has_edge(source, target)):
        graph.add_edge(source, target, kind=kind, line=line)


def _names(versions: Iterable[Version]) -> dict[Version, str]:
    """Return `x` for a parameter and `x@L3` for a definition, with the column where one line has two."""
    versions = list(versions)
    on_line = Counter((version.name, version.line) for version in versions if version.kind == "variable")
    return {version: _name(version, on_line[version.name, version.line] > 1) for version in versions}


def _name(version: Version, crowded: bool) -> str:
    if version.kind == "call":
        return f"{version.name}.return"
    if version.kind != "variable":
        return version.name
    return f"{version.name}@L{version.line}" + (f":{version.column}" if crowded else "")


def _merged_name(part: list[Version], names: dict[Version, str]) -> str:
    """Return `i+total@L3-L5`: the variables of a loop, and where they are defined."""
    first, last = min(version.line for version in part), max(version.line for version in part)
    variables = "+".join(sorted({version.name for version in part}))
    same = [version for version in names if version not in part and version.line == first == last]
    column = f":{part[0].column}" if same else ""
    return f"{variables}@L{first}{column}" + (f"-L{last}" if last > first else "")


def _facts(part: list[Version], names: list[str]) -> dict[str, Any]:
    lines = sorted({version.line for version in part if version.line})
    kind = "loop" if len(part) > 1 else "return" if part[0].kind == "call" else part[0].kind
    return {"kind": kind, "line": lines[0] if lines else None, "lines": lines, "members": names}
