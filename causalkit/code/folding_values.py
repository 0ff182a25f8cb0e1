"""What an expression is on one path through a function."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from causalkit.code.algebra import Algebra, Value
from causalkit.code.arithmetic import apply, checked_number, combine, is_number
from causalkit.code.conditions import Condition, Facts
from causalkit.code.known_calls import known_call, known_member
from causalkit.code.reasons import NotUnderstood, refuse

_MOST_STEPS = 10_000
_RELATIONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}


class Values:
    """The values of names and expressions on one path, and the turns that the path has taken.

    A value is a number, a polynomial, a tuple of values, or a known module or function.

    Parameters
    ----------
    outside : callable
        Takes a name from outside the function; returns a known module or function, or raises `NotUnderstood`.
    algebra : Algebra
    start : mapping of str to value
        The parameters.
    local : set of str
        Names that the function binds somewhere.
    turns : sequence of bool
        How the first open conditions turn out; after them each is taken as true.

    Attributes
    ----------
    names : dict of str to value
        What is bound so far.
    conditions : list of Condition
        What holds on this path.
    untaken : list of list of bool
        The turns of the paths that branch off from this one.

    Examples
    --------
    >>> algebra = Algebra(["x"])
    >>> values = Values(None, algebra, {"x": algebra.parameter("x")}, set(), [False])
    >>> values.of(ast.parse("1 if x > 0 else 2", mode="eval").body), values.conditions
    (2, [Condition(x <= 0)])
    """

    def __init__(
        self,
        outside: Callable[[str], Any],
        algebra: Algebra,
        start: Mapping[str, Value],
        local: set[str],
        turns: Sequence[bool],
    ) -> None:
        self.algebra = algebra
        self.names: dict[str, Any] = dict(start)
        self.conditions: list[Condition] = []
        self.untaken: list[list[bool]] = []
        self._outside, self._local = outside, local
        self._turns, self._taken = turns, list[bool]()
        self._facts = Facts()
        self._steps = 0

    def of(self, node: ast.expr) -> Any:
        """Return the value of an expression."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            refuse(node, f"more than {_MOST_STEPS} steps")
        with self.at(node):
            return self._of(node)

    def number(self, node: ast.expr) -> Value:
        """Return the value of an expression that has to be a number or a polynomial."""
        value = self.of(node)
        if not is_number(value) and (isinstance(value, tuple) or not hasattr(value, "ring")):
            refuse(node, "a value that is no number")
        return value

    def truth(self, node: ast.expr) -> bool:
        """Return whether an expression counts as true on this path."""
        return self._is_true(self.number(node))

    @contextmanager
    def at(self, node: ast.AST) -> Iterator[None]:
        """Add the line to what is not understood."""
        try:
            yield
        except NotUnderstood as gap:
            if gap.line is None:
                raise NotUnderstood(str(gap), getattr(node, "lineno", None)) from gap
            raise

    def _of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() | float() as value):
                return checked_number(value)
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self.truth(operand)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                return combine(self.algebra, ast.Mult(), -1 if isinstance(sign, ast.USub) else 1, self.number(operand))
            case ast.BinOp(left=left, op=sign, right=right):
                return combine(self.algebra, sign, self.number(left), self.number(right))
            case ast.BoolOp(op=junction, values=operands):
                return self._junction(isinstance(junction, ast.And), operands)
            case ast.Compare(left=left, ops=relations, comparators=others):
                return self._chain(left, relations, others)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.of(body if self.truth(test) else orelse)
            case ast.Call():
                return self._call(node)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self.names[name] = self.of(value)
                return self.names[name]
            case ast.Tuple(elts=parts):
                return tuple(self.of(part) for part in parts)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                member = known_member(self._name(node, name), attribute)
                return refuse(node, f"{name}.{attribute}, which is not known") if member is None else member
            case ast.Constant(value=value):
                return refuse(node, "None" if value is None else "text")
        return refuse(node)

    def _name(self, node: ast.expr, name: str) -> Any:
        if name not in self.names and name in self._local:
            refuse(node, f"{name!r}, which may have no value yet,")
        value = self.names[name] if name in self.names else self._outside(name)
        return refuse(node, f"{name!r} from outside") if value is None else value

    def _junction(self, conjunction: bool, operands: Sequence[ast.expr]) -> Any:
        for operand in operands[:-1]:
            value = self.number(operand)
            if self._is_true(value) != conjunction:
                return value
        return self.of(operands[-1])

    def _chain(self, left: ast.expr, relations: Sequence[ast.cmpop], others: Sequence[ast.expr]) -> bool:
        first = self.number(left)
        for relation, other in zip(relations, others, strict=True):
            second = self.number(other)
            if type(relation) not in _RELATIONS:
                refuse(other, f"the comparison {type(relation).__name__}")
            if not self._compare(first, *_RELATIONS[type(relation)], second):
                return False
            first = second
        return True

    def _compare(self, first: Value, relation: str, test: Callable[[Any, Any], bool], second: Value) -> bool:
        if is_number(first) and is_number(second):
            return test(first, second)
        difference = combine(self.algebra, ast.Sub(), first, second)
        if is_number(difference):
            return test(difference, 0)
        return self._turn(Condition.of(self.algebra.formula(difference), relation))

    def _is_true(self, value: Value) -> bool:
        return bool(value) if is_number(value) else self._compare(value, *_RELATIONS[ast.NotEq], 0)

    def _turn(self, condition: Condition) -> bool:
        """Return how a condition turns out on this path, and remember the other way."""
        known = self._facts.decide(condition)
        if known is not None:
            return known
        if len(self._taken) == len(self._turns):
            self.untaken.append([*self._taken, False])
            self._turns = [*self._turns, True]
        turn = self._turns[len(self._taken)]
        self._taken.append(turn)
        self.conditions.append(condition if turn else condition.negated())
        self._facts.assume(self.conditions[-1])
        return turn

    def _call(self, node: ast.Call) -> Any:
        function = self.of(node.func)
        if node.keywords:
            refuse(node, "a call with keywords")
        arguments = [self.number(argument) for argument in node.args]
        if function is bool and len(arguments) == 1:
            return self._is_true(arguments[0])
        if function is float and len(arguments) == 1:
            return float(arguments[0]) if is_number(arguments[0]) else arguments[0]
        call = known_call(function)
        return refuse(node, "a call that is not known") if call is None else apply(self.algebra, call, arguments)
