from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.collect.functions import bind_function, check_function
from causalkit.errors import TraceCollectionError

VALUES = {name: index * 10 for index, name in enumerate("abcdefgh", start=1)}


def call(function: Callable[..., Any] | str, parents: list[str], names: dict[str, str] | None = None) -> Any:
    checked = check_function("y", function)
    return bind_function("y", checked, parents, names)(VALUES)


def test_source_keeps_its_imports_helpers_closures_and_defaults() -> None:
    source = """
        import math

        FACTOR = 2

        def _twice(x):
            return FACTOR * x

        def scaled(factor):
            def inner(x, offset=1):
                return _twice(x) + math.floor(factor) + offset
            return inner

        y = scaled(3.7)
    """
    assert check_function("y", source)(10) == 24


def test_the_function_named_like_its_node_is_taken_before_others() -> None:
    assert check_function("y", "def first(x): return 1\ndef y(x): return 2")(0) == 2


def test_the_only_public_function_is_taken_beside_private_helpers_and_imports() -> None:
    source = "from math import sqrt\ndef _half(x): return x / 2\ndef root(x): return sqrt(_half(x))"
    assert check_function("total latency", source)(8) == 2


def test_a_decorated_function_is_found() -> None:
    source = "import functools\n@functools.lru_cache\ndef f(x): return x + 1"
    assert check_function("y", source)(1) == 2


def test_several_public_functions_are_named() -> None:
    with pytest.raises(TraceCollectionError, match=r"'f', 'g'.*'y'"):
        check_function("y", "def f(x): return 1\ndef g(x): return 2")


@pytest.mark.parametrize("source", ["", "y = 2", "import math", "from math import sqrt", "class Y: pass"])
def test_source_without_a_function_is_refused(source: str) -> None:
    with pytest.raises(TraceCollectionError, match=r"no function.*def y") as caught:
        check_function("y", source)
    assert caught.value.node == "y"


def test_a_syntax_error_names_node_and_line() -> None:
    with pytest.raises(TraceCollectionError, match=r"'y'.*line 2") as caught:
        check_function("y", "def y(x):\n    return x +\n")
    assert (caught.value.node, caught.value.line) == ("y", 2)


@pytest.mark.parametrize("statement", ["import no_such_module_here", "raise SystemExit(3)", "1 / 0"])
def test_source_that_fails_while_being_defined_names_node_and_line(statement: str) -> None:
    with pytest.raises(TraceCollectionError, match=r"'y'.*line 3") as caught:
        check_function("y", f"def y(x):\n    return x\n{statement}")
    assert caught.value.line == 3


def test_annotations_of_the_source_are_evaluated_as_written() -> None:
    assert check_function("y", "def y(x: int): return x").__annotations__ == {"x": int}


async def waits(x: float) -> float:
    return x


class WaitsWhenCalled:
    async def __call__(self, x: float) -> float:
        return x


@pytest.mark.parametrize("code", [waits, WaitsWhenCalled(), functools.partial(waits, 1), "async def y(x): return x"])
def test_an_async_function_is_refused_with_what_to_write(code: Any) -> None:
    with pytest.raises(TraceCollectionError, match=r"asyncio\.run"):
        check_function("y", code)


def test_a_function_that_yields_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match="yields"):
        check_function("y", "def y(x):\n    yield x")


def test_what_is_neither_source_nor_callable_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match="int"):
        check_function("y", 3)  # type: ignore[arg-type]


def test_parameters_are_bound_by_name_in_any_order() -> None:
    assert call(lambda b, a: (a, b), ["a", "b"]) == (10, 20)


def test_the_parameter_map_binds_what_names_do_not() -> None:
    assert call(lambda a, left, right: (a, left, right), ["a", "b", "c"], {"left": "c", "right": "b"}) == (
        10,
        30,
        20,
    )


def test_the_parameter_map_wins_over_equal_names() -> None:
    assert call(lambda a, b: (a, b), ["a", "b"], {"a": "b", "b": "a"}) == (20, 10)


