from __future__ import annotations

import collections
import dataclasses
import enum
import fractions
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.encoding import encode
from causalkit.redaction import mask_secrets
from causalkit.workflows.records import StepTrace, WorkflowTrace

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEP = StepTrace(step_id="s1", step_name="search", start=NOON, latency_ms=1.5, success=True, attributes={"n": 1})


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def read(line: bytes) -> dict[str, Any]:
    assert b"\n" not in line
    found = json.loads(line.decode("utf-8"), parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def written(value: Any, **options: Any) -> Any:
    """What stands in the journal for one value."""
    return read(encode({"kind": "step", "attributes": {"x": value}}, **options))["attributes"]["x"]


class Colour(enum.Enum):
    RED = float("nan")


class Word(str):
    pass


class Count(int):
    pass


class Pair(NamedTuple):
    a: int
    b: int


@dataclasses.dataclass
class Page:
    url: str
    score: Any = None


class Mute:
    def __str__(self) -> str:
        raise OSError("no words")

    __repr__ = __str__


class Babbler:
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Impostor:
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise LookupError


class Tensor:
    def __init__(self, found: Any) -> None:
        self.found = found

    def tolist(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def __str__(self) -> str:
        return "a tensor"


class Echo(Tensor):
    def tolist(self) -> Any:
        return self


class Shifting(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("changed")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("changed")

    def __len__(self) -> int:
        return 3


def cyclic_list() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def cyclic_dict() -> dict[str, Any]:
    found: dict[str, Any] = {"a": 1}
    found["me"] = found
    return found


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


SHOWN = [
    (STEP, {"step_id": "s1", "step_name": "search", "start": "2026-11-21T12:00:00Z", "latency_ms": 1.5}),
    (Page("u"), {"url": "u", "score": None}),
    (NOON, "2026-11-21T12:00:00Z"),
    (date(2026, 11, 21), "2026-11-21"),
    (timedelta(seconds=1.5), "PT1.5S"),
    (pd.Timestamp("2026-11-21", tz="UTC"), "2026-11-21T00:00:00+00:00"),
    (pd.NaT, "NaT"),
    (pd.NA, "<NA>"),
    (np.int64(3), 3),
    (np.float32(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.datetime64("2026-11-21T12:00:00", "ns"), "2026-11-21T12:00:00.000000000"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([1, "a", None], dtype=object), [1, "a", None]),
    (pd.Series([1, 2]), [1, 2]),
    (pd.Series(pd.to_datetime(["2026-11-21"])), ["2026-11-21"]),
    (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), {"a": [1, 2], "b": ["x", "y"]}),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), {"columns": ["a", "a"], "data": [[1], [2]]}),
    (Tensor([[1.5]]), [[1.5]]),
    (Tensor(ValueError("on another device")), "<Tensor that cannot be shown: ValueError>"),
    (Tensor(Path("a")), "a"),
    (Echo([1]), "a tensor"),
    ({1}, [1]),
    (frozenset(), []),
    ((1, 2), [1, 2]),
    (Pair(1, 2), [1, 2]),
    (collections.deque([1]), [1]),
    (range(3), [0, 1, 2]),
    ({"a": 1}.keys(), ["a"]),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (collections.Counter("aa"), {"a": 2}),
    (b"abc", "YWJj"),
    (Path("a/b"), str(Path("a/b"))),
    (ValueError("no page"), "ValueError('no page')"),
    (2**64 - 1, 2**64 - 1),
    (-(2**63), -(2**63)),
    (10**5000, hex(10**5000)),
    (Word("a"), "a"),
    (Count(3), 3),
    (Decimal("1.50"), "1.50"),
    (fractions.Fraction(1, 3), "1/3"),
    (1 + 2j, "(1+2j)"),
    (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
    ("\ud800", "?"),
    (Mute(), "<Mute that cannot be shown: OSError>"),
    ([1, Mute()], [1, "<Mute that cannot be shown: OSError>"]),
    (Babbler(), "<Babbler that cannot be shown: TypeError>"),
    (Impostor(), "<Impostor that cannot be shown: LookupError>"),
    (Shifting(), "<Shifting that cannot be shown: RuntimeError>"),
    (int, "<class 'int'>"),
    (..., "Ellipsis"),
    (cyclic_list(), [1, "<cycle>"]),
    (cyclic_dict(), {"a": 1, "me": "<cycle>"}),
]  # fmt: skip
KEYS = [
    (1, "1"), (1.5, "1.5"), (True, "True"), (None, "None"), ((1, 2), "(1, 2)"), (date(2026, 1, 2), "2026-01-02"),
    ("\ud800", "?"), (np.int64(1), "1"), (2**70, str(2**70)), (Mute(), "<Mute that cannot be shown: OSError>"),
    (b"a", "YQ=="),
]  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
wild_values = st.recursive(
    # hypothesis itself shows what it draws from
    st.integers(0, len(SHOWN) - 1).map(lambda index: SHOWN[index][0])
    | st.integers().map(lambda n: n**9)
    | st.floats()
    | st.text(max_size=50)
    | st.text(max_size=5).map(lambda text: text * 5000)
    | st.integers(0, 5000).map(lambda n: list(range(n)))
    | st.binary()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.complex_numbers()
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=40) | st.integers(0, len(KEYS) - 1).map(lambda index: KEYS[index][0]), inner, max_size=4
        )
        | st.tuples(inner, inner)
        | st.builds(Page, st.text(), inner)
        | inner.map(Tensor)
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    ["kind", "request_id", "step_name", "success", "start", "attributes", "steps", "notes", "question"]
)


