from __future__ import annotations

import math
import time

import pytest

from causalkit.code.mechanism import infer_mechanism
from causalkit.errors import TraceCollectionError


def double(x: float) -> float:
    y = 2 * x
    return y  # noqa: RET504  # as users write it


PAIR = (lambda x: 3 * x, lambda x: 4 * x + math.pi)  # fmt: skip

LINEAR = {
    "return -x": ({"x": -1}, 0),
    "return x / 2": ({"x": 0.5}, 0),
    "return 2 * (x + 1)": ({"x": 2}, 2),
    "return x * 3 * 2": ({"x": 6}, 0),
    "y = x * 2; return y": ({"x": 2}, 0),
    "a = x + 1; b = a - y; return b * 2": ({"x": 2, "y": -2}, 2),
    "x += 1; x *= 3; x -= y; x /= 2; return x": ({"x": 1.5, "y": -0.5}, 1.5),
    "x, y = y, x; return 2 * x": ({"y": 2}, 0),
    "(a, b), c = (x, y), 1; return a + 3 * b + c": ({"x": 1, "y": 3}, 1),
    "a = b = x; return a + b": ({"x": 2}, 0),
    "a: float = x; return a": ({"x": 1}, 0),
    "return (a := 2 * x) + a": ({"x": 4}, 0),
    "return x * 0.1 * 10": ({"x": 1}, 0),
    "return True * x": ({"x": 1}, 0),
    "return float(x) - +1": ({"x": 1}, -1),
    "return x * 2 ** 3 - 7 // 2 + 7 % 4": ({"x": 8}, 0),
    "return x / 3 - x * (1 / 3) + y": ({"y": 1}, 0),
    "return (x + 1) ** 2 - x ** 2": ({"x": 2}, 1),
    "return 2 * x if 1 < 2 else x ** 2": ({"x": 2}, 0),
    "return x + 1 if x > 0 else 1 + x": ({"x": 1}, 1),
    "import math; return math.pi * x": ({"x": math.pi}, 0),
    "return abs(-3) * x + max(1, 2, y, 5) * 0": ({"x": 3}, 0),
}


@pytest.mark.parametrize(("body", "expected"), LINEAR.items(), ids=LINEAR)
def test_a_linear_function_has_its_coefficients(body: str, expected: tuple[dict[str, float], float]) -> None:
    mechanism = infer_mechanism(f"def f(x, y): {body}")
    assert (mechanism.type, mechanism.coefficients, mechanism.offset) == ("LINEAR", *expected)
    assert mechanism.variables == tuple(name for name in ("x", "y") if name in expected[0])
    assert mechanism.understood


@pytest.mark.parametrize(
    ("expression", "coefficients", "offset"),
    [
        ("x**2 + 1", {"x**2": 1}, 1),
        ("x * y", {"x*y": 1}, 0),
        ("pow_free * 0 + (x + 1) ** 3", {"x**3": 1, "x**2": 3, "x": 3}, 1),
        ("x ** 2.0 / 4", {"x**2": 0.25}, 0),
    ],
)
def test_a_polynomial_has_its_coefficients(expression: str, coefficients: dict[str, float], offset: float) -> None:
    mechanism = infer_mechanism(f"def f(x, y, pow_free): return {expression}")
    assert (mechanism.type, mechanism.coefficients, mechanism.offset) == ("POLYNOMIAL", coefficients, offset)


@pytest.mark.parametrize(("expression", "value"), [("7", 7), ("x - x + 0.5", 0.5), ("0 * x", 0), ("-2 ** 2", -4)])
def test_a_constant_function_depends_on_nothing(expression: str, value: float) -> None:
    mechanism = infer_mechanism(f"def f(x): return {expression}")
    assert (mechanism.type, mechanism.offset, mechanism.variables) == ("CONSTANT", value, ())


def test_an_early_return_is_no_constant() -> None:
    mechanism = infer_mechanism("def f(x):\n    if x < 0:\n        return 0\n    return 3 * x + 1")
    assert mechanism.type == "CONDITIONAL"
    (below, constant), (above, linear) = mechanism.branches
    assert (below, constant.type, constant.offset) == ("x < 0", "CONSTANT", 0)
    assert (above, linear.type, linear.coefficients, linear.offset) == ("x >= 0", "LINEAR", {"x": 3}, 1)


