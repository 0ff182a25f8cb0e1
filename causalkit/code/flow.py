"""Reading a function statement by statement: which versions of its variables reach which statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from causalkit.code.blocks import read_for, read_if, read_match, read_try, read_while, read_with
from causalkit.code.calling import read_call
from causalkit.code.ledger import Value
from causalkit.code.names import changed_names
from causalkit.code.scope import Scope
from causalkit.code.targets import bind
from causalkit.code.values import read, read_captured

Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_statements(scope: Scope, statements: Sequence[ast.stmt]) -> None:
    r"""Read statements one after the other, up to where none is reached any more.

    Parameters
    ----------
    scope : Scope
        The function; it is moved to the end of the statements.
    statements : sequence of ast.stmt
        The statements.

    Examples
    --------
    >>> scope = Scope(lambda name: None, frozenset("xy"))
    >>> scope.enter("x", ast.arg("x", lineno=1, col_offset=6))
    >>> read_statements(scope, ast.parse("if x > 0:\n    y = 1\nelse:\n    y = 2").body)
    >>> sorted(version.line for version in scope.names["y"])
    [2, 4]
    """
    for statement in statements:
        if scope.path.names is None:
            return
        READERS.get(type(statement), _read_other)(scope, statement)


def _read_assign(scope: Scope, statement: ast.Assign) -> None:
    if len(statement.targets) == 1:
        _assign(scope, statement.targets[0], statement.value)
        return
    value = read(scope, statement.value)
    for target in statement.targets:
        bind(scope, target, value, read)
        if isinstance(target, ast.Name):
            # `a = b = []` is one list under two names.
            value = value._replace(objects=value.objects | scope.lookup(target.id).objects)


def _read_annotated(scope: Scope, statement: ast.AnnAssign) -> None:
    if statement.value is not None:
        _assign(scope, statement.target, statement.value)


def _assign(scope: Scope, target: ast.expr, expression: ast.expr) -> None:
    """Assign; `a, b = x, y` gives each its own, after all of them were read."""
    if not _pairwise(target, expression):
        bind(scope, target, read(scope, expression), read)
        return
    values = [read(scope, part) for part in expression.elts]  # type: ignore[attr-defined]
    for part, value in zip(target.elts, values, strict=True):  # type: ignore[attr-defined]
        bind(scope, part, value, read)


def _pairwise(target: ast.expr, expression: ast.expr) -> bool:
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(expression, ast.Tuple | ast.List):
        return False
    starred = any(isinstance(part, ast.Starred) for part in [*target.elts, *expression.elts])
    return not starred and len(target.elts) == len(expression.elts)


def _read_augmented(scope: Scope, statement: ast.AugAssign) -> None:
    """Read `x += y`, which changes the object of x in place if it is a list, a set or an array."""
    value = read(scope, statement.value)
    if not isinstance(statement.target, ast.Name):
        bind(scope, statement.target, value.fresh().joined(read(scope, _loaded(statement.target))), read)
        return
    before = scope.lookup(statement.target.id)
    if not isinstance(statement.value, ast.Constant):
        scope.change(before.objects, value, statement)
    scope.define(statement.target.id, statement, before.joined(value.kept()))


def _loaded(target: ast.expr) -> ast.expr:
    parsed: ast.expr = ast.parse(ast.unparse(target), mode="eval").body
    return ast.increment_lineno(parsed, target.lineno - 1)


def _read_expression(scope: Scope, statement: ast.Expr) -> None:
    if isinstance(statement.value, ast.Call):
        scope.take_risk(read_call(scope, statement.value, read, discarded=True))
    else:
        read(scope, statement.value)


def _read_return(scope: Scope, statement: ast.Return) -> None:
    scope.hand_back(read(scope, statement.value), statement.lineno)
    scope.leave()


def _read_raise(scope: Scope, statement: ast.Raise) -> None:
    scope.take_risk(read(scope, statement.exc))
    scope.leave()


def _read_assert(scope: Scope, statement: ast.Assert) -> None:
    """Read `assert x`: what follows is reached only if x holds."""
    test = read(scope, statement.test)
    after = scope.path
    scope.path = after._replace(left=after.left | test.data | test.control | scope.control)


def _read_break(scope: Scope, _: ast.Break) -> None:
    scope.loops[-1].breaks.append(scope.path)
    scope.loops[-1].decided |= scope.control
    scope.skip()


def _read_continue(scope: Scope, _: ast.Continue) -> None:
    scope.loops[-1].continues.append(scope.path)
    scope.skip()


def _read_delete(scope: Scope, statement: ast.Delete) -> None:
    for target in statement.targets:
        if isinstance(target, ast.Name):
            scope.overlay({target.id: frozenset()})
        else:
            bind(scope, target, Value(), read)


def _read_import(scope: Scope, statement: ast.Import | ast.ImportFrom) -> None:
    """Read an import: its names stand for nothing that a parameter could change."""
    scope.overlay({(alias.asname or alias.name).split(".")[0]: frozenset() for alias in statement.names})


def _read_global(scope: Scope, statement: ast.Global) -> None:
    scope.ledger.report(statement.lineno, "global", f"{', '.join(statement.names)} may be changed for other calls")


def _read_nested(scope: Scope, statement: Function | ast.ClassDef) -> None:
    """Read a nested function: it depends on what it takes from around it; its own statements are no nodes."""
    value = read_captured(scope, statement)
    outside = [*statement.decorator_list, *_evaluated_outside(statement)]
    version = scope.define(statement.name, statement, value.joined(*(read(scope, part) for part in outside)))
    scope.ledger.effects[version] = changed_names(statement) & scope.local
    for node in ast.walk(statement):
        if isinstance(node, ast.Global):
            _read_global(scope, node)


def _evaluated_outside(statement: Function | ast.ClassDef) -> list[ast.expr]:
    if isinstance(statement, ast.ClassDef):
        return [*statement.bases, *(keyword.value for keyword in statement.keywords)]
    return [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]


def _read_nothing(scope: Scope, statement: ast.stmt) -> None:
    """Pass over `pass`, and `nonlocal`, which belongs to nested functions only."""


def _read_other(scope: Scope, statement: ast.stmt) -> None:
    """Read a statement of a later Python: all names that it mentions may depend on one another."""
    scope.ledger.report(statement.lineno, type(statement).__name__, "this statement is not known")
    names = sorted({node.id for node in ast.walk(statement) if isinstance(node, ast.Name)})
    value = Value().joined(*(scope.lookup(name) for name in names))
    for name in names:
        if name in scope.local:
            scope.define(name, statement, value)


READERS: dict[type[ast.stmt], Callable[..., None]] = {
    ast.Assign: _read_assign,
    ast.AnnAssign: _read_annotated,
    ast.AugAssign: _read_augmented,
    ast.Expr: _read_expression,
    ast.Return: _read_return,
    ast.Raise: _read_raise,
    ast.Assert: _read_assert,
    ast.Break: _read_break,
    ast.Continue: _read_continue,
    ast.Delete: _read_delete,
    ast.Global: _read_global,
    **dict.fromkeys((ast.Import, ast.ImportFrom), _read_import),
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), _read_nested),
    **dict.fromkeys((ast.Pass, ast.Nonlocal), _read_nothing),
    ast.If: lambda scope, statement: read_if(scope, statement, read_statements),
    ast.Match: lambda scope, statement: read_match(scope, statement, read_statements),
    ast.While: lambda scope, statement: read_while(scope, statement, read_statements),
    **dict.fromkeys((ast.For, ast.AsyncFor), lambda scope, statement: read_for(scope, statement, read_statements)),
    **dict.fromkeys((ast.With, ast.AsyncWith), lambda scope, statement: read_with(scope, statement, read_statements)),
    **dict.fromkeys((ast.Try, ast.TryStar), lambda scope, statement: read_try(scope, statement, read_statements)),
}
