"""Interventions as text: ``do(x=5, y=y+2, mode=fast)``, walked over as syntax and never run as code."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from causalkit.errors import GraphError
from causalkit.scm.interventions import FUNCTIONS, OPERATORS, Formula, Intervention, Scale, Shift, evaluate

_MAX_LENGTH = 2000
# Far more than anybody writes by hand, far less than Python's stack holds.
_MAX_DEPTH = 100
_SHOWN = 80
# Quoted labels stay as they are, names in backticks become underscores, all space becomes blanks: positions hold.
_PARTS = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(`[^`]*`)|\s""")
_NAME = re.compile(r"`[^`]*`|[^\s=]+")
_EXAMPLE = "write it like do(x=5, y=y+2, mode='fast')"
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def parse_actions(
    text: str, nodes: Iterable[str], levels: Mapping[str, tuple[Any, ...]] | None = None
) -> dict[str, Intervention]:
    """Return the interventions that a text asks for.

    Parameters
    ----------
    text : str
        ``do(node=value, ...)``, or without the ``do``. A value is a number, a label, or arithmetic of the node's own
        value: ``+ - * / **``, parentheses, ``min max abs sqrt exp`` and the natural ``log``. A node whose name is no
        Python name stands in backticks.
    nodes : iterable of str
        The nodes that are known.
    levels : mapping of str to tuple, optional
        The labels of nodes that hold labels.

    Returns
    -------
    dict of str to number, label, `Shift`, `Scale` or `Formula`

    Raises
    ------
    GraphError
        If the text asks for anything else (``.text``, and ``.position``, counted from 1).

    Examples
    --------
    >>> parse_actions("do(x=5, y=y+2, `total ms`=max(`total ms`, 1))", ["x", "y", "total ms"])
    {'x': 5.0, 'y': Shift(by=2.0), 'total ms': Formula(text='max(`total ms`, 1)')}
    >>> parse_actions("do(x=y)", ["x", "y"])
    Traceback (most recent call last):
    ...
    causalkit.errors.GraphError: 'y' is another node at position 6 of 'do(x=y)'; only the own value of 'x' may ...
    """
    reading, known, actions = _Reading(text), list(nodes), dict[str, Intervention]()
    for keyword in reading.assignments():
        node = reading.node_of(keyword)
        if node not in known:
            raise reading.refusal(keyword, f"{node!r} is no node of the model", f"known are {', '.join(known)}")
        if node in actions:
            raise reading.refusal(keyword, f"{node!r} is acted on twice", "say once what is done to it")
        actions[node] = _action(reading, keyword.value, node, known, (levels or {}).get(node, ()))
    return actions


