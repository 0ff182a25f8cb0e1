from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.collect.functions import bind_function
from causalkit.collect.isolated import SourceFunction, isolated_functions, run_rows_isolated
from causalkit.collect.rows import FailedRows, run_rows
from causalkit.errors import ExecutionError, TraceCollectionError
from causalkit.isolation import Limits
from tests.collect.hostile import DEEDS, source_of

SHORT = Limits(row_cpu_s=0.2, row_wall_s=0.7, memory_mb=400)
OPTIONS: dict[str, Any] = {"keep_missing": False, "progress": False}

CELLS = st.one_of(st.floats(), st.integers(), st.booleans(), st.text(), st.none())
KNOWN = {
    "y": SourceFunction("y", "def y(x): return x", ["x"]),
    "z": SourceFunction("z", "import math\ndef z(x): return math.exp(x) if x > 0 else -x / 3", ["x"]),
    "w": SourceFunction("w", "def w(x, *, by): return (by, x)[len(str(x)) % 2]", ["x", "z"], {"by": "z"}),
}


def run_there(
    source: str, values: list[Any], limits: Limits = SHORT, **options: Any
) -> tuple[pd.DataFrame, FailedRows]:
    """Run x -> y in a child on these values of x."""
    with isolated_functions({"y": SourceFunction("y", source, ["x"])}, limits=limits) as functions:
        return run_rows(["x", "y"], functions, frame(values), **OPTIONS | options)


def frame(values: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


def left_behind() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"causalkit-{os.getpid()}-*"))


@pytest.mark.parametrize("deed", DEEDS)
def test_a_hostile_function_costs_one_row_and_leaves_nothing_behind(deed: str, tmp_path: Path) -> None:
    victim, before = tmp_path / "victim", left_behind()
    victim.write_text("alive")
    table, failures = run_there(source_of(deed, str(tmp_path)), [0, 1, 2, 3])
    assert table["y"].to_dict() == {0: 0.5, 2: 2.5, 3: 3.5}
    assert [(failure["row"], failure["node"], failure["inputs"]) for failure in failures] == [(1, "y", {"x": 1})]
    assert re.fullmatch(DEEDS[deed][1], failures[0]["exception"]), failures[0]
    assert len(failures[0]["message"]) <= 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]
    assert victim.read_text() == "alive"
    assert left_behind() <= before


@settings(max_examples=30)
@given(st.lists(CELLS, min_size=1, max_size=30), st.booleans())
def test_harmless_functions_give_the_table_and_the_failures_that_they_give_here(
    values: list[Any], keep_missing: bool
) -> None:
    options = {"keep_missing": keep_missing, "progress": False}
    here = {node: source.bind() for node, source in KNOWN.items()}
    expected, expected_failures = run_rows(["x", *KNOWN], here, frame(values), **options)
    table, failures = run_rows_isolated(["x", *KNOWN], KNOWN, frame(values), **options)
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    for node in expected.select_dtypes("float"):
        assert table[node].to_numpy().tobytes() == expected[node].to_numpy().tobytes()
    assert repr(failures) == repr(expected_failures)


@pytest.mark.parametrize(
    "result",
    ["np.float64(0.1)", "np.array(3)", "np.int8(4)", "np.bool_(True)", "pd.NA", "pd.NaT", "None", "float('nan')",
     "2**64", "-2**200", "'\\ud800'", "-0.0", "[1]", "{'a': 1}", "object", "b''", "1j"],
)  # fmt: skip
@pytest.mark.parametrize("keep_missing", [False, True])
def test_every_kind_of_result_is_taken_or_refused_as_it_is_here(result: str, keep_missing: bool) -> None:
    source = SourceFunction("y", f"import numpy as np, pandas as pd\ndef y(x): return {result}", ["x"])
    options = {"keep_missing": keep_missing, "progress": False}
    expected = run_rows(["x", "y"], {"y": source.bind()}, frame([1, 2]), **options)
    found = run_rows_isolated(["x", "y"], {"y": source}, frame([1, 2]), **options)
    pd.testing.assert_frame_equal(found[0], expected[0], check_exact=True)
    assert repr(found[1]) == repr(expected[1])


