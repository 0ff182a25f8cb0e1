"""What is kept of arguments and results: bounded, of the moment of the call, equal for equal values."""

from __future__ import annotations

import enum
import threading
import time
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.operators.capture import NOTHING, capture_of, is_summary, summary
from causalkit.operators.listening import collect_events
from causalkit.operators.tracing import trace


class Text(str):
    __slots__ = ()


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


def data_of(policy: Any, value: Any, work: Callable[[Any], Any]) -> tuple[Any, Any]:
    with collect_events(capture=policy) as events:
        trace(work, operator_id="operator")(value)
    call, result = (event.data for event in events)
    return call.get("inputs", {}).get("value", NOTHING), result.get("result", NOTHING)


def change(value: list[Any]) -> list[Any]:
    value.append(4)
    return value


@pytest.mark.parametrize("policy", ["summary", "copy"])
def test_what_happens_to_a_value_after_the_call_is_not_seen(policy: str) -> None:
    value = [1, [2], {"three": 3}]
    given_, result = data_of(policy, value, lambda value: change(value))
    value[1].append("later")  # type: ignore[attr-defined]
    assert (given_, result) == ([1, [2], {"three": 3}], [1, [2], {"three": 3}, 4])


def test_a_long_value_changed_after_the_call_is_described_as_it_was() -> None:
    value = [0] * 500
    given_, result = data_of("summary", value, lambda value: change(value))
    assert (given_["size"], result["size"]) == (500, 501)
    assert given_["digest"] != result["digest"]


def test_a_reference_is_the_very_object_and_a_copy_is_another_one() -> None:
    value = [1]
    given_, result = data_of("reference", value, lambda value: value)
    assert given_ is value
    assert result is value
    copied, _ = data_of("copy", value, lambda value: value)
    assert copied == value
    assert copied is not value


def test_what_cannot_be_copied_is_described() -> None:
    lock, _ = data_of("copy", threading.Lock(), lambda value: None)
    assert lock["causalkit.type"] == "lock"


def test_none_keeps_nothing() -> None:
    assert data_of("none", [1], lambda value: value) == (NOTHING, NOTHING)


def test_a_function_says_what_is_kept() -> None:
    assert data_of(lambda value: f"about {value}", 3, lambda value: value + 1) == ("about 3", "about 4")


def test_there_is_a_sentence_for_a_policy_that_is_none() -> None:
    for wrong in ("all", None, 3, ["copy"]):
        with pytest.raises(CausalkitError, match="choose 'summary', 'copy', 'reference', 'none', or give a function"):
            capture_of(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [3, 0.5, True, None, "text", b"bytes", 2j, Decimal("1.5"), date(2026, 1, 2), [1, ("a", {2})], {"a": [None]}, []],
)
def test_what_is_short_stays_what_it_is(value: Any) -> None:
    kept = summary(value)
    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"), (np.array(7), 7)],
)
def test_numbers_of_numpy_become_plain_ones(value: Any, kept: Any) -> None:
    assert summary(value) == kept
    assert type(summary(value)) is type(kept)
    assert summary([value, {"a": value}]) == [kept, {"a": kept}]


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value * 200


