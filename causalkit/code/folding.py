"""The paths through a function, each carried out with formulas in the place of values."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from causalkit.code.algebra import Algebra, Value
from causalkit.code.arithmetic import combine
from causalkit.code.conditions import Condition
from causalkit.code.folding_values import Values
from causalkit.code.formula import Formula
from causalkit.code.reasons import NotUnderstood, refuse
from causalkit.code.target import Target, imported

_MOST_PATHS = 32
_MOST_NODES = 3_000
_ANYWHERE = (ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal)
_END = object()


@dataclass(frozen=True)
class Path:
    """What a function returns where some conditions hold.

    Attributes
    ----------
    conditions : tuple of Condition
        In the order of their tests; those that follow from earlier ones are left out.
    formula : Formula
    """

    conditions: tuple[Condition, ...]
    formula: Formula

    def holds(self, point: Mapping[str, float]) -> bool:
        """Return whether a point takes this path; whatever a condition raises there goes through."""
        return all(condition.holds(point) for condition in self.conditions)

    def reached(self, point: Mapping[str, float]) -> bool:
        """Return whether a point takes this path, as far as its conditions can be evaluated."""
        try:
            return self.holds(point)
        except (ArithmeticError, ValueError, TypeError):
            return False


def fold(target: Target, algebra: Algebra, start: Mapping[str, Value]) -> list[Path]:
    """Carry out a function along each of its paths.

    Parameters
    ----------
    target : Target
    algebra : Algebra
        Over the parameters that vary.
    start : mapping of str to value
        What each parameter is: a polynomial, or the number it has by default.

    Returns
    -------
    list of Path
        Together they cover all inputs, each input once.

    Raises
    ------
    NotUnderstood
        With the reason and its line.

    Examples
    --------
    >>> from causalkit.code.target import find_target
    >>> algebra = Algebra(["x"])
    >>> for path in fold(find_target("def f(x): return x if x > 1 else 1 - x"), algebra, {"x": algebra.parameter("x")}):
    ...     print(*path.conditions, ":", path.formula)
    x > 1 : x
    x <= 1 : -x + 1
    """
    _check_syntax(target)
    paths: list[Path] = []
    waiting: list[list[bool]] = [[]]
    while waiting:
        values = Values(target.outside, algebra, start, set(_bound_names(target.body)), waiting.pop())
        result = _carry_out(values, target.body)
        if result is _END:
            refuse(target.syntax, "a path that returns nothing")
        paths.append(Path(tuple(values.conditions), algebra.formula(result)))
        waiting += values.untaken
        if len(paths) + len(waiting) > _MOST_PATHS:
            raise NotUnderstood(f"more than {_MOST_PATHS} paths")
    return paths


def _check_syntax(target: Target) -> None:
    nodes = [node for statement in target.body for node in ast.walk(statement)]
    if len(nodes) > _MOST_NODES:
        raise NotUnderstood(f"a function of more than {_MOST_NODES} pieces of syntax")
    if isinstance(target.syntax, ast.FunctionDef) and target.syntax.decorator_list:
        refuse(target.syntax, "a decorator")
    for node in nodes:
        # Even where it is never reached, it changes what the whole function is.
        if isinstance(node, _ANYWHERE):
            refuse(node)


def _bound_names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Return at least all names that are local because something in the function binds them."""
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        yield from (name for field in ("name", "rest") if isinstance(name := getattr(node, field, None), str))


def _carry_out(values: Values, statements: Sequence[ast.stmt]) -> Any:
    """Return what is returned, or _END where the end is reached without."""
    for statement in statements:
        match statement:
            case ast.Return(value=ast.expr() as expression):
                return values.number(expression)
            case ast.Return():
                return _END
            case ast.If(test=test, body=body, orelse=orelse):
                if (result := _carry_out(values, body if values.truth(test) else orelse)) is not _END:
                    return result
            case _:
                _step(values, statement)
    return _END


def _step(values: Values, statement: ast.stmt) -> None:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.AnnAssign(target=ast.Name(), value=None):
            return
        case ast.Assign(targets=targets, value=expression):
            result = values.of(expression)
            for target in targets:
                _bind(values, target, result)
        case ast.AnnAssign(target=target, value=ast.expr() as expression):
            _bind(values, target, values.of(expression))
        case ast.AugAssign(target=ast.Name(id=name) as target, op=sign, value=expression):
            before = values.number(ast.copy_location(ast.Name(name, ast.Load()), target))
            with values.at(statement):
                values.names[name] = combine(values.algebra, sign, before, values.number(expression))
        case ast.Import() | ast.ImportFrom():
            values.names.update(imported(statement))
        case ast.Expr(value=expression):
            values.of(expression)
        case _:
            refuse(statement)


def _bind(values: Values, target: ast.expr, value: Any) -> None:
    match target:
        case ast.Name(id=name):
            values.names[name] = value
        case ast.Tuple(elts=parts) | ast.List(elts=parts) if isinstance(value, tuple) and len(parts) == len(value):
            for part, one in zip(parts, value, strict=True):
                _bind(values, part, one)
        case _:
            refuse(target)
