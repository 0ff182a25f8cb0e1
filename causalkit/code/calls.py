"""What is known of calls: which carry no cause, which change their arguments, which hand on no argument."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from causalkit.code.names import CHANGING_METHODS, words

Reach = Literal["data", "control"]

LOG_LEVELS = words("debug info warning warn error exception critical log")
LOGGERS = ("log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER", "warnings")
CHANGING_FUNCTIONS = words(
    "next setattr delattr heappush heappop heapify heapreplace heappushpop insort insort_left insort_right shuffle "
    "anext readinto"
)
LEAVING = frozenset({"exit", "quit", "sys.exit", "os._exit", "os.abort"})
SEES_ALL_NAMES = frozenset({"eval", "exec", "locals", "globals", "vars", "dir"})
FRESH_FUNCTIONS = words(
    "abs all any ascii bin bool bytearray bytes chr complex deepcopy dict divmod float format frozenset hash hex int "
    "isinstance issubclass len list oct ord pow range repr round set sorted str sum tuple type"
)
FRESH_METHODS = words(
    "as_integer_ratio bit_length capitalize center copy count decode encode endswith find format index isalpha "
    "isdigit isspace join keys lower lstrip partition replace rfind rsplit rstrip split splitlines startswith strip "
    "title total_seconds upper zfill"
)
KNOWN_PURE = FRESH_FUNCTIONS | words(
    "callable enumerate filter getattr hasattr id iter map max min object reversed slice zip property super"
)
PURE_MODULES = words(
    "cmath collections copy datetime decimal fractions functools itertools json math np numpy operator re statistics "
    "string textwrap"
)


@dataclass(frozen=True)
class Callee:
    """What is known of one of the functions that are read together.

    Parameters
    ----------
    node : str
        The name of its node; empty for a helper that is looked through.
    arguments : ast.arguments
        Its parameters.
    reaching : mapping of str to {"data", "control"}
        The parameters that reach its result.
    through : mapping of str to {"data", "control"}
        The given functions whose results reach its own.
    shared, held : frozenset of str
        The parameters whose object the result may be, and may hold.
    changes : mapping of str to frozenset of str
        The parameters whose object it changes, and by which other parameters.

    Examples
    --------
    >>> arguments = ast.parse("def half(x, log): return x / 2").body[0].args
    >>> Callee("", arguments, {"x": "data"}, {}, frozenset(), frozenset(), {}).reaching
    {'x': 'data'}
    """

    node: str
    arguments: ast.arguments
    reaching: Mapping[str, Reach]
    through: Mapping[str, Reach]
    shared: frozenset[str]
    held: frozenset[str]
    changes: Mapping[str, frozenset[str]]


def called_name(call: ast.Call) -> str:
    """Return what is called as it is written, or nothing if it is no chain of names.

    Examples
    --------
    >>> called_name(ast.parse("np.linalg.norm(x)").body[0].value)
    'np.linalg.norm'
    """
    chain: list[str] = []
    part = call.func
    while isinstance(part, ast.Attribute):
        chain.append(part.attr)
        part = part.value
    return ".".join([part.id, *reversed(chain)]) if isinstance(part, ast.Name) else ""


def is_report(call: ast.Call) -> bool:
    """Tell whether a call only prints or logs.

    Examples
    --------
    >>> [is_report(ast.parse(text).body[0].value) for text in ("print(x)", "self.logger.info(x)", "xs.append(x)")]
    [True, True, False]
    """
    name = called_name(call)
    *owners, last = name.split(".")
    to_file = any(keyword.arg == "file" and not _is_standard_stream(keyword.value) for keyword in call.keywords)
    return (
        (name in ("print", "pprint", "pprint.pprint", "display") and not to_file)
        or name in ("sys.stdout.write", "sys.stderr.write", "sys.stdout.flush", "sys.stderr.flush")
        or (last in LOG_LEVELS and bool(owners) and owners[-1] in LOGGERS)
    )


def is_known(call: ast.Call) -> bool:
    """Tell whether a call is known to leave its arguments as they are."""
    name = called_name(call)
    module, _, last = name.rpartition(".")
    if not module and isinstance(call.func, ast.Name):
        return name in KNOWN_PURE
    return name.split(".")[0] in PURE_MODULES or (last or _method(call)) in FRESH_METHODS


def is_fresh(call: ast.Call) -> bool:
    """Tell whether a call returns a new object, which may hold its arguments."""
    name = called_name(call)
    if isinstance(call.func, ast.Name):
        return name in FRESH_FUNCTIONS
    return _method(call) in FRESH_METHODS or name.split(".")[0] in ("math", "cmath")


def changes_receiver(call: ast.Call) -> bool:
    """Tell whether a call is one of a method that changes its object."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in CHANGING_METHODS


def changes_first_argument(call: ast.Call) -> bool:
    """Tell whether a call is one of a function that changes its first argument."""
    return called_name(call).rpartition(".")[2] in CHANGING_FUNCTIONS and bool(call.args)


def matched(callee: Callee, call: ast.Call) -> dict[str, list[ast.expr]]:
    """Return the arguments that each parameter of a known function may receive.

    Examples
    --------
    >>> callee = Callee("", ast.parse("def f(a, *, b=1): pass").body[0].args, {}, {}, frozenset(), frozenset(), {})
    >>> {name: len(given) for name, given in matched(callee, ast.parse("f(x, b=y)").body[0].value).items()}
    {'a': 1, 'b': 1}
    """
    positional = [argument.arg for argument in [*callee.arguments.posonlyargs, *callee.arguments.args]]
    every = parameter_names(callee.arguments)
    given: dict[str, list[ast.expr]] = {name: [] for name in every}
    spread = False
    for index, argument in enumerate(call.args):
        spread = spread or isinstance(argument, ast.Starred)
        rest = [callee.arguments.vararg.arg] if callee.arguments.vararg else []
        for name in [*positional[index:], *rest] if spread else [*positional[index : index + 1], *rest][:1]:
            given[name].append(argument)
    for keyword in call.keywords:
        rest = [callee.arguments.kwarg.arg] if callee.arguments.kwarg else []
        for name in every if keyword.arg is None else [keyword.arg] if keyword.arg in every else rest:
            given[name].append(keyword.value)
    return given


def parameter_names(arguments: ast.arguments, *, starred: bool = True) -> list[str]:
    """Return the names of parameters in their order.

    Examples
    --------
    >>> parameter_names(ast.parse("def f(a, *b, c): pass").body[0].args, starred=False)
    ['a', 'c']
    """
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [part.arg for part in plain] + [part.arg for part in (arguments.vararg, arguments.kwarg) if part and starred]


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _is_standard_stream(part: ast.expr) -> bool:
    return isinstance(part, ast.Attribute) and part.attr in ("stdout", "stderr")
