"""What an event says, and where a call stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.events import ExecutionContext, OperatorEvent, OperatorMetadata, check_event
from causalkit.operators.listening import collect_events
from tests.operators.family import operator


def test_metadata_takes_any_texts_as_tags_and_is_equal_by_value() -> None:
    assert OperatorMetadata("knn", tags=["a", "b"]) == OperatorMetadata("knn", "operator", ("a", "b"))  # type: ignore[arg-type]
    assert OperatorMetadata("knn", tags="digits").tags == ("digits",)  # type: ignore[arg-type]
    assert OperatorMetadata("knn", tags=iter("ab")).tags == ("a", "b")  # type: ignore[arg-type]
    assert OperatorMetadata("knn", tags=3).tags == ("3",)  # type: ignore[arg-type]
    assert len({OperatorMetadata("knn"), OperatorMetadata("knn"), OperatorMetadata("svm")}) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: OperatorMetadata(3), "the id of an operator is a int; give a text"),  # type: ignore[arg-type]
        (lambda: OperatorMetadata("a", None), "the type_hint of an operator is a NoneType"),  # type: ignore[arg-type]
        (lambda: check_event({"event_type": "call"}), "a dict is no event; give an OperatorEvent"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(CausalkitError, match=says):
        wrong()


def test_an_event_tells_when_it_happened_and_how_long_the_call_took() -> None:
    before = datetime.now(UTC)

    async def work() -> None:
        await asyncio.sleep(0.02)

    with collect_events() as events:
        asyncio.run(operator("slow", work)())
    call, result = events
    assert before <= call.timestamp <= result.timestamp <= datetime.now(UTC)
    assert call.timestamp.utcoffset() == timedelta(0)
    assert (call.duration, call.duration_ms) == (None, None)
    assert result.duration is not None
    assert timedelta(milliseconds=19) < result.duration < timedelta(seconds=5)
    assert abs(result.timestamp - call.timestamp - result.duration) < timedelta(milliseconds=5)


def test_the_context_of_an_event_names_the_chain_of_its_callers() -> None:
    found: list[ExecutionContext | None] = []

    def inner() -> None:
        found.append(ExecutionContext.current())

    with collect_events() as events:
        operator("outer", lambda: operator("inner", inner)(), stage="s", tags=["a"])()
    outer_call, inner_call, *_ = events
    assert inner_call.context is not None
    assert found == [inner_call.context]
    assert inner_call.context.parent == outer_call.context
    assert inner_call.context.parents == (outer_call.call_id,)
    assert outer_call.context is not None
    assert (outer_call.context.tags, outer_call.context.parents, outer_call.context.stage) == (("a",), (), "s")
    assert repr(inner_call.context) == "<ExecutionContext inner, stage s, 1 calls deep>"
    assert inner_call.run_id == outer_call.run_id == outer_call.call_id
    assert ExecutionContext.current() is None


def test_an_event_made_by_hand_is_a_run_of_its_own() -> None:
    event = OperatorEvent("knn", "member", "call", "c1", datetime.now(UTC))
    assert event.run_id == "c1"
    assert repr(event) == "<OperatorEvent call of knn: {}>"
    assert check_event(event) is event


def test_the_repr_of_an_event_is_short() -> None:
    data: dict[str, Any] = {"result": "x" * 10_000}
    event = OperatorEvent("knn", "member", "result", "c1", datetime.now(UTC), duration_ms=2.0, data=data)
    assert len(repr(event)) < 120