def nested(deep: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(deep):
        value = [value]
    return value


HUGE: dict[str, Callable[[], Any]] = {
    "list": lambda: [0] * 10_000_000,
    "tuple": lambda: (0,) * 1_000_000,
    "dict": lambda: dict.fromkeys(range(1_000_000)),
    "set": lambda: set(range(1_000_000)),
    "frozenset": lambda: frozenset(range(300_000)),
    "text": lambda: "x" * 50_000_000,
    "subclass of str": lambda: Text("x" * 50_000_000),
    "bytes": lambda: bytes(50_000_000),
    "bytearray": lambda: bytearray(50_000_000),
    "array": lambda: np.zeros(12_500_000),
    "array of objects": lambda: np.full(1_000_000, None),
    "table": lambda: pd.DataFrame({"dtype": np.arange(500_000), "size": 1.0}),
    "series": lambda: pd.Series(np.arange(500_000)),
    "defaultdict": lambda: defaultdict(int, dict.fromkeys(range(300_000), 1)),
    "counter": lambda: Counter(range(300_000)),
    "ordered dict": lambda: OrderedDict.fromkeys(range(300_000)),
    "deque": lambda: deque(range(300_000)),
    "list in a list": lambda: [[0] * 1_000_000],
    "texts in a list": lambda: ["x" * 1_000_000] * 10_000,
    "long keys": lambda: {"k" * 10_000_000: 1},
    "list of dicts": lambda: [{"a": 1}] * 300_000,
    "holds itself": itself,
    "nested": lambda: nested(50_000),
}


@pytest.mark.parametrize("what", HUGE)
def test_the_summary_of_a_huge_value_is_short_and_takes_little_time_and_memory(what: str) -> None:
    value = HUGE[what]()
    began = time.process_time()
    kept = summary(value)
    took = time.process_time() - began
    tracemalloc.start()
    summary(value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if what == "nested":
        # Python cannot let go of it otherwise.
        while value:
            value = value.pop()
    assert is_summary(kept)
    assert len(repr(kept)) < 1_000
    assert took < 0.1
    assert peak < 1_000_000


def test_arrays_and_tables_are_told_by_shape_size_and_dtype() -> None:
    assert summary(np.zeros((8, 9), np.uint8)) == {
        **{"causalkit.type": "ndarray", "shape": [8, 9], "size": 72, "dtype": "uint8"},
        "digest": summary(np.zeros((8, 9), np.uint8))["digest"],
    }
    table = summary(pd.DataFrame({"a": range(5), "b": 0.5}))
    assert table == {"causalkit.type": "DataFrame", "shape": [5, 2], "size": 10, "dtype": "", "digest": None}

    class Tensor:
        shape, dtype = (2, 3), "torch.float32"

        def size(self) -> tuple[int, int]:
            return (2, 3)

        def __repr__(self) -> str:
            raise AssertionError("copied from another device")

    assert summary(Tensor())["size"] == 6
    assert "not_described" not in summary(Tensor())


class Broken:
    def __init__(self, *broken: str) -> None:
        self.broken = broken

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "broken"):
            raise ValueError(name)
        return object.__getattribute__(self, name)

    shape = None

    def __len__(self) -> int:
        raise OSError("gone")

    def __repr__(self) -> str:
        raise ZeroDivisionError


class WithoutRepr:
    def __repr__(self) -> str:
        raise ZeroDivisionError


class WithoutShape:
    @property
    def shape(self) -> tuple[int, ...]:
        raise ConnectionError("the device is gone")


@pytest.mark.parametrize("make", [Broken, lambda: Broken("shape", "__class__"), WithoutRepr, WithoutShape, object])
def test_objects_that_cannot_be_looked_at_are_named_and_the_call_is_heard_whole(make: Callable[[], Any]) -> None:
    value = make()
    given_, result = data_of("summary", value, lambda value: value)
    assert given_["causalkit.type"] == type(value).__qualname__
    assert given_ == result


def test_a_dict_that_another_thread_changes_meanwhile_is_described_all_the_same() -> None:
    stop = threading.Event()
    shared: dict[str, int] = {}

    def grow() -> None:
        while not stop.is_set():
            for number in range(50):
                shared[str(number)] = number
            shared.clear()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(2000):
            assert isinstance(summary(shared), dict)
    finally:
        stop.set()
        thread.join()


long_values = st.one_of(
    st.text(min_size=201, max_size=220),
    st.lists(st.one_of(st.integers(-3, 3), st.floats(), st.text("ab1", max_size=2)), min_size=65, max_size=70),
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 1), min_size=65, max_size=66),
)


@settings(max_examples=40)
@given(value=long_values)
def test_equal_values_have_equal_digests(value: Any) -> None:
    again = dict(reversed(value.items())) if isinstance(value, dict) else value[:40] + value[40:]
    digest = summary(value)["digest"]
    assert digest
    assert summary(again)["digest"] == digest


@settings(max_examples=50)
@given(one=long_values, other=long_values)
def test_different_values_have_different_summaries(one: Any, other: Any) -> None:
    if repr(one) != repr(other):
        assert one == other or summary(one) != summary(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (0.0, 1e-300),
        (float("nan"), None),
        (float("inf"), float("nan")),
        (float("inf"), float("-inf")),
        (b"abc", "YWJj"),
        (None, "null"),
        ([], {}),
        ([1, [2]], [[1], 2]),
        ("ab", "ba"),
    ],
)
def test_values_that_differ_in_one_item_have_different_digests(one: Any, other: Any) -> None:
    many = [0] * 100
    first, second = summary([*many, one])["digest"], summary([*many, other])["digest"]
    assert first
    assert second
    assert first != second
    first, second = summary({"k" * 201: one})["digest"], summary({"k" * 201: other})["digest"]
    assert first
    assert first != second


def test_keys_that_are_no_texts_and_objects_have_no_digest_rather_than_a_wrong_one() -> None:
    texts = {str(key): 0 for key in range(70)}
    assert summary(texts)["digest"]
    assert summary(dict.fromkeys(range(70), 0))["digest"] is None
    assert summary([Decimal(1)] * 70)["digest"] is None
    assert summary([Path("a")] * 70)["digest"] is None


def test_arrays_of_equal_content_have_equal_digests() -> None:
    image = np.arange(64.0).reshape(8, 8)
    assert summary(image) == summary(image.T.copy().T)
    assert summary(image)["digest"] != summary(image + 1)["digest"]
    assert summary(image) != summary(image.reshape(4, 16))
    assert summary(np.zeros(9, np.int64)) != summary(np.zeros(9))


def test_members_of_enumerations_and_subclasses_of_str_are_known_as_equal() -> None:
    assert summary(Color.RED) == summary(Color.RED)
    assert summary(Color.RED)["digest"] not in (None, summary(Color.BLUE)["digest"])
    assert summary(Level.LOW)["digest"]
    assert summary(Text("yes"))["digest"] == summary(Text("yes"))["digest"] != summary(Text("no"))["digest"]
    assert summary(Text("yes"))["repr"] == "'yes'"


def test_what_is_captured_is_never_evaluated() -> None:
    code = "__import__('os').abort()"
    assert summary(code) == code
    assert summary([code] * 100)["size"] == 100
    assert summary(Text(code))["size"] == len(code)
