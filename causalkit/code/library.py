"""Functions read once each, and what their callers need to know of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from causalkit.code.calls import Callee, Reach, parameter_names
from causalkit.code.flow import read_statements
from causalkit.code.ledger import RETURN, Ledger, Version
from causalkit.code.names import local_names
from causalkit.code.reading import FunctionTree, Program
from causalkit.code.scope import Scope
from causalkit.code.values import read


class Library:
    """The functions of a program, read on demand.

    Parameters
    ----------
    program : Program
        The functions.

    Examples
    --------
    >>> from causalkit.code.reading import read_program
    >>> library = Library(read_program("def y(x, k): return x + 1"))
    >>> library.callee("y", library.program.given["y"]).reaching
    {'x': 'data'}
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ledgers: dict[FunctionTree, Ledger] = {}
        self._nodes = {tree: node for node, tree in program.given.items()}
        self._callees: dict[FunctionTree, Callee] = {}

    def callee(self, source: str, tree: FunctionTree) -> Callee:
        """Return what is known of a function of the source of a node.

        While it is being read itself, its result may depend on all of its parameters.
        """
        if tree not in self._callees:
            node = self._nodes.get(tree, "")
            self._callees[tree] = _anything(node, tree.args)
            self.ledgers[tree] = self._read(source, tree)
            self._callees[tree] = _callee(node, tree.args, self.ledgers[tree])
        return self._callees[tree]

    def _read(self, source: str, tree: FunctionTree) -> Ledger:
        scope = Scope(lambda name: self._resolve(source, name), local_names(tree))
        arguments = tree.args
        every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        for argument in filter(None, every):
            scope.enter(argument.arg, argument)
        if isinstance(tree, ast.Lambda):
            scope.hand_back(read(scope, tree.body), tree.lineno)
        else:
            read_statements(scope, tree.body)
        scope.ledger.close()
        return scope.ledger

    def _resolve(self, source: str, name: str) -> Callee | None:
        beside, given = self.program.beside[source], self.program.given
        if name in beside and not (name in given and beside[name] not in self._nodes):
            return self.callee(source, beside[name])
        return self.callee(name, given[name]) if name in given else None


def reach(ledger: Ledger, targets: Iterable[Version]) -> dict[Version, Reach]:
    """Return all versions that reach one of the targets: by data alone, or by a test on the way.

    Examples
    --------
    >>> from causalkit.code.ledger import Value
    >>> ledger, x = Ledger(), Version("x", 1, 6, "parameter")
    >>> ledger.define(RETURN, Value(control=frozenset([x])), 2)
    >>> reach(ledger, [RETURN])[x]
    'control'
    """
    targets = list(targets)
    found: dict[Version, Reach] = dict.fromkeys(_behind(ledger, targets, ("data", "control")), "control")
    return found | dict.fromkeys(_behind(ledger, targets, ("data",)), "data")


def _behind(ledger: Ledger, targets: Iterable[Version], kinds: tuple[str, ...]) -> list[Version]:
    sources: dict[Version, list[Version]] = {}
    for (source, target), (kind, _) in ledger.edges.items():
        if kind in kinds:
            sources.setdefault(target, []).append(source)
    found = dict.fromkeys(targets)
    waiting = list(found)
    while waiting:
        new = [source for source in sources.get(waiting.pop(), []) if source not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def _anything(node: str, arguments: ast.arguments) -> Callee:
    names = parameter_names(arguments)
    changes = {name: frozenset(names) for name in names} if len(names) > 1 else {}
    return Callee(node, arguments, dict.fromkeys(names, "data"), {}, frozenset(names), frozenset(names), changes)


def _callee(node: str, arguments: ast.arguments, ledger: Ledger) -> Callee:
    back, result = reach(ledger, [RETURN]), ledger.value_of([RETURN])
    return Callee(
        node,
        arguments,
        reaching=_of_kind("parameter", back),
        through=_of_kind("call", back),
        shared=frozenset(_of_kind("parameter", dict.fromkeys(result.objects, "data"))),
        held=frozenset(_of_kind("parameter", dict.fromkeys(result.held, "data"))),
        changes={
            name: frozenset(_of_kind("parameter", reach(ledger, causes))) for name, causes in ledger.changed.items()
        },
    )


def _of_kind(kind: str, versions: Mapping[Version, Reach]) -> dict[str, Reach]:
    return {version.name: how for version, how in versions.items() if version.kind == kind}


def takes(tree: FunctionTree) -> list[str]:
    """Return the parameters that a trace table can give values to.

    Examples
    --------
    >>> takes(ast.parse("lambda x, *rest, k=1: x").body[0].value)
    ['x', 'k']
    """
    return parameter_names(tree.args, starred=False)