class _Reading:
    """A text, its syntax, and where in the text each part of the syntax stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        if not text.strip():
            raise self.refusal(1, "there is no intervention", _EXAMPLE)
        if len(text) > _MAX_LENGTH:
            raise self.refusal(_MAX_LENGTH + 1, f"the text goes on after {_MAX_LENGTH} characters", "say less at once")
        masked = _PARTS.sub(lambda found: found[1] or "_" * len(found[2] or "") or " ", text)
        bare = not re.match(r" *do *\(", masked)
        self._code = f"do({masked})" if bare else masked.strip()
        # How much further left a part stands in the text than in the code.
        self._left = len("do(") if bare else -masked.index("do")

    def assignments(self) -> list[ast.keyword]:
        """Return what stands between the parentheses of ``do``."""
        syntax = self._syntax()
        end = syntax.end_col_offset or 0
        if end < len(self._code.encode()):
            raise self.refusal(self._offset(end) + 1, "something follows the interventions", _EXAMPLE)
        match syntax:
            case ast.Call(func=ast.Name(id="do"), args=[], keywords=keywords):
                for keyword in keywords:
                    if keyword.arg is None:
                        raise self.refusal(keyword, "** names no node", _EXAMPLE)
                return keywords
            case ast.Call(func=ast.Name(id="do"), args=[first, *_]):
                raise self.refusal(first, f"{self.source(first)!r} is not of the form node=value", _EXAMPLE)
            case _:
                raise self.refusal(1, "more than one do(...) stands there", _EXAMPLE)

    def _syntax(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self._code, mode="eval").body
        except _UNREADABLE as error:
            place = (getattr(error, "offset", None) or 1) - self._left
            position = min(max(place, 1), len(self.text) + 1)
            # Past its first sentence Python guesses what a program would have meant.
            why = error.msg.split(". ")[0] if isinstance(error, SyntaxError) else "it cannot be read"
            raise self.refusal(
                position, f"the text breaks off ({why})", f"{_EXAMPLE}, other names in backticks"
            ) from error

    def node_of(self, keyword: ast.keyword) -> str:
        """Return the name before the sign, as it was written and not as Python normalises it."""
        found = _NAME.match(self.text, self._start(keyword))
        return found[0].strip("`") if found else ""

    def source(self, part: ast.expr) -> str:
        """Return the text of a part."""
        return self.text[self._start(part) : self._offset(part.end_col_offset or 0)]

    def refusal(self, where: int | ast.expr | ast.keyword, what: str, advice: str) -> GraphError:
        """Return the error that says what is wrong at a position or part."""
        position = where if isinstance(where, int) else self._start(where) + 1
        shown = self.text if len(self.text) <= _SHOWN else self.text[:_SHOWN] + "..."
        return GraphError(f"{what} at position {position} of {shown!r}; {advice}", position=position, text=self.text)

    def _start(self, part: ast.expr | ast.keyword) -> int:
        return self._offset(part.col_offset)

    def _offset(self, num_bytes: int) -> int:
        return max(len(self._code.encode()[:num_bytes].decode()) - self._left, 0)


def _action(reading: _Reading, value: ast.expr, node: str, nodes: list[str], labels: tuple[Any, ...]) -> Intervention:
    if isinstance(value, ast.Constant) and isinstance(value.value, bool | str):
        return value.value
    if isinstance(value, ast.Name) and (name := reading.source(value)) in labels and name not in nodes:
        return name
    _check(reading, value, node, nodes)
    action = _simplest(reading, value)
    amount = action.by if isinstance(action, Shift | Scale) else action
    if isinstance(amount, float) and not np.isfinite(amount):
        raise reading.refusal(value, f"{reading.source(value)!r} is not finite", "give a finite number")
    return action


def _simplest(reading: _Reading, value: ast.expr) -> float | Shift | Scale | Formula:
    match value:
        case _ if _is_constant(value):
            return _number(value)
        case ast.BinOp(left=ast.Name(), op=ast.Add(), right=by) | ast.BinOp(left=by, op=ast.Add(), right=ast.Name()):
            made: type[Shift | Scale] = Shift
            amount = by
        case ast.BinOp(left=ast.Name(), op=ast.Sub(), right=by):
            made, amount = Shift, ast.UnaryOp(ast.USub(), by)
        case ast.BinOp(left=ast.Name(), op=ast.Mult(), right=by) | ast.BinOp(left=by, op=ast.Mult(), right=ast.Name()):
            made, amount = Scale, by
        case ast.BinOp(left=ast.Name(), op=ast.Div(), right=by):
            made, amount = Scale, ast.BinOp(ast.Constant(1), ast.Div(), by)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name()):
            made, amount = Scale, ast.Constant(-1)
        case _:
            return Formula(reading.source(value), value)
    return made(_number(amount)) if _is_constant(amount) else Formula(reading.source(value), value)


def _is_constant(value: ast.expr) -> bool:
    """Return whether the node's own value is nowhere in it; names of functions are no values."""
    called = {part.func for part in ast.walk(value) if isinstance(part, ast.Call)}
    return all(part in called for part in ast.walk(value) if isinstance(part, ast.Name))


def _number(value: ast.expr) -> float:
    return float(evaluate(value))


def _check(reading: _Reading, value: ast.expr, node: str, nodes: list[str], depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise reading.refusal(value, f"more than {_MAX_DEPTH} operations are nested", "simplify the formula")
    parts: list[ast.expr] | None
    match value:
        case ast.Constant(value=bool()):
            parts = None
        case ast.Constant(value=int() | float()):
            parts = []
        case ast.Name():
            _check_name(reading, value, node, nodes)
            parts = []
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            parts = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            parts = [left, right]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            parts = arguments if (len(arguments) > 1) == (FUNCTIONS[name].nin > 1) and arguments else None
        case _:
            parts = None
    if parts is None:
        advice = f"give a number, a quoted label, or + - * / ** min(a, b) max(a, b) abs sqrt log exp of {node!r} itself"
        raise reading.refusal(value, f"{reading.source(value)!r} is not understood", advice)
    for part in parts:
        _check(reading, part, node, nodes, depth + 1)


def _check_name(reading: _Reading, value: ast.Name, node: str, nodes: list[str]) -> None:
    name = reading.source(value).strip("`")
    if name != node:
        what = "another node" if name in nodes else f"neither {node!r} itself nor one of its labels"
        advice = f"only the own value of {node!r} may stand in its formula, and labels that are no names in quotes"
        raise reading.refusal(value, f"{name!r} is {what}", advice)
