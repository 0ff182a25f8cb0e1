"""Derived nodes: the sum, the maximum or any other formula of their parents."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from causalkit.errors import FitError, GraphError
from causalkit.scm.arrays import FloatArray
from causalkit.scm.formulas import FUNCTIONS, FormulaOfParents
from causalkit.tables import Levels
from causalkit.wording import one_line

if TYPE_CHECKING:
    import networkx as nx

FORMULAS = ("sum", "max")
_KNOWN = "write arithmetic of the parents, such as a - b or max(a, b) != c, or one of sum and max"
_MOST_SHOWN = 80


def combine(formula: str, parts: Mapping[str, FloatArray], levels: Levels) -> FloatArray:
    """Return a derived node's value from its parents'.

    Parameters
    ----------
    formula : str
    parts : mapping of str to ndarray, each of shape (rows, 1) or (rows, replicates)
        The parents, labels as their places among `levels`.
    levels : dict of str to tuple
        In a text a label, which is a number, counts as that number; in a sum and a maximum its place does.

    Raises
    ------
    GraphError
        If a text has no finite value somewhere (``.formula``).

    Examples
    --------
    >>> votes = {"a": np.array([[0.0], [2.0]]), "b": np.array([[2.0], [2.0]])}
    >>> combine("(a != b) + b", votes, {"a": (-1, 0, 9), "b": (-1, 0, 9)}).tolist()
    [[10.0], [9.0]]
    """
    if formula == "sum":
        first, *others = parts.values()
        return sum(others, first)
    if formula == "max":
        return np.asarray(np.maximum.reduce(np.broadcast_arrays(*parts.values())))
    columns = {name: _by_value(column, levels[name]) if name in levels else column for name, column in parts.items()}
    value = parsed(formula, tuple(parts)).value(columns)
    wrong = ~np.isfinite(value)
    if wrong.any():
        first_wrong = tuple(np.argwhere(wrong)[0])
        told = ", ".join(f"{name} = {np.broadcast_to(of, value.shape)[first_wrong]:g}" for name, of in columns.items())
        raise GraphError(
            f"the formula {shown(formula)} of a derived node has no finite value at {told}; say what it is there, such "
            "as a / b if b else 0",
            formula=formula,
        )
    return value


def check_formula(graph: nx.DiGraph[str], node: str, formula: str, levels: Levels) -> None:
    """Refuse a formula that a node cannot be derived by.

    Raises
    ------
    GraphError
        With the node in ``.node``, and the parent that stands in its way in ``.parent``.
    """
    if formula in FORMULAS:
        return
    parents = sorted(graph.predecessors(node))
    says = f"{node!r} is derived by {shown(formula)}, "
    for parent in parents:
        _check_parent(node, parent, says, levels.get(parent, ()))
    if node in levels:
        raise GraphError(
            f"{says}which gives numbers, but its column holds labels; record it as plain numbers, or fit this node",
            node=node,
        )
    try:
        names = {each.id for each in ast.walk(ast.parse(formula, mode="eval")) if isinstance(each, ast.Name)}
        _check_names(node, parents, says, names)
        parsed(formula, tuple(parents))
    except (FitError, SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        # Which of the two it is, and what it says, differs between versions of Python.
        deep = isinstance(error, RecursionError | MemoryError)
        told = "it nests too deep" if deep else one_line(getattr(error, "msg", error), 2 * _MOST_SHOWN)
        raise GraphError(f"{says}which is no formula that can be read: {told}; {_KNOWN}", node=node) from error


def shown(formula: str) -> str:
    """Return a formula as a sentence shows it."""
    return repr(one_line(formula, _MOST_SHOWN))


@lru_cache(maxsize=256)
def parsed(formula: str, parents: tuple[str, ...]) -> FormulaOfParents:
    """Return a text, read once."""
    return FormulaOfParents(formula, parents)


def _by_value(places: FloatArray, labels: tuple[Any, ...]) -> FloatArray:
    return np.array([float(label) for label in labels])[places.astype(np.int64)]


def _check_parent(node: str, parent: str, says: str, labels: tuple[Any, ...]) -> None:
    if not parent.isidentifier() or keyword.iskeyword(parent):
        raise GraphError(
            f"{says}in which its parent {parent!r} cannot be named; rename that node to letters, digits and _",
            node=node,
            parent=parent,
        )
    text = [label for label in labels if not isinstance(label, Real | np.bool_)]
    if text:
        raise GraphError(
            f"{says}but its parent {parent!r} holds labels that are no numbers, such as {text[0]!r}; record what "
            f"counts of it as a number, such as ({parent} == {text[0]!r}) * 1, in a node of its own and name that",
            node=node,
            parent=parent,
        )


def _check_names(node: str, parents: list[str], says: str, names: set[str]) -> None:
    foreign = sorted(names - set(parents) - set(FUNCTIONS) - {"math"})
    unused = [parent for parent in parents if parent not in names]
    if foreign or unused:
        wrong = [f"names {', '.join(map(repr, foreign))}, no parent of it"] if foreign else []
        wrong += [f"leaves out its parent {', '.join(map(repr, unused))}"] if unused else []
        raise GraphError(f"{says}which {' and '.join(wrong)}; name each parent and nothing else: {_KNOWN}", node=node)
