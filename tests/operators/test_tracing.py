"""Whatever can be called can be traced: it does what it did, and reports each call once."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.listening import EventCollector, collect_events
from causalkit.operators.tracing import TracedOperator, trace
from tests.operators.family import operator


@trace(stage="stage_1", operator_type="tool", tags=["a", "b"])
def add(first: int, second: int = 2, *rest: int, scale: int = 1) -> int:
    """Add numbers."""
    return (first + second + sum(rest)) * scale


@trace
@dataclass(frozen=True)
class Member:
    vote: int

    def __call__(self, image: object) -> int:
        return self.vote


def told(work: Callable[[], object]) -> list[tuple[str, Any, Any]]:
    """Return for each call who it was, its inputs and its result, in the order in which they ended."""
    with collect_events() as events:
        work()
    inputs = {event.call_id: event.data.get("inputs") for event in events if event.event_type == "call"}
    return [
        (event.operator_id, inputs.pop(event.call_id), event.data.get("result"))
        for event in events
        if event.event_type == "result"
    ]


def test_a_function_is_told_with_its_arguments_by_name() -> None:
    assert told(lambda: (add(1), add(1, 3, 4, 5, scale=2), add(second=1, first=1))) == [
        ("add", {"first": 1}, 3),
        ("add", {"first": 1, "second": 3, "rest": (4, 5), "scale": 2}, 26),
        ("add", {"second": 1, "first": 1}, 2),
    ]
    with collect_events() as events:
        add(1)
    assert (events[0].stage, events[0].operator_type) == ("stage_1", "tool")
    assert events[0].context is not None
    assert events[0].context.tags == ("a", "b")


def test_a_traced_function_looks_like_what_it_wraps() -> None:
    original = inspect.unwrap(add)
    assert original is not add
    assert inspect.signature(add) == inspect.signature(original)
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add numbers.", original.__module__)
    assert add.__annotations__ == original.__annotations__
    assert add.__qualname__ == original.__qualname__
    assert pickle.loads(pickle.dumps(add)) is add  # noqa: S301


def test_all_kinds_of_functions_stay_of_their_kind() -> None:
    async def coroutine() -> None: ...

    def generator() -> Iterator[None]:
        yield

    async def async_generator() -> AsyncIterator[None]:
        yield

    checks = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    for function in (coroutine, generator, async_generator, lambda: None):
        assert [check(trace(function)) for check in checks] == [check(function) for check in checks]
        assert [check(trace(functools.partial(function))) for check in checks] == [check(function) for check in checks]


@pytest.mark.parametrize("listening", [False, True])
def test_methods_of_every_kind_are_traced_in_both_orders(listening: bool) -> None:
    class Panel:
        name = "panel"

        @trace
        def method(self, x: int) -> tuple[str, int]:
            return self.name, x

        @staticmethod
        @trace
        def static(x: int) -> int:
            return x

        @trace
        @staticmethod
        def other_static(x: int) -> int:
            return x

        @classmethod
        @trace
        def of_class(cls, x: int) -> tuple[str, int]:
            return cls.name, x

        @trace(operator_id="other_of_class")
        @classmethod
        def other_of_class(cls, x: int) -> tuple[str, int]:
            return cls.name, x

    def work() -> None:
        for panel in (Panel(), Panel):
            assert (panel.static(1), panel.other_static(2)) == (1, 2)
            assert (panel.of_class(3), panel.other_of_class(4)) == (("panel", 3), ("panel", 4))
        assert Panel().method(5) == Panel.method(Panel(), x=5) == ("panel", 5)

    if not listening:
        work()
        return
    found = told(work)
    assert {(name.removeprefix("Panel."), inputs["x"]) for name, inputs, _ in found} == {
        *(("static", 1), ("other_static", 2), ("of_class", 3), ("other_of_class", 4), ("method", 5)),
    }
    assert all(inputs == {"x": inputs["x"]} for _, inputs, _ in found)
    assert len(found) == 10


def test_partials_lambdas_builtins_and_bound_methods_are_traced() -> None:
    traced = [
        trace(functools.partial(add.__wrapped__, 1, scale=2)),  # type: ignore[attr-defined]
        trace(lambda second: second),
        trace(len),
        trace([3, 5].index),
        trace("a,b".split),
    ]
    found = told(lambda: [function(value) for function, value in zip(traced, (5, 6, "abc", 5, ","), strict=True)])
    assert [result for _, _, result in found] == [12, 6, 3, 1, ["a", "b"]]
    assert [name for name, _, _ in found] == ["add", "<lambda>", "len", "list.index", "str.split"]


def test_a_function_traced_twice_reports_once_and_the_later_word_counts() -> None:
    twice = trace(add, stage="stage_2")
    with collect_events() as events:
        assert (twice(1), add(1)) == (3, 3)
    assert [(event.stage, event.operator_type) for event in events] == [("stage_2", "tool")] * 2 + [
        ("stage_1", "tool"),
    ] * 2


def test_a_traced_method_taken_from_its_object_and_traced_again_reports_once() -> None:
    class Panel:
        @trace(operator_type="tool")
        def method(self, x: int) -> tuple[object, int]:
            return self, x

    panel = Panel()
    again = trace(panel.method, stage="stage_2")
    with collect_events() as events:
        assert again(3) == (panel, 3)
    assert [(event.stage, event.operator_type) for event in events] == [("stage_2", "tool")] * 2
    assert events[0].data == {"inputs": {"x": 3}}


def test_a_decorator_around_a_traced_function_is_kept_when_it_is_traced_again() -> None:
    def plus_one(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapper(x: int) -> int:
            return function(x) + 1

        return wrapper

    traced = trace(plus_one(trace(lambda x: x)), stage="outer")
    assert traced(1) == 2
    assert [result for _, _, result in told(lambda: traced(1))] == [1, 2]


def test_an_object_may_stand_in_two_stages_and_stays_as_it_is() -> None:
    member = Member(3)
    before = dict(vars(member))
    one, two = trace(member, stage="ensemble_1"), trace(member, stage="ensemble_2", operator_type="member")
    with collect_events() as events:
        assert (one("image"), two("image"), member("image")) == (3, 3, 3)
        assert trace(member, stage="ensemble_3")(image="image") == 3
    assert vars(member) == before
    results = [event for event in events if event.event_type == "result"]
    assert [(event.stage, event.operator_type) for event in results] == [
        *(("ensemble_1", "Member"), ("ensemble_2", "member"), (None, "Member"), ("ensemble_3", "Member")),
    ]
    assert len({event.operator_id for event in events}) == 1
    assert len(events) == 8


def test_an_object_of_a_class_that_is_not_traced_is_traced_alone() -> None:
    class Base:
        def __call__(self, x: int) -> int:
            return x

    class Derived(Base):
        pass

    class Traced(Base, TracedOperator):
        pass

    alone = trace(Derived(), operator_id="alone")
    with collect_events() as events:
        both = trace(Traced(), operator_id="both")
        assert (alone(1), Derived()(2), both(3)) == (1, 2, 3)
    assert [event.operator_id for event in events] == ["alone", "alone", "both", "both"]


def test_objects_with_async_or_generating_calls_are_traced() -> None:
    class Async:
        async def __call__(self, x: int) -> int:
            await asyncio.sleep(0)
            return x

    class Generating:
        def __call__(self, x: int) -> Iterator[int]:
            yield from range(x)

    def work() -> None:
        assert asyncio.run(operator("async", Async())(1)) == 1
        assert [*operator("generating", Generating())(3)] == [0, 1, 2]

    assert told(work) == [("async", {"x": 1}, 1), ("generating", {"x": 3}, None)]


def test_a_metric_is_an_object_or_a_function_told_at_the_tracing() -> None:
    def size(result: list[int], inputs: dict[str, Any]) -> int:
        return len(result) + inputs["n"]

    traced = trace(lambda n: [0] * n, metrics=[size])
    with collect_events() as events:
        traced(3)
    assert events[1].data == {"name": "size", "value": 6}
    assert [event.event_type for event in events] == ["call", "metric", "result"]


def test_an_interrupt_in_a_metric_closes_the_call() -> None:
    def interrupted(result: object, inputs: object) -> None:
        raise KeyboardInterrupt

    with collect_events() as events:
        with pytest.raises(KeyboardInterrupt):
            trace(lambda: 1, metrics=[interrupted])()
        operator("after")()
    assert [event.event_type for event in events] == ["call", "error", "call", "result"]
    assert events[-1].parent_call_id is None


def test_errors_pass_unchanged_and_are_told_with_type_and_message() -> None:
    error = KeyError("nobody")

    def fail() -> None:
        raise error

    with collect_events() as events, pytest.raises(KeyError) as raised:
        trace(fail)()
    assert raised.value is error
    assert events[1].data["type"] == "KeyError"
    assert events[1].data["message"] == "'nobody'"
    assert ".fail:" in events[1].data["stack"].splitlines()[-1]
    with collect_events() as events, pytest.raises(TypeError):
        add()  # type: ignore[call-arg]
    assert [event.event_type for event in events] == ["call", "error"]


def test_the_stage_of_the_caller_holds_where_none_was_told() -> None:
    inner = operator("inner", lambda: operator("innermost")())
    with collect_events() as events:
        operator("outer", lambda: (inner(), operator("own", stage="judge_1")()), stage="ensemble_1")()
    assert {event.operator_id: event.stage for event in events} == {
        **{"outer": "ensemble_1", "inner": "ensemble_1", "innermost": "ensemble_1", "own": "judge_1"},
    }


class NoCall:
    pass


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: trace(NoCall), "class NoCall has no __call__, so none of its instances is an operator"),
        (lambda: trace(NoCall()), "a NoCall cannot be called"),
        (lambda: trace(3), "a int cannot be called; trace a function or a class with __call__"),  # type: ignore[type-var]
        (lambda: trace(len, stage=1), "stage is a int; give a text"),  # type: ignore[arg-type]
        (lambda: trace(operator_type=b"x"), "operator_type is a bytes; give a text"),  # type: ignore[arg-type]
        (lambda: trace(operator_id=3), "operator_id is a int; give a text"),  # type: ignore[arg-type]
        (lambda: trace(tags=3), "tags is 3; give a list of texts"),  # type: ignore[arg-type]
        (lambda: trace(metrics=len), "give a list of functions"),  # type: ignore[arg-type]
        (lambda: trace(metrics=["accuracy"]), "the metric 'accuracy' cannot be called"),  # type: ignore[list-item]
    ],
)
def test_wrong_input_is_said_in_a_sentence(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(CausalkitError, match=says):
        wrong()


def test_a_class_that_cannot_be_changed_is_refused_in_a_sentence() -> None:
    with pytest.raises(
        CausalkitError, match=r"class partial cannot be changed .*; trace a subclass of it, or an instance"
    ):
        trace(functools.partial)


def test_a_listener_of_the_process_hears_traced_functions_too() -> None:
    heard: list[Any] = []
    with EventCollector.register(heard.append):
        add(1)
    assert [event.event_type for event in heard] == ["call", "result"]