def test_records_are_expanded_and_handed_on_as_they_are_here() -> None:
    price = """
        from dataclasses import dataclass
        @dataclass
        class Price:
            net: float
            parts: dict
        def p(x): return Price(x / 4, {"a": x, "b": True})
    """
    spoil = "def q(p):\n    p.parts['a'] += 1\n    p.net = 0.0\n    return p.parts['a']"
    sources = {
        "p": SourceFunction("p", price, ["x"]),
        "q": SourceFunction("q", spoil, ["p"]),
        "r": SourceFunction("r", "def r(p): return p.parts['a'] + p.net", ["p"]),
    }
    inputs, options = frame([1, 2]), {**OPTIONS, "expand": True}
    here = {node: source.bind() for node, source in sources.items()}
    expected, _ = run_rows(["x", *sources], here, inputs, **options)
    table, failures = run_rows_isolated(["x", *sources], sources, inputs, **options)
    assert not failures
    pd.testing.assert_frame_equal(table, expected)
    assert table["r"].tolist() == [1.25, 2.5]


def test_live_callables_run_here_between_functions_that_run_in_the_child() -> None:
    seen: list[int] = []
    functions = {
        "a": SourceFunction("a", "def a(x): return x + 1", ["x"]),
        "b": bind_function("b", lambda a: seen.append(a) or 2 * a, ["a"]),
        "c": SourceFunction("c", "def c(b): return 1 / (b - 4)", ["b"]),
    }
    table, failures = run_rows_isolated(["x", "a", "b", "c"], functions, frame([0, 1, 2]), **OPTIONS)
    assert seen == [1, 2, 3]
    assert table["c"].to_dict() == {0: -0.5, 2: 0.5}
    assert [failure["inputs"] for failure in failures] == [{"b": 4}]


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("def y(x):\n    return (", {"node": "y", "line": 2}),
        ("import nothing_of_this_name\ndef y(x): return x", {"node": "y", "line": 1}),
        ("def y(x, other): return x", {"node": "y", "parameter": "other", "parents": ["x"]}),
        ("async def y(x): return x", {"node": "y"}),
    ],
)
def test_a_source_that_does_not_fit_is_told_as_it_is_here(source: str, facts: dict[str, Any]) -> None:
    with pytest.raises(TraceCollectionError) as here:
        SourceFunction("y", source, ["x"]).bind()
    with pytest.raises(TraceCollectionError) as there:
        run_there(source, [1])
    assert str(there.value) == str(here.value)
    assert type(there.value) is TraceCollectionError
    assert {name: getattr(there.value, name) for name in facts} == facts


@pytest.mark.parametrize("source", ["while True: pass", "import os; os._exit(1)", "import ctypes; ctypes.string_at(0)"])
def test_a_source_that_cannot_be_loaded_names_its_node(source: str) -> None:
    sources = {
        "y": SourceFunction("y", "def y(x): return x", ["x"]),
        "z": SourceFunction("z", f"{source}\ndef z(x): return x", ["x"]),
    }
    limits = Limits(setup_cpu_s=0.2)
    with (
        pytest.raises(ExecutionError, match="the source of 'z' cannot be loaded"),
        isolated_functions(sources, limits=limits),
    ):
        pass


def test_a_function_that_always_kills_its_child_ends_in_one_error() -> None:
    with pytest.raises(ExecutionError, match=r"ended their process 4 times \(last: .*exit code 7\)") as info:
        run_there("import os\ndef y(x): os._exit(7)", list(range(100)), Limits(max_deaths=3))
    assert info.value.deaths == 4


def test_no_functions_need_no_child() -> None:
    table, failures = run_rows_isolated(["x"], {}, frame([1, 2]), **OPTIONS)
    assert table["x"].tolist() == [1, 2]
    assert not failures


def test_the_second_call_costs_milliseconds() -> None:
    run_there("def y(x): return x", [1])
    took = []
    for _ in range(5):
        began = time.perf_counter()
        run_there("def y(x): return x", [1])
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1


def test_random_numbers_are_not_the_same_in_every_child() -> None:
    source = "import random, numpy as np\ndef y(x): return random.random() + np.random.random()"
    draws = [run_there(source, [1, 2])[0]["y"].tolist() for _ in range(3)]
    assert np.unique(draws).size == 6