def test_a_chain_of_ifs_has_one_branch_for_each_case() -> None:
    source = """
        def tariff(kwh, base):
            price = 0.3
            if kwh > 100: price = 0.2
            elif kwh <= 10:
                return base
            total = base + price * kwh
            return total
    """
    mechanism = infer_mechanism(source)
    assert [(condition, branch.expression) for condition, branch in mechanism.branches] == [
        ("kwh > 100", "base + 0.2*kwh"),
        ("kwh <= 100 and kwh <= 10", "base"),
        ("kwh <= 100 and kwh > 10", "base + 0.3*kwh"),
    ]


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("x if x > 0 and y > 0 else y", "x if x > 0 and y > 0 else y if x > 0 and y <= 0 else y"),
        ("x and y", "y if x != 0 else x"),
        ("x or y", "x if x != 0 else y"),
        ("(x == 3) * y", "y if x == 3 else 0"),
        ("x if x == 0.1 else 0", "x if x == 0.1 else 0"),
        ("y if x > 10**20 else 0", "y if x > 1e+20 else 0"),
        ("1 if 0 < x < 1e-3 else 0", "1 if x > 0 and x < 0.001 else 0 if x > 0 and x >= 0.001 else 0"),
        ("x if x > 10 else y if x > 20 else 1", "x if x > 10 else 1"),
        ("x if 2 * x > 6 else (1 if 3 - x <= 0 else 0)", "x if x > 3 else 1 if x <= 3 and x >= 3 else 0"),
    ],
)
def test_conditions_follow_pythons_rules_and_one_another(expression: str, written: str) -> None:
    mechanism = infer_mechanism(f"def f(x, y): return {expression}")
    assert (mechanism.type, mechanism.expression) == ("CONDITIONAL", written)


def test_a_default_is_used_where_the_parameter_does_not_vary() -> None:
    source = "def f(x, /, k=3, *, shift=-1): return k * x + shift"
    assert infer_mechanism(source, varying=["x"]).coefficients == {"x": 3}
    assert infer_mechanism(source, varying=["x", "k"]).type == "POLYNOMIAL"
    assert infer_mechanism(source).variables == ("x", "k", "shift")
    assert "'x'" in str(infer_mechanism(source, varying=["k"]).reason)


def test_the_function_named_like_the_node_is_meant() -> None:
    source = "def a(x): return 2 * x\ndef b(x): return 3 * x\n_c = lambda x: x"
    assert infer_mechanism(source, node="b").coefficients == {"x": 3}
    assert "several functions (a, b)" in str(infer_mechanism(source).reason)


def test_live_functions_and_lambdas_are_read_from_their_source() -> None:
    assert infer_mechanism(double).coefficients == {"x": 2}
    assert infer_mechanism(PAIR[0]).coefficients == {"x": 3}
    assert infer_mechanism(PAIR[1]).offset == pytest.approx(math.pi)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("for _ in range(2): x = -x\n    return x", "a loop on line 3"),
        ("return RATE * x", "'RATE' from outside on line 3"),
        ("\n    return other(x)", "'other' from outside on line 4"),
        ("y = 1\n    return x / (y - 1)", "a division by zero on line 4"),
    ],
)
def test_the_reason_names_what_is_not_understood_and_its_line(body: str, reason: str) -> None:
    assert infer_mechanism(f"RATE = 2\ndef f(x):\n    {body}").reason == reason


def test_what_is_neither_text_nor_callable_is_an_error() -> None:
    with pytest.raises(TraceCollectionError, match="not a int"):
        infer_mechanism(3)  # type: ignore[arg-type]


def test_a_mechanism_is_shown_briefly_and_escaped() -> None:
    mechanism = infer_mechanism("def f(x): return x if x < 1 else 2 * x")
    assert repr(mechanism) == "StaticMechanism(CONDITIONAL: x if x < 1 else 2*x)"
    assert "<code>x &lt; 1</code>" in mechanism._repr_html_()


@pytest.mark.parametrize(
    "expression",
    [
        " + ".join(f"{i} * x * y" for i in range(33)),
        " * ".join(f"(x + {i} * y + z)" for i in range(20)),
        " + ".join(f"abs(x - {i})" for i in range(50)),
        " + ".join(f"max(x * {i}, y // {i + 1})" for i in range(30)),
        "-" * 200 + "x",
    ],
    ids=["sum", "product", "opaque sum", "maxima", "signs"],
)
def test_expressions_of_200_nodes_take_less_than_a_second(expression: str) -> None:
    infer_mechanism("def f(x): return x")
    start = time.process_time()
    assert infer_mechanism(f"def f(x, y, z): return {expression}").understood
    assert time.process_time() - start < 1


def test_values_that_double_in_size_at_every_step_are_given_up_soon() -> None:
    lines = "\n".join(["    y = abs(y) * max(y, x) + y"] * 60)
    start = time.process_time()
    assert not infer_mechanism(f"def f(x, y):\n{lines}\n    return y").understood
    assert time.process_time() - start < 1
