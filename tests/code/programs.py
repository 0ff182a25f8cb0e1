"""Small random programs, and the dependences that running them shows."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PARAMETERS = ("a", "b", "c", "d")
LOCALS = ("x", "y", "z")
OPERATORS = ("+", "-", "*")
COMPARISONS = ("<", ">", "==")
HELPERS = """\
def _pick(first, second, limit):
    if first > limit:
        return second
    return first


def _add_to(values, item):
    values.append(item)
    return len(values)


def _first(kept, dropped):
    return kept + 1


"""
VALUES = (-3, -1, 0, 1, 2, 4)
CALLS_PER_PARAMETER = 200


@dataclass
class Writer:
    """Writes one random function; equal seeds write equal functions."""

    rng: random.Random
    counters: int = 0

    def source(self) -> str:
        lines = [f"    {name} = {self.expression(PARAMETERS, 1)}" for name in LOCALS]
        lines.append("    xs = [a]" if self.rng.random() < 0.5 else "    xs = []")
        lines += self.block(1, self.rng.randint(2, 5), in_loop=False)
        lines.append(f"    return {self.result()}")
        return HELPERS + "def f(a, b, c, d):\n" + "\n".join(lines) + "\n"

    def result(self) -> str:
        return self.rng.choice(["x", "y", "z", "x + y", "(x, z)", "xs", "sum(xs) + z"])

    def block(self, depth: int, length: int, *, in_loop: bool) -> list[str]:
        return [line for _ in range(length) for line in self.statement(depth, in_loop=in_loop)]

    def statement(self, depth: int, *, in_loop: bool) -> list[str]:
        kinds = ["assign"] * 4 + ["augment", "tuple", "append", "helper", "store", "alias", "nested", "walrus"]
        kinds += ["if", "if", "leave", "loop", "while", "try", "match"] if depth < 4 else []
        kinds += ["break", "continue"] if in_loop and depth < 4 else []
        indent = "    " * depth
        return [indent + line for line in getattr(self, self.rng.choice(kinds) + "_lines")(depth, in_loop)]

    def assign_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"{self.local()} = {self.expression()}"]

    def augment_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"{self.local()} {self.rng.choice(['+=', '-='])} {self.atom()}"]

    def tuple_lines(self, depth: int, in_loop: bool) -> list[str]:
        first, second = self.rng.sample(LOCALS, 2)
        return [f"{first}, {second} = {self.atom()}, {self.expression()}"]

    def append_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"xs.append({self.atom()})"]

    def helper_lines(self, depth: int, in_loop: bool) -> list[str]:
        call = self.rng.choice(["_add_to(xs, {})", "_first({}, {})", "_pick({}, {}, {})"])
        return [f"{self.local()} = " + call.format(*(self.atom() for _ in range(call.count("{}"))))]

    def store_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"xs[len(xs):] = [{self.atom()}]"]

    def alias_lines(self, depth: int, in_loop: bool) -> list[str]:
        return ["ys = xs", f"ys += [{self.atom()}]"]

    def nested_lines(self, depth: int, in_loop: bool) -> list[str]:
        name = self.local()
        return [f"g = lambda k: k + {name}", f"{self.local()} = g({self.atom()})"]

    def walrus_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"{self.local()} = [w for v in ({self.atom()}, {self.atom()}) if (w := v) > {self.atom()}] == []"]

    def if_lines(self, depth: int, in_loop: bool) -> list[str]:
        body = self.inner(2, in_loop)
        return [f"if {self.test()}:", *body, *(["else:", *self.inner(2, in_loop)] if self.rng.random() < 0.6 else [])]

    def leave_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"if {self.test()}:", f"    return {self.result()}"]

    def break_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"if {self.test()}:", "    break"]

    def continue_lines(self, depth: int, in_loop: bool) -> list[str]:
        return [f"if {self.test()}:", *self.inner(1, in_loop), "    continue"]

    def loop_lines(self, depth: int, in_loop: bool) -> list[str]:
        over = self.rng.choice(["range(3)", "range({} % 4)", "({}, {})", "list(xs)[:4]"])
        head = f"for {self.local()} in {over.format(self.atom(), self.atom())}:"
        return [head, *self.inner(2, True), *(["else:", *self.inner(1, in_loop)] if self.rng.random() < 0.3 else [])]

    def while_lines(self, depth: int, in_loop: bool) -> list[str]:
        self.counters += 1
        counter = f"n{self.counters}"
        return [
            f"{counter} = 0",
            f"while {counter} < 3 and {self.test()}:",
            f"    {counter} += 1",
            *self.inner(2, True),
        ]

    def try_lines(self, depth: int, in_loop: bool) -> list[str]:
        risky = f"    {self.local()} = 6 // {self.atom()}"
        handler = ["except ZeroDivisionError:", *self.inner(1, in_loop)]
        ends = self.rng.choice([[], ["else:", *self.inner(1, in_loop)], ["finally:", *self.plain()]])
        return ["try:", risky, *self.inner(1, in_loop), *handler, *ends]

    def match_lines(self, depth: int, in_loop: bool) -> list[str]:
        cases = ["    case 0:", *self.indented(self.inner(1, in_loop))]
        cases += [f"    case m if m > {self.atom()}:", *self.indented(self.inner(1, in_loop))]
        return [f"match {self.atom()}:", *cases, "    case _:", *self.indented(self.inner(1, in_loop))]

    def inner(self, length: int, in_loop: bool) -> list[str]:
        """Lines one level deeper; only so deep that programs stay short."""
        if self.rng.random() < 0.35:
            return self.statement(1, in_loop=in_loop) if self.rng.random() < 0.5 else self.plain()
        return self.block(1, length, in_loop=in_loop) if self.rng.random() < 0.4 else self.plain()

    def plain(self) -> list[str]:
        return [f"    {self.local()} = {self.expression()}"]

    def indented(self, lines: list[str]) -> list[str]:
        return ["    " + line for line in lines]

    def test(self) -> str:
        simple = f"{self.atom()} {self.rng.choice(COMPARISONS)} {self.atom()}"
        return f"{simple} and {self.atom()} > 0" if self.rng.random() < 0.2 else simple

    def expression(self, names: tuple[str, ...] = PARAMETERS + LOCALS, depth: int = 2) -> str:
        if depth == 0 or self.rng.random() < 0.4:
            return self.atom(names)
        one, other = self.expression(names, depth - 1), self.expression(names, depth - 1)
        if self.rng.random() < 0.15:
            return f"({one} if {self.atom(names)} > 0 else {other})"
        return f"({one} {self.rng.choice(OPERATORS)} {other})"

    def atom(self, names: tuple[str, ...] = PARAMETERS + LOCALS) -> str:
        return self.rng.choice(names) if self.rng.random() < 0.8 else str(self.rng.randint(-2, 3))

    def local(self) -> str:
        return self.rng.choice(LOCALS)


def random_program(seed: int) -> str:
    """The source of a function ``f(a, b, c, d)`` and its helpers."""
    return Writer(random.Random(seed)).source()  # noqa: S311


def runnable(source: str, name: str = "f") -> Callable[..., Any]:
    """The function of a source."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "<program>", "exec", dont_inherit=True), namespace)  # noqa: S102
    return namespace[name]


