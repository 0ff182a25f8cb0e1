"""What formula a function computes, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from causalkit.code.algebra import Algebra, Number, Value
from causalkit.code.checking import check
from causalkit.code.claims import StaticMechanism, claim
from causalkit.code.folding import fold
from causalkit.code.reasons import NotUnderstood, refuse
from causalkit.code.target import Syntax, find_target

__all__ = ["StaticMechanism", "infer_mechanism"]


def infer_mechanism(
    source: str | Callable[..., Any], *, node: str | None = None, varying: Sequence[str] | None = None
) -> StaticMechanism:
    r"""Read from its source what formula a function computes, or say why it cannot be told.

    Assignments, conditional expressions and early returns are followed with exact coefficients. The claim is about
    real numbers: a decimal counts as it is written (``0.1`` is a tenth), and rounding, overflow, infinities and other
    types are left aside. Whatever is claimed is then held against the source at 200 points, **for which source text
    is executed in this process**; where they differ, nothing is claimed.

    Parameters
    ----------
    source : str or callable
        Source text, or a live function whose source can be found.
    node : str, optional
        Which function of a text is meant: the one of this name, or else the only public one.
    varying : sequence of str, optional
        The parameters that receive values; the others take their defaults. All of them if not given.

    Returns
    -------
    StaticMechanism
        With the type ``"UNKNOWN"`` and a reason wherever the source is not fully understood: loops, values from
        outside the function, calls other than of `abs`, `max`, `min`, `round`, `int`, `float` and the `math` module...

    Raises
    ------
    TraceCollectionError
        If `source` is neither text nor callable.

    Examples
    --------
    >>> mechanism = infer_mechanism("def price(units, rate=2.5): return rate * (units + 4)", varying=["units"])
    >>> mechanism, mechanism.coefficients, mechanism.offset
    (StaticMechanism(LINEAR: 2.5*units + 10), {'units': 2.5}, 10.0)
    >>> infer_mechanism("def fee(x):\n    if x > 100:\n        return x / 2\n    return 50").branches
    (('x > 100', StaticMechanism(LINEAR: 0.5*x)), ('x <= 100', StaticMechanism(CONSTANT: 50)))
    >>> infer_mechanism("def f(x):\n    for _ in range(3): x = x + 1\n    return x")
    StaticMechanism(UNKNOWN: a loop on line 2)
    """
    try:
        target = find_target(source, node)
        defaults = _defaults(target.syntax)
        parameters = [name for name in defaults if varying is None or name in varying]
        algebra = Algebra(parameters)
        paths = fold(target, algebra, {name: _start(algebra, name, parameters, defaults) for name in defaults})
        positional = [parameter.arg for parameter in target.syntax.args.posonlyargs]
        check(source, target.name, paths, parameters, (algebra.spread, algebra.degree), positional)
        return claim(paths, parameters)
    except NotUnderstood as gap:
        return StaticMechanism.unknown(str(gap))
    except OverflowError:
        return StaticMechanism.unknown("a number too large")
    except RecursionError:
        return StaticMechanism.unknown("an expression nested too deeply")


def _start(algebra: Algebra, name: str, parameters: Sequence[str], defaults: dict[str, Number | None]) -> Value:
    if name in parameters:
        return algebra.parameter(name)
    default = defaults[name]
    if default is None:
        raise NotUnderstood(f"parameter {name!r} has neither a value nor a default")
    return default


def _defaults(syntax: Syntax) -> dict[str, Number | None]:
    """Return the parameters, each with its default, if it has one."""
    arguments = syntax.args
    for starred in (arguments.vararg, arguments.kwarg):
        if starred is not None:
            refuse(starred, f"the parameter *{starred.arg}")
    positional = [*arguments.posonlyargs, *arguments.args]
    values = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    names = [parameter.arg for parameter in (*positional, *arguments.kwonlyargs)]
    return {name: None if value is None else _literal(value) for name, value in zip(names, values, strict=True)}


def _literal(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return refuse(node, "a default that is no plain number")
