"""Formulas that were proven from source text, as functions of columns: walked over as syntax, never run as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
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
    # As a number: NumPy adds truth values to a truth value.
    ast.Not: lambda value: np.logical_not(value) * 1.0,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "round": np.round,
    "int": np.trunc,
    "float": lambda value: value,
    "sum": lambda *values: sum(values),
}


class FormulaOfParents:
    """A formula behind scikit-learn's interface for regressors.

    Parameters
    ----------
    expression : str
        Arithmetic, comparisons (1 where they hold, 0 elsewhere), conditional expressions, ``abs max min round int float
        sum`` and the ``math`` module; NaN where ``math`` knows no value.
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
        self.predict(np.ones((2, len(self.names))))

    def predict(self, rows: FloatArray) -> FloatArray:
        """Return the formula's value of each row, shape (rows,), from columns in the order of the names."""
        return np.broadcast_to(self.value(dict(zip(self.names, rows.T, strict=True))), (len(rows),)).copy()

    def value(self, columns: _Columns) -> FloatArray:
        """Return the formula's value from the parents' values by name, of any shapes that fit together."""
        with np.errstate(all="ignore"):
            return np.asarray(self._value(self._tree, columns), float)

    def _value(self, node: ast.AST, columns: _Columns) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                # Python's own numbers would raise an error where they are divided by 0.
                return np.float64(value)
            case ast.Name(id=name) if name in columns:
                return columns[name]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(operand, columns))
            case ast.BinOp():
                return self._chain(node, columns)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _OPERATORS for op in ops):
                sides = pairwise(self._value(side, columns) for side in (left, *others))
                held = [_OPERATORS[type(op)](*pair) for op, pair in zip(ops, sides, strict=True)]
                return np.logical_and.reduce(np.broadcast_arrays(*held)) * 1.0
            case ast.BoolOp(op=op, values=[first, *others]):
                value = self._value(first, columns)
                for other in (self._value(each, columns) for each in others):
                    value = np.where(value, other, value) if isinstance(op, ast.And) else np.where(value, value, other)
                return value
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return np.where(self._value(test, columns), self._value(body, columns), self._value(orelse, columns))
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._function(function)(*(self._value(argument, columns) for argument in arguments))
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if isinstance(getattr(math, name, None), float):
                return getattr(math, name)
            case _:
                raise self._refusal(node)

    def _chain(self, node: ast.expr, columns: _Columns) -> Any:
        """Return the value of terms one after the other, however many: they nest to the left."""
        terms: list[tuple[ast.operator, ast.expr]] = []
        while isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            terms.append((node.op, node.right))
            node = node.left
        if not terms:
            raise self._refusal(node)
        value = self._value(node, columns)
        for op, right in reversed(terms):
            value = _OPERATORS[type(op)](value, self._value(right, columns))
        return value

    def _function(self, function: ast.expr) -> Callable[..., Any]:
        match function:
            case ast.Name(id=name) if name in FUNCTIONS:
                return FUNCTIONS[name]
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if callable(getattr(math, name, None)):
                return np.vectorize(_or_nan(getattr(math, name)), otypes=[float])
            case _:
                raise self._refusal(function)

    def _refusal(self, node: ast.AST) -> FitError:
        return FitError(f"{ast.unparse(node)!r} in the formula {self.expression!r} is not understood; fit this node")


def _or_nan(function: Callable[..., float]) -> Callable[..., float]:
    # Both sides of a condition are computed, also where a logarithm behind it has no value.
    def told(*values: float) -> float:
        try:
            return function(*values)
        except (ValueError, OverflowError):
            return math.nan

    return told
