"""The causal graph of functions, read from their source: nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import networkx as nx

from causalkit.code.library import Library, takes
from causalkit.code.loops import acyclic_graph
from causalkit.code.reading import FunctionTree, Program, read_program
from causalkit.errors import GraphError
from causalkit.graphs import check_graph


def graph_from_code(
    source: str | Callable[..., Any] | Mapping[str, str | Callable[..., Any]] | Sequence[Callable[..., Any]],
    *,
    level: Literal["functions", "statements"] = "functions",
) -> nx.DiGraph[str]:
    r"""Return what causes what in functions, as their source tells; nothing is run.

    Parameters
    ----------
    source : str, callable, mapping of str to either, or sequence of callables
        The source text of functions, live callables, or either by the name of the node it computes.
        Functions whose name starts with an underscore are helpers: they are looked through.
    level : {"functions", "statements"}, default "functions"
        ``"functions"``: nodes are parameters and the results of functions, named like the function; a
        parameter that is named like another function is the result of that one. The graph is what
        `collect_traces` takes, with the same functions. ``"statements"``: nodes are parameters, versions
        of variables (``x@L3`` is defined in line 3), and ``return``; the variables that a loop computes
        in turns are one node (``i+total@L3-L5``). With several functions the names begin with ``f.``.

    Returns
    -------
    networkx.DiGraph
        Acyclic. An edge has a ``kind``: ``"data"``; ``"control"``, if the parent only decides what is
        computed; ``"call"``, if the parent is a given function that the child's function calls. Nodes
        and edges have a ``line``; at the level of functions a computed node's ``arguments`` are the nodes
        that its parameters stand for, with or without an edge.
        ``graph.graph["not_understood"]`` lists (line, construct, reason) of what was not understood, and
        ``graph.graph["assumed"]`` (line, function) of the unknown functions whose result is used: they are
        taken to depend on all their arguments and to change none.

    Raises
    ------
    TraceCollectionError
        If source text is no Python (``.line``) or has no function for its node (``.node``).
    GraphError
        If functions depend on one another in a cycle (``.cycle``), or a callable has no source.

    Examples
    --------
    >>> graph = graph_from_code("def cost(n): return 2 * n\ndef total(n, cost): return n + cost")
    >>> sorted(graph.edges)
    [('cost', 'total'), ('n', 'cost'), ('n', 'total')]
    >>> graph_from_code("def f(x, y):\n    if x > 0:\n        return y\n    return 0").edges["x", "f"]["kind"]
    'control'

    Notes
    -----
    A function that calls itself is looked through: its result depends on all that it passes on. An exception
    raised on purpose decides, as an early return does, on what follows. Of context managers only
    ``contextlib.suppress`` is held to swallow exceptions.
    """
    if level not in ("functions", "statements"):
        raise GraphError(f'level is {level!r}; write "functions" or "statements"', level=level)
    program = read_program(source)
    library = Library(program)
    graph = _of_functions(library) if level == "functions" else _of_statements(library)
    inner = (part for tree in library.ledgers for part in ast.walk(tree) if part is not tree)
    graph.graph["level"] = level
    graph.graph["statements"] = sum(isinstance(part, ast.stmt) for part in inner)
    graph.graph["not_understood"] = _reports(library, level)
    graph.graph["assumed"] = sorted({item for ledger in library.ledgers.values() for item in ledger.assumed})
    return check_graph(graph)


def _of_functions(library: Library) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for node, tree in library.program.given.items():
        graph.add_nodes_from(takes(tree))
        graph.add_node(node, line=tree.lineno, arguments=tuple(takes(tree)))
        callee = library.callee(node, tree)
        called = {name for name in callee.through if name != node}
        graph.add_edges_from(((name, node) for name in sorted(called)), kind="call", line=tree.lineno)
        for name in takes(tree):
            if name in callee.reaching:
                graph.add_edge(name, node, kind=callee.reaching[name], line=tree.lineno)
    _check_acyclic(graph)
    for name in graph:
        graph.nodes[name].setdefault("line", None)
        graph.nodes[name]["kind"] = "function" if name in library.program.given else "parameter"
    return graph


def _check_acyclic(graph: nx.DiGraph[str]) -> None:
    try:
        check_graph(graph)
    except GraphError as error:
        raise GraphError(
            f"the functions depend on one another in the cycle {' -> '.join(error.cycle)}; rename a parameter that "
            "is not meant to be another function's result, or read fewer functions together",
            cycle=error.cycle,
        ) from None


def _of_statements(library: Library) -> nx.DiGraph[str]:
    named = _all_functions(library.program)
    calls: nx.DiGraph[str] = nx.DiGraph()
    for name, (source, tree) in named.items():
        calls.add_node(name)
        calls.add_edges_from((other, name) for other in library.callee(source, tree).through)
    graphs = []
    for around in nx.strongly_connected_components(calls):
        for name in sorted(around & named.keys()):
            prefix = f"{name}." if len(named) > 1 else ""
            graphs.append(acyclic_graph(library.ledgers[named[name][1]], prefix, around))
    return nx.compose_all(graphs) if graphs else nx.DiGraph()


def _all_functions(program: Program) -> dict[str, tuple[str, FunctionTree]]:
    """Return the given functions and their helpers by the names that their nodes begin with."""
    named = {node: (node, tree) for node, tree in program.given.items()}
    known = set(program.given.values())
    for node, functions in program.beside.items():
        for name, tree in functions.items():
            if tree not in known:
                known.add(tree)
                named[name if name not in named else f"{node}.{name}"] = (node, tree)
    return named


def _reports(library: Library, level: str) -> list[tuple[int, str, str]]:
    found = {*library.program.reports, *(item for ledger in library.ledgers.values() for item in ledger.not_understood)}
    if level == "functions":
        found |= set(_starred(library.program.given.values()))
    return sorted(found)


def _starred(trees: Iterable[FunctionTree]) -> list[tuple[int, str, str]]:
    starred = [("*", tree.args.vararg) for tree in trees] + [("**", tree.args.kwarg) for tree in trees]
    return [
        (part.lineno, stars + part.arg, "it is no node: a trace table gives it nothing")
        for stars, part in starred
        if part is not None
    ]
