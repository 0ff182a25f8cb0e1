"""The functions whose meaning is known: everything else that a program calls is not understood."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A total function has a finite value at all numbers; any other may raise or overflow somewhere.
_TOTAL = ("atan", "atan2", "asinh", "ceil", "copysign", "cos", "erf", "erfc", "fabs", "floor", "sin", "tanh", "trunc")
_PARTIAL = (
    *("acos", "acosh", "asin", "atanh", "cosh", "exp", "exp2", "expm1", "fmod", "gamma", "hypot"),
    *("lgamma", "log", "log10", "log1p", "log2", "pow", "remainder", "sinh", "sqrt", "tan"),
)
_CONSTANTS = ("e", "pi", "tau")


@dataclass(frozen=True)
class KnownCall:
    """A function of numbers that returns a number, is free of side effects and no polynomial.

    Attributes
    ----------
    name : str
        As it is written in an expression.
    function : callable
    total : bool
        Whether it has a value at all numbers.
    """

    name: str
    function: Callable[..., Any]
    total: bool


def known_call(value: Any) -> KnownCall | None:
    """Return what is known of a function, by its identity and not by its name.

    Examples
    --------
    >>> known_call(math.sqrt).total, known_call(print)
    (False, None)
    """
    return _KNOWN.get(id(value))


def known_member(module: Any, name: str) -> Any:
    """Return a known function or constant of a known module, or None.

    Examples
    --------
    >>> known_member(math, "pi"), known_member(math, "inf")
    (3.141592653589793, None)
    """
    if module is not math:
        return None
    value = getattr(math, name, None)
    return value if name in _CONSTANTS or known_call(value) else None


def _table() -> dict[int, KnownCall]:
    calls = [KnownCall(name, getattr(builtins, name), True) for name in ("abs", "max", "min", "int", "round")]
    for names, total in ((_TOTAL, True), (_PARTIAL, False)):
        calls += [KnownCall(name, getattr(math, name), total) for name in names]
    return {id(call.function): call for call in calls}


_KNOWN = _table()
