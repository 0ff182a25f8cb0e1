"""From source text or live callables to the functions that are read together."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from causalkit.code.calls import parameter_names
from causalkit.errors import GraphError, TraceCollectionError

FunctionTree = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Code = str | Callable[..., Any]
Report = tuple[int, str, str]


@dataclass(frozen=True)
class Program:
    r"""Functions that are read together.

    Parameters
    ----------
    given : mapping of str to function
        The functions that become nodes, by the names of these.
    beside : mapping of str to mapping
        For each of them all functions of its source, itself and helpers included.
    reports : list of (int, str, str)
        What of the sources is not read: line, construct, reason.

    Examples
    --------
    >>> program = read_program("def _half(x): return x / 2\ndef y(x): return _half(x)")
    >>> sorted(program.given), sorted(program.beside["y"])
    (['y'], ['_half', 'y'])
    """

    given: dict[str, FunctionTree] = field(default_factory=dict)
    beside: dict[str, dict[str, FunctionTree]] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)


def read_program(source: Code | Mapping[str, Code] | Sequence[Callable[..., Any]]) -> Program:
    """Return the functions of a source.

    Parameters
    ----------
    source : str, callable, mapping of str to either, or sequence of callables
        What `graph_from_code` takes.

    Returns
    -------
    Program
        The functions, parsed and not run.

    Raises
    ------
    TraceCollectionError
        If source text is no Python (``.line``) or has no function for its node (``.node``).
    GraphError
        If a callable has no source, or what is given is none of these.

    Examples
    --------
    >>> list(read_program({"y": "def double(x): return 2 * x"}).given)
    ['y']
    """
    program = Program()
    if isinstance(source, str):
        functions = _parse(source, "the source", program.reports)
        public = [name for name in functions if not name.startswith("_")] or list(functions)
        for name in public:
            program.given[name] = functions[name]
            program.beside[name] = functions
        return program
    for node, code in _named(source).items():
        if isinstance(code, str):
            functions = _parse(code, f"the source of {node!r}", program.reports)
            program.given[node] = _pick(node, functions)
            program.beside[node] = functions
        else:
            program.given[node] = _parse_callable(node, code)
            program.beside[node] = {getattr(code, "__name__", node): program.given[node]}
    return program


def _named(source: Any) -> Mapping[str, Code]:
    if isinstance(source, Mapping):
        named = dict(source)
    else:
        named = {_own_name(part): part for part in ([source] if callable(source) else source)}
    for node, code in named.items():
        if not isinstance(node, str) or not (isinstance(code, str) or callable(code)):
            raise GraphError(
                f"the function of {node!r} is a {type(code).__name__}; give source text or a callable under a name",
                node=node,
            )
    return named


def _own_name(function: Any) -> str:
    name = getattr(function, "__name__", "")
    if not isinstance(name, str) or not name.isidentifier():
        raise GraphError(
            f"{function!r} has no name of its own; give it one: graph_from_code({{'<node>': function}})",
            function=function,
        )
    return name


def _parse(text: str, what: str, reports: list[Report]) -> dict[str, FunctionTree]:
    """Return all functions at the top of a source; of two with one name the last, as Python has it."""
    try:
        module = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or str(error)
        raise TraceCollectionError(f"{what} is no Python on line {line}: {reason}; correct it", line=line) from error
    functions: dict[str, FunctionTree] = {}
    for name, tree in _functions(module.body, reports):
        if name in functions:
            reports.append((tree.lineno, "def", f"{name} is defined more than once; the last definition is read"))
        functions[name] = tree
    if not functions:
        reports.append((1, "module", "it defines no function"))
    return functions


def _functions(statements: Sequence[ast.stmt], reports: list[Report]) -> Iterator[tuple[str, FunctionTree]]:
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name, statement
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Lambda):
            yield from ((part.id, statement.value) for part in statement.targets if isinstance(part, ast.Name))
        elif isinstance(statement, ast.ClassDef):
            reports.append((statement.lineno, "class", f"the methods of {statement.name} are not read"))
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [part for part in ast.iter_child_nodes(statement) if isinstance(part, ast.stmt)]
            yield from _functions(inner, reports)


def _pick(node: str, functions: Mapping[str, FunctionTree]) -> FunctionTree:
    public = [name for name in functions if not name.startswith("_")]
    if node in functions or len(public) == 1:
        return functions[node if node in functions else public[0]]
    raise TraceCollectionError(
        f"the source of {node!r} defines {len(public)} public functions and none of its name; "
        f"name the one that computes {node!r} like its node: def {node}(...)",
        node=node,
        functions=public,
    )


def _parse_callable(node: str, function: Callable[..., Any]) -> FunctionTree:
    plain = inspect.unwrap(function)
    try:
        lines, start = inspect.getsourcelines(plain)
        module = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError) as error:
        raise _without_source(node, "has no source that can be read") from error
    ast.increment_lineno(module, max(start, 1) - 1)
    code = getattr(plain, "__code__", None)
    name, names = getattr(code, "co_name", ""), list(getattr(code, "co_varnames", ()))
    found: list[FunctionTree] = [
        tree
        for tree in ast.walk(module)
        if (isinstance(tree, ast.Lambda) and name == "<lambda>" and _is_called_with(tree, names))
        or (isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) and tree.name == name)
    ]
    if not found or (isinstance(found[0], ast.Lambda) and len(found) > 1):
        raise _without_source(node, "cannot be told from what else stands in its line of source")
    if inspect.ismethod(plain):
        # What it is bound to is no parameter any more.
        del (found[0].args.posonlyargs or found[0].args.args)[0]
    return found[0]


def _is_called_with(tree: ast.Lambda, names: list[str]) -> bool:
    """Tell whether the parameters of a lambda are the first of the names in a code object."""
    own = parameter_names(tree.args)
    return names[: len(own)] == own


def _without_source(node: str, what: str) -> GraphError:
    return GraphError(
        f"the function of {node!r} {what}; give its source as text: {{{node!r}: 'def {node}(...): ...'}}", node=node
    )