@pytest.mark.parametrize(("value", "shown"), SHOWN, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("slowly", [{}, {"lost": math.nan, "odd": "\ud800"}], ids=["fast", "slow"])
def test_any_object_is_written_as_something(value: Any, shown: Any, slowly: dict[str, Any]) -> None:
    found = read(encode({"kind": "step", "attributes": {"x": value, **slowly}}))["attributes"]["x"]
    if value is STEP:
        found = {key: found[key] for key in shown}
    assert found == shown


@pytest.mark.parametrize(("key", "shown"), KEYS, ids=lambda value: type(value).__name__)
def test_any_key_is_written_as_something(key: Any, shown: str) -> None:
    assert shown in written({key: 1})
    assert list(written({key: 1, "lost": math.nan})) == [shown, "lost"]


def test_keys_that_look_the_same_stay_apart() -> None:
    assert written({Mute(): 1, Mute(): 2}) == {
        "<Mute that cannot be shown: OSError>": 1,
        "<Mute that cannot be shown: OSError> (2)": 2,
    }


def test_a_mock_is_no_array() -> None:
    assert written(MagicMock(name="model")).startswith("<MagicMock name='model'")


def test_a_generator_is_not_consumed() -> None:
    numbers = (number for number in [1, 2])
    assert "generator" in written(numbers)
    assert "generator" in written([numbers, math.nan])[0]
    assert list(numbers) == [1, 2]


@pytest.mark.parametrize("depth", [600, 900, 100_000])
def test_what_is_nested_too_deep_ends_with_a_mark(depth: int) -> None:
    line = encode({"attributes": {"x": nested(depth)}})
    assert read(line)
    assert b"<deeper than 100>" in line


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**900])
def test_a_number_beyond_64_bits_is_not_lost(value: int) -> None:
    assert int(read(encode({"kind": "step", "attributes": {"x": value}}))["attributes"]["x"]) == value


def test_a_raw_piece_cannot_tear_the_line() -> None:
    assert read(encode({"kind": "step", "x": msgspec.Raw(b"[1,\n2]")}))["kind"] == "step"


