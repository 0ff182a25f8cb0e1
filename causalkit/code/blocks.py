"""Reading what has a body: branches, loops, `match`, `try` and `with`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from causalkit.code.ledger import NONE, Value, Versions
from causalkit.code.scope import Loop, Path, Scope, join
from causalkit.code.targets import bind
from causalkit.code.values import read

Body = Callable[[Scope, Sequence[ast.stmt]], None]


def read_if(scope: Scope, statement: ast.If, body: Body) -> None:
    """Read both branches from the same start; what each defines reaches what follows."""
    test = read(scope, statement.test)
    start = scope.path
    with scope.governed(test.data, test.control):
        scope.path = join([_after(scope, start, branch, body) for branch in (statement.body, statement.orelse)])


def read_match(scope: Scope, statement: ast.Match, body: Body) -> None:
    """Read the cases from the same start; the guards of earlier cases decide on the later ones."""
    subject = read(scope, statement.subject)
    decided = subject.data | subject.control
    ends = []
    for case in statement.cases:
        start = scope.path
        with scope.governed(decided):
            for part in _captured(case.pattern):
                scope.define(_captured_name(part), part, subject.inside())
            guard = read(scope, case.guard)
        decided |= guard.data | guard.control | _values_read(scope, case.pattern)
        with scope.governed(decided):
            ends.append(_after(scope, scope.path, case.body, body))
        # A pattern that fails may have bound its names already.
        scope.path = start if case.guard is None else scope.path._replace(names=_both(start, scope.path))
        if case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
            scope.path = scope.path._replace(names=None)
    scope.path = join([*ends, scope.path])


def read_while(scope: Scope, statement: ast.While, body: Body) -> None:
    """Read a `while` loop."""

    def head() -> Versions:
        test = read(scope, statement.test)
        return test.data | test.control

    endless = isinstance(statement.test, ast.Constant) and bool(statement.test.value)
    _read_loop(scope, statement, head, body, endless=endless)


def read_for(scope: Scope, statement: ast.For | ast.AsyncFor, body: Body) -> None:
    """Read a `for` loop; how far it has run an iterator down depends on what breaks it off."""
    source = read(scope, statement.iter)

    def head() -> Versions:
        with scope.governed(source.data, source.control):
            bind(scope, statement.target, source.inside(), read)
        return source.data | source.control

    loop = _read_loop(scope, statement, head, body)
    # What a trace table gives to a parameter is no iterator.
    iterators = frozenset(version for version in source.data if version.kind == "variable")
    if loop.breaks and isinstance(statement.iter, ast.Name) and iterators and scope.path.names is not None:
        scope.change(source.objects, Value(control=loop.decided), statement)


def read_with(scope: Scope, statement: ast.With | ast.AsyncWith, body: Body) -> None:
    """Read a `with` block; only `suppress` is held to swallow exceptions."""
    suppressing = False
    for item in statement.items:
        value = read(scope, item.context_expr)
        suppressing = suppressing or "suppress" in ast.unparse(item.context_expr)
        if item.optional_vars is not None:
            bind(scope, item.optional_vars, value.inside(), read)
    if suppressing:
        _read_protected(scope, statement.body, [ast.ExceptHandler(None, None, [])], body)
    else:
        body(scope, statement.body)


def read_try(scope: Scope, statement: ast.Try | ast.TryStar, body: Body) -> None:
    """Read a `try`: the handlers start from every state that its body passes through."""
    if not statement.finalbody:
        _read_protected(scope, statement.body, statement.handlers, body, statement.orelse)
        return
    start = scope.path
    trail: dict[str, Versions] = {}
    scope.trails.append(trail)
    _read_protected(scope, statement.body, statement.handlers, body, statement.orelse)
    scope.trails.pop()
    end = scope.path
    scope.path = join([end, start._replace(left=end.left), Path(trail, *end[1:])])
    body(scope, statement.finalbody)
    if end.names is None:
        scope.path = scope.path._replace(names=None)
    _forget_risk(scope, start)


def _forget_risk(scope: Scope, start: Path) -> None:
    """Let what may have broken off a `try` decide no longer, unless an outer one still asks for it."""
    if not scope.trails:
        scope.path = scope.path._replace(risk=start.risk)


def _read_protected(
    scope: Scope,
    statements: Sequence[ast.stmt],
    handlers: Sequence[ast.ExceptHandler],
    body: Body,
    orelse: Sequence[ast.stmt] = (),
) -> None:
    """Read what may be broken off anywhere, and what runs then; without handlers nothing does."""
    start, trail = scope.path, dict[str, Versions]()
    scope.trails.append(trail)
    body(scope, statements)
    scope.trails.pop()
    normal = scope.path
    broken = join([normal, start, Path(trail)])._replace(left=normal.left, skipped=normal.skipped, risk=normal.risk)
    ends = [_after(scope, normal, orelse, body)]
    for handler in handlers:
        scope.path = broken
        if handler.name:
            scope.define(handler.name, handler, Value(normal.risk, normal.left))
        ends.append(_after(scope, scope.path, handler.body, body))
    scope.path = join(ends)
    _forget_risk(scope, start)


def _read_loop(
    scope: Scope,
    statement: ast.While | ast.For | ast.AsyncFor,
    head: Callable[[], Versions],
    body: Body,
    *,
    endless: bool = False,
) -> Loop:
    """Read a loop again and again until a round finds nothing new.

    A `for` that has come to its end leaves its variables as the last round left them.
    """
    start, outer, loop = scope.path, scope.governing, Loop()
    entry = start._replace(skipped=NONE)
    size: tuple[int, ...] = ()
    scope.loops.append(loop)
    scope.governing = outer | start.skipped
    around = scope.governing
    while True:
        scope.path, scope.governing = entry, around | loop.decided
        control = head()
        finished = scope.path if isinstance(statement, ast.While) else entry
        scope.governing |= control
        body(scope, statement.body)
        rounds = [entry, scope.path, *loop.continues]
        following = join(rounds)._replace(skipped=NONE)
        found = (*scope.ledger.size(), len(loop.decided))
        if (following, found) == (entry, size):
            break
        entry, size = following, found
    scope.loops.pop()
    with scope.governed(loop.decided):
        ended = _after(scope, finished._replace(names=None) if endless else finished, statement.orelse, body)
    scope.governing = outer
    scope.path = join([ended, *loop.breaks])._replace(skipped=start.skipped)
    return loop


def _after(scope: Scope, start: Path, statements: Sequence[ast.stmt], body: Body) -> Path:
    scope.path = start
    body(scope, statements)
    return scope.path


def _both(one: Path, other: Path) -> dict[str, Versions] | None:
    names = join([one, other]).names
    return None if names is None else dict(names)


def _captured(pattern: ast.pattern) -> Iterator[ast.pattern]:
    return (part for part in ast.walk(pattern) if isinstance(part, ast.pattern) and _captured_name(part))


def _captured_name(part: ast.pattern) -> str:
    if isinstance(part, ast.MatchMapping):
        return part.rest or ""
    return (part.name or "") if isinstance(part, ast.MatchAs | ast.MatchStar) else ""


def _values_read(scope: Scope, pattern: ast.pattern) -> Versions:
    return NONE.union(*(read(scope, part).data for part in ast.walk(pattern) if isinstance(part, ast.expr)))
