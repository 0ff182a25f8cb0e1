"""Formulas that were proven from source text, as functions of columns: walked over as syntax, never run as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from causalkit.errors import FitError
from causalkit.scm.arrays import FloatArray

_Columns = Mapping[str, FloatArray]

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: np.logical_not,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "round": np.round,
    "int": np.trunc,
    "float": lambda value: value,
}


class FormulaOfParents:
    """A formula behind scikit-learn's interface for regressors.

    Parameters
    ----------
    expression : str
        Arithmetic, comparisons, conditional expressions, ``abs max min round int float`` and the ``math`` module.
    names : sequence of str
        The parents, in the order of the columns.

    Raises
    ------
    FitError
        If something else stands in the expression.

    Examples
    --------
    >>> formula = FormulaOfParents("2*x if x > 0 else -1", ["x"])
    >>> formula.predict(np.array([[3.0], [-3.0]])).tolist()
    [6.0, -1.0]
    """

    def __init__(self, expression: str, names: tuple[str, ...] | list[str]) -> None:
        self.expression, self.names = expression, tuple(names)
        self._tree = ast.parse(expression, mode="eval").body
        self.predict(np.ones((1, len(self.names))))

    def predict(self, rows: FloatArray) -> FloatArray:
        """Return the formula's value of each row, shape (rows,), from columns in the order of the names."""
        columns = dict(zip(self.names, rows.T, strict=True))
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(self._value(self._tree, columns), float), (len(rows),)).copy()

    def _value(self, node: ast.AST, columns: _Columns) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return float(value)
            case ast.Name(id=name) if name in columns:
                return columns[name]
            case ast.UnaryOp(op=op, operand=operand):
                return _OPERATORS[type(op)](self._value(operand, columns))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(left, columns), self._value(right, columns))
            case ast.Compare(left=first, ops=[op], comparators=[second]) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(first, columns), self._value(second, columns))
            case ast.Compare(left=first, ops=[op, *ops], comparators=[second, *rest]):
                head = ast.Compare(left=first, ops=[op], comparators=[second])
                tail = ast.Compare(left=second, ops=ops, comparators=rest)
                return np.logical_and(self._value(head, columns), self._value(tail, columns))
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return join.reduce(np.broadcast_arrays(*(self._value(value, columns) for value in values)))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return np.where(self._value(test, columns), self._value(body, columns), self._value(orelse, columns))
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._function(function)(*(self._value(argument, columns) for argument in arguments))
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if isinstance(getattr(math, name, None), float):
                return getattr(math, name)
            case _:
                raise self._refusal(node)

    def _function(self, function: ast.expr) -> Callable[..., Any]:
        match function:
            case ast.Name(id=name) if name in _FUNCTIONS:
                return _FUNCTIONS[name]
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if callable(getattr(math, name, None)):
                return np.vectorize(getattr(math, name), otypes=[float])
            case _:
                raise self._refusal(function)

    def _refusal(self, node: ast.AST) -> FitError:
        return FitError(f"{ast.unparse(node)!r} in the formula {self.expression!r} is not understood; fit this node")
