"""A block of code reported as a call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.blocks import OperatorBlock
from causalkit.operators.calls import calls_of
from causalkit.operators.events import ExecutionContext, OperatorMetadata
from causalkit.operators.listening import EventCollector, collect_events
from tests.operators.family import endings, heard, operator, parents

JUDGE = OperatorMetadata("majority", "judge", ("a",))


def block(name: str) -> OperatorBlock:
    return ExecutionContext.operator(OperatorMetadata(name))


def test_a_block_reports_inputs_result_and_who_it_is() -> None:
    with (
        collect_events() as events,
        ExecutionContext.operator(JUDGE, stage="judge_1", inputs={"votes": [3, 3]}) as call,
    ):
        call.result = 3
    assert [(event.event_type, event.data) for event in events] == [
        ("call", {"inputs": {"votes": [3, 3]}}),
        ("result", {"result": 3}),
    ]
    assert {(event.operator_id, event.operator_type, event.stage) for event in events} == {
        ("majority", "judge", "judge_1"),
    }
    assert {event.call_id for event in events} == {call.call_id}
    assert call.context == events[0].context


def test_a_block_whose_body_raises_is_closed_by_the_error() -> None:
    with collect_events() as events, pytest.raises(KeyError), block("a"), block("b"):
        raise KeyError
    assert parents(events) == {"a": None, "b": "a"}
    assert endings(events) == {"a": "KeyError", "b": "KeyError"}


def test_blocks_and_operators_are_each_others_callers_also_in_coroutines_and_generators() -> None:
    async def work() -> None:
        async with block("async"):
            await asyncio.to_thread(operator("in a thread", lambda: inner()))

    def inner() -> None:
        with block("inner"):
            operator("innermost")()

    def generate() -> Iterator[None]:
        with block("in a generator"):
            yield
            operator("of generator")()
            yield

    def consume() -> None:
        for _ in generate():
            operator("between")()

    assert heard(lambda: asyncio.run(work())) == {
        **{"async": None, "in a thread": "async", "inner": "in a thread", "innermost": "inner"},
    }
    assert heard(operator("s", consume)) == {
        **{"s": None, "in a generator": "s", "of generator": "in a generator", "between": "s"},
    }


def test_the_block_under_way_can_be_asked_where_it_stands() -> None:
    assert ExecutionContext.current() is None
    with block("unheard") as unheard:
        assert ExecutionContext.current() is None
        assert unheard.context is None
    with collect_events(), ExecutionContext.operator(JUDGE) as call:
        current = ExecutionContext.current()
        assert current is not None
        assert (current.call_id, current.metadata, current.tags) == (call.call_id, JUDGE, ("a",))
    assert ExecutionContext.current() is None


def test_a_link_says_whose_result_is_worked_on() -> None:
    ExecutionContext.link("nobody listens")
    with collect_events() as events:
        with block("panel") as panel:
            panel.result = 3
        with block("judge"):
            ExecutionContext.link(panel.call_id)
    judge = next(call for call in calls_of(events).values() if call.operator_id == "judge")
    assert [*judge.links] == [panel.call_id]
    assert judge.metrics == {}


def test_a_block_entered_by_a_listener_that_begins_inside_it_is_not_closed_twice() -> None:
    heard_: list[str] = []
    with block("a"), EventCollector.register(lambda event: heard_.append(event.operator_id)), block("b"):
        pass
    assert heard_ == ["b", "b"]


def test_wrong_input_is_said_in_a_sentence() -> None:
    with pytest.raises(CausalkitError, match="a int names no operator; give OperatorMetadata"):
        ExecutionContext.operator(3)  # type: ignore[arg-type]
    with pytest.raises(CausalkitError, match="stage is a int; give a text"):
        ExecutionContext.operator(JUDGE, stage=1)  # type: ignore[arg-type]
    with pytest.raises(CausalkitError, match="inputs is a list; give names and values"):
        ExecutionContext.operator(JUDGE, inputs=[1])  # type: ignore[arg-type]
    used = block("used")
    with used, pytest.raises(CausalkitError, match="entered already"), used:
        pass
    with pytest.raises(CausalkitError, match="entered already"), used:
        pass
