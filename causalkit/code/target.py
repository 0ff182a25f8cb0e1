"""Which function is meant, as syntax, and what the names in it that come from outside stand for."""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from causalkit.code.known_calls import known_call, known_member
from causalkit.code.reasons import NotUnderstood, refuse
from causalkit.errors import TraceCollectionError

Syntax = ast.FunctionDef | ast.Lambda
_NOTHING = object()


@dataclass(frozen=True)
class Target:
    """A function to be read.

    Attributes
    ----------
    name : str
        As `check_function` would find it; empty for a live callable.
    syntax : ast.FunctionDef or ast.Lambda
    outside : callable
        Takes a name that is bound outside the function; returns a known module or function, or raises `NotUnderstood`.
    """

    name: str
    syntax: Syntax
    outside: Callable[[str], Any]

    @property
    def body(self) -> list[ast.stmt]:
        """The statements of the function."""
        if isinstance(self.syntax, ast.Lambda):
            return [ast.copy_location(ast.Return(self.syntax.body), self.syntax.body)]
        return self.syntax.body


def find_target(source: str | Callable[..., Any], node: str | None = None) -> Target:
    """Find the function that is meant, without running anything.

    Parameters
    ----------
    source : str or callable
        Source text, or a live function whose source can be found.
    node : str, optional
        The function of this name is meant if the text has one, or else the only public one.

    Returns
    -------
    Target

    Raises
    ------
    NotUnderstood
        If it is not plain which function is meant, or its syntax is not to be had.
    TraceCollectionError
        If `source` is neither text nor callable.

    Examples
    --------
    >>> find_target("def half(x): return x / 2").name
    'half'
    """
    if isinstance(source, str):
        return _in_text(source, node)
    if not callable(source):
        raise TraceCollectionError(f"a mechanism is read from source text or a callable, not a {type(source).__name__}")
    return _of_callable(source)


def resolve_known(name: str, value: Any) -> Any:
    """Return a value from outside if it is a known module or function.

    Examples
    --------
    >>> resolve_known("absolute", abs)
    <built-in function abs>
    """
    if value is math or value is float or value is bool or value is math.pi or value is math.e or known_call(value):
        return value
    raise NotUnderstood(f"{name!r} from outside")


def _in_text(source: str, node: str | None) -> Target:
    module = _parsed(textwrap.dedent(source))
    bound = _bindings(module)
    name = node if node in bound else _only_public(bound)
    if len(bound[name]) > 1 or not isinstance(bound[name][0], Syntax):
        raise NotUnderstood(f"{name!r} is not one plain function")

    def outside(wanted: str) -> Any:
        (value,) = bound.get(wanted, [getattr(builtins, wanted, None)])[-1:]
        # A name bound twice may be either.
        return resolve_known(wanted, None if len(bound.get(wanted, [])) > 1 else value)

    return Target(name, bound[name][0], outside)


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError) as error:
        raise NotUnderstood(f"a text that is no Python ({error})") from error


def _bindings(module: ast.Module) -> dict[str, list[Any]]:
    """Return what each name of a module is bound to: a function's syntax, a known module or function, or unknown."""
    bound: dict[str, list[Any]] = {}
    for statement in module.body:
        for name, value in _bound_by(statement):
            bound.setdefault(name, []).append(value)
    for inner in ast.walk(module):
        for name in inner.names if isinstance(inner, ast.Global) else ():
            bound.setdefault(name, []).extend([_NOTHING, _NOTHING])
    return bound


def _bound_by(statement: ast.stmt) -> Iterator[tuple[str, Any]]:
    match statement:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Import() | ast.ImportFrom():
            yield from imported(statement)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name, statement
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=value)
        ):
            yield name, value
        case _:
            refuse(statement, "a statement that does more than define")


def imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Any]]:
    """Return the names that an import binds, each with the known module or function it stands for, or None.

    Examples
    --------
    >>> list(imported(ast.parse("from math import tau as turn").body[0]))
    [('turn', 6.283185307179586)]
    """
    for alias in statement.names:
        if alias.name == "*":
            refuse(statement, "an import of everything")
        if isinstance(statement, ast.ImportFrom):
            from_math = statement.module == "math" and not statement.level
            yield alias.asname or alias.name, known_member(math if from_math else None, alias.name)
        else:
            yield alias.asname or alias.name.partition(".")[0], math if alias.name == "math" else None


def _only_public(bound: dict[str, list[Any]]) -> str:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    public = [
        name
        for name, values in bound.items()
        if not name.startswith("_") and any(isinstance(value, functions) for value in values)
    ]
    if len(public) != 1:
        raise NotUnderstood(f"several functions ({', '.join(public)})" if public else "no function")
    return public[0]


def _of_callable(function: Any) -> Target:
    if not isinstance(function, FunctionType):
        raise NotUnderstood(f"a {type(function).__name__}, which is no plain function")
    if hasattr(function, "__wrapped__"):
        raise NotUnderstood("a decorated function")
    code = function.__code__
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError) as error:
        raise NotUnderstood("a function whose source is not to be found") from error
    found = [node for node in ast.walk(_parsed("".join(lines))) if isinstance(node, Syntax) and _is_of(node, code)]
    if len(found) != 1:
        raise NotUnderstood("a function whose source is not plain", code.co_firstlineno)

    def outside(wanted: str) -> Any:
        if wanted in code.co_freevars:
            raise NotUnderstood(f"{wanted!r} from outside")
        return resolve_known(wanted, function.__globals__.get(wanted, getattr(builtins, wanted, None)))

    return Target("", found[0], outside)


def _is_of(node: Syntax, code: CodeType) -> bool:
    """Return whether code was compiled from this syntax."""
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return (node.name, first) == (code.co_name, code.co_firstlineno)
    body = (node.body.lineno, node.body.end_lineno, node.body.col_offset, node.body.end_col_offset)
    return code.co_name == "<lambda>" and body in code.co_positions()