@pytest.mark.parametrize("record", [Shifting(), Mute(), None, [1], cyclic_list()])
def test_even_what_is_no_record_is_a_line(record: Any) -> None:
    assert "the record was" in read(encode(record))["notes"][0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_passes(stop: type[BaseException]) -> None:
    class Interrupted:
        def __str__(self) -> str:
            raise stop

    with pytest.raises(stop):
        encode({"x": Interrupted()})


def test_nan_and_infinities_are_null_with_a_note() -> None:
    record = {
        "attributes": {"score": math.nan, "all": [1.0, math.inf, {"low": -math.inf}], "array": np.array([1, math.nan])},
        "colour": Colour.RED,
        "number": np.float64("nan"),
        "nothing": None,
        "text": "null",
    }
    found = read(encode(record))
    assert found["attributes"] == {"score": None, "all": [1.0, None, {"low": None}], "array": [1.0, None]}
    assert found["notes"] == [
        "attributes.score was nan",
        "attributes.all[1] was inf",
        "attributes.all[2].low was -inf",
        "attributes.array[1] was nan",
        "colour was nan",
        "number was nan",
    ]


def test_there_are_at_most_twenty_notes() -> None:
    assert len(read(encode({"x": [math.nan] * 1000, "notes": ["mine"]}))["notes"]) == 20
    assert read(encode({"x": math.nan, "notes": "mine"}))["notes"] == ["mine", "x was nan"]


def test_nulls_alone_need_no_note() -> None:
    assert "notes" not in read(encode({"parent_id": None, "attributes": {"text": "null", "n": 10**18}}))


@given(record=st.dictionaries(texts, plain_values, max_size=5))
def test_plain_values_come_back_unchanged(record: dict[str, Any]) -> None:
    assert read(encode(record)) == record
    assert read(encode(record, redact=dict)) == record


@given(
    record=st.dictionaries(fields | st.text(), wild_values, max_size=5),
    max_bytes=st.integers(2000, 20_000),
    max_text=st.integers(1, 5000),
    redact=st.sampled_from([None, mask_secrets, dict]),
)
def test_whatever_is_in_it_a_record_is_one_line_that_fits(
    record: dict[str, Any], max_bytes: int, max_text: int, redact: Any
) -> None:
    line = encode(record, max_bytes=max_bytes, max_text=max_text, redact=redact)
    assert len(line) <= max_bytes
    read(line)


def test_a_long_text_is_cut_with_a_mark_and_a_note() -> None:
    found = read(encode({"kind": "run", "question": "ab" * 500, "final_answer": "ab"}, max_text=10))
    assert found["question"] == "ababababab… [990 more characters]"
    assert found["final_answer"] == "ab"
    assert found["notes"] == ["question was cut by 990 characters"]
    assert read(encode(found, max_text=10)) == found


def test_a_long_list_keeps_its_first_items() -> None:
    found = written([*range(1000)], max_bytes=3000)
    assert found == [*range(100), "… [900 more items]"]


def test_marks_count_what_earlier_cuts_left_out() -> None:
    found = written([["word" * 30] * 30] * 2000, max_bytes=4000)
    assert found[-1].startswith("… [19")
    assert found[0][-1].startswith("… [2")
    assert found[0][0].startswith("word")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3_000_000),
        np.zeros((3, 1_000_000)),
        pd.Series(np.zeros(3_000_000)),
        pd.DataFrame({"a": np.zeros(3_000_000)}),
        [0] * 3_000_000,
    ],
    ids=["array", "matrix", "series", "frame", "list"],
)
def test_what_cannot_fit_is_begun(value: Any) -> None:
    line = encode({"request_id": "a", "attributes": {"x": value, "after": "here"}})
    assert len(line) <= 1_000_000
    assert read(line)["attributes"]["after"] == "here"
    assert b'"x":[0,0' in line or b'"x":[0.0,0.0' in line or b'"x":[[0.0,0.0' in line or b'"x":{"a":[0.0,0.0' in line


