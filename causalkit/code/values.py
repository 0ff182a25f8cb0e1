"""What an expression depends on, and what evaluating it changes."""

from __future__ import annotations

import ast
from collections.abc import Callable

from causalkit.code.calling import read_call
from causalkit.code.ledger import NONE, Value, Version
from causalkit.code.names import free_names
from causalkit.code.scope import Scope

Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def read(scope: Scope, expression: ast.AST | None) -> Value:
    """Return what an expression depends on where the scope stands.

    Parameters
    ----------
    scope : Scope
        The function; evaluating the expression may define and change its variables.
    expression : ast.AST or None
        The expression; None depends on nothing.

    Returns
    -------
    Value
        The versions it takes by data and by control.

    Examples
    --------
    >>> scope = Scope(lambda name: None, frozenset("xy"))
    >>> scope.enter("x", ast.parse("x").body[0])
    >>> value = read(scope, ast.parse("[x * i for i in range(3)]").body[0].value)
    >>> [version.name for version in value.data]
    ['x']
    """
    if expression is None:
        return Value()
    value = READERS.get(type(expression), _read_parts)(scope, expression)
    if not isinstance(expression, ast.Name | ast.Constant):
        scope.take_risk(value)
    return value


def _read_parts(scope: Scope, expression: ast.AST) -> Value:
    """Read attributes, `await`, and what else may be taken out of its parts."""
    return Value().joined(*(read(scope, part) for part in ast.iter_child_nodes(expression))).inside()


def _read_display(scope: Scope, expression: ast.AST) -> Value:
    """Read displays and sums, which may hold their parts but are none of them."""
    return _read_parts(scope, expression).kept()


def _read_subscript(scope: Scope, expression: ast.Subscript) -> Value:
    owner = read(scope, expression.value)
    return owner.inside().joined(read(scope, expression.slice).fresh())


def _read_fresh(scope: Scope, expression: ast.AST) -> Value:
    return _read_parts(scope, expression).fresh()


def _read_name(scope: Scope, expression: ast.Name) -> Value:
    value = scope.lookup(expression.id)
    if expression.id not in scope.local and expression.id not in scope.names:
        return given_function(scope, expression.id)
    for effect in sorted({name for version in value.data for name in scope.ledger.effects.get(version, ())}):
        reason = f"{expression.id} changes {effect} and is handed on; whoever calls it changes {effect} then"
        scope.ledger.report(expression.lineno, "closure", reason)
        scope.define(effect, expression, value.joined(scope.lookup(effect)))
    return value


def given_function(scope: Scope, name: str) -> Value:
    """Return what it means to use one of the functions that are read together without calling it here."""
    callee = scope.resolve(name)
    if callee is None:
        return Value()
    nodes = [callee.node] if callee.node else list(callee.through)
    return Value(frozenset(Version(node, 0, 0, "call") for node in nodes))


def _read_walrus(scope: Scope, expression: ast.NamedExpr) -> Value:
    value = read(scope, expression.value)
    before = scope.lookup(expression.target.id) if scope.doubtful else Value()
    version = scope.define(expression.target.id, expression, value.joined(before))
    return scope.ledger.value_of([version])


def _read_choice(scope: Scope, expression: ast.IfExp) -> Value:
    test = read(scope, expression.test)
    with scope.perhaps(test):
        return test.deciding().joined(read(scope, expression.body), read(scope, expression.orelse))


def _read_short_circuit(scope: Scope, expression: ast.BoolOp) -> Value:
    first, *others = expression.values
    value = read(scope, first)
    for other in others:
        with scope.perhaps(value):
            value = value.joined(read(scope, other))
    return value


def _read_lambda(scope: Scope, expression: ast.Lambda) -> Value:
    defaults = [*expression.args.defaults, *filter(None, expression.args.kw_defaults)]
    return read_captured(scope, expression).joined(*(read(scope, default) for default in defaults))


def read_captured(scope: Scope, part: ast.AST) -> Value:
    """Return what a nested function takes from the variables around it, now or when it is called."""
    names = free_names(part)
    values = [scope.lookup(name) for name in names]
    outer = [given_function(scope, name) for name in names - scope.local]
    return Value(captured=names & scope.local).joined(*values, *outer).kept()


def _read_comprehension(scope: Scope, expression: Comprehension) -> Value:
    """Read a comprehension; its own variables are what they run over."""
    outside = scope.names
    value = Value()
    own: set[str] = set()
    doubtful, scope.doubtful = scope.doubtful, True
    for generator in expression.generators:
        source = read(scope, generator.iter)
        names = {node.id for node in ast.walk(generator.target) if isinstance(node, ast.Name)}
        own |= names
        scope.overlay(dict.fromkeys(names, source.data | source.control))
        tests = [read(scope, test) for test in generator.ifs]
        value = value.joined(source, *(test.deciding() for test in tests))
    results = [expression.key, expression.value] if isinstance(expression, ast.DictComp) else [expression.elt]
    value = value.joined(*(read(scope, result) for result in results))
    scope.doubtful = doubtful
    scope.overlay({name: outside.get(name, NONE) for name in own})
    late = free_names(expression) & scope.local if isinstance(expression, ast.GeneratorExp) else frozenset()
    return value.kept()._replace(captured=value.captured | late)


def _read_yield(scope: Scope, expression: ast.Yield | ast.YieldFrom) -> Value:
    scope.hand_back(read(scope, expression.value), expression.lineno)
    return Value()


READERS: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Name: _read_name,
    ast.NamedExpr: _read_walrus,
    ast.IfExp: _read_choice,
    ast.BoolOp: _read_short_circuit,
    ast.Lambda: _read_lambda,
    ast.Call: lambda scope, call: read_call(scope, call, read),
    ast.Yield: _read_yield,
    ast.YieldFrom: _read_yield,
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), _read_comprehension),
    ast.Subscript: _read_subscript,
    **dict.fromkeys((ast.List, ast.Tuple, ast.Set, ast.Dict, ast.BinOp), _read_display),
    **dict.fromkeys((ast.UnaryOp, ast.Compare, ast.JoinedStr, ast.FormattedValue), _read_fresh),
}
