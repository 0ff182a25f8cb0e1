"""Functions made to mislead: nothing linear, polynomial or constant may be claimed of any."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from causalkit.code.mechanism import infer_mechanism
from causalkit.collect.functions import check_function

UNKNOWN = {
    "a loop that looks like the identity": "for _ in range(3): x = x + 1\n    return x",
    "a while": "while x > 1: x = x / 2\n    return x",
    "a global": "return RATE * x",
    "a rebound global": "global RATE\n    RATE = 2\n    return RATE * x",
    "recursion": "return x if x < 1 else f(x - 1)",
    "a helper": "return _helper(x)",
    "a nested function": "def g(): return 2 * x\n    return g()",
    "a lambda": "return (lambda v: 2 * v)(x)",
    "a generator": "yield 2 * x",
    "an unreachable yield": "return 2 * x\n    yield",
    "no return": "y = 2 * x",
    "a bare return": "return",
    "None on one path": "if x > 0: return x",
    "a raise": "if x > 0: raise ValueError\n    return x",
    "an assertion": "assert x > 0\n    return x",
    "a try": "try: return 2 * x\n    except ValueError: return 0",
    "a with": "with x: return 2 * x",
    "a match": "match x:\n        case 0: return 1\n    return 2 * x",
    "an attribute": "return 2 * x.real",
    "a subscript": "return [x, 1][0]",
    "text": "return 'x' * 2",
    "a conversion from text": "return float('2') * x",
    "an f-string": "return float(f'{x}')",
    "a tuple": "return x, 1",
    "a comprehension": "return sum(2 * v for v in (x,))",
    "a deleted name": "y = x\n    del y\n    return x",
    "a name before its assignment": "y = 2 * z\n    z = x\n    return y",
    "a builtin that is local further down": "y = abs(x)\n    abs = 3\n    return y",
    "a shadowed builtin": "max = x\n    return max(x, 1)",
    "a star import": "from math import *\n    return x",
    "an unknown import": "from random import random\n    return random() * x",
    "a known name from elsewhere": "from cmath import sqrt\n    return sqrt(x)",
    "an infinite constant": "return 1e999 * x",
    "a division by zero": "return x + 1 / 0",
    "a floor division by zero": "return x // 0",
    "a complex constant": "return x * (-8) ** 0.5",
    "a dead logarithm": "import math\n    y = math.log(x)\n    return 2 * x",
    "a cancelled hole": "return x / x",
    "a cancelled square root": "import math\n    return math.sqrt(x) - math.sqrt(x) + x",
    "sizes that rounding swallows": "return x * 1e20 + x - x * 1e20",
    "a maximum and a minimum that make a sum": "return max(x, 1) + min(x, 1)",
    "two maxima that cancel": "return abs(x) - abs(-x) + x",
    "bits": "return x << 1",
    "an identity test": "return x if x is None else 2 * x",
    "a membership test": "return 2 * x if x in (1, 2) else 2 * x",
    "an unpacking": "return max(*[x, 1])",
    "keywords of a builtin": "return max((x, 1), key=abs)",
    "a large constant power": "return x * 9 ** 9 ** 9",
    "a power of whole numbers that never ends": "return 9 ** 9 ** x",
    "a tower": "return x ** x ** x",
    "nested powers": "return abs(abs(abs(x ** 20) ** 20) ** 20) ** 20",
    "a rounding that never ends": "return round(int(x), -10 ** 10)",
    "the interpreter's names": "return locals()['x']",
    "an await": "await x\n    return x",
    "more paths than are followed": "\n    ".join(f"if x == {i}: return {i}" for i in range(99)) + "\n    return 0",
}  # fmt: skip
NONLINEAR = {
    "floor division": "return x // 2",
    "a remainder": "return x % 3",
    "int": "return int(2 * x)",
    "round": "return round(x)",
    "rounding to places": "return round(x, 1)",
    "a step hidden in a line": "return x + x // 1000",
    "a large power": "return x ** 200",
    "a negative power": "return x ** -1",
    "a root": "return x ** 0.5",
    "an exponential": "return 2.0 ** x",
    "a quotient": "return 1 / x",
    "abs": "return abs(x)",
    "a product of absolute values": "return abs(x) * abs(x)",
    "a kink at zero": "return max(x, 0)",
    "a sine": "import math\n    return math.sin(x)",
    "another power": "import math\n    return math.pow(x, 2)",
}
HEADERS = {
    "positional star": "def f(x, *rest): return 2 * x",
    "keyword star": "def f(x, **rest): return 2 * x",
    "a mutable default": "def f(x, seen=[]): return 2 * x",
    "a default from outside": "K = 3\ndef f(x, k=K): return k * x",
    "async": "async def f(x): return 2 * x",
    "a decorator": "import functools\n@functools.cache\ndef f(x): return 2 * x",
    "a class": "class f:\n    def __call__(self, x): return 2 * x",
    "an alias": "g = abs\nf = g",
    "a second definition": "def f(x): return x\ndef f(x): return 2 * x",
    "a definition under a condition": "if True:\n    def f(x): return 2 * x",
    "a builtin rebound above": "def _twice(x): return 2 * x\nabs = _twice\ndef f(x): return abs(x)",
    "a builtin rebound elsewhere": "def _g():\n    global abs\n    abs = 3\ndef f(x): return abs(x)",
    "a module changed at import": "import math\nmath.sqrt = abs\ndef f(x): return math.sqrt(x)",
    "several functions": "def a(x): return x\ndef b(x): return x",
    "no function": "x = 3",
    "no Python": "def f(x: return x",
    "nested beyond measure": "def f(x): return " + "-" * 5000 + "x",
}


@pytest.mark.parametrize("body", UNKNOWN.values(), ids=UNKNOWN)
def test_a_misleading_body_is_unknown_and_says_why(body: str) -> None:
    mechanism = infer_mechanism(f"RATE = 2\ndef _helper(x): return x\ndef f(x):\n    {body}")
    assert (mechanism.type, mechanism.understood) == ("UNKNOWN", False)
    assert mechanism.reason


@pytest.mark.parametrize("body", NONLINEAR.values(), ids=NONLINEAR)
def test_a_formula_that_is_no_polynomial_is_nonlinear(body: str) -> None:
    assert infer_mechanism(f"def f(x):\n    {body}").type == "NONLINEAR"


@pytest.mark.parametrize("source", HEADERS.values(), ids=HEADERS)
def test_a_misleading_text_is_unknown(source: str) -> None:
    assert infer_mechanism(source).type == "UNKNOWN"


def _closure(k: int) -> Callable[[int], int]:
    return lambda x: k * x


def _decorated(function: Callable[[float], float]) -> Callable[[float], float]:
    @functools.wraps(function)
    def wrapper(x: float) -> float:
        return 3.0 * function(x)

    return wrapper


@_decorated
def _twice(x: float) -> float:
    return 2 * x


def _generator(x: float) -> Iterator[float]:
    yield x


class _Callable:
    def __call__(self, x: float) -> float:
        return 2 * x

    def method(self, x: float) -> float:
        return 2 * x


CALLABLES = {
    "a closure": _closure(2),
    "a decorated function": _twice,
    "a generator": _generator,
    "an object": _Callable(),
    "a bound method": _Callable().method,
    "a partial": functools.partial(pow, 2),
    "a builtin": math.sqrt,
    "an operator": operator.neg,
    "a class": int,
    "a function made from text": check_function("f", "def f(x): return 2 * x"),
}


@pytest.mark.parametrize("function", CALLABLES.values(), ids=CALLABLES)
def test_a_callable_that_is_no_plain_function_is_unknown(function: Callable[..., Any]) -> None:
    assert infer_mechanism(function).type == "UNKNOWN"