def test_what_says_which_record_it_is_never_changes() -> None:
    large = {"page": "x" * 9000, "all": [*range(900)]}
    run = WorkflowTrace(
        request_id="r" * 300, workflow_name="search_qa", question="why? " * 5000, success=False, timestamp=NOON,
        steps=tuple(msgspec.structs.replace(STEP, step_id=f"s{n}", attributes=large) for n in range(9)),
        attributes={"deep": [[{"a": ["b" * 500] * 20}] * 20] * 20}, total_latency_ms=12.5,
    )  # fmt: skip
    record = run.to_record()
    for max_bytes in (100_000, 20_000, 8_000, 5_000):
        line = encode(record, max_bytes=max_bytes)
        assert len(line) <= max_bytes
        found = read(line)
        short = msgspec.convert(found, WorkflowTrace)
        assert (short.request_id, short.workflow_name, short.success, short.timestamp, short.total_latency_ms) == (
            run.request_id, "search_qa", False, NOON, 12.5,
        )  # fmt: skip
        assert [(step.step_id, step.start, step.latency_ms) for step in short.steps] == [
            (step.step_id, step.start, step.latency_ms) for step in run.steps
        ]
        assert found["notes"]


def test_steps_that_are_too_many_are_left_out_and_told() -> None:
    record = WorkflowTrace(request_id="a", success=True, steps=(STEP,) * 500).to_record()
    found = read(encode(record, max_bytes=4000))
    assert msgspec.convert(found, WorkflowTrace).steps[0] == STEP
    assert found["notes"][-1].startswith("steps was cut by 4")


def test_redaction_gets_a_plain_copy_that_it_may_change() -> None:
    def redact(record: dict[str, Any]) -> dict[str, Any]:
        assert record == {"kind": "step", "attributes": {"at": "2026-11-21T12:00:00Z", "all": [1, 2]}}
        record["attributes"].clear()
        return record

    attributes = {"at": NOON, "all": np.array([1, 2])}
    assert read(encode({"kind": "step", "attributes": attributes}, redact=redact)) == {"kind": "step", "attributes": {}}
    assert len(attributes) == 2


def test_what_redaction_returns_may_be_anything_a_record_may() -> None:
    found = read(encode({"kind": "step"}, redact=lambda record: {**record, "x": math.nan, "y": {1}}))
    assert found == {"kind": "step", "x": None, "y": [1], "notes": ["x was nan"]}


def test_the_default_mask_reaches_everything() -> None:
    record = {
        "kind": "step",
        "attributes": {"to": Path("bob@example.org"), "lost": math.nan, "token": 5, "page": Page("a@b.org")},
    }
    line = encode(record, redact=mask_secrets)
    assert b"@" not in line
    assert read(line)["notes"] == ["attributes.lost was nan"]


def test_a_secret_is_masked_before_the_text_is_cut() -> None:
    assert "sk-" not in written("x" * 90 + " sk-" + "aB3" * 20, redact=mask_secrets, max_text=100)


@pytest.mark.parametrize("answer", [None, [1], "text", ZeroDivisionError(), MagicMock()])
def test_a_redaction_that_fails_writes_nothing_unredacted(answer: Any) -> None:
    def redact(record: dict[str, Any]) -> Any:
        record.clear()
        if isinstance(answer, Exception):
            raise answer
        return answer

    problems: list[BaseException] = []
    record = {
        "kind": "step", "request_id": "a", "step_name": "mail bob@example.org", "start": {"secret": 1}, "success": True,
        "attributes": {"diary": "dear"}, "question": "whose?",
    }  # fmt: skip
    found = read(encode(record, redact=redact, problems=problems))
    [problem] = problems
    assert found == {
        "kind": "step", "request_id": "a", "step_name": "mail [masked: e-mail]", "success": True,
        "notes": [f"the rest was left out: redaction failed with {type(problem).__name__}"],
    }  # fmt: skip
    assert isinstance(problem, TypeError | ZeroDivisionError)
    encode(record, redact=redact)
