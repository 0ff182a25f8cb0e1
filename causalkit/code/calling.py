"""What a call depends on, and which objects it changes."""

from __future__ import annotations

import ast
from collections.abc import Callable

from causalkit.code.calls import (
    KNOWN_PURE,
    LEAVING,
    SEES_ALL_NAMES,
    Callee,
    called_name,
    changes_first_argument,
    changes_receiver,
    is_fresh,
    is_known,
    is_report,
    matched,
)
from causalkit.code.ledger import NONE, Value, Version
from causalkit.code.scope import Scope

Reader = Callable[[Scope, ast.AST | None], Value]


def read_call(scope: Scope, call: ast.Call, read: Reader, *, discarded: bool = False) -> Value:
    """Return what the result of a call depends on, and give new versions to what it changes.

    Parameters
    ----------
    scope : Scope
        The function that calls.
    call : ast.Call
        The call.
    read : callable
        Reads the arguments.
    discarded : bool, default False
        Whether nobody takes the result: the call is there for what it changes.

    Returns
    -------
    Value
        What the result depends on.

    Examples
    --------
    >>> from causalkit.code.values import read
    >>> scope = Scope(lambda name: None, frozenset(["xs", "y"]))
    >>> for name in ("xs", "y"):
    ...     scope.enter(name, ast.parse(name).body[0])
    >>> value = read_call(scope, ast.parse("xs.append(y)").body[0].value, read, discarded=True)
    >>> [version.kind for version in scope.names["xs"]]
    ['variable']
    """
    callee = _given(scope, call)
    if callee is not None:
        return _read_known(scope, call, callee, read)
    function = _read_function(scope, call, read)
    arguments = [read(scope, argument) for argument in [*call.args, *(part.value for part in call.keywords)]]
    value = function.joined(*arguments)
    if is_report(call):
        return value.fresh()
    if called_name(call) in LEAVING and not scope.names.get(called_name(call)):
        scope.leave()
        return value.fresh()
    _change(scope, call, function, arguments, discarded)
    return value.kept() if is_fresh(call) else value.inside().joined(_all_names(scope, call))


def _given(scope: Scope, call: ast.Call) -> Callee | None:
    """Return what is known of the called function, if it is one of those that are read together."""
    if not isinstance(call.func, ast.Name) or call.func.id in scope.local or call.func.id in scope.names:
        return None
    return scope.resolve(call.func.id)


def _read_known(scope: Scope, call: ast.Call, callee: Callee, read: Reader) -> Value:
    given = {
        name: Value().joined(*(read(scope, argument) for argument in arguments))
        for name, arguments in matched(callee, call).items()
    }
    for name, causes in callee.changes.items():
        scope.change(given[name].objects, Value().joined(*(given[cause] for cause in causes)), call)
    value = Value()
    for name, reach in callee.reaching.items():
        part = given[name] if reach == "data" else given[name].deciding()
        kept = part.kept() if name in callee.held else part.fresh()
        value = value.joined(part.inside() if name in callee.shared else kept)
    if callee.node:
        return value.joined(Value(frozenset([Version(callee.node, 0, 0, "call")])))
    for node, reach in callee.through.items():
        result = Value(frozenset([Version(node, 0, 0, "call")]))
        value = value.joined(result if reach == "data" else result.deciding())
    return value


def _read_function(scope: Scope, call: ast.Call, read: Reader) -> Value:
    """Read what is called; a nested function by its name does not escape by being called."""
    if isinstance(call.func, ast.Name) and call.func.id in scope.local:
        return scope.lookup(call.func.id)
    if isinstance(call.func, ast.Attribute):
        return read(scope, call.func.value)
    return read(scope, call.func)


def _change(scope: Scope, call: ast.Call, function: Value, arguments: list[Value], discarded: bool) -> None:
    value = function.joined(*arguments)
    for name in sorted({name for version in function.data for name in scope.ledger.effects.get(version, ())}):
        scope.change(scope.lookup(name).objects, value, call)
    if changes_receiver(call):
        scope.change(function.objects, value, call)
    elif changes_first_argument(call):
        scope.change(arguments[0].objects, value, call)
    elif discarded and called_name(call) not in KNOWN_PURE:
        scope.change(value.objects, value, call)
    elif not discarded and not is_known(call) and called_name(call) not in scope.local:
        scope.ledger.assumed[call.lineno, called_name(call) or ast.unparse(call.func)] = None


def _all_names(scope: Scope, call: ast.Call) -> Value:
    name = called_name(call)
    if name not in SEES_ALL_NAMES or (name == "vars" and call.args) or (name == "dir" and call.args):
        return Value()
    scope.ledger.report(call.lineno, name, "it may read and change every variable")
    return Value(NONE.union(*scope.names.values()))
