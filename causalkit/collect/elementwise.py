"""Whether a function does to whole columns what it does to single values: what may stand in it, and in its sums.

Two looks, both by a list of what is allowed, so that what nobody thought of is refused: `find_state` reads the
function without calling it, `Watched` columns are seen by every operation that the function does on them.
"""

from __future__ import annotations

import dis
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from causalkit.collect.pieces import EXACT_DTYPES, as_column

# Every whole number up to here is a float too, so that arrays and Python's own numbers agree to the last bit.
LARGEST_WHOLE = 2**53

MODULES = (math, np)
# The functions of math refuse arrays by themselves.
ATTRIBUTES = frozenset(
    {name for name, value in vars(np).items() if isinstance(value, np.ufunc)}
    | {name for name in vars(math) if not name.startswith("_")}
    | {"where", "clip"}
)
BUILTINS = frozenset({"abs", "range", "divmod", "pow", "float", "int"})
CONSTANTS = frozenset({bool, int, float, str, type(None)})
STATEFUL = ("STORE_", "DELETE_", "IMPORT_", "YIELD_", "RETURN_GENERATOR", "MAKE_FUNCTION", "LOAD_BUILD_CLASS")
CATCHES = ("PUSH_EXC_INFO", "CHECK_EXC_MATCH", "CHECK_EG_MATCH", "BEFORE_WITH", "SETUP_FINALLY", "LOAD_SPECIAL")
HARMLESS = ("STORE_FAST", "DELETE_FAST")
REFUSED_CODES = frozenset(
    code for name, code in dis.opmap.items() if name.startswith((*STATEFUL, *CATCHES)) and not name.startswith(HARMLESS)
)

POWERS = (np.power, np.float_power)
FOR_BOOLS: tuple[Callable[..., Any], ...] = (
    *(np.logical_and, np.logical_or, np.logical_xor, np.logical_not),
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor),
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.where),
)


class NotElementwise(Exception):  # noqa: N818 - its message is a reason, and nothing is wrong
    """A function does something that is not known to be the same for columns and for values."""


def find_state(function: Callable[..., Any]) -> str | None:
    """Say what in a function could keep, change or depend on anything but its arguments.

    Parameters
    ----------
    function : callable
        The function; it is not called.

    Returns
    -------
    str or None
        What was found first, None where the function is made of arithmetic, numpy's elementwise
        functions, constants and functions of the same kind.

    Examples
    --------
    >>> find_state(lambda x: 2 * x + 1), find_state(lambda x: print(x))
    (None, "it uses 'print'")
    """
    return _find_state(function, set())


def _find_state(function: Callable[..., Any], seen: set[int]) -> str | None:
    if _is_numpys(function):
        return None
    if not isinstance(function, FunctionType):
        return "it is no plain function"
    code = function.__code__
    # By identity: functions of one piece of code may hold different variables.
    if id(function) in seen:
        return None
    seen.add(id(function))
    if REFUSED_CODES.intersection(code.co_code[::2]) or any(isinstance(part, CodeType) for part in code.co_consts):
        return "it stores, imports, defines or catches something"
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    if not all(type(value) in CONSTANTS for value in defaults):
        return "one of its defaults is no number, bool or text"
    try:
        known = _names(function)
    except ValueError:
        return "it uses a variable that has no value yet"
    for name in (*code.co_names, *code.co_freevars):
        if name not in known and name not in ATTRIBUTES and name not in BUILTINS:
            return f"it uses {name!r}"
        if name in known and not _is_harmless(known[name], seen):
            return f"it uses {name!r}"
    return None


def _names(function: FunctionType) -> Mapping[str, Any]:
    """Return the values of the outer names that a function uses."""
    code = function.__code__
    outer = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
    return outer | {
        name: cell.cell_contents for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
    }


def _is_harmless(value: Any, seen: set[int]) -> bool:
    # By identity: a module could be anything that only calls itself math.
    if isinstance(value, ModuleType):
        return any(value is module for module in MODULES)
    if type(value) in CONSTANTS or getattr(math, getattr(value, "__name__", ""), None) is value:
        return True
    return callable(value) and _find_state(value, seen) is None


def _is_numpys(value: Any) -> bool:
    # np.frompyfunc makes ufuncs of anything.
    return isinstance(value, np.ufunc) and getattr(np, value.__name__, None) is value


class Watched(np.ndarray[Any, Any]):
    """A column on which only operations work that are the same, to the last bit, value by value.

    Anything else raises `NotElementwise`: sums over the column, bools added up (1 + 1 is 2, but
    True + True is True in an array), whole numbers past 2**53.

    Examples
    --------
    >>> x = np.array([1, 2]).view(Watched)
    >>> np.asarray(x / 2), np.asarray(x**2)
    (array([0.5, 1. ]), array([1, 4]))
    >>> x * 10**17
    Traceback (most recent call last):
        ...
    causalkit.collect.elementwise.NotElementwise: its whole numbers pass 2**53
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        # `x += 1` arrives with out=(x,): a new array is what the same line gives a number.
        in_place = set(options) == {"out"} and options["out"][0] is inputs[0]
        if (options and not in_place) or method != "__call__" or ufunc.signature or ufunc in POWERS:
            raise NotElementwise(f"it calls {ufunc.__name__} in a way that is not the same value by value")
        _check_values(ufunc, inputs)
        values = [_bare(value) for value in inputs]
        result = ufunc(*values)
        if getattr(result, "dtype", None) == np.int64:
            # Whole numbers wrap around in arrays, but their floats do not.
            _check_whole(ufunc(*(np.asarray(value, dtype=float) for value in values)))
        return _watched(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if kwargs or func not in (np.where, np.clip):
            raise NotElementwise(f"it calls {func.__name__} in a way that is not known to be the same value by value")
        _check_values(func, args)
        return _watched(func(*map(_bare, args)))

    def __pow__(self, exponent: Any, modulus: None = None) -> Any:
        return _power(self, exponent)

    def __rpow__(self, base: Any, modulus: None = None) -> Any:
        return _power(base, self)

    __ipow__ = __pow__


def _power(base: Any, exponent: Any) -> Any:
    # Arrays take powers by another algorithm: one square of a thousand differs in its last bit.
    column = as_column(list(map(pow, _one_by_one(base), _one_by_one(exponent))))
    if isinstance(column, np.ndarray) and column.dtype == np.int64:
        _check_whole(column)
    return _watched(column)


def _one_by_one(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else repeat(value)


def _bare(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Watched) else value


def _watched(result: Any) -> Any:
    if not isinstance(result, np.ndarray) or result.dtype not in EXACT_DTYPES:
        raise NotElementwise("it computes with other things than numbers and bools")
    return result.view(Watched)


def _check_values(operation: Callable[..., Any], values: Iterable[Any]) -> None:
    arrays = [np.asarray(_bare(value)) for value in values]
    if any(array.dtype not in EXACT_DTYPES for array in arrays):
        raise NotElementwise("it computes with other things than numbers and bools")
    if operation not in FOR_BOOLS and all(array.dtype == bool for array in arrays):
        raise NotElementwise("it computes with bools, which add up in numbers and not in columns")
    for array in arrays:
        if array.dtype == np.int64:
            _check_whole(array)


def _check_whole(array: np.ndarray[Any, Any]) -> None:
    if array.size and (array.min() < -LARGEST_WHOLE or array.max() > LARGEST_WHOLE):
        raise NotElementwise("its whole numbers pass 2**53")
