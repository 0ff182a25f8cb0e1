"""What an assignment gives its value to: names, tuples of them, attributes and subscripts."""

from __future__ import annotations

import ast

from causalkit.code.calling import Reader
from causalkit.code.ledger import Value
from causalkit.code.names import root_name
from causalkit.code.scope import Scope


def bind(scope: Scope, target: ast.expr, value: Value, read: Reader) -> None:
    """Give a value to a target; attributes and subscripts change the object that they belong to.

    Parameters
    ----------
    scope : Scope
        The function.
    target : ast.expr
        What stands left of the equals sign.
    value : Value
        What the right side depends on.
    read : callable
        Reads the parts of the target that are evaluated, as the index of a subscript.

    Examples
    --------
    >>> from causalkit.code.values import read
    >>> scope = Scope(lambda name: None, frozenset("ab"))
    >>> bind(scope, ast.parse("a, *b").body[0].value, Value(), read)
    >>> sorted(scope.names)
    ['a', 'b']
    """
    if isinstance(target, ast.Name):
        scope.define(target.id, target, value)
    elif isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            bind(scope, part, value.inside(), read)
    elif isinstance(target, ast.Starred):
        bind(scope, target.value, value, read)
    elif isinstance(target, ast.Attribute | ast.Subscript):
        _bind_part(scope, target, value, read)


def _bind_part(scope: Scope, target: ast.Attribute | ast.Subscript, value: Value, read: Reader) -> None:
    owner = read(scope, target.value)
    index = read(scope, target.slice) if isinstance(target, ast.Subscript) else Value()
    root = root_name(target)
    if root and root not in scope.local:
        scope.ledger.report(target.lineno, "assignment", f"{root} is changed for other functions and calls")
    scope.take_risk(owner.joined(index))
    scope.change(owner.objects, value.joined(index.fresh()), target)
