from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.workflows.tracer import Tracer


def names(tracer: Tracer) -> list[str]:
    return [step.step_name for run in tracer.runs for step in run.steps]


def test_each_call_of_a_decorated_function_is_a_run_of_its_own() -> None:
    tracer = Tracer()

    @tracer.workflow("answer", mode="chat", release="7")
    def answer(question: str) -> str:
        """Answer."""
        return rank(question)

    @tracer.step
    def rank(question: str) -> str:
        return question.upper()

    assert (answer("why?"), answer("how?")) == ("WHY?", "HOW?")
    assert [(run.workflow_name, run.mode, run.attributes["release"]) for run in tracer.runs] == [
        ("answer", "chat", "7")
    ] * 2
    assert len({run.request_id for run in tracer.runs}) == 2
    assert names(tracer) == ["rank", "rank"]
    assert (answer.__name__, answer.__doc__, str(inspect.signature(answer))) == (
        "answer", "Answer.", "(question: 'str') -> 'str'",
    )  # fmt: skip


def test_a_recursive_function_is_a_step_within_a_step() -> None:
    tracer = Tracer()

    @tracer.step("down")
    def down(depth: int) -> int:
        return depth and down(depth - 1)

    with tracer.workflow("answer"):
        down(3)
    first, *others = tracer.runs[0].steps
    assert [step.parent_id for step in others] == [first.step_id, *(step.step_id for step in others[:-1])]


def test_what_a_decorated_function_raises_is_recorded_and_passed_on() -> None:
    tracer = Tracer()

    @tracer.workflow("answer")
    @tracer.step("divide")
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        divide()
    (run,) = tracer.runs
    assert run.error is not None
    assert run.error["type"] == "ZeroDivisionError"
    assert [step.success for step in run.steps] == [False]


def test_coroutine_functions_stay_coroutine_functions() -> None:
    tracer = Tracer()

    @tracer.step("search")
    async def search(name: str) -> str:
        await asyncio.sleep(0)
        return name

    @tracer.workflow("answer")
    async def answer() -> list[str]:
        return await asyncio.gather(search("a"), search("b"))

    assert inspect.iscoroutinefunction(answer)
    assert asyncio.run(answer()) == ["a", "b"]
    assert names(tracer) == ["search", "search"]


def test_a_decorated_generator_is_sent_thrown_and_closed_as_before() -> None:
    tracer = Tracer()
    seen: list[Any] = []

    @tracer.step("items")
    def items() -> Iterator[Any]:
        try:
            try:
                seen.append((yield 1))
            except KeyError:
                yield "caught"
            yield 3
        finally:
            seen.append("closed")
        return 4

    with tracer.workflow("answer") as run:
        generator: Any = items()
        assert (next(generator), generator.send("sent")) == (1, 3)
        with pytest.raises(StopIteration) as caught:
            next(generator)
        assert caught.value.value == 4
        generator = items()
        assert (next(generator), generator.throw(KeyError)) == (1, "caught")
        with run.step("between"):
            generator.close()
    assert seen == ["sent", "closed", "closed"]
    assert {step.step_name: step.parent_id for step in tracer.runs[0].steps} == {"items": None, "between": None}


def test_a_decorated_async_generator_is_sent_thrown_and_closed_as_before() -> None:
    tracer = Tracer()
    seen: list[Any] = []

    @tracer.step("items")
    async def items() -> AsyncIterator[Any]:
        try:
            try:
                seen.append((yield 1))
            except KeyError:
                yield "caught"
            yield 3
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main() -> None:
        with tracer.workflow("answer") as run:
            generator: Any = items()
            assert (await anext(generator), await generator.asend("sent")) == (1, 3)
            with pytest.raises(StopAsyncIteration):
                await anext(generator)
            generator = items()
            assert (await anext(generator), await generator.athrow(KeyError)) == (1, "caught")
            with run.step("between"):
                await generator.aclose()
            assert [item async for item in items()] == [1, 3]

    asyncio.run(main())
    assert seen == ["sent", "closed", "closed", None, "closed"]
    assert {step.step_name: step.parent_id for step in tracer.runs[0].steps} == {"items": None, "between": None}


def test_the_body_under_a_decorated_context_manager_is_in_its_step() -> None:
    tracer = Tracer()

    @contextmanager
    @tracer.step("managed")
    def managed() -> Iterator[None]:
        yield

    with tracer.workflow("answer") as run, managed(), run.step("inside"):
        pass
    first, second = tracer.runs[0].steps
    assert (first.step_name, second.parent_id) == ("managed", first.step_id)


def test_methods_can_be_decorated() -> None:
    tracer = Tracer()

    class Index:
        @tracer.step("search")
        def search(self, question: str) -> str:
            return question

    with tracer.workflow("answer") as run:
        assert Index().search("why?") == "why?"
        assert run.step("twice")(Index().search)("how?") == "how?"
    assert names(tracer) == ["search", "twice", "search"]


def test_a_decorated_function_cannot_have_one_request_id_for_all_its_runs() -> None:
    @Tracer().workflow("answer", request_id="r1")
    def answer() -> None: ...

    with pytest.raises(CausalkitError, match="leave request_id out"):
        answer()
