"""Which names a nested function, lambda or generator takes from around it, and which it changes there."""

from __future__ import annotations

import ast
import copy
import symtable
from collections.abc import Iterator


def words(text: str) -> frozenset[str]:
    """Return the words of a text.

    Examples
    --------
    >>> sorted(words("pop add"))
    ['add', 'pop']
    """
    return frozenset(text.split())


CHANGING_METHODS = words(
    "add append appendleft clear difference_update discard extend extendleft insert intersection_update move_to_end "
    "pop popitem popleft put read readline readlines remove reverse rotate seek send setdefault sort "
    "symmetric_difference_update update write writelines __setitem__ __delitem__ __next__ subtract"
)


def free_names(part: ast.AST) -> frozenset[str]:
    r"""Return the names that the functions inside of a part of a program take from around it.

    Examples
    --------
    >>> sorted(free_names(ast.parse("lambda x: x + y + max(z)")))
    ['max', 'y', 'z']
    """
    symbols = (symbol for table in _tables(part) for symbol in table.get_symbols())
    return frozenset(symbol.get_name() for symbol in symbols if symbol.is_global())


def local_names(function: ast.AST) -> frozenset[str]:
    """Return the names that belong to a function: its parameters and all that it assigns.

    Examples
    --------
    >>> sorted(local_names(ast.parse("def f(x): y = [z for z in x]").body[0]))
    ['x', 'y']
    """
    symbols = next(_tables(function)).get_symbols()
    return frozenset(symbol.get_name() for symbol in symbols if symbol.is_local())


def changed_names(function: ast.AST) -> frozenset[str]:
    r"""Return the names outside of a nested function that calling it may change.

    Examples
    --------
    >>> sorted(changed_names(ast.parse("def f():\n    nonlocal n\n    n += 1\n    xs.append(n)").body[0]))
    ['n', 'xs']
    """
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Nonlocal) for name in node.names}
    owners = {root_name(owner) for node in ast.walk(function) for owner in _changed_in_place(node)}
    return frozenset(declared) | (owners & free_names(function))


def root_name(part: ast.expr) -> str:
    """Return the variable at the start of a chain of attributes and subscripts, or nothing.

    Examples
    --------
    >>> root_name(ast.parse("a.b[0].c").body[0].value)
    'a'
    """
    while isinstance(part, ast.Attribute | ast.Subscript | ast.Starred):
        part = part.value
    return part.id if isinstance(part, ast.Name) else ""


def _changed_in_place(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING_METHODS:
        yield node.func.value


class _Readable(ast.NodeTransformer):
    """Makes a nested function readable on its own, in the same way for every version of Python."""

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Global:
        # On its own the function has nothing around it that could own the name.
        return ast.Global(node.names)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        # From Python 3.12 on the variables of comprehensions count as those of the function around, but not here.
        return self.generic_visit(ast.GeneratorExp(node.elt, node.generators))

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        return self.visit_ListComp(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        pair = ast.Tuple([node.key, node.value], ast.Load())
        return self.generic_visit(ast.GeneratorExp(pair, node.generators))


def _tables(part: ast.AST) -> Iterator[symtable.SymbolTable]:
    """Yield the symbol tables of the functions inside of a part, outer ones first."""
    text = ast.unparse(ast.fix_missing_locations(_Readable().visit(copy.deepcopy(part))))
    waiting = symtable.symtable(text, "part", "exec").get_children()
    while waiting:
        table = waiting.pop(0)
        yield table
        waiting = [*waiting, *table.get_children()]
