"""What can be done to a node: set it, shift it, scale it, or put it through a formula or a function."""

from __future__ import annotations

import ast
import operator
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import reduce
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from causalkit.errors import GraphError
from causalkit.scm.arrays import FloatArray
from causalkit.tables import Levels

if TYPE_CHECKING:
    import networkx as nx

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
# Of one value, or of two and more.
FUNCTIONS: dict[str, np.ufunc] = {
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": np.log,
    "exp": np.exp,
}


@dataclass(frozen=True)
class Shift:
    """Add `by` to whatever value the node has.

    Examples
    --------
    >>> str(Shift(2))
    '+2'
    """

    by: float

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the shifted values."""
        return values + self.by

    def __str__(self) -> str:
        return f"{self.by:+g}"


@dataclass(frozen=True)
class Scale:
    """Multiply whatever value the node has by `by`.

    Examples
    --------
    >>> str(Scale(0.5))
    'x 0.5'
    """

    by: float

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the scaled values."""
        return values * self.by

    def __str__(self) -> str:
        return f"x {self.by:g}"


@dataclass(frozen=True)
class Formula:
    """Put the node's value through arithmetic that was given as text, as in ``do(x = max(x, 1))``.

    The text is walked over as syntax and never run as code; `causalkit.scm.action_text` reads and checks it.

    Attributes
    ----------
    text : str
        The formula as it was written.
    tree : ast.expr
        Its syntax: numbers, operators, functions, and one name, which is the node's own value.

    Examples
    --------
    >>> Formula("2*x + 1", ast.parse("2*x + 1", mode="eval").body)(np.array([1.0, 3.0])).tolist()
    [3.0, 7.0]
    """

    text: str
    tree: ast.expr = field(repr=False, compare=False)

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the formula's values."""
        return np.asarray(evaluate(self.tree, values))

    def __str__(self) -> str:
        return self.text


def evaluate(tree: ast.expr, own: Any = np.nan) -> Any:
    """Return the value of checked syntax, where every name stands for `own`; what has no value is NaN or infinite."""
    with np.errstate(all="ignore"):
        return _evaluate(tree, own)


def _evaluate(tree: ast.expr, own: Any) -> Any:
    match tree:
        case ast.Constant(value=int() | float() as number):
            # Never Python's whole numbers: 9**9**9 would not come back.
            return np.float64(float(number) if abs(number) <= sys.float_info.max else np.inf)
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_evaluate(operand, own))
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](_evaluate(left, own), _evaluate(right, own))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            values = [_evaluate(argument, own) for argument in arguments]
            return reduce(FUNCTIONS[name], values) if len(values) > 1 else FUNCTIONS[name](values[0])
        case _:
            return own


Intervention = float | bool | str | Shift | Scale | Formula | Callable[[FloatArray], FloatArray]


def check_interventions(
    interventions: Mapping[str, Any] | str, graph: nx.DiGraph[str], levels: Levels | None = None
) -> dict[str, Intervention]:
    """Return the interventions, given as a mapping or as text, if each is a thing that can be done to its node.

    Raises
    ------
    GraphError
        If the text cannot be read, a node is unknown or derived, or its value is neither a finite number, a label of
        the node, `Shift`, `Scale` nor a callable.
    """
    from causalkit.scm.action_text import parse_actions

    levels = levels or {}
    if isinstance(interventions, str):
        interventions = parse_actions(interventions, graph, levels)
    if not isinstance(interventions, Mapping):
        raise GraphError(
            f"interventions cannot be {interventions!r}; give a mapping such as {{'x': 5}} or text such as 'do(x=5)'"
        )
    return {node: _checked(node, action, graph, levels) for node, action in interventions.items()}


def _checked(node: str, action: Any, graph: nx.DiGraph[str], levels: Levels) -> Intervention:
    _check_node(node, graph)
    if node in levels:
        return _label(node, action, levels[node])
    amount = action.by if isinstance(action, Shift | Scale) else action
    if not (callable(amount) or is_number(amount)):
        raise GraphError(
            f"{node!r} cannot be set to {action!r}; give a finite number, Shift(by), Scale(by) or a function",
            node=node,
        )
    checked: Intervention = action
    return checked


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number; a truth value is none."""
    # Compared before it is converted: a whole number may be larger than any float.
    return isinstance(value, Real) and not isinstance(value, bool) and bool(abs(value) <= sys.float_info.max)  # type: ignore[operator]


def encode(interventions: Mapping[str, Intervention], levels: Levels) -> dict[str, Intervention]:
    """Return the interventions with labels as their places."""
    return {
        node: float(levels[node].index(action)) if node in levels and not callable(action) else action
        for node, action in interventions.items()
    }


def apply(action: Intervention, values: FloatArray) -> FloatArray:
    """Return the values that a node has under an intervention; `values` are those it would have had without.

    Raises
    ------
    GraphError
        If a function fails, or gives something else than one finite number for each value.
    """
    if not callable(action):
        return np.full_like(values[:, :1], float(action))
    try:
        changed = np.asarray(action(values), dtype=float)
    except Exception as error:
        raise GraphError(
            f"{function_name(action)} failed on an array of values ({type(error).__name__}: {error}); it takes and "
            "returns a NumPy array of numbers"
        ) from error
    if changed.shape not in {(), values.shape}:
        raise GraphError(
            f"{function_name(action)} gave an array of shape {changed.shape} for values of shape {values.shape}; "
            "return one number for each value"
        )
    if not np.isfinite(changed).all():
        raise GraphError(f"{function_name(action)} gave missing or infinite values; return finite numbers")
    return np.broadcast_to(changed, values.shape)


def describe(interventions: Mapping[str, Intervention]) -> str:
    """Return the interventions in words.

    Examples
    --------
    >>> describe({"depth": 8, "size": Scale(0.5)})
    'do(depth = 8, size x 0.5)'
    """
    return f"do({', '.join(_phrase(node, action) for node, action in interventions.items())})"


def _phrase(node: str, action: Intervention) -> str:
    if isinstance(action, Shift | Scale):
        return f"{node} {action}"
    if isinstance(action, Formula):
        return f"{node} = {action}"
    if callable(action):
        return f"{node} -> {function_name(action)}({node})"
    return f"{node} = {action}" if isinstance(action, str | bool) else f"{node} = {float(action):g}"


def function_name(action: Intervention) -> str:
    """Return what a function or formula is called."""
    return str(action) if isinstance(action, Shift | Scale | Formula) else str(getattr(action, "__name__", "function"))


def _label(node: str, action: Any, labels: tuple[Any, ...]) -> Intervention:
    known: dict[Any, Intervention] = {label: label for label in labels}
    try:
        return known[action]
    except (KeyError, TypeError):
        told = function_name(action) if callable(action) else repr(action)
        message = f"{node!r} cannot be set to {told}; its labels are {', '.join(map(repr, labels))}"
        raise GraphError(message, node=node) from None


def _check_node(node: str, graph: nx.DiGraph[str]) -> None:
    known: Collection[str] = graph.nodes
    if node not in known:
        raise GraphError(f"{node!r} is no node of the model; known are {', '.join(known)}", node=node)
    if graph.nodes[node].get("derived"):
        parents = ", ".join(sorted(graph.predecessors(node)))
        raise GraphError(f"{node!r} is made of its parts and cannot be set; act on one of {parents}", node=node)