@pytest.mark.parametrize(
    "function", [lambda a, other: (a, other), lambda a, other, k=5: (a, other), lambda a, other=0: (a, other)]
)
def test_one_parameter_and_one_parent_left_over_belong_together(function: Callable[..., Any]) -> None:
    assert call(function, ["a", "b"]) == (10, 20)


def test_positional_only_parameters_skip_a_default_without_losing_it() -> None:
    assert call("def y(a, k=7, c=8, /, *, d): return a, k, c, d", ["a", "c", "d"]) == (10, 7, 30, 40)


def test_star_parameters_receive_nothing() -> None:
    assert call("def y(a, *args, b=1, **kwargs): return a, args, b, kwargs", ["a", "b"]) == (10, (), 20, {})


def test_methods_and_partials_are_bound_by_what_is_left_of_their_signature() -> None:
    assert call(functools.partial(lambda k, a: k + a, 1), ["a"]) == 11


def test_unmatched_parameter_names_the_parameter_the_parents_and_the_map_to_write() -> None:
    with pytest.raises(TraceCollectionError, match="parameter_map=") as caught:
        call(lambda p, q: p, ["a", "b"])
    sentence = str(caught.value)
    assert all(part in sentence for part in ("'p'", "'a', 'b'", "{'y': {'p': 'a'}}"))
    assert (caught.value.node, caught.value.parameter, caught.value.parents) == ("y", "p", ["a", "b"])


def test_a_root_whose_function_asks_for_a_value_is_told_so() -> None:
    with pytest.raises(TraceCollectionError, match=r"no parents.*default"):
        call(lambda p: p, [])


@pytest.mark.parametrize("source", ["def y(a): return a", "def y(a, *args, **kwargs): return a"])
def test_a_parent_that_no_parameter_takes_is_named(source: str) -> None:
    with pytest.raises(TraceCollectionError, match="'b'") as caught:
        call(source, ["a", "b"])
    assert caught.value.parents == ["b"]


@pytest.mark.parametrize(("names", "told"), [({"nope": "a"}, "'nope'"), ({"a": "nope"}, "'nope'")])
def test_a_parameter_map_that_fits_nothing_is_refused(names: dict[str, str], told: str) -> None:
    with pytest.raises(TraceCollectionError, match=told):
        call(lambda a: a, ["a"], names)


def test_a_parameter_map_entry_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(TraceCollectionError, match="dict of parameter to parent"):
        call(lambda p: p, ["a"], "a")  # type: ignore[arg-type]


def test_a_callable_without_a_readable_signature_is_refused_with_what_to_write() -> None:
    with pytest.raises(TraceCollectionError, match="def y"):
        call(max, ["a"])
    assert call(math.sqrt, ["a"]) == math.sqrt(10)


@st.composite
def signatures(draw: st.DrawFn) -> tuple[str, dict[str, int], list[str]]:
    """Source of a function returning what it got, what it must get, and its parents."""
    names = draw(st.permutations("abcdefgh"))[: draw(st.integers(1, 8))]
    positional_only, positional = sorted(draw(st.tuples(*[st.integers(0, len(names))] * 2)))
    required = draw(st.integers(0, positional))
    parents, parts = [], []
    for index, name in enumerate(names):
        must = index < required or (index >= positional and draw(st.booleans()))
        if must or draw(st.booleans()):
            parents.append(name)
        if index == positional:
            parts.append("*")
        parts.append(name if must else f"{name}=-{index}")
        if index + 1 == positional_only:
            parts.append("/")
    expected = {name: VALUES[name] if name in parents else -index for index, name in enumerate(names)}
    body = f"return {{{', '.join(f'{name!r}: {name}' for name in names)}}}"
    return f"def y({', '.join(parts)}): {body}", expected, parents


@settings(max_examples=150, deadline=None)
@given(signatures(), st.randoms(use_true_random=False))
def test_every_parameter_gets_the_parent_of_its_name_or_its_default(
    signature: tuple[str, dict[str, int], list[str]], shuffler: Any
) -> None:
    source, expected, parents = signature
    shuffler.shuffle(parents)
    assert call(source, parents) == expected