def measured_dependences(function: Callable[..., Any], seed: int = 0, calls: int = CALLS_PER_PARAMETER) -> set[str]:
    """The parameters whose change alone was seen to change the result; a raised exception is no result."""
    rng = random.Random(seed)  # noqa: S311
    found = set()
    for parameter in PARAMETERS:
        for _ in range(calls):
            base = {name: rng.choice(VALUES) for name in PARAMETERS}
            one, other = outcome(function, base), outcome(function, base | {parameter: rng.choice(VALUES)})
            if one != other and "raised" not in (one, other):
                found.add(parameter)
                break
    return found


class _Redraw(ast.NodeTransformer):
    """Draws constants, operators and comparisons anew; what only counts the rounds of a loop stays."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.copy_location(ast.Constant(self.rng.randint(-2, 3)), node) if type(node.value) is int else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        node.op = self.rng.choice([ast.Add(), ast.Sub(), ast.Mult()]) if not _divides(node) else node.op
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if isinstance(node.left, ast.Name) and node.left.id.startswith("n"):
            return node
        node.ops = [self.rng.choice([ast.Lt(), ast.Gt(), ast.Eq()])]
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        return node


def _divides(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.FloorDiv | ast.Mod)


def dependences_by_structure(source: str, variants: int = 40) -> set[str]:
    """The parameters seen to change the result in the program or in one with other constants and operators.

    This is the definition that edges are judged by: ``a - a`` and ``1 if 2 > 1 else a`` depend on a, as
    their text says; what is overwritten before it is used, or passed where it is dropped, does not.
    """
    found = measured_dependences(runnable(source))
    for seed in range(variants):
        tree = _Redraw(random.Random(seed)).visit(ast.parse(source))  # noqa: S311
        found |= measured_dependences(runnable(ast.unparse(ast.fix_missing_locations(tree))), seed, 40)
        if len(found) == len(PARAMETERS):
            break
    return found


def outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    try:
        return repr(function(**arguments))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return "raised"
